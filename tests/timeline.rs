//! What the timelines have to show for the events that a sandbox made: an oracle of its own, which shares nothing with the connector.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::Value;

use crate::Stage;

/// The default names: of the kind, its table, the column of its date.
const KINDS: [(&str, &str, &str); 4] = [
    ("send", "adobe_campaignemailsend", "adobe_datesent"),
    ("open", "adobe_campaignemailopen", "adobe_dateopened"),
    ("click", "adobe_campaignemailurlclick", "adobe_dateclicked"),
    ("bounce", "adobe_campaignemailbounce", "adobe_datebounced"),
];

/// An activity as a line of text, for comparison and for people.
fn line(kind: &str, contact: &str, at: &str, texts: [&str; 4]) -> String {
    let [subject, campaign, delivery, pages] = texts;
    format!("{kind} {contact} {at} | {subject} | {campaign} | {delivery} | {pages}")
}

/// What has to be there, and how often.
pub async fn expected(stage: &Stage, contacts: &[Value]) -> BTreeMap<String, usize> {
    let known: std::collections::BTreeSet<&str> =
        contacts.iter().filter_map(|contact| contact["contactid"].as_str()).collect();
    let mut all = BTreeMap::new();
    let each = |event: Value| {
        let text = |name: &str| event[name].as_str().unwrap_or_default();
        let (kind, contact) = (text("eventType"), text("externalId"));
        if !known.contains(contact) || (kind == "bounce" && text("bounceType") != "hard") {
            return;
        }
        let at: DateTime<Utc> = text("timestamp").parse().unwrap();
        let subject = format!("Campaign Name: {}; Delivery Name: {}", text("campaignName"), text("deliveryName"));
        let url = if kind == "click" { text("url") } else { "" };
        let pages = format!("{} {url}", text("mirrorPageUrl"));
        let texts = [subject.as_str(), text("campaignName"), text("deliveryName"), &pages];
        let at = at.to_rfc3339_opts(SecondsFormat::Secs, true);
        *all.entry(line(kind, contact, &at, texts)).or_default() += 1;
    };
    stage.each_line("/events", each).await;
    all
}

/// What is there, and how often.
pub async fn found(stage: &Stage) -> BTreeMap<String, usize> {
    let mut all = BTreeMap::new();
    for (kind, table, date) in KINDS {
        let each = |row: Value| {
            let text = |name: &str| row[name].as_str().unwrap_or_default();
            let pages = format!("{} {}", text("adobe_mirrorpageurl"), text("adobe_trackingurl"));
            let texts = [text("subject"), text("adobe_campaignname"), text("adobe_deliveryname"), &pages];
            *all.entry(line(kind, text("_regardingobjectid_value"), text(date), texts)).or_default() += 1;
        };
        stage.each_line(&format!("/records/dataverse/{table}"), each).await;
    }
    all
}

/// The first differences, for the message of a failure.
pub fn differences(expected: &BTreeMap<String, usize>, found: &BTreeMap<String, usize>) -> Vec<String> {
    let lines = expected.keys().chain(found.keys());
    let mut all: Vec<String> = lines
        .filter(|line| expected.get(*line) != found.get(*line))
        .map(|line| format!("expected {:?}, found {:?}: {line}", expected.get(line), found.get(line)))
        .collect();
    all.dedup();
    all
}
