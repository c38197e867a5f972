//! Workflows: state, commands, the external signal, the daily run.

use campaign_harness::{Campaign, start};
use sandbox::service::Side;
use serde_json::{Value, json};

mod campaign_harness;

const WORKFLOW: &str = "/workflow/execution/WKF12";

async fn show(campaign: &Campaign) -> Value {
    campaign.get(WORKFLOW).await.expect(200)
}

async fn command(campaign: &Campaign, method: &str) -> campaign_harness::Answer {
    campaign.post(&format!("{WORKFLOW}/commands"), json!({"method": method})).await
}

#[tokio::test]
async fn a_workflow_is_started_paused_resumed_and_stopped() {
    let campaign = start("").await;
    let fresh = show(&campaign).await;
    assert_eq!((fresh["state"].as_str(), fresh["name"].as_str()), (Some("started"), Some("WKF12")));
    assert_eq!(fresh["lastProcessingDate"], "");
    assert!(fresh["nextProcessingDate"].as_str().unwrap().ends_with('Z'));
    for (method, state) in
        [("pause", "paused"), ("resume", "started"), ("stop", "stopped"), ("start", "started"), ("start", "started")]
    {
        command(&campaign, method).await.expect(200);
        let now = show(&campaign).await;
        assert_eq!(now["state"], state, "{method}");
        assert_eq!(now["nextProcessingDate"] != "", state == "started", "{method}");
    }
    command(&campaign, "resume").await.refused(500, "not possible while the workflow is started");
    command(&campaign, "Start").await.refused(500, "'Start' command is not known");
    campaign.get("/workflow/execution/WKF99").await.refused(404, "Unable to find document");
    // The key of the answer is as good as the id.
    let key = fresh["PKey"].as_str().unwrap();
    assert_eq!(campaign.get(&format!("/workflow/execution/{key}")).await.expect(200)["name"], "WKF12");
}

#[tokio::test]
async fn the_daily_run_is_due_every_day_while_the_workflow_is_started() {
    let mut campaign = start("").await;
    let (sender, runs) = std::sync::mpsc::channel();
    campaign.service.on_workflow_run(move |run| sender.send(run.id).unwrap());
    let before = show(&campaign).await;
    campaign.shared.clock.advance(86_401);
    campaign.token = campaign.shared.tokens.issue(Side::Campaign).0;
    let after = show(&campaign).await;
    assert_ne!(after["lastProcessingDate"], "");
    assert_eq!(runs.try_iter().collect::<Vec<_>>(), ["WKF12"], "once, however often somebody looks");
    assert!(after["nextProcessingDate"].as_str() > before["nextProcessingDate"].as_str());
    command(&campaign, "stop").await.expect(200);
    campaign.shared.clock.advance(2 * 86_400);
    campaign.token = campaign.shared.tokens.issue(Side::Campaign).0;
    assert_eq!(show(&campaign).await["lastProcessingDate"], after["lastProcessingDate"]);
    command(&campaign, "start").await.expect(200);
    assert_eq!(runs.try_iter().collect::<Vec<_>>(), ["WKF12"], "a start runs at once what was missed");
}

#[tokio::test]
async fn a_signal_has_declared_parameters_and_comes_seldom() {
    let campaign = start("").await;
    let (sender, runs) = std::sync::mpsc::channel();
    campaign.service.on_workflow_run(move |run| sender.send(run.parameters).unwrap());
    let trigger =
        show(&campaign).await["activities"]["activity"]["signal1"]["trigger"]["href"].as_str().unwrap().to_owned();
    let signal =
        async |parameters: Value| campaign.post(&trigger, json!({"source": "API", "parameters": parameters})).await;
    let undeclared = signal(json!({"x": 1})).await;
    assert_eq!(undeclared.text.lines().count(), 4, "{}", undeclared.text);
    undeclared.refused(500, "'x' parameter isn't defined in signal activity.");
    signal(json!({"full": "yes"})).await.refused(500, "Cannot convert 'yes'");
    signal(json!({"fileName": "a".repeat(64 * 1024)})).await.refused(500, "greater than 64 KB");
    campaign.post(&trigger, json!({"parameters": {}})).await.refused(500, "'source' parameter");
    let good = json!({"fileName": "optout.csv", "full": false, "since": "2026-02-20 00:00:00.000Z"});
    signal(good.clone()).await.expect(200);
    signal(good.clone()).await.refused(500, "every 10 minutes");
    campaign.shared.clock.advance(599);
    signal(good.clone()).await.refused(500, "every 10 minutes");
    campaign.shared.clock.advance(2);
    signal(good.clone()).await.expect(200);
    campaign.shared.clock.advance(601);
    command(&campaign, "pause").await.expect(200);
    signal(good.clone()).await.refused(500, "not running");
    let brought: Vec<Value> = runs.try_iter().map(Value::Object).collect();
    assert_eq!(brought, [good.clone(), good]);
}

#[tokio::test]
async fn steering_a_workflow_is_no_engine_call() {
    let campaign = start("").await;
    command(&campaign, "pause").await.expect(200);
    let counters = campaign.shared.counters.snapshot()["campaign"].clone();
    assert_eq!(counters["requests"], json!({}));
    assert_eq!(counters["setup_requests"], json!({"POST /workflow/execution/{id}/commands": 1}));
}
