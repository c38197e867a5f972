//! What the timelines of Dynamics 365 must show for the email events that the sandbox made: an opinion of its own.

use std::collections::BTreeMap;

use serde_json::json;

use crate::control::{Control, Outcome};

/// The name of the kind, its table, and the columns of its date and of the page it leads to.
const KINDS: [(&str, &str, &str); 4] = [
    ("send", "adobe_campaignemailsend", "adobe_datesent"),
    ("open", "adobe_campaignemailopen", "adobe_dateopened"),
    ("click", "adobe_campaignemailurlclick", "adobe_dateclicked"),
    ("bounce", "adobe_campaignemailbounce", "adobe_datebounced"),
];

/// Activities by what they say, and how often each is there.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Timelines(BTreeMap<String, usize>);

impl Timelines {
    /// Lets the sandbox make events of the contacts that it has: some delivered twice, in any order.
    pub(crate) async fn make(control: &Control, contacts: u64) -> Outcome<()> {
        let body = json!({
            "send": contacts, "open": contacts / 2, "click": contacts / 5, "bounce": contacts / 20,
            "soft_bounce": contacts / 20, "duplicates": contacts / 4, "shuffle": true, "seed": 11,
        });
        control.post("/events", &body).await
    }

    /// One activity for each event that was made, but for bounces that may still be delivered.
    pub(crate) async fn expected(control: &Control) -> Outcome<Self> {
        let mut all = Self::default();
        for event in control.lines("/events").await? {
            let text = |name: &str| event[name].as_str().unwrap_or_default();
            let kind = text("eventType");
            if kind == "bounce" && text("bounceType") != "hard" {
                continue;
            }
            // The service writes whole seconds.
            let at = text("timestamp").get(..19).unwrap_or_default();
            let subject = format!("Campaign Name: {}; Delivery Name: {}", text("campaignName"), text("deliveryName"));
            let url = if kind == "click" { text("url") } else { "" };
            all.add([
                kind,
                text("externalId"),
                at,
                &subject,
                text("campaignName"),
                text("deliveryName"),
                text("mirrorPageUrl"),
                url,
            ]);
        }
        Ok(all)
    }

    /// What is there.
    pub(crate) async fn found(control: &Control) -> Outcome<Self> {
        let mut all = Self::default();
        for (kind, table, date) in KINDS {
            for row in control.records("dataverse", table).await? {
                let text = |name: &str| row[name].as_str().unwrap_or_default();
                all.add([
                    kind,
                    text("_regardingobjectid_value"),
                    text(date).get(..19).unwrap_or_default(),
                    text("subject"),
                    text("adobe_campaignname"),
                    text("adobe_deliveryname"),
                    text("adobe_mirrorpageurl"),
                    text("adobe_trackingurl"),
                ]);
            }
        }
        Ok(all)
    }

    fn add(&mut self, says: [&str; 8]) {
        *self.0.entry(says.join(" | ")).or_default() += 1;
    }

    /// How many activities there must be.
    pub(crate) fn len(&self) -> usize {
        self.0.values().sum()
    }

    /// Every activity that is there too often or not often enough.
    pub(crate) fn differences(&self, found: &Self) -> Vec<String> {
        let all: std::collections::BTreeSet<&String> = self.0.keys().chain(found.0.keys()).collect();
        let count = |of: &Self, says: &String| of.0.get(says).copied().unwrap_or(0);
        let differs = |says: &&String| count(self, says) != count(found, says);
        let told = |says: &String| format!("{} times instead of {}: {says}", count(found, says), count(self, says));
        all.into_iter().filter(differs).map(told).collect()
    }
}
