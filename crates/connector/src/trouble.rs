//! What a service's refusal says about the configuration: the setting at fault and what to do about it.

use std::error::Error as StdError;

use url::Url;

use crate::config::{CampaignConfig, DataverseConfig};
use crate::error::{Error, ErrorKind, Problem};
use crate::preflight::Name;

/// How http-kit calls a request to an identity provider.
const TOKEN: &str = "POST token";

/// What can be read off an error and the errors beneath it.
struct Story {
    text: String,
    /// Whether the request that failed was for a token.
    token: bool,
    kind: Option<http_kit::ErrorKind>,
}

impl Story {
    fn of(error: &(dyn StdError + 'static)) -> Self {
        let mut story = Self { text: String::new(), token: false, kind: None };
        let mut next = Some(error);
        while let Some(error) = next {
            story.text.push_str(&error.to_string());
            story.text.push('\n');
            if let Some(http) = error.downcast_ref::<http_kit::Error>() {
                story.token |= http.operation() == Some(TOKEN);
                story.kind = story.kind.or(Some(http.kind()));
            }
            next = error.source();
        }
        story
    }

    /// The identity provider's number, `AADSTS7000215`.
    fn entra_code(&self) -> Option<&str> {
        let start = self.text.find("AADSTS")?;
        let digits = self.text[start + 6..].bytes().take_while(u8::is_ascii_digit).count();
        (digits > 0).then(|| &self.text[start..start + 6 + digits])
    }

    /// The code of RFC 6749, 5.2.
    fn oauth_code(&self) -> Option<&'static str> {
        ["invalid_client", "invalid_scope", "unauthorized_client", "invalid_grant", "invalid_request"]
            .into_iter()
            .find(|code| self.text.contains(code))
    }

    fn is_of_certificates(&self) -> bool {
        self.kind == Some(http_kit::ErrorKind::Connect) && self.text.to_ascii_lowercase().contains("certificate")
    }

    fn is_unreachable(&self) -> bool {
        use http_kit::ErrorKind as Kind;
        matches!(self.kind, Some(Kind::Connect | Kind::Timeout | Kind::Transport | Kind::Deadline | Kind::Unavailable))
    }

    /// The codes for the message, behind what the error says itself.
    fn codes(&self, said: &str) -> String {
        let codes: Vec<&str> = [self.oauth_code(), self.entra_code()].into_iter().flatten().collect();
        let new: Vec<&str> = codes.into_iter().filter(|code| !said.contains(code)).collect();
        if new.is_empty() { String::new() } else { format!(" ({})", new.join(", ")) }
    }
}

/// Scheme, host and port: all of a URL that a message needs.
fn origin(url: &Url) -> String {
    url.origin().ascii_serialization()
}

/// Trouble with Dynamics 365 or with Entra ID.
pub(crate) fn dataverse(settings: &DataverseConfig, error: d365_client::Error) -> Error {
    use d365_client::ErrorKind as Kind;
    let story = Story::of(&error);
    let authority = settings.authority.as_ref().map_or_else(|| "https://login.microsoftonline.com".to_owned(), origin);
    let service = origin(&settings.url);
    let (place, remedy) = match error.kind() {
        _ if story.is_of_certificates() => {
            let at = if story.token { "dataverse.authority" } else { "dataverse.url" };
            (
                "tls.ca_file",
                format!("Name the authority that signed its TLS certificate in tls.ca_file, or correct {at}."),
            )
        }
        _ if story.token && story.entra_code().is_some() => entra_remedy(story.entra_code().unwrap_or_default()),
        Kind::Auth => (
            "dataverse.client_secret",
            "Check dataverse.tenant, dataverse.client_id and dataverse.client_secret against the app registration."
                .to_owned(),
        ),
        _ if story.token => (
            "dataverse.authority",
            "Check dataverse.authority and dataverse.tenant, the network and the proxy.".to_owned(),
        ),
        _ if story.is_unreachable() => ("dataverse.url", "Check dataverse.url, the network and the proxy.".to_owned()),
        Kind::Unauthorized => (
            "dataverse.url",
            "Check that dataverse.url, dataverse.tenant and dataverse.client_id belong together.".to_owned(),
        ),
        Kind::NotMember => ("dataverse.client_id", error.remedy().to_owned()),
        Kind::Decode | Kind::ForeignLink | Kind::NotFound | Kind::UnknownTable | Kind::Unexpected => {
            ("dataverse.url", format!("Check dataverse.url; {}.", error.remedy().trim_end_matches('.')))
        }
        _ => ("dataverse", error.remedy().to_owned()),
    };
    let kind = if error.is_permanent() { ErrorKind::Refused } else { ErrorKind::Unavailable };
    let (who, at) = if story.token { ("The identity provider of", &authority) } else { ("", &service) };
    let message = sentence(who, "Dynamics 365", at, &error, &story);
    let check = dataverse_check(&story, error.kind());
    Error::one(kind, Problem::new(place, message, remedy).found_by(check)).with_source(error)
}

/// What Entra ID's numbers mean (learn.microsoft.com, "Microsoft Entra authentication and authorization error codes").
fn entra_remedy(code: &str) -> (&'static str, String) {
    let (place, remedy) = match code.trim_start_matches("AADSTS") {
        "7000215" => {
            ("dataverse.client_secret", "Give the secret's value, not its id, of a secret of this app registration.")
        }
        "7000222" => ("dataverse.client_secret", "The secret has expired: make a new one in the app registration."),
        "700016" => ("dataverse.client_id", "Give the application (client) id of an app registration of this tenant."),
        "90002" | "900023" | "900021" => ("dataverse.tenant", "Give the id or a domain of the tenant."),
        "500011" | "70011" => ("dataverse.url", "Give the URL of an organisation of this tenant."),
        _ => (
            "dataverse.client_secret",
            "Look the number up at https://login.microsoftonline.com/error; check dataverse.tenant, dataverse.client_id and \
             dataverse.client_secret.",
        ),
    };
    (place, remedy.to_owned())
}

/// Trouble with Campaign or with IMS.
pub(crate) fn campaign(settings: &CampaignConfig, error: campaign_client::Error) -> Error {
    use campaign_client::ErrorKind as Kind;
    let story = Story::of(&error);
    let ims = settings.ims_url.as_ref().map_or_else(|| campaign_client::DEFAULT_IMS_URL.to_owned(), origin);
    let service = origin(&settings.url);
    let (place, remedy) = match error.kind() {
        _ if story.is_of_certificates() => {
            let at = if story.token { "campaign.ims_url" } else { "campaign.url" };
            ("tls.ca_file", format!("Name the authority that signed its TLS certificate in tls.ca_file, or correct {at}."))
        }
        Kind::Credentials if story.oauth_code() == Some("invalid_scope") => {
            ("campaign.scopes", "Ask only for scopes that the credential has in the Adobe Developer Console.".to_owned())
        }
        Kind::Credentials => (
            "campaign.client_secret",
            "Check campaign.client_id and campaign.client_secret against the credential in the Adobe Developer Console."
                .to_owned(),
        ),
        _ if story.token => ("campaign.ims_url", "Check campaign.ims_url, the network and the proxy.".to_owned()),
        _ if story.is_unreachable() => ("campaign.url", "Check campaign.url, the network and the proxy.".to_owned()),
        Kind::ApiKey => ("campaign.client_id", "Check campaign.client_id, which is the API key too.".to_owned()),
        Kind::Unauthorized => {
            ("campaign.ims_url", format!("Check campaign.ims_url; {}.", error.remedy().trim_end_matches('.')))
        }
        Kind::ProfileNotValid if settings.scopes.is_some() => (
            "campaign.url",
            "Check host and organisation in campaign.url, that campaign.scopes holds the documented scopes, and that the \
             technical account has a Campaign product profile of this organisation."
                .to_owned(),
        ),
        Kind::ProfileNotValid
        | Kind::UnknownOrganisation
        | Kind::UnknownResource
        | Kind::NotFound
        | Kind::Decode
        | Kind::ForeignLink
        | Kind::Gateway => (
            "campaign.url",
            format!("Check host and organisation in campaign.url; {}.", error.remedy().trim_end_matches('.')),
        ),
        _ => ("campaign", error.remedy().to_owned()),
    };
    let kind = if error.is_transient() { ErrorKind::Unavailable } else { ErrorKind::Refused };
    let (who, at) = if story.token { ("The identity provider of", &ims) } else { ("", &service) };
    let message = sentence(who, "Campaign", at, &error, &story);
    let check = campaign_check(&story, error.kind());
    Error::one(kind, Problem::new(place, message, remedy).found_by(check)).with_source(error)
}

fn sentence(who: &str, service: &str, at: &str, error: &dyn StdError, story: &Story) -> String {
    let said = error.to_string();
    let who = if who.is_empty() { service.to_owned() } else { format!("{who} {service}") };
    format!("{who} at {at}: {said}{}.", story.codes(&said))
}

/// How far a first question to Dynamics 365 came.
fn dataverse_check(story: &Story, kind: d365_client::ErrorKind) -> Name {
    use d365_client::ErrorKind as Kind;
    match kind {
        _ if story.token && story.entra_code().is_some() => Name::DataverseCredentials,
        Kind::Auth => Name::DataverseCredentials,
        _ if story.token => Name::DataverseIdentityProvider,
        Kind::Unauthorized | Kind::NotMember | Kind::Forbidden => Name::DataverseApplicationUser,
        _ => Name::DataverseReachable,
    }
}

/// How far a first question to Campaign came.
fn campaign_check(story: &Story, kind: campaign_client::ErrorKind) -> Name {
    use campaign_client::ErrorKind as Kind;
    match kind {
        Kind::Credentials => Name::CampaignCredentials,
        _ if story.token => Name::CampaignIdentityProvider,
        Kind::ApiKey | Kind::Unauthorized => Name::CampaignApiKey,
        Kind::UnknownOrganisation => Name::CampaignOrganisation,
        Kind::ProfileNotValid | Kind::Forbidden => Name::CampaignProductProfile,
        Kind::UnknownResource => Name::ExtApiPublished,
        _ => Name::CampaignReachable,
    }
}
