//! A batch as it goes over the wire. Pure.

use bytes::Bytes;

use super::{Batch, BatchRequest, Item};
use crate::config::API_VERSION;

/// A batch ready to be sent. `Debug` is not implemented: it holds rows.
#[derive(Clone, PartialEq, Eq)]
pub struct EncodedBatch {
    /// `multipart/mixed` with the boundary.
    pub content_type: String,
    /// The body.
    pub body: Bytes,
}

/// Writes a batch: lines end with CR and LF, addresses are rooted, each request has the headers it needs by itself.
#[must_use]
pub fn encode_batch(batch: &Batch) -> EncodedBatch {
    let number = free_number(batch);
    let boundary = format!("batch_{number:x}");
    let mut out = Vec::new();
    for (at, item) in batch.items.iter().enumerate() {
        line(&mut out, &format!("--{boundary}"));
        match item {
            Item::Single(request) => part(&mut out, request, None),
            Item::Set(set) => {
                let inner = format!("changeset_{number:x}_{at:04}");
                line(&mut out, &format!("Content-Type: multipart/mixed; boundary=\"{inner}\""));
                line(&mut out, "");
                for (request, id) in set.requests.iter().zip(1..) {
                    line(&mut out, &format!("--{inner}"));
                    part(&mut out, request, Some(id));
                }
                line(&mut out, &format!("--{inner}--"));
            }
        }
    }
    line(&mut out, &format!("--{boundary}--"));
    EncodedBatch { content_type: format!("multipart/mixed; boundary=\"{boundary}\""), body: out.into() }
}

/// A number whose boundaries no body contains. Nothing in a body could pass for a delimiter anyway, since JSON texts have
/// no line ends inside; but readers differ in what they take for one.
fn free_number(batch: &Batch) -> u64 {
    let is_in = |request: &BatchRequest, text: &str| {
        let finder = memchr::memmem::Finder::new(text);
        finder.find(request.target.as_bytes()).is_some()
            || request.body.as_ref().is_some_and(|body| finder.find(body).is_some())
    };
    let mut number = 0_u64;
    loop {
        let texts = [format!("batch_{number:x}"), format!("changeset_{number:x}_")];
        let taken = batch.items.iter().any(|item| match item {
            Item::Single(request) => texts.iter().any(|text| is_in(request, text)),
            Item::Set(set) => set.requests.iter().any(|request| texts.iter().any(|text| is_in(request, text))),
        });
        if !taken {
            return number;
        }
        number += 1;
    }
}

fn part(out: &mut Vec<u8>, request: &BatchRequest, id: Option<u32>) {
    line(out, "Content-Type: application/http");
    line(out, "Content-Transfer-Encoding: binary");
    if let Some(id) = id {
        line(out, &format!("Content-ID: {id}"));
    }
    line(out, "");
    // A reference stands in the place of the whole address.
    let root = if request.refers_to.is_some() { String::new() } else { format!("/api/data/{API_VERSION}/") };
    line(out, &format!("{} {root}{} HTTP/1.1", request.method, request.target));
    line(out, "Accept: application/json");
    line(out, "OData-MaxVersion: 4.0");
    line(out, "OData-Version: 4.0");
    for (name, value) in &request.headers {
        line(out, &format!("{name}: {value}"));
    }
    if request.body.is_some() {
        line(
            out,
            if id.is_some() { "Content-Type: application/json; type=entry" } else { "Content-Type: application/json" },
        );
    }
    line(out, "");
    if let Some(body) = &request.body {
        out.extend_from_slice(body);
    }
    line(out, "");
}

fn line(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
    out.extend_from_slice(b"\r\n");
}
