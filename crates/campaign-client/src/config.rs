use std::time::Duration;

use http_kit::pace::Pace;
use http_kit::{ErrorKind as HttpKind, Origin, SecretString, Url};

use crate::error::{Error, ErrorKind};

/// Where tokens come from, unless set otherwise.
pub const DEFAULT_IMS_URL: &str = "https://ims-na1.adobelogin.com";

/// The scopes of a project with the Campaign, I/O Events and I/O Management APIs
/// (experienceleague.adobe.com, "Configure Adobe I/O for Microsoft Dynamics 365").
pub const DEFAULT_SCOPES: &str = "AdobeID,openid,read_organizations,additional_info.projectedProductContext,\
additional_info.roles,adobeio_api,read_client_secret,manage_client_secrets,campaign_sdk,\
campaign_config_server_general,deliverability_service_general,event_receiver_api";

/// Settings of a [`CampaignClient`](crate::CampaignClient). `Debug` hides the secret.
#[derive(Debug, Clone)]
pub struct CampaignConfig {
    /// `https://mc.adobe.io/<organisation>`, without `/campaign`.
    pub url: String,
    /// The identity service; default [`DEFAULT_IMS_URL`].
    pub ims_url: String,
    /// The client id, which is also the API key.
    pub client_id: String,
    /// The client secret.
    pub client_secret: SecretString,
    /// The organisation as `...@AdobeOrg`. Campaign itself does not ask for it; event journals do.
    pub org_id: Option<String>,
    /// The scopes; default [`DEFAULT_SCOPES`]. They are sent as one text with commas.
    pub scopes: Vec<String>,
    /// Most requests at a time. Default 8. The client starts there, and has fewer while Campaign is in trouble.
    pub in_flight: usize,
    /// Most requests a second; default no fixed rate, as Adobe publishes none.
    pub requests_per_second: Option<f64>,
    /// Certificates in PEM to trust besides those of the system.
    pub ca_pem: Option<Vec<u8>>,
    /// The time to connect. Default 10 s.
    pub connect_timeout: Duration,
    /// The time for one attempt. Default 90 s: the gateway itself gives up after about 60.
    pub attempt_timeout: Duration,
    /// The time for a call with all its waits. Default 10 min.
    pub total_timeout: Duration,
}

impl CampaignConfig {
    /// The settings that have no default.
    #[must_use]
    pub fn new(url: impl Into<String>, client_id: impl Into<String>, client_secret: SecretString) -> Self {
        Self {
            url: url.into(),
            ims_url: DEFAULT_IMS_URL.to_owned(),
            client_id: client_id.into(),
            client_secret,
            org_id: None,
            scopes: DEFAULT_SCOPES.split(',').map(str::to_owned).collect(),
            in_flight: 8,
            requests_per_second: None,
            ca_pem: None,
            connect_timeout: Duration::from_secs(10),
            attempt_timeout: Duration::from_secs(90),
            total_timeout: Duration::from_secs(600),
        }
    }

    /// `<url>/campaign`: nothing outside it is ever asked.
    pub(crate) fn origin(&self) -> Result<Origin, Error> {
        let base = Origin::parse(self.url.trim_end_matches('/')).map_err(|error| Error::of_setting("url", error))?;
        let path = base.base().path().trim_matches('/');
        let wrong = |why| {
            Err(Error::of_setting(
                "url",
                http_kit::Error::new(HttpKind::Configuration, why)
                    .with_remedy("give the Campaign URL as https://mc.adobe.io/<organisation>, without /campaign"),
            ))
        };
        if path.is_empty() {
            return wrong("the Campaign URL lacks the organisation");
        }
        if path.ends_with("/campaign") {
            return wrong("the Campaign URL ends with /campaign");
        }
        Ok(Origin::parse(&format!("{}/campaign", base.base().as_str().trim_end_matches('/')))?)
    }

    pub(crate) fn ims_origin(&self) -> Result<(Origin, Url), Error> {
        let origin =
            Origin::parse(self.ims_url.trim_end_matches('/')).map_err(|error| Error::of_setting("ims_url", error))?;
        let token_url = origin.join("ims/token/v3")?;
        Ok((origin, token_url))
    }

    pub(crate) fn pace(&self) -> Pace {
        // Adobe neither publishes a limit nor advises a number, so the operator's is where it starts.
        let pace = Pace::adaptive(self.in_flight).start(self.in_flight);
        self.requests_per_second.map_or(pace, |rate| pace.per_second(rate))
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        let problem = if self.client_id.trim().is_empty() {
            "the client id is empty"
        } else if self.in_flight == 0 {
            "in_flight is zero"
        } else if self.requests_per_second.is_some_and(|rate| !(rate.is_finite() && rate > 0.0)) {
            "requests_per_second is not a positive number"
        } else if self.scopes.is_empty() {
            "there are no scopes"
        } else {
            return Ok(());
        };
        Err(Error::because(ErrorKind::Configuration, problem))
    }
}
