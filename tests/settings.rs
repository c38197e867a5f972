//! Every setting of the file has its effect, seen from outside.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends there")]

use std::time::Duration;

use d365_campaign::{Connector, ErrorKind, RunMode, WorkflowState};
use end_to_end_tests::Stage;
use sandbox::SandboxConfig;
use sandbox::scenario::Scenario;
use serde_json::json;

const CONTACTS: &str = r#"
[[table]]
table = "contact"
resource = "profile"
key = "externalId"
apply_deletes = true
fields = [ { from = "firstname", to = "firstName" } ]
"#;

const MORE_TABLES: &str = r#"
[[table]]
table = "account"
resource = "cusAccount"
key = "cusAccountId"
fields = [ { from = "name", to = "cusName" } ]

[[table]]
table = "new_vehicle"
resource = "cusVehicle"
key = "cusVehicleId"
fields = [ { from = "new_name", to = "cusName" } ]
"#;

const ACCOUNTS: &str = r#"
[[campaign.resources]]
name = "cusAccount"
unique_keys = [["cusAccountId"]]
fields = [ { name = "cusAccountId", length = 100 }, { name = "cusName" } ]
filters = [ { name = "byAccountId", field = "cusAccountId" } ]
"#;

async fn slow(contacts: u64, scenario: &str) -> Stage {
    // Within its quota, the client starts 20 requests a second to Dataverse: slower ones are on their way together.
    let scenario = Scenario::parse(scenario).unwrap();
    let config = SandboxConfig {
        contacts,
        scenario,
        dataverse_latency: Duration::from_millis(150),
        campaign_latency: Duration::from_millis(20),
        ..SandboxConfig::default()
    };
    Stage::with(config).await
}

#[tokio::test]
async fn in_flight_bounds_the_requests_at_the_same_time() {
    for (setting, most) in [("in_flight = 3", 3), ("in_flight = 1", 1), ("", 8)] {
        let stage = slow(60, "").await;
        let summary = stage.run_config(stage.config_with("", setting, "", CONTACTS)).await;
        assert_eq!(summary.total().inserted, 60);
        assert_eq!(stage.counters().await["campaign"]["in_flight_max"], most, "{setting:?}");
    }
    for (setting, most) in [("in_flight = 1", 1), ("in_flight = 2", 2)] {
        let stage = slow(60, ACCOUNTS).await;
        let tables = format!("{CONTACTS}{MORE_TABLES}");
        let summary = stage.run_config(stage.config_with(setting, "", "", &tables)).await;
        assert_eq!(summary.workflows[0].status.reason, None);
        assert_eq!(stage.counters().await["dataverse"]["in_flight_max"], most, "{setting:?}");
    }
}

#[tokio::test]
async fn requests_per_second_bounds_the_pace() {
    let stage = Stage::new(40, "").await;
    let paced = stage.run_config(stage.config_with("", "requests_per_second = 25", "", CONTACTS)).await;
    assert_eq!(paced.total().inserted, 40);
    // A burst at the start may be free; the rest of the 40 calls takes its time.
    assert!(paced.elapsed_ms > 500, "40 calls at 25 a second took {} ms", paced.elapsed_ms);
}

#[tokio::test]
async fn scopes_are_what_is_asked_for() {
    let stage = Stage::new(5, "").await;
    // What Campaign needs, without the scopes of the event APIs.
    let scopes = "scopes = [\"AdobeID\", \"openid\", \"read_organizations\", \"additional_info.projectedProductContext\", \
                  \"additional_info.roles\", \"adobeio_api\", \"campaign_sdk\", \"campaign_config_server_general\", \
                  \"deliverability_service_general\"]";
    let good = stage.config_with("", scopes, "", CONTACTS);
    assert_eq!(stage.run_config(good).await.total().inserted, 5);
    let bad = stage.config_with("", "scopes = [\"openid\", \"nonsense\"]", "", CONTACTS);
    let error = Connector::builder(bad).connect().await.unwrap_err();
    assert_eq!((error.kind(), error.problems()[0].place.as_str()), (ErrorKind::Refused, "campaign.scopes"));
}

#[tokio::test]
async fn the_delete_brake_holds_back_and_lets_go() {
    let stage = Stage::new(60, "").await;
    stage.run("", CONTACTS).await;
    let before = stage.records("campaign", "profile").await.len();
    let body = json!({"side": "dataverse", "table": "contact", "create": 0, "update": 0, "delete": 10, "seed": 5});
    stage.post("/mutate", &body).await;
    // The deletions are not told any more: only a full read can find them.
    stage.post("/clock", &json!({"advance_seconds": 9 * 86_400})).await;
    let with = |brake: &str| stage.config_with("", "", "", &format!("[sync]\ndelete_brake = {brake}\n{CONTACTS}"));
    let held = stage.run_config(with("{ rows = 9, share = 0.01 }")).await;
    assert_eq!(held.workflows[0].status.status, WorkflowState::Stopped);
    let reason = held.workflows[0].status.reason.as_ref().unwrap();
    assert!(reason.code == "delete-brake" && reason.remedy.contains("sync.delete_brake"), "{reason:?}");
    assert_eq!(stage.records("campaign", "profile").await.len(), before);
    let freed = stage.run_config(with("{ rows = 10, share = 0.0 }")).await;
    assert_eq!(freed.workflows[0].status.reason, None);
    assert_eq!(stage.records("campaign", "profile").await.len(), before - 10);
}

#[tokio::test]
async fn the_risk_of_duplicates_is_said_until_it_is_accepted() {
    let stage = Stage::new(5, ACCOUNTS).await;
    let tables = MORE_TABLES.split("[[table]]").nth(1).unwrap();
    let filter = "key_filter = { name = \"byAccountId\", parameter = \"accountId_parameter\" }";
    let tables = format!("[[table]]{}", tables.replace("fields =", &format!("{filter}\nfields =")));
    for (setting, said) in [("", true), ("accept_duplicate_risk = true", false)] {
        let connector = Connector::builder(stage.config_with("", setting, "", &tables)).connect().await.unwrap();
        let risk = connector.warnings().iter().any(|warning| {
            warning.contains("table[0].key_filter") && warning.contains("campaign.accept_duplicate_risk")
        });
        assert_eq!(risk, said, "{:?}", connector.warnings());
    }
}

#[tokio::test]
async fn requests_for_tokens_are_counted_as_set_up() {
    let stage = Stage::new(30, "").await;
    // A token that is refused in the middle is renewed, and the call repeated.
    let fault = json!([{"side": "campaign", "fault": "expire_token", "method": "POST", "nth": 5, "times": 1}]);
    let connector = Connector::builder(stage.config("", CONTACTS)).connect().await.unwrap();
    stage.post("/faults", &fault).await;
    let summary = connector.start(d365_campaign::RunMode::UntilIdle).join().await;
    let counters = stage.counters().await;
    for (side, told) in [("dataverse", summary.setup_requests.dataverse), ("campaign", summary.setup_requests.campaign)]
    {
        let counted: u64 =
            counters[side]["setup_requests"].as_object().unwrap().values().filter_map(|count| count.as_u64()).sum();
        assert_eq!(told, counted, "{side}: {}", counters[side]["setup_requests"]);
    }
    let tokens = counters["campaign"]["setup_requests"].as_object().unwrap().iter();
    assert!(tokens.filter(|(route, _)| route.contains("token")).any(|(_, count)| count.as_u64() == Some(2)));
}

/// At the limit the workflow stays RUNNING, says why, and makes no call more, also after a restart; a higher limit goes on.
#[tokio::test]
async fn the_daily_allowance_of_engine_calls_is_never_exceeded() {
    let stage = Stage::new(60, "").await;
    let config = |limit: u32| {
        stage.config_with("", &format!("settle_seconds = 0\nengine_calls_per_day = {limit}"), "", CONTACTS)
    };
    let calls = async || {
        let counters = stage.counters().await["campaign"]["engine_calls"].clone();
        ["insert", "update", "delete", "read"].iter().map(|kind| counters[kind].as_u64().unwrap()).sum::<u64>()
    };
    for limit in [20, 20, 33] {
        let running = Connector::builder(config(limit)).connect().await.unwrap().start(RunMode::Continuous);
        let spent = async || loop {
            let reason = running.status("ingress").unwrap().reason;
            if reason.is_some_and(|reason| reason.code == "engine-calls-spent") && calls().await >= u64::from(limit) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        tokio::time::timeout(Duration::from_secs(30), spent()).await.unwrap();
        let status = running.status("ingress").unwrap();
        assert_eq!(status.state, WorkflowState::Running);
        assert!(status.reason.unwrap().remedy.contains("campaign.engine_calls_per_day"));
        running.stopper().stop();
        running.join().await;
        assert_eq!(calls().await, u64::from(limit));
    }
    let summary = stage.run_config(config(1_000)).await;
    assert_eq!(summary.workflows[0].status.reason, None);
    let profiles = stage.records("campaign", "profile").await.len() as u64;
    assert!(profiles > 33 && calls().await == profiles, "and nothing was spent twice");
}

#[tokio::test]
async fn metrics_tell_of_both_clients_and_never_of_their_tokens() {
    let stage = Stage::new(5, "").await;
    let running = Connector::builder(stage.config("", CONTACTS)).connect().await.unwrap().start(RunMode::UntilIdle);
    let metrics = running.metrics("ingress").await.unwrap();
    let names: Vec<&str> = metrics.clients.iter().map(|client| client.client.as_str()).collect();
    assert_eq!(names, ["dataverse", "campaign"]);
    for client in &metrics.clients {
        assert!(client.token_age.is_some(), "{client:?}");
        assert!(client.lane.unwrap().limit > 0, "{client:?}");
    }
    let text = metrics.to_prometheus();
    assert!(text.contains("client=\"campaign\""), "{text}");
    assert!(!text.to_lowercase().contains("bearer"));
    running.join().await;
}
