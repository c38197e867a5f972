//! Where the environment is and who asks.

use std::time::Duration;

use http_kit::Origin;
use http_kit::pace::{Pace, Quota};
use secrecy::SecretString;

use crate::error::Error;
use crate::odata::MAX_TOP;

/// Rows per page unless set otherwise: the service's maximum for standard tables.
pub const DEFAULT_PAGE_SIZE: u32 = MAX_TOP;
/// The most requests in flight unless set otherwise: four fifths of the 52 that the service allows a user.
pub const DEFAULT_IN_FLIGHT: usize = 41;
/// What each web server of an environment grants a user in 300 s (learn.microsoft.com, "Service protection API
/// limits"): 6,000 requests and 20 minutes of execution. That is 20 requests a second, and four at once on average.
pub const DEFAULT_QUOTA: Quota = Quota::new(6_000, Duration::from_secs(1_200));
/// Where Entra ID answers in the public cloud.
pub const DEFAULT_AUTHORITY: &str = "https://login.microsoftonline.com";
/// The version of the Web API that this client speaks.
pub const API_VERSION: &str = "v9.2";

/// Everything a [`D365Client`](crate::D365Client) needs to know. `Debug` hides the secret.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct D365Config {
    /// The organisation, `https://acme.crm4.dynamics.com`; a trailing slash or `/api/data/…` is cut off.
    /// Plain http is accepted for loopback only.
    pub url: String,
    /// The tenant of the app registration: a GUID or a domain. `common` and its kind cannot serve an application.
    pub tenant: String,
    /// The identity provider. Default [`DEFAULT_AUTHORITY`].
    pub authority: String,
    /// The application (client) id.
    pub client_id: String,
    /// The secret's value (not its id).
    pub client_secret: SecretString,
    /// Rows per page, 1 to 5000. Default 5000.
    pub page_size: u32,
    /// The most requests in flight at once. Default [`DEFAULT_IN_FLIGHT`]. The client starts with two, or with what the
    /// service advises, and finds out how many are good.
    pub in_flight: usize,
    /// What the service grants this user in 300 s; `None` for no limit. Default [`DEFAULT_QUOTA`], that of one web
    /// server. `DEFAULT_QUOTA.times(4)` is right where the environment has four; too much is found out by being
    /// refused.
    pub quota: Option<Quota>,
    /// Further origins that links of the service may lead to, for an environment that answers under two names.
    /// The access token goes there too. Default none.
    pub allowed_origins: Vec<String>,
    /// Certificates in PEM to trust besides those of the system.
    pub ca_pem: Option<Vec<u8>>,
    /// The time to connect. Default 10 s.
    pub connect_timeout: Duration,
    /// The time for one attempt, to the last byte of the answer. Default 120 s.
    pub attempt_timeout: Duration,
    /// The time for a whole call with its waits and repetitions. Default 10 min.
    pub total_timeout: Duration,
    /// The most bytes of one decoded answer. Default 64 MiB.
    pub max_body: usize,
}

impl D365Config {
    /// The settings that have no default; the rest are fields.
    #[must_use]
    pub fn new(
        url: impl Into<String>,
        tenant: impl Into<String>,
        client_id: impl Into<String>,
        client_secret: SecretString,
    ) -> Self {
        Self {
            url: url.into(),
            tenant: tenant.into(),
            authority: DEFAULT_AUTHORITY.to_owned(),
            client_id: client_id.into(),
            client_secret,
            page_size: DEFAULT_PAGE_SIZE,
            in_flight: DEFAULT_IN_FLIGHT,
            quota: Some(DEFAULT_QUOTA),
            allowed_origins: Vec::new(),
            ca_pem: None,
            connect_timeout: Duration::from_secs(10),
            attempt_timeout: Duration::from_secs(120),
            total_timeout: Duration::from_secs(600),
            max_body: 64 << 20,
        }
    }

    /// The same with another identity provider.
    #[must_use]
    pub fn authority(mut self, authority: impl Into<String>) -> Self {
        self.authority = authority.into();
        self
    }

    /// The same with another page size.
    #[must_use]
    pub fn page_size(mut self, rows: u32) -> Self {
        self.page_size = rows;
        self
    }

    /// Checks the settings without asking anybody.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration), naming the setting.
    pub fn validate(&self) -> Result<(), Error> {
        self.checked().map(drop)
    }

    pub(crate) fn pace(&self) -> Pace {
        let pace = Pace::adaptive(self.in_flight);
        self.quota.map_or(pace, |quota| pace.quota(quota))
    }

    pub(crate) fn checked(&self) -> Result<Checked, Error> {
        let organisation = origin("url", organisation_root(&self.url))?;
        if organisation.base().path() != "/" {
            return Err(Error::configuration("url: must be the organisation's address without a path"));
        }
        let authority = origin("authority", self.authority.trim().trim_end_matches('/'))?;
        if !is_tenant(&self.tenant) {
            return Err(Error::configuration(
                "tenant: must be the GUID or domain of one tenant; `common`, `organizations` and `consumers` cannot serve an application",
            ));
        }
        if self.client_id.trim().is_empty() {
            return Err(Error::configuration("client_id: is empty"));
        }
        if self.page_size == 0 || self.page_size > MAX_TOP {
            return Err(Error::configuration("page_size: must lie between 1 and 5000"));
        }
        if self.in_flight == 0 {
            return Err(Error::configuration("in_flight: must be at least 1"));
        }
        self.pace().check().map_err(|error| Error::of_setting("quota", error))?;
        let others = self.allowed_origins.iter().map(|other| origin("allowed_origins", organisation_root(other)));
        let allowed = others.collect::<Result<Vec<_>, _>>()?;
        let token_url = authority.join(&format!("{}/oauth2/v2.0/token", self.tenant))?;
        let scope = format!("{}/.default", organisation.base().as_str().trim_end_matches('/'));
        Ok(Checked { organisation, allowed, authority, token_url, scope })
    }
}

/// The settings after their check.
pub(crate) struct Checked {
    pub(crate) organisation: Origin,
    pub(crate) allowed: Vec<Origin>,
    pub(crate) authority: Origin,
    pub(crate) token_url: url::Url,
    pub(crate) scope: String,
}

fn origin(setting: &'static str, url: &str) -> Result<Origin, Error> {
    Origin::parse(url).map_err(|error| Error::of_setting(setting, error))
}

/// People paste the address of the Web API as often as that of the organisation.
fn organisation_root(url: &str) -> &str {
    let url = url.trim();
    let root = match url.find("/api/data") {
        Some(at) if url[at..].len() == 9 || url[at + 9..].starts_with('/') => &url[..at],
        _ => url,
    };
    root.trim_end_matches('/')
}

fn is_tenant(tenant: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
    !tenant.is_empty()
        && tenant.bytes().all(plain)
        && !tenant.starts_with('.')
        && !["common", "organizations", "consumers"].contains(&tenant.to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    fn config(url: &str) -> D365Config {
        D365Config::new(url, "contoso.example", "app", SecretString::from("hush"))
    }

    #[test]
    fn the_address_is_cut_to_its_root() {
        for url in [
            "https://acme.crm4.dynamics.com",
            "https://acme.crm4.dynamics.com/",
            "https://acme.crm4.dynamics.com/api/data",
            " https://acme.crm4.dynamics.com//api/data/v9.2/ ",
        ] {
            let checked = config(url).checked().unwrap();
            assert_eq!(checked.scope, "https://acme.crm4.dynamics.com/.default");
            assert_eq!(
                checked.token_url.as_str(),
                "https://login.microsoftonline.com/contoso.example/oauth2/v2.0/token"
            );
        }
        let local = config("http://127.0.0.1:4101").authority("http://127.0.0.1:4101/").checked().unwrap();
        assert_eq!(local.scope, "http://127.0.0.1:4101/.default");
        assert_eq!(local.token_url.as_str(), "http://127.0.0.1:4101/contoso.example/oauth2/v2.0/token");
    }

    #[test]
    fn impossible_settings_are_refused() {
        let bad: [fn(&mut D365Config); 13] = [
            |config| config.url = "http://acme.crm4.dynamics.com".into(),
            |config| config.url = "acme".into(),
            |config| config.url = "https://acme.crm4.dynamics.com/main.aspx".into(),
            |config| config.tenant = "common".into(),
            |config| config.tenant = "a/b".into(),
            |config| config.tenant = String::new(),
            |config| config.client_id = " ".into(),
            |config| config.page_size = 0,
            |config| config.page_size = 5001,
            |config| config.in_flight = 0,
            |config| config.quota = Some(Quota::new(0, Duration::from_secs(1_200))),
            |config| config.quota = Some(DEFAULT_QUOTA.share(1.5)),
            |config| config.allowed_origins = vec!["http://elsewhere.example".into()],
        ];
        for (at, spoil) in bad.iter().enumerate() {
            let mut config = config("https://acme.crm4.dynamics.com");
            spoil(&mut config);
            let error = config.validate().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Configuration, "{at}");
            let settings =
                ["url: ", "tenant: ", "client_id: ", "page_size: ", "in_flight: ", "quota: ", "allowed_origins: "];
            assert!(settings.iter().any(|setting| error.to_string().contains(setting)), "{at}: {error}");
        }
    }

    #[test]
    fn the_secret_is_not_shown() {
        assert!(!format!("{:?}", config("https://a.example")).contains("hush"));
    }
}
