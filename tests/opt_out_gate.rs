//! The gate of consent: a state that was read long ago is good as long as all changes since are followed.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends there")]

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use d365_campaign::consent::{Channel, may_contact};
use d365_campaign::{Config, Connector, RunMode};
use end_to_end_tests::Stage;
use serde_json::{Value, json};
use timing::{Clock, SystemClock};

/// The machine's clock with a calendar that is two days behind.
#[derive(Debug)]
struct Behind(SystemClock);

#[async_trait::async_trait]
impl Clock for Behind {
    fn now(&self) -> DateTime<Utc> {
        self.0.now() - TimeDelta::days(2)
    }

    fn monotonic(&self) -> Duration {
        self.0.monotonic()
    }

    async fn sleep(&self, duration: Duration) {
        self.0.sleep(duration).await;
    }
}

fn config(stage: &Stage) -> Config {
    let section = "[[table]]\ntable = \"contact\"\nresource = \"profile\"\nkey = \"externalId\"\n\
                   fields = [ { from = \"lastname\", to = \"lastName\" } ]\n[opt_out]\ndirection = \"bidirectional\"\n\
                   source = { filter = { name = \"byLastModified\", parameter = \"lastModified_parameter\" } }\n\
                   pairs = [ { d365 = \"donotemail\", campaign = \"denyListEmail\" } ]\n";
    stage.config_with("", "settle_seconds = 0", "", section)
}

/// Contacts that were looked at two days ago, by their ids.
async fn looked_at_long_ago() -> (Stage, Config, Vec<String>) {
    let stage = Stage::new(0, "").await;
    let config = config(&stage);
    let ids: Vec<String> = (1..4).map(|at| format!("8c1f0c52-0000-4000-8000-00000000000{at}")).collect();
    for id in &ids {
        stage.put(&format!("/records/dataverse/contact/{id}"), &json!({"lastname": "King", "donotemail": false})).await;
    }
    for _ in 0..2 {
        let connector = Connector::builder(config.clone()).clock(Arc::new(Behind(SystemClock::new()))).connect().await;
        connector.unwrap().start(RunMode::UntilIdle).join().await;
    }
    (stage, config, ids)
}

fn answer(config: &Config, id: &str) -> String {
    may_contact(config, id, Channel::Email).unwrap().to_string()
}

const OPEN: &str = "open: neither side says that the person opted out";

/// Runs under faults until so many have fired, and stops.
async fn run_under(stage: &Stage, config: &Config, rule: Value, fired: u64) {
    let connector = Connector::builder(config.clone()).connect().await.unwrap();
    stage.post("/faults", &json!([rule])).await;
    let running = connector.start(RunMode::Continuous);
    while stage.faults_fired().await < fired {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    running.stopper().stop();
    running.join().await;
    stage.clear_faults().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_of_two_days_ago_is_good_while_both_sides_are_followed() {
    let (stage, config, ids) = looked_at_long_ago().await;
    for id in &ids {
        assert!(answer(&config, id).ends_with("too long ago"), "{}", answer(&config, id));
    }
    stage.run_config(config.clone()).await;
    for id in &ids {
        assert_eq!(answer(&config, id), OPEN, "nobody looked at the contact, for nothing changed");
    }
    stage.patch(&format!("/records/campaign/profile/{}", ids[0]), &json!({"blackListEmail": true})).await;
    stage.run_config(config.clone()).await;
    assert!(answer(&config, &ids[0]).contains("opted out"), "{}", answer(&config, &ids[0]));
    assert_eq!(answer(&config, &ids[1]), OPEN);
    assert!(d365_campaign::consent::verify(&config).await.unwrap().is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_feed_that_is_stuck_keeps_the_gate_closed() {
    let (stage, config, ids) = looked_at_long_ago().await;
    let stuck =
        json!({"side": "campaign", "method": "GET", "route": "byLastModified", "fault": "status", "times": 1000});
    run_under(&stage, &config, stuck, 2).await;
    assert_eq!(answer(&config, &ids[0]), "closed: blackList was read from Campaign too long ago");
    stage.run_config(config.clone()).await;
    assert_eq!(answer(&config, &ids[0]), OPEN);
}

/// The feed goes on, and what it told of somebody else is not looked at.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_look_that_is_left_undone_keeps_the_gate_closed() {
    let (stage, config, ids) = looked_at_long_ago().await;
    stage.patch(&format!("/records/dataverse/contact/{}", ids[1]), &json!({"donotemail": true})).await;
    let unread = json!({"side": "dataverse", "method": "GET", "route": "contacts(", "fault": "status", "times": 1000});
    run_under(&stage, &config, unread, 1).await;
    assert!(answer(&config, &ids[0]).ends_with("too long ago"), "{}", answer(&config, &ids[0]));
    stage.run_config(config.clone()).await;
    assert_eq!(answer(&config, &ids[0]), OPEN);
    assert!(answer(&config, &ids[1]).contains("opted out"));
}
