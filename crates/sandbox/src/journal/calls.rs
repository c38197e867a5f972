//! The calls of the control interface that have to do with events.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::Response;
use http::{HeaderValue, StatusCode, header};
use serde::Deserialize;
use serde_json::json;

use super::maker::MailPlan;
use super::switches::LinkForm;
use crate::control::{Control, Given, answer, read, refusal};

/// Lines of this many events are made under one lock.
const LINES_AT_ONCE: usize = 1000;

/// `POST /events`.
pub(crate) async fn make(State(control): State<Arc<Control>>, given: Given) -> Response {
    let plan: MailPlan = match read(given) {
        Ok(plan) => plan,
        Err(unreadable) => return unreadable.answer(),
    };
    // A million events take a while: not on a thread that serves connections.
    let work = tokio::task::spawn_blocking(move || {
        let contacts = control.dataverse.ids_with("contact", "emailaddress1")?;
        control.journal.make(&plan, &contacts)
    });
    match work.await {
        Ok(Ok((made, deliveries))) => {
            let body = json!({"events": made.events, "deliveries": deliveries, "unknown_contacts": made.unknown});
            answer(StatusCode::OK, &body)
        }
        Ok(Err(problem)) => refusal(StatusCode::BAD_REQUEST, &problem),
        Err(_) => refusal(StatusCode::INTERNAL_SERVER_ERROR, "the events could not be made"),
    }
}

/// `GET /events`.
pub(crate) async fn list(State(control): State<Arc<Control>>) -> Response {
    let end = control.journal.log().len();
    let blocks = (0..end).step_by(LINES_AT_ONCE).map(move |from| {
        let mut block = Vec::new();
        for event in control.journal.log().records(from..end.min(from + LINES_AT_ONCE)) {
            let mut line = event.payload();
            line["id"] = event.id.as_str().into();
            line["deliveries"] = event.copies.into();
            block.extend_from_slice(line.to_string().as_bytes());
            block.push(b'\n');
        }
        Ok::<_, std::convert::Infallible>(Bytes::from(block))
    });
    let mut response = Response::new(Body::from_stream(futures::stream::iter(blocks)));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    response
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Configuration {
    #[serde(default)]
    links: Option<LinkForm>,
    #[serde(default)]
    expire: usize,
}

/// `POST /journal`.
pub(crate) async fn configure(State(control): State<Arc<Control>>, given: Given) -> Response {
    let wanted: Configuration = match read(given) {
        Ok(wanted) => wanted,
        Err(unreadable) => return unreadable.answer(),
    };
    if let Some(form) = wanted.links {
        control.journal.set_links(form);
    }
    answer(StatusCode::OK, &json!({"expired": control.journal.expire(wanted.expire)}))
}
