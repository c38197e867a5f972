//! What the services were asked, counted.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use crate::service::Side;

/// What one Campaign record request costs (experienceleague.adobe.com, "Engine calls"): one call, whatever the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EngineCall {
    /// POST.
    Insert,
    /// PATCH.
    Update,
    /// DELETE.
    Delete,
    /// GET.
    Read,
}

#[derive(Debug, Default)]
struct Tally {
    requests: BTreeMap<String, u64>,
    setup_requests: BTreeMap<String, u64>,
    status: BTreeMap<u16, u64>,
    setup_status: BTreeMap<u16, u64>,
    rows: u64,
    in_flight: u64,
    in_flight_max: u64,
    throttled: u64,
    engine: [u64; 4],
}

/// The counters of both services.
#[derive(Debug, Default)]
pub struct Counters {
    dataverse: Mutex<Tally>,
    campaign: Mutex<Tally>,
}

impl Counters {
    fn of(&self, side: Side) -> MutexGuard<'_, Tally> {
        let tally = match side {
            Side::Dataverse => &self.dataverse,
            Side::Campaign => &self.campaign,
        };
        tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A record request came in; `template` is its method and route template, `GET /contacts` for instance.
    pub fn request(&self, side: Side, template: &str, setup: bool) {
        let mut tally = self.of(side);
        let map = if setup { &mut tally.setup_requests } else { &mut tally.requests };
        if let Some(count) = map.get_mut(template) {
            *count += 1;
        } else if map.len() < 1000 {
            map.insert(template.to_owned(), 1);
        }
    }

    /// Takes back one request counted under `template`: the handler knew a better name for it.
    pub fn withdraw(&self, side: Side, template: &str, setup: bool) {
        let mut tally = self.of(side);
        let map = if setup { &mut tally.setup_requests } else { &mut tally.requests };
        if let Some(count) = map.get_mut(template) {
            *count -= 1;
            if *count == 0 {
                map.remove(template);
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

    /// One Campaign record request reached the engine.
    pub fn engine_call(&self, call: EngineCall) {
        let at = match call {
            EngineCall::Insert => 0,
            EngineCall::Update => 1,
            EngineCall::Delete => 2,
            EngineCall::Read => 3,
        };
        self.of(Side::Campaign).engine[at] += 1;
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
        for side in [Side::Dataverse, Side::Campaign] {
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
            })
        };
        let dataverse = show(Side::Dataverse);
        let mut campaign = show(Side::Campaign);
        let [insert, update, delete, read] = self.of(Side::Campaign).engine;
        campaign["engine_calls"] = json!({"insert": insert, "update": update, "delete": delete, "read": read});
        json!({"dataverse": dataverse, "campaign": campaign})
    }
}
