//! One GET without credentials, for a sandbox's description of itself.

use http_kit::{Client, Origin, Request};
use serde::de::DeserializeOwned;

use crate::error::{Error, ErrorKind, Problem};

/// Gets a JSON document.
///
/// # Errors
/// When nothing answers, or the answer is not the document that is expected.
pub(crate) async fn get_json<T: DeserializeOwned>(url: &str) -> Result<T, Error> {
    let refused = |kind: ErrorKind, message: String| {
        Error::one(kind, Problem::new(url, message, "Give the control address that the sandbox printed."))
    };
    let origin = Origin::parse(url).map_err(|error| refused(ErrorKind::Configuration, error.to_string()))?;
    let target = origin.base().clone();
    let client =
        Client::builder(origin).build().map_err(|error| refused(ErrorKind::Configuration, error.to_string()))?;
    let response = client
        .send(Request::get(target, "GET sandbox"))
        .await
        .map_err(|error| refused(ErrorKind::Unavailable, error.to_string()))?;
    serde_json::from_slice(&response.body)
        .map_err(|_| refused(ErrorKind::Refused, "What answers there is not a sandbox's control address.".to_owned()))
}
