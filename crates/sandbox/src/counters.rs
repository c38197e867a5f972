//! What the services were asked, counted.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use crate::service::Side;

/// Route templates that are told apart on each side; what comes later is counted together.
const MOST_TEMPLATES: usize = 1000;

#[derive(Debug, Default)]
struct Tally {
    requests: BTreeMap<String, u64>,
    setup_requests: BTreeMap<String, u64>,
    batch_parts: BTreeMap<String, u64>,
    status: BTreeMap<u16, u64>,
    setup_status: BTreeMap<u16, u64>,
    rows: u64,
    in_flight: u64,
    in_flight_max: u64,
    throttled: u64,
    unanswered: u64,
}

impl Tally {
    fn of(&mut self, setup: bool) -> &mut BTreeMap<String, u64> {
        if setup { &mut self.setup_requests } else { &mut self.requests }
    }

    /// Record requests by method: one record request is one engine call, whatever its answer (experienceleague.adobe.com,
    /// "Notices and recommendations"). Taken from the requests themselves, so that the two can never differ.
    fn engine_calls(&self) -> Value {
        let sum = |methods: &[&str]| -> u64 {
            let of = |template: &String| methods.contains(&template.split(' ').next().unwrap_or_default());
            self.requests.iter().filter(|(template, _)| of(template)).map(|(_, count)| count).sum()
        };
        json!({
            "insert": sum(&["POST"]),
            "update": sum(&["PATCH"]),
            "delete": sum(&["DELETE"]),
            "read": sum(&["GET", "HEAD"]),
        })
    }
}

/// Where a template is counted: by itself while there is room, and else with the others of its method.
fn place(map: &BTreeMap<String, u64>, template: &str) -> String {
    if map.contains_key(template) || map.len() < MOST_TEMPLATES {
        return template.to_owned();
    }
    format!("{} /{{other}}", template.split(' ').next().unwrap_or_default())
}

/// The counters of the services.
#[derive(Debug, Default)]
pub struct Counters {
    dataverse: Mutex<Tally>,
    campaign: Mutex<Tally>,
    journal: Mutex<Tally>,
}

impl Counters {
    fn of(&self, side: Side) -> MutexGuard<'_, Tally> {
        let tally = match side {
            Side::Dataverse => &self.dataverse,
            Side::Campaign => &self.campaign,
            Side::Journal => &self.journal,
        };
        tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request came in; `template` is its method and route template, `GET /contacts` for instance. Gives the name under which
    /// it is counted, for [`Counters::withdraw`].
    pub fn request(&self, side: Side, template: &str, setup: bool) -> String {
        let mut tally = self.of(side);
        let map = tally.of(setup);
        let place = place(map, template);
        *map.entry(place.clone()).or_insert(0) += 1;
        place
    }

    /// A batch held a request. It is no request of its own on the wire and counts under `batch_parts` alone.
    pub fn batch_part(&self, side: Side, template: &str) {
        let mut tally = self.of(side);
        let place = place(&tally.batch_parts, template);
        *tally.batch_parts.entry(place).or_insert(0) += 1;
    }

    /// Takes back one request that [`Counters::request`] counted under that name: the handler knew a better one.
    pub fn withdraw(&self, side: Side, counted: &str, setup: bool) {
        let mut tally = self.of(side);
        let map = tally.of(setup);
        if let Some(count) = map.get_mut(counted) {
            *count -= 1;
            if *count == 0 {
                map.remove(counted);
            }
        }
    }

    /// An answer went out.
    pub fn answer(&self, side: Side, status: u16, setup: bool) {
        let mut tally = self.of(side);
        if status == 429 {
            tally.throttled += 1;
        }
        let map = if setup { &mut tally.setup_status } else { &mut tally.status };
        *map.entry(status).or_insert(0) += 1;
    }

    /// Rows were handed out.
    pub fn rows(&self, side: Side, rows: u64) {
        self.of(side).rows += rows;
    }

    /// A connection was cut in place of an answer.
    pub fn unanswered(&self, side: Side) {
        self.of(side).unanswered += 1;
    }

    /// A record request is being worked on. The count goes down when the caller says so with [`Counters::leave`].
    pub fn enter(&self, side: Side) {
        let mut tally = self.of(side);
        tally.in_flight += 1;
        tally.in_flight_max = tally.in_flight_max.max(tally.in_flight);
    }

    /// A record request is done with, or its client went away.
    pub fn leave(&self, side: Side) {
        let mut tally = self.of(side);
        tally.in_flight = tally.in_flight.saturating_sub(1);
    }

    /// Record requests being worked on now.
    pub fn in_flight(&self, side: Side) -> u64 {
        self.of(side).in_flight
    }

    /// Everything back to zero; requests being worked on stay counted as such.
    pub fn reset(&self) {
        for side in [Side::Dataverse, Side::Campaign, Side::Journal] {
            let mut tally = self.of(side);
            let in_flight = tally.in_flight;
            *tally = Tally { in_flight, in_flight_max: in_flight, ..Tally::default() };
        }
    }

    /// The counters as the control interface shows them.
    pub fn snapshot(&self) -> Value {
        let show = |side| {
            let tally = self.of(side);
            json!({
                "requests": tally.requests,
                "setup_requests": tally.setup_requests,
                "status": tally.status,
                "setup_status": tally.setup_status,
                "rows": tally.rows,
                "in_flight": tally.in_flight,
                "in_flight_max": tally.in_flight_max,
                "throttled": tally.throttled,
                "unanswered": tally.unanswered,
            })
        };
        let mut dataverse = show(Side::Dataverse);
        dataverse["batch_parts"] = json!(self.of(Side::Dataverse).batch_parts);
        let mut campaign = show(Side::Campaign);
        campaign["engine_calls"] = self.of(Side::Campaign).engine_calls();
        json!({"dataverse": dataverse, "campaign": campaign, "journal": show(Side::Journal)})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_is_counted_however_many_routes_there_are() {
        let counters = Counters::default();
        let names: Vec<String> =
            (0..1500).map(|n| counters.request(Side::Campaign, &format!("GET /junk{n}"), false)).collect();
        counters.request(Side::Campaign, "PATCH /a", false);
        let total = || -> u64 {
            let counts = counters.snapshot()["campaign"]["requests"].clone();
            counts.as_object().into_iter().flatten().filter_map(|(_, count)| count.as_u64()).sum()
        };
        assert_eq!(total(), 1501);
        assert_eq!(counters.snapshot()["campaign"]["requests"]["GET /{other}"], 500);
        let engine = json!({"insert": 0, "update": 1, "delete": 0, "read": 1500});
        assert_eq!(counters.snapshot()["campaign"]["engine_calls"], engine);
        names.iter().for_each(|name| counters.withdraw(Side::Campaign, name, false));
        assert_eq!(total(), 1);
    }
}
