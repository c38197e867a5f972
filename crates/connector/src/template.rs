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
}

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
    }))
}

#[derive(Deserialize)]
struct SandboxInfo {
    dataverse: DataverseInfo,
    campaign: CampaignInfo,
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
    let Start { tenant, poll_seconds, org_id, .. } = start;
    format!(
        r#"# Configuration of d365-campaign. Unknown keys are errors; nothing is expanded inside strings; relative paths are
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
"#,
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
