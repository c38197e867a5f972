//! Email events become activities, each once, while the program is killed without warning and the services fail.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on ends there")]

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use sandbox::SandboxConfig;
use serde_json::{Value, json};
use support::{World, program, spawn, total};
use tokio::time::{Instant, sleep};

const EVENTS: u64 = 20_000;
const KILLS: u64 = 5;
/// Writes after which a life ends: together they are fewer than the requests that all events need.
const WRITES: [u64; KILLS as usize] = [9, 31, 3, 46, 17];

/// The default names: of the kind, its table, the column of its date.
const KINDS: [(&str, &str, &str); 4] = [
    ("send", "adobe_campaignemailsend", "adobe_datesent"),
    ("open", "adobe_campaignemailopen", "adobe_dateopened"),
    ("click", "adobe_campaignemailurlclick", "adobe_dateclicked"),
    ("bounce", "adobe_campaignemailbounce", "adobe_datebounced"),
];

const REST: &str = "[[table]]\ntable = \"contact\"\nresource = \"profile\"\nkey = \"externalId\"\n\
                    fields = [ { from = \"lastname\", to = \"lastName\" } ]\n\
                    [events]\nsends = true\nopens = true\nclicks = true\nbounces = true\n";

/// The columns that an activity shows, and the contact that it is regarding.
type Activity = [String; 8];

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// What an event has to look like on the timeline, by hand; nothing for those that have no place there.
fn wanted(event: &Value) -> Option<Activity> {
    let kind = text(&event["eventType"]);
    if kind == "bounce" && event["bounceType"] != "hard" {
        return None;
    }
    let (campaign, delivery) = (text(&event["campaignName"]), text(&event["deliveryName"]));
    let subject = format!("Campaign Name: {campaign}; Delivery Name: {delivery}");
    // Fractions of a second are not kept.
    let at = format!("{}Z", &text(&event["timestamp"])[..19]);
    let url = if kind == "click" { text(&event["url"]) } else { String::new() };
    Some([kind, text(&event["externalId"]), at, subject, campaign, delivery, url, text(&event["mirrorPageUrl"])])
}

fn counted(activities: impl Iterator<Item = Activity>) -> BTreeMap<Activity, usize> {
    let mut all = BTreeMap::new();
    activities.for_each(|activity| *all.entry(activity).or_default() += 1);
    all
}

async fn found(world: &World) -> BTreeMap<Activity, usize> {
    let mut all = Vec::new();
    for (kind, table, date) in KINDS {
        let columns = [
            "_regardingobjectid_value",
            date,
            "subject",
            "adobe_campaignname",
            "adobe_deliveryname",
            "adobe_trackingurl",
            "adobe_mirrorpageurl",
        ];
        for row in world.records("dataverse", table).await {
            let mut activity = Activity::default();
            kind.clone_into(&mut activity[0]);
            for (place, column) in activity[1..].iter_mut().zip(columns) {
                *place = text(&row[column]);
            }
            all.push(activity);
        }
    }
    counted(all.into_iter())
}

async fn writes(world: &World) -> u64 {
    let counters = world.counters().await;
    total(&counters, "dataverse", "POST") + total(&counters, "dataverse", "PATCH")
}

/// Lets the program write so often, then kills it; tells whether a write was under way.
async fn live_and_die(world: &World, config: &str, count: u64) -> bool {
    let first = writes(world).await;
    let started = Instant::now();
    let mut child = spawn(&["run", "--workflow", "egress", "--config", config]);
    while writes(world).await < first + count {
        assert!(started.elapsed() < Duration::from_secs(40), "{count} writes have not come");
        assert!(child.try_wait().unwrap().is_none(), "the program ended by itself");
        sleep(Duration::from_millis(2)).await;
    }
    let busy = world.counters().await["dataverse"]["in_flight"].as_u64() > Some(0);
    child.kill().await.unwrap();
    busy
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_thousand_events_are_told_once_across_five_kills_and_faults() {
    let world = World::with(SandboxConfig {
        contacts: 500,
        dataverse_latency: Duration::from_millis(15),
        ..SandboxConfig::default()
    })
    .await;
    let plan = json!({
        "send": 10_000, "open": 5_800, "click": 3_000, "bounce": 800, "soft_bounce": 300, "no_external_id": 96, "unknown_contact": 4,
        "duplicates": EVENTS, "shuffle": true, "seed": 11,
    });
    let made = world.post("/events", &plan).await;
    assert_eq!((&made["events"], &made["deliveries"]), (&json!(EVENTS), &json!(2 * EVENTS)));
    let journal = world.info()["journal"]["url"].clone();
    let text = format!("{}{REST}source = {{ journal = {{ url = {journal} }} }}\n", world.head());
    let config = world.write("events.toml", &text);
    let path = config.display().to_string();
    // Each rule fires once in each life or so: its request comes again and again.
    let rule = |side: &str, method: &str, fault: Value, nth: u64| {
        let mut rule = json!({"side": side, "method": method, "nth": nth, "times": 2});
        rule.as_object_mut().unwrap().extend(fault.as_object().unwrap().clone());
        rule
    };
    world
        .faults(json!([
            rule("dataverse", "POST", json!({"fault": "reset_before"}), 3),
            rule("dataverse", "POST", json!({"fault": "reset_after_commit"}), 12),
            rule("dataverse", "POST", json!({"fault": "truncate"}), 25),
            rule("dataverse", "POST", json!({"fault": "status", "status": 500}), 33),
            rule("dataverse", "POST", json!({"fault": "status", "status": 503}), 41),
            rule("dataverse", "POST", json!({"fault": "html"}), 50),
            rule("dataverse", "POST", json!({"fault": "late_execution", "delay_ms": 200}), 58),
            rule("dataverse", "POST", json!({"fault": "duplicate"}), 66),
            rule("dataverse", "POST", json!({"fault": "throttle", "headers": {"Retry-After": "1"}}), 75),
            rule("journal", "GET", json!({"fault": "reset_before"}), 4),
            rule("journal", "GET", json!({"fault": "truncate"}), 9),
            rule("journal", "GET", json!({"fault": "status", "status": 503}), 15),
            rule("journal", "GET", json!({"fault": "duplicate"}), 20),
        ]))
        .await;
    let mut in_flight = 0;
    for count in WRITES {
        in_flight += u64::from(live_and_die(&world, &path, count).await);
    }
    assert!(in_flight >= 3, "only {in_flight} kills hit while a write was in flight");
    let ended = program(&["run", "--until-idle", "--workflow", "egress", "--config", &path]).await;
    assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
    let fired = world.fired().await;
    let all_fired = fired.as_array().unwrap().iter().all(|fault| fault["fired"].as_u64() > Some(0));
    assert!(all_fired, "a fault that never fired proves nothing: {fired}");

    let contacts = world.records("dataverse", "contact").await;
    let known: Vec<&str> = contacts.iter().filter_map(|contact| contact["contactid"].as_str()).collect();
    let events = world.events().await;
    let placed = events.iter().filter(|event| event["externalId"].as_str().is_some_and(|id| known.contains(&id)));
    let wanted = counted(placed.filter_map(wanted));
    assert_eq!(wanted.values().sum::<usize>(), 19_600);
    let found = found(&world).await;
    let different = wanted.keys().chain(found.keys()).find(|one| wanted.get(*one) != found.get(*one));
    assert!(
        different.is_none(),
        "{different:?} has to be there {:?} times and is {:?}",
        different.and_then(|one| wanted.get(one)),
        different.and_then(|one| found.get(one)),
    );
}
