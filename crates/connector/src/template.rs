//! A commented configuration to start from.

use serde::Deserialize;

use crate::error::Error;

/// The addresses and credentials that a configuration starts with.
#[derive(Debug)]
struct Start {
    dataverse_url: String,
    tenant: String,
    authority: Option<String>,
    dataverse_client_id: String,
    dataverse_secret: String,
    campaign_url: String,
    ims_url: Option<String>,
    campaign_client_id: String,
    campaign_secret: String,
    org_id: String,
    poll_seconds: u32,
    journal_url: String,
    sftp: SftpStart,
}

/// The file exchange that a configuration starts with.
#[derive(Debug)]
struct SftpStart {
    host: String,
    port: u16,
    user: String,
    private_key_file: String,
    host_key: String,
}

impl Default for SftpStart {
    fn default() -> Self {
        Self {
            host: "acme.campaign.adobe.com".into(),
            port: 22,
            user: "acme".into(),
            private_key_file: "sftp.key".into(),
            host_key: "ssh-ed25519 AAAA...".into(),
        }
    }
}

/// A journal's address as the Developer Console shows it.
const JOURNAL_EXAMPLE: &str =
    "https://events-va6.adobe.io/events/organizations/1/integrations/2/00000000-0000-0000-0000-000000000000";

/// A commented configuration with placeholders for a tenant's own values.
pub fn commented() -> String {
    render(&Start {
        dataverse_url: "https://contoso.api.crm.dynamics.com".into(),
        tenant: "contoso.onmicrosoft.com".into(),
        authority: None,
        dataverse_client_id: "00000000-0000-0000-0000-000000000000".into(),
        dataverse_secret: "{ env = \"D365_CLIENT_SECRET\" }".into(),
        campaign_url: "https://mc.adobe.io/acme".into(),
        ims_url: None,
        campaign_client_id: "the API key of the Adobe project".into(),
        campaign_secret: "{ env = \"CAMPAIGN_CLIENT_SECRET\" }".into(),
        org_id: "0123456789ABCDEF01234567@AdobeOrg".into(),
        poll_seconds: 30,
        journal_url: JOURNAL_EXAMPLE.into(),
        sftp: SftpStart::default(),
    })
}

/// A configuration for a running sandbox, asked at its control address.
///
/// # Errors
/// When nothing answers there, or the answer is not a sandbox's.
pub async fn from_sandbox(control_url: &str) -> Result<String, Error> {
    let info: SandboxInfo = crate::plain_http::get_json(control_url).await?;
    Ok(render(&Start {
        dataverse_url: info.dataverse.url,
        tenant: info.dataverse.tenant,
        authority: Some(info.dataverse.authority),
        dataverse_client_id: info.dataverse.client_id,
        dataverse_secret: plain(&info.dataverse.client_secret),
        campaign_url: info.campaign.url,
        ims_url: Some(info.campaign.ims_url),
        campaign_client_id: info.campaign.client_id,
        campaign_secret: plain(&info.campaign.client_secret),
        org_id: info.campaign.org_id,
        poll_seconds: 1,
        journal_url: info.journal.map_or_else(|| JOURNAL_EXAMPLE.to_owned(), |journal| journal.url),
        sftp: info.sftp.map(SftpInfo::start).unwrap_or_default(),
    }))
}

#[derive(Deserialize)]
struct SandboxInfo {
    dataverse: DataverseInfo,
    campaign: CampaignInfo,
    journal: Option<JournalInfo>,
    sftp: Option<SftpInfo>,
}

#[derive(Deserialize)]
struct JournalInfo {
    url: String,
}

#[derive(Deserialize)]
struct SftpInfo {
    host: String,
    port: u16,
    user: String,
    private_key_file: String,
    host_key: String,
}

impl SftpInfo {
    fn start(self) -> SftpStart {
        let Self { host, port, user, private_key_file, host_key } = self;
        SftpStart { host, port, user, private_key_file, host_key }
    }
}

#[derive(Deserialize)]
struct DataverseInfo {
    url: String,
    tenant: String,
    authority: String,
    client_id: String,
    client_secret: String,
}

#[derive(Deserialize)]
struct CampaignInfo {
    url: String,
    ims_url: String,
    client_id: String,
    client_secret: String,
    org_id: String,
}

/// A sandbox's secret opens nothing but the sandbox, so it may stand in the file.
fn plain(secret: &str) -> String {
    format!("{{ plain = {} }}", quoted(secret))
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

fn optional(key: &str, value: Option<&str>, default: &str) -> String {
    match value {
        Some(value) => format!("{key} = {}", quoted(value)),
        None => format!("# {key} = {}", quoted(default)),
    }
}

fn render(start: &Start) -> String {
    let Start { tenant, poll_seconds, org_id, sftp, .. } = start;
    format!(
        r##"# Configuration of d365-campaign. Unknown keys are errors; nothing is expanded inside strings; relative paths are
# relative to this file. Secrets are references: {{ env = "NAME" }} or {{ file = "path" }}.

[dataverse]
url = {dataverse_url}
tenant = {tenant}
client_id = {dataverse_client_id}
client_secret = {dataverse_secret}
{authority}
# page_size = 5000            # rows per page
poll_seconds = {poll_seconds}             # wait between two polls of a table without changes
# in_flight = 4

[campaign]
url = {campaign_url}
client_id = {campaign_client_id}
client_secret = {campaign_secret}
org_id = {org_id}
{ims_url}
# in_flight = 8
# requests_per_second = 20    # absent: no fixed rate
# settle_seconds = 120        # how long after it was sent a write may still take effect

[tls]
# ca_file = "corporate-ca.pem"

[store]
sqlite = "sync.db"            # progress, backlog and dead letters; keep it on a local disk
# encryption_key = {{ env = "STORE_KEY" }}    # 64 hexadecimal digits; absent: what records say is in clear

[sync]
# sweep = "weekly"            # all records are looked through for what no change told of; or "daily", "never"
# dead_letter_days = 30       # how long records that could not be written are kept
# delete_brake = {{ rows = 50, share = 0.005 }}    # more deletions than this after a full read are held back
# guardrails = "none"         # or "adobe": the documented service limits become refusals

[[table]]
table = "contact"
resource = "profile"
key = "externalId"            # holds the contact's id; must be a unique identification key in Campaign
apply_deletes = false         # true: a contact deleted in Dynamics 365 is deleted in Campaign
technical_values = false      # true: choices are sent as numbers instead of labels
fields = [
  {{ from = "firstname",     to = "firstName" }},
  {{ from = "lastname",      to = "lastName" }},
  {{ from = "emailaddress1", to = "email" }},
  {{ from = "telephone1",    to = "phone" }},
  {{ from = "birthdate",     to = "birthDate" }},
  {{ from = "gendercode",    to = "gender" }},
  {{ from = "address1_city", to = "location.city", apply_updates = false }},    # written on creation only
]
replacements = [
  {{ field = "gendercode", value = 1, with = "male" }},
  {{ field = "gendercode", value = 2, with = "female" }},
]

[table.filter]
operator = "and"
delete_filtered_out = false   # true: a contact that no longer matches is deleted in Campaign
rules = [ {{ field = "statecode", compare = "equals", value = 0 }} ]

# A section below is switched on by taking the "# " from the beginning of each of its lines.

# [events]                    # email events of Campaign become activities in Dynamics 365
# sends = true
# opens = true
# clicks = true
# bounces = true              # hard ones alone
# source = {{ journal = {{ url = {journal_url} }} }}
# wait_for_contact = "24h"    # how long an event waits for a contact that is not there yet
# poll_seconds = {event_poll}           # wait between two polls that found nothing

# [opt_out]                   # opt-outs of contacts and profiles
# direction = "bidirectional" # or "d365_to_campaign", "campaign_to_d365", "disabled"
# source = {{ filter = {{ name = "byLastModified", parameter = "lastModified_parameter" }} }}   # or the daily file, see the guide
# pairs = [ {{ d365 = "donotemail", campaign = "denyListEmail" }} ]

# [sftp]                      # the file exchange of the Campaign instance
# host = {sftp_host}
# port = {sftp_port}
# user = {sftp_user}
# private_key = {{ file = {sftp_key} }}
# host_key = {sftp_host_key}
# export_logs = false
"##,
        journal_url = quoted(&start.journal_url),
        event_poll = poll_seconds.min(&10),
        sftp_host = quoted(&sftp.host),
        sftp_port = sftp.port,
        sftp_user = quoted(&sftp.user),
        sftp_key = quoted(&sftp.private_key_file),
        sftp_host_key = quoted(&sftp.host_key),
        dataverse_url = quoted(&start.dataverse_url),
        tenant = quoted(tenant),
        dataverse_client_id = quoted(&start.dataverse_client_id),
        dataverse_secret = start.dataverse_secret,
        authority = optional("authority", start.authority.as_deref(), "https://login.microsoftonline.com"),
        campaign_url = quoted(&start.campaign_url),
        campaign_client_id = quoted(&start.campaign_client_id),
        campaign_secret = start.campaign_secret,
        org_id = quoted(org_id),
        ims_url = optional("ims_url", start.ims_url.as_deref(), "https://ims-na1.adobelogin.com"),
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on ends there")]

    use std::path::Path;

    use super::*;
    use crate::config::{Config, EventSource};

    /// The text with the comment marks taken from one section, as its first lines say.
    fn switched_on(text: &str, section: &str) -> String {
        let head = format!("# [{section}]");
        let start = text.find(&head).unwrap();
        let end = text[start..].find("\n\n").map_or(text.len(), |length| start + length);
        let lines: Vec<&str> = text[start..end].lines().map(|line| line.strip_prefix("# ").unwrap()).collect();
        format!("{}{}\n{}", &text[..start], lines.join("\n"), &text[end..])
    }

    #[tokio::test]
    async fn a_commented_section_is_switched_on_by_taking_the_marks_away() {
        let sandbox = sandbox::Sandbox::start(sandbox::SandboxConfig::default()).await.unwrap();
        let info = sandbox.info();
        let text = from_sandbox(&info.control).await.unwrap();
        let as_written = Config::parse(&text, Path::new(".")).unwrap();
        assert!(!as_written.events.is_on() && as_written.sftp.is_none() && as_written.opt_out.pairs.is_empty());
        let on = switched_on(&switched_on(&text, "events"), "sftp");
        let config = Config::parse(&on, Path::new(".")).unwrap_or_else(|error| panic!("{error}"));
        let events = &config.events;
        assert!(events.sends && events.opens && events.clicks && events.bounces);
        let Some(EventSource::Journal { url }) = &events.source else { panic!("{:?}", events.source) };
        assert_eq!(url.as_str(), info.journal.url);
        let sftp = config.sftp.unwrap();
        assert_eq!(
            (sftp.host, sftp.port, sftp.host_key),
            (info.sftp.host.clone(), info.sftp.port, info.sftp.host_key.clone())
        );
        let on = switched_on(&on, "opt_out");
        let config = Config::parse(&on, Path::new(".")).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(config.opt_out.pairs[0].campaign, "blackListEmail");
    }

    #[test]
    fn every_section_has_its_placeholders() {
        let text = switched_on(&switched_on(&commented(), "events"), "sftp");
        Config::parse(&text, Path::new(".")).unwrap_or_else(|error| panic!("{error}"));
    }
}
