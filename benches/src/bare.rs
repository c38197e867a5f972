//! What bare loops need before they can ask anything: tokens, and the pages of a table.

use std::error::Error;

use serde_json::Value;

/// The scopes that Campaign asks for.
const SCOPES: &str = "openid,AdobeID,campaign_sdk,read_organizations,additional_info.projectedProductContext";

/// A text of the sandbox's description.
#[must_use]
pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// A client that repeats nothing.
///
/// # Errors
/// When it cannot be built.
pub fn client() -> Result<reqwest::Client, Box<dyn Error>> {
    Ok(reqwest::Client::builder().retry(reqwest::retry::never()).tcp_nodelay(true).build()?)
}

/// A token for Dataverse.
///
/// # Errors
/// When there is none to be had.
pub async fn dataverse_token(http: &reqwest::Client, info: &Value) -> Result<String, Box<dyn Error>> {
    let d = &info["dataverse"];
    let url = format!("{}/{}/oauth2/v2.0/token", text(&d["authority"]), text(&d["tenant"]));
    token(http, &url, d, &format!("{}/.default", text(&d["url"]))).await
}

/// A token for Campaign and the journal.
///
/// # Errors
/// When there is none to be had.
pub async fn campaign_token(http: &reqwest::Client, info: &Value) -> Result<String, Box<dyn Error>> {
    let c = &info["campaign"];
    token(http, &format!("{}/ims/token/v3", text(&c["ims_url"])), c, SCOPES).await
}

async fn token(http: &reqwest::Client, url: &str, of: &Value, scope: &str) -> Result<String, Box<dyn Error>> {
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", &text(&of["client_id"])),
        ("client_secret", &text(&of["client_secret"])),
        ("scope", scope),
    ];
    let answer: Value = http.post(url).form(&form).send().await?.error_for_status()?.json().await?;
    Ok(answer["access_token"].as_str().ok_or("no token")?.to_owned())
}

/// Every page of a table, one after the other, from its first address on.
///
/// # Errors
/// When a page is refused.
pub async fn pages(
    http: &reqwest::Client,
    token: &str,
    first: &str,
    mut each: impl FnMut(&[u8]),
) -> Result<(), Box<dyn Error>> {
    let mut next = Some(first.to_owned());
    while let Some(url) = next.take() {
        let answer = http
            .get(&url)
            .bearer_auth(token)
            .header("prefer", "odata.track-changes,odata.maxpagesize=5000")
            .send()
            .await?
            .error_for_status()?;
        let page = answer.bytes().await?;
        each(&page);
        next = next_link(&page);
    }
    Ok(())
}

/// The continuation link, found without decoding the page.
fn next_link(page: &[u8]) -> Option<String> {
    const NAME: &[u8] = b"\"@odata.nextLink\":";
    let at = memchr::memmem::rfind(page, NAME)?;
    let mut stream = serde_json::Deserializer::from_slice(page.get(at + NAME.len()..)?).into_iter::<String>();
    stream.next()?.ok()
}

/// The rows of a page, counted without decoding it.
#[must_use]
pub fn count_rows(page: &[u8]) -> u64 {
    memchr::memmem::find_iter(page, b"\"@odata.etag\"").count() as u64
}
