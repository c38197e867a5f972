//! Workflows: state, commands and signals (experienceleague.adobe.com, Campaign Standard API, "Controlling a workflow" and
//! "Triggering a signal activity").

use std::collections::BTreeMap;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use http_kit::{Request, SameOriginUrl};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::client::{CampaignClient, decode};
use crate::error::{Error, ErrorKind};
use crate::key::encode;
use crate::value::parse_datetime;

/// Most bytes of a signal's body.
pub const MAX_SIGNAL: usize = 64 * 1024;

/// Longest id of a workflow that is accepted.
const MAX_ID: usize = 64;

/// What a workflow can be told. The service answers before it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum WorkflowCommand {
    /// Start, also after an error has stopped it.
    Start,
    /// Pause.
    Pause,
    /// Go on after a pause.
    Resume,
    /// Stop.
    Stop,
}

/// What the service says about a workflow.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Workflow {
    /// Its state, in the service's own word; `None` where it does not say.
    pub state: Option<String>,
    /// When it runs next; `None` where the service does not say.
    pub next_processing: Option<DateTime<Utc>>,
    /// Where each of its signal activities is triggered.
    pub signals: BTreeMap<String, SameOriginUrl>,
}

/// Reads and steers workflows, which are known by their ID field: `WKF12`.
#[derive(Debug, Clone)]
pub struct WorkflowApi {
    client: CampaignClient,
}

#[derive(Deserialize)]
struct WireWorkflow {
    #[serde(default, alias = "status")]
    state: Option<Value>,
    #[serde(default, rename = "nextProcessingDate")]
    next_processing: Option<String>,
    #[serde(default)]
    activities: WireActivities,
}

#[derive(Default, Deserialize)]
struct WireActivities {
    #[serde(default)]
    activity: BTreeMap<String, WireActivity>,
}

#[derive(Deserialize)]
struct WireActivity {
    #[serde(default)]
    trigger: Option<WireTrigger>,
}

#[derive(Deserialize)]
struct WireTrigger {
    href: String,
}

impl WorkflowApi {
    pub(crate) fn new(client: CampaignClient) -> Self {
        Self { client }
    }

    /// What the service says about a workflow.
    ///
    /// # Errors
    /// `NotFound` if there is no such workflow; `ForeignLink` if a trigger of it leads outside the organisation; see
    /// [`ErrorKind`] for the rest.
    pub async fn get(&self, id: &str) -> Result<Workflow, Error> {
        const OPERATION: &str = "GET workflow/execution/{id}";
        let url = self.client.http().origin().join(&path(id)?)?;
        let response = self.client.call(Request::get(url, OPERATION)).await?;
        let wire: WireWorkflow = decode(&response, OPERATION)?;
        let mut signals = BTreeMap::new();
        for (name, activity) in wire.activities.activity {
            if let Some(trigger) = activity.trigger {
                let link = self.client.http().link(&trigger.href);
                signals.insert(name, link.map_err(|error| Error::from(error).with_operation(OPERATION))?);
            }
        }
        let state = wire.state.and_then(|state| match state {
            Value::String(text) => Some(text).filter(|text| !text.is_empty()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        });
        Ok(Workflow { state, next_processing: wire.next_processing.as_deref().and_then(parse_datetime), signals })
    }

    /// Tells a workflow what to do. The service carries it out later: [`get`](Self::get) shows whether it did. It is sent once;
    /// whether it arrived after an unclear end, the error's delivery says.
    ///
    /// # Errors
    /// `NotFound` if there is no such workflow; `Validation` where the service refuses the command; see [`ErrorKind`].
    pub async fn command(&self, id: &str, command: WorkflowCommand) -> Result<(), Error> {
        let url = self.client.http().origin().join(&format!("{}/commands", path(id)?))?;
        let body = json!({ "method": command }).to_string();
        let request = Request::post(url, "POST workflow/execution/{id}/commands").json(body);
        match self.client.call(request).await {
            Ok(_) => Ok(()),
            // The body of a command has no links: what is not there is the workflow.
            Err(error) if error.kind() == ErrorKind::LinkNotFound => Err(error.into_kind(ErrorKind::NotFound)),
            Err(error) => Err(error),
        }
    }

    /// Triggers a signal activity of a workflow that is running. Its parameters must be declared in the activity; a signal may
    /// not come more often than every 10 minutes. It is sent once.
    ///
    /// # Errors
    /// `Configuration` for more than [`MAX_SIGNAL`] bytes, before anything is sent, and for an activity that the workflow does
    /// not have; `NotFound` if there is no such workflow; `Validation` where the service refuses the signal; see [`ErrorKind`].
    pub async fn signal(&self, id: &str, activity: &str, parameters: &Map<String, Value>) -> Result<(), Error> {
        let body = serde_json::to_vec(&json!({ "source": "API", "parameters": parameters }))
            .map_err(|_| Error::new(ErrorKind::Encode))?;
        if body.len() > MAX_SIGNAL {
            return Err(Error::because(ErrorKind::Configuration, "the parameters of a signal are more than 64 KB"));
        }
        let trigger = self.get(id).await?.signals.remove(activity).ok_or_else(|| {
            Error::because(ErrorKind::Configuration, "the workflow has no signal activity of this name")
        })?;
        let request = Request::post(trigger.into_url(), "POST workflow/execution/{id}/activities/{activity}/trigger");
        self.client.call(request.json(Bytes::from(body))).await.map(drop)
    }
}

impl CampaignClient {
    /// The workflows.
    #[must_use]
    pub fn workflows(&self) -> WorkflowApi {
        WorkflowApi::new(self.clone())
    }
}

/// Ids come from configuration and stand in URLs.
fn path(id: &str) -> Result<String, Error> {
    let plain = !id.is_empty()
        && id.len() <= MAX_ID
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    if !plain {
        return Err(Error::because(
            ErrorKind::Configuration,
            "the id of a workflow is not letters, digits, '_' and '-'",
        ));
    }
    Ok(format!("workflow/execution/{}", encode(id)))
}
