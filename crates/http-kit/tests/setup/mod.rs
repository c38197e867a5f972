//! A client over a scripted transport and a manual clock.
#![expect(clippy::unwrap_used, reason = "a test without its set-up has failed")]

use std::sync::Arc;

use http_kit::testing::ScriptedTransport;
use http_kit::{Client, ClientBuilder, Lane, Origin, Request, Url};
use timing::{FixedEntropy, ManualClock};

pub(crate) const BASE: &str = "https://org.example.com/api";

pub(crate) fn url(path: &str) -> Url {
    Origin::parse(BASE).unwrap().join(path).unwrap()
}

pub(crate) fn builder(transport: &ScriptedTransport, clock: &ManualClock, in_flight: usize) -> ClientBuilder {
    Client::builder(Origin::parse(BASE).unwrap())
        .transport(Arc::new(transport.clone()))
        .clock(clock.shared())
        .entropy(FixedEntropy::shared(0.5))
        .lane(Lane::new("test", in_flight, clock.shared()))
}

pub(crate) fn get(path: &str) -> Request {
    Request::get(url(path), "GET /things({key})")
}

pub(crate) fn post(path: &str) -> Request {
    Request::post(url(path), "POST /things").json("{}")
}
