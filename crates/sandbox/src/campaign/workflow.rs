//! Workflows: state, commands, the external signal and the daily run (experienceleague.adobe.com, "Controlling a workflow",
//! "Triggering a signal activity"). What a run does is somebody else's: see [`super::CampaignService::on_workflow_run`].

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::primary_key::{self, Decoded};
use super::refusal::{Refusal, Reply};
use super::scenario::CampaignSwitches;
use super::value;

/// Most bytes of a signal.
const LARGEST_SIGNAL: usize = 64 * 1024;
/// A signal is not triggered more often than this.
const SIGNAL_PAUSE: i64 = 600_000;
/// In the place of a resource's number in the keys of workflows and of their activities.
const WORKFLOW: usize = 0x7fff_0000;
const ACTIVITY: usize = 0x7fff_0001;

/// A workflow of a scenario. Without any there is `WKF12`, which exports the opt-outs once a day.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkflowScenario {
    /// Its ID field.
    pub id: String,
    /// Its label; the id when absent.
    #[serde(default)]
    pub label: Option<String>,
    /// Seconds between two runs of its scheduler; none when absent.
    #[serde(default)]
    pub period_seconds: Option<u64>,
    /// Declared parameters of each external signal, by the name of its activity.
    #[serde(default)]
    pub signals: BTreeMap<String, BTreeMap<String, ParameterType>>,
    /// Whether it is started.
    #[serde(default = "yes")]
    pub started: bool,
}

fn yes() -> bool {
    true
}

/// Type of a declared parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ParameterType {
    /// Text.
    String,
    /// A number.
    Number,
    /// True or false.
    Boolean,
    /// A date and time.
    Datetime,
}

fn opt_out_export() -> WorkflowScenario {
    let parameters =
        [("fileName", ParameterType::String), ("full", ParameterType::Boolean), ("since", ParameterType::Datetime)];
    let parameters = parameters.map(|(name, kind)| (name.to_owned(), kind));
    WorkflowScenario {
        id: "WKF12".to_owned(),
        label: Some("Opt-out export".to_owned()),
        period_seconds: Some(86_400),
        signals: BTreeMap::from([("signal1".to_owned(), BTreeMap::from(parameters))]),
        started: true,
    }
}

/// State of a workflow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum WorkflowState {
    Started,
    Paused,
    Stopped,
    /// Paused by an error.
    Erroneous,
}

impl WorkflowState {
    fn word(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
            Self::Erroneous => "erroneous",
        }
    }
}

/// A run that is due.
#[derive(Debug, Clone, PartialEq)]
pub struct WorkflowRun {
    /// The workflow.
    pub id: String,
    /// What the signal brought; empty for a run of the scheduler.
    pub parameters: Map<String, Value>,
    /// Milliseconds since 1970.
    pub at: i64,
}

type Hook = Box<dyn Fn(WorkflowRun) + Send + Sync>;

#[derive(Debug)]
struct Instance {
    scenario: WorkflowScenario,
    state: WorkflowState,
    last: Option<i64>,
    next: Option<i64>,
    /// When each signal was triggered last.
    triggered: BTreeMap<String, i64>,
}

impl Instance {
    fn period(&self) -> Option<i64> {
        self.scenario.period_seconds.and_then(|seconds| i64::try_from(seconds.checked_mul(1000)?).ok())
    }

    fn ran(&mut self, now: i64) {
        self.last = Some(now);
        self.next = self.period().map(|period| now.saturating_add(period));
    }
}

/// The workflows of an organization.
pub(crate) struct Workflows {
    all: Mutex<Vec<Instance>>,
    hook: OnceLock<Hook>,
}

impl std::fmt::Debug for Workflows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Workflows").field("all", &self.all).finish_non_exhaustive()
    }
}

impl Workflows {
    pub(super) fn new(scenarios: &[WorkflowScenario], now: i64) -> Self {
        let scenarios = if scenarios.is_empty() { vec![opt_out_export()] } else { scenarios.to_vec() };
        let all = scenarios.into_iter().map(|scenario| {
            let state = if scenario.started { WorkflowState::Started } else { WorkflowState::Stopped };
            let mut made = Instance { scenario, state, last: None, next: None, triggered: BTreeMap::new() };
            made.next = made.period().filter(|_| made.scenario.started).map(|period| now.saturating_add(period));
            made
        });
        Self { all: Mutex::new(all.collect()), hook: OnceLock::new() }
    }

    fn all(&self) -> MutexGuard<'_, Vec<Instance>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn on_run(&self, hook: impl Fn(WorkflowRun) + Send + Sync + 'static) {
        let _ = self.hook.set(Box::new(hook));
    }

    fn run(&self, runs: impl IntoIterator<Item = WorkflowRun>) {
        for run in runs {
            tracing::debug!(workflow = run.id, "workflow.run");
            if let Some(hook) = self.hook.get() {
                hook(run);
            }
        }
    }

    /// Runs what the scheduler has due by now, each once however late it is.
    pub(crate) fn tick(&self, now: i64) {
        let mut due = Vec::new();
        for own in self.all().iter_mut() {
            if own.state == WorkflowState::Started && own.next.is_some_and(|next| next <= now) {
                own.ran(now);
                due.push(WorkflowRun { id: own.scenario.id.clone(), parameters: Map::new(), at: now });
            }
        }
        self.run(due);
    }

    /// Puts a workflow into a state, as an operator or an error does. `false`: there is none of that id.
    pub(crate) fn set_state(&self, id: &str, state: WorkflowState) -> bool {
        let mut all = self.all();
        let Some(own) = all.iter_mut().find(|own| own.scenario.id == id) else { return false };
        own.state = state;
        if state != WorkflowState::Started {
            own.next = None;
        }
        true
    }

    /// Answers a request behind `workflow/execution/`.
    pub(super) fn answer(&self, call: &WorkflowCall<'_>, switches: &CampaignSwitches) -> Reply {
        self.tick(call.now);
        let decoded = percent_encoding::percent_decode_str(call.path).decode_utf8_lossy();
        let segments: Vec<&str> = decoded.split('/').filter(|segment| !segment.is_empty()).collect();
        let outcome = match (call.method, segments.as_slice()) {
            ("GET", [id]) => self.show(id, call.base),
            ("POST", [id, "commands"]) => self.command(id, call),
            ("POST", [id, "activities", "activity", activity, "trigger"]) => self.trigger(id, activity, call),
            (_, [_] | [_, "commands"] | [_, "activities", "activity", _, "trigger"]) => Err(Refusal::method()),
            _ => Err(Refusal::path()),
        };
        outcome.unwrap_or_else(|refusal| refusal.reply(switches))
    }

    fn show(&self, id: &str, base: &str) -> Result<Reply, Refusal> {
        let all = self.all();
        let (at, own) = find(&all, id)?;
        let key = key(WORKFLOW, at, 0);
        let mut activities = Map::new();
        for (number, name) in own.scenario.signals.keys().enumerate() {
            let activity = self::key(ACTIVITY, at, number);
            let href = format!("{base}workflow/execution/{key}/activities/activity/{activity}/trigger/");
            activities.insert(name.clone(), json!({"name": name, "trigger": {"href": href}}));
        }
        let date = |at: Option<i64>| {
            let mut text = Vec::new();
            if let Some(at) = at {
                value::write_datetime(&mut text, at);
            }
            String::from_utf8(text).unwrap_or_default()
        };
        let body = json!({
            "PKey": key,
            "name": own.scenario.id,
            "label": own.scenario.label.as_deref().unwrap_or(&own.scenario.id),
            "state": own.state.word(),
            "lastProcessingDate": date(own.last),
            "nextProcessingDate": date(own.next),
            "href": format!("{base}workflow/execution/{key}"),
            "activities": {"activity": activities},
        });
        Ok(Reply::json(200, body.to_string().into_bytes()))
    }

    fn command(&self, id: &str, call: &WorkflowCall<'_>) -> Result<Reply, Refusal> {
        let body: Map<String, Value> = serde_json::from_slice(call.body).map_err(|_| Refusal::body())?;
        let method = body.get("method").and_then(Value::as_str).unwrap_or_default();
        let mut due = None;
        {
            let mut all = self.all();
            let at = find(&all, id)?.0;
            let Some(own) = all.get_mut(at) else { return Err(Refusal::stray()) };
            own.state = match (method, own.state) {
                ("start", WorkflowState::Started) | ("stop", WorkflowState::Stopped) => own.state,
                ("start", _) => {
                    own.ran(call.now);
                    due = Some(WorkflowRun { id: own.scenario.id.clone(), parameters: Map::new(), at: call.now });
                    WorkflowState::Started
                }
                ("resume", WorkflowState::Paused | WorkflowState::Erroneous) => {
                    own.next = own.period().map(|period| call.now.saturating_add(period));
                    WorkflowState::Started
                }
                ("pause", WorkflowState::Started) => WorkflowState::Paused,
                ("stop", _) => WorkflowState::Stopped,
                ("pause" | "resume", state) => return Err(Refusal::command(method, state.word())),
                _ => return Err(Refusal::unknown_command(method)),
            };
            if own.state != WorkflowState::Started {
                own.next = None;
            }
        }
        self.run(due);
        Ok(Reply::empty(200))
    }

    fn trigger(&self, id: &str, activity: &str, call: &WorkflowCall<'_>) -> Result<Reply, Refusal> {
        if call.body.len() > LARGEST_SIGNAL {
            return Err(Refusal::signal("The parameters of the signal are greater than 64 KB."));
        }
        let body: Map<String, Value> = serde_json::from_slice(call.body).map_err(|_| Refusal::body())?;
        let parameters = match body.get("parameters") {
            None | Some(Value::Null) => Map::new(),
            Some(Value::Object(parameters)) => parameters.clone(),
            Some(_) => return Err(Refusal::body()),
        };
        if body.get("source").and_then(Value::as_str).is_none_or(str::is_empty) {
            return Err(Refusal::signal("The 'source' parameter of the signal is missing."));
        }
        let run =
            {
                let mut all = self.all();
                let at = find(&all, id)?.0;
                let Some(own) = all.get_mut(at) else { return Err(Refusal::stray()) };
                let wanted =
                    own.scenario.signals.iter().enumerate().find(|(number, (name, _))| {
                        key(ACTIVITY, at, *number) == activity || name.as_str() == activity
                    });
                let Some((_, (name, declared))) = wanted else { return Err(Refusal::path()) };
                for (parameter, given) in &parameters {
                    let kind = declared.get(parameter).ok_or_else(|| Refusal::undeclared(parameter))?;
                    fits(*kind, given)?;
                }
                if own.state != WorkflowState::Started {
                    return Err(Refusal::signal("The workflow is not running."));
                }
                let early = own.triggered.get(name).is_some_and(|last| call.now.saturating_sub(*last) < SIGNAL_PAUSE);
                if early {
                    return Err(Refusal::signal("The signal cannot be triggered more often than every 10 minutes."));
                }
                own.triggered.insert(name.clone(), call.now);
                own.last = Some(call.now);
                WorkflowRun { id: own.scenario.id.clone(), parameters, at: call.now }
            };
        self.run([run]);
        Ok(Reply::empty(200))
    }
}

/// A request, as far as it concerns workflows.
#[derive(Debug, Clone, Copy)]
pub(super) struct WorkflowCall<'a> {
    pub(super) method: &'a str,
    /// What stands behind `workflow/execution/`.
    pub(super) path: &'a str,
    pub(super) body: &'a [u8],
    /// `http://host/acme/campaign/`
    pub(super) base: &'a str,
    pub(super) now: i64,
}

/// The workflow that an id or a PKey means.
fn find<'a>(all: &'a [Instance], id: &str) -> Result<(usize, &'a Instance), Refusal> {
    let by_key = match primary_key::read(id) {
        Decoded::Row { resource: WORKFLOW, row } => Some(row as usize >> 8),
        _ => None,
    };
    let found = all.iter().enumerate().find(|(at, own)| own.scenario.id == id || by_key == Some(*at));
    found.ok_or_else(|| Refusal::no_workflow(id))
}

fn key(of: usize, workflow: usize, activity: usize) -> String {
    let mut out = Vec::new();
    primary_key::write(&mut out, of, u32::try_from(workflow << 8 | activity).unwrap_or(0), 0);
    String::from_utf8(out).unwrap_or_default()
}

fn fits(kind: ParameterType, given: &Value) -> Result<(), Refusal> {
    let (right, name) = match kind {
        ParameterType::String => (given.is_string(), "string"),
        ParameterType::Number => (given.is_number(), "double"),
        ParameterType::Boolean => (given.is_boolean(), "boolean"),
        ParameterType::Datetime => {
            (given.as_str().is_some_and(|text| value::parse_datetime(text).is_some()), "date+time")
        }
    };
    let shown = given.as_str().map_or_else(|| given.to_string(), str::to_owned);
    if right { Ok(()) } else { Err(Refusal::parameter(&shown, name)) }
}
