//! Each check of preflight is turned red by a provocation that leaves the others green, or unmade where they need it, and its
//! remedy turns it green again. Nothing is written by looking.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on ends there")]

mod support;

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use sandbox::SandboxConfig;
use sandbox::scenario::Scenario;
use serde_json::{Value, json};
use support::{CONTACT_TABLE, Ended, World, program, total};
use timing::{Clock as _, SystemClock};

/// The id of another organisation.
const OTHER: &str = "00000000-0000-4000-8000-0000000000ff";
/// What cannot be looked at without both sides of a mapping.
const MAPPING: [&str; 6] =
    ["columns-exist", "attributes-exist", "attributes-writable", "key-holds-id", "types-convert", "values-fit"];
/// What needs a mapping in order.
const ROWS: [&str; 2] = ["dataverse-read-privilege", "key-addresses-rows"];
const ACTIVITIES: [&str; 4] = ["activity-tables", "activity-columns", "activity-regarding", "activity-bulk"];
const JOURNAL: [&str; 2] = ["journal-reachable", "journal-readable"];
const SFTP: [&str; 5] = ["sftp-reachable", "sftp-host-key", "sftp-user", "sftp-folders", "opt-out-files"];
/// Opt-outs come by file or by filter, and never by both.
const BY_FILE: [&str; 2] = ["opt-out-workflow-running", "opt-out-files"];
const BY_FILTER: &str = "opt-out-filter";
const DATAVERSE: [&str; 4] =
    ["dataverse-identity-provider", "dataverse-credentials", "dataverse-reachable", "dataverse-application-user"];
const CAMPAIGN: [&str; 7] = [
    "campaign-identity-provider",
    "campaign-credentials",
    "campaign-reachable",
    "campaign-api-key",
    "campaign-organisation",
    "campaign-product-profile",
    "ext-api-published",
];

/// Everything that needs both services.
fn tables() -> Vec<&'static str> {
    [&["table-exists", "change-tracking-on", "resource-published"][..], &MAPPING, &ROWS].concat()
}

/// Everything that needs Dynamics 365, and the steps behind the one at which the first question failed.
fn without_dataverse(failed: &str) -> Vec<&'static str> {
    let behind = DATAVERSE.iter().skip_while(|step| **step != failed).skip(1).copied();
    behind
        .chain(tables())
        .chain(ACTIVITIES)
        .chain(["organization-readable", "same-organization", "opt-out-pairs", "dataverse-write-privilege"])
        .collect()
}

/// The same of Campaign. The journal needs a token alone.
fn without_campaign(failed: &str) -> Vec<&'static str> {
    let at = CAMPAIGN.iter().position(|step| *step == failed).unwrap();
    let journal = JOURNAL.iter().take(if at < 2 { 2 } else { 0 });
    let opt_outs = ["opt-out-pairs", "opt-out-workflow-running"];
    CAMPAIGN[at + 1..].iter().chain(journal).copied().chain(tables()).chain(opt_outs).collect()
}

const FILES: &str = "source = { export = { folder = \"d365_loads/exports\", pattern = \"optout*\" } }";

/// A sandbox in step, with every check in the configuration.
async fn world() -> (World, String) {
    let world = World::new(20).await;
    assert_eq!(world.until_idle(&world.config()).await.code(), Some(0));
    world.post("/exports/opt-out", &json!({})).await;
    let text = everything(&world);
    (world, text)
}

fn everything(world: &World) -> String {
    let info = world.info();
    let sftp = &info["sftp"];
    format!(
        "{}{CONTACT_TABLE}\n[sftp]\nhost = {}\nport = {}\nuser = {}\nprivate_key = {{ file = {} }}\nhost_key = {}\n\n\
         [events]\nsends = true\nopens = true\nclicks = true\nbounces = true\n\
         source = {{ journal = {{ url = {} }} }}\n\
         fill_gaps_from = {{ export = {{ folder = \"d365_loads/exports\" }} }}\n\n\
         [opt_out]\ndirection = \"bidirectional\"\n{FILES}\n\
         pairs = [ {{ d365 = \"donotemail\", campaign = \"denyListEmail\" }} ]\nworkflow = \"WKF12\"\n",
        world.head(),
        sftp["host"],
        sftp["port"],
        sftp["user"],
        sftp["private_key_file"],
        sftp["host_key"],
        info["journal"]["url"],
    )
}

async fn preflight(world: &World, text: &str) -> Ended {
    let config = world.write("preflight.toml", text).display().to_string();
    program(&["preflight", "--format", "json", "--config", &config]).await
}

fn checks(ended: &Ended) -> BTreeMap<String, &Value> {
    let checks = ended.lines.iter().filter(|line| line["event"] == "check");
    checks.map(|check| (check["check"].as_str().unwrap().to_owned(), check)).collect()
}

/// The one check has the status, those named were not made, and all others are in order.
fn assert_only(ended: &Ended, name: &str, status: &str, skipped: &[&str]) {
    let checks = checks(ended);
    assert_eq!(ended.code(), Some(if status == "failed" { 3 } else { 0 }), "{name}: {}", ended.stderr);
    assert!(checks.len() >= 41, "{} checks", checks.len());
    for (other, check) in &checks {
        let expected = match other {
            other if other == name => status,
            other if skipped.contains(&other.as_str()) || is_of_another_source(check) => "skipped",
            _ => "ok",
        };
        assert_eq!(check["status"], expected, "{name} provoked: {check}");
    }
    assert!(!checks[name]["remedy"].as_str().unwrap().is_empty(), "{}", checks[name]);
}

/// Whether the check is of the source of opt-outs that is not configured.
fn is_of_another_source(check: &Value) -> bool {
    let of_source = BY_FILE.iter().chain([&BY_FILTER]).any(|name| check["check"] == *name);
    of_source && check["message"] == "Nothing in the configuration asks for it."
}

fn assert_green(ended: &Ended, name: &str) {
    assert_eq!(ended.code(), Some(0), "{name}: {}", ended.stderr);
    for check in checks(ended).values() {
        let status = if is_of_another_source(check) { "skipped" } else { "ok" };
        assert_eq!(check["status"], status, "{name} mended: {check}");
    }
    assert_eq!(ended.summary()["passed"], true);
}

/// The ids of the application user and of the organisation.
async fn who(world: &World, text: &str) -> (String, String) {
    let ended = preflight(world, text).await;
    let said = checks(&ended)["dataverse-application-user"]["message"].as_str().unwrap().to_owned();
    let ids: Vec<&str> = said.split([' ', '.']).filter(|word| word.len() == 36).collect();
    (ids[0].to_owned(), ids[1].to_owned())
}

/// The configuration is wrong, and put right again.
async fn configured(world: &World, text: &str, name: &str, change: (&str, &str), skipped: &[&str]) {
    assert!(text.contains(change.0), "{:?} is not in the configuration", change.0);
    let ended = preflight(world, &text.replacen(change.0, change.1, 1)).await;
    assert_only(&ended, name, "failed", skipped);
    assert_eq!(ended.summary()["problems"].as_array().unwrap().len(), 1, "{name}: {}", ended.summary());
}

/// The service answers otherwise, and is put right again.
async fn answered(world: &World, text: &str, name: &str, status: &str, fault: Value, skipped: &[&str]) {
    let mut fault = fault;
    fault["times"] = json!(1000);
    world.faults(json!([fault])).await;
    assert_only(&preflight(world, text).await, name, status, skipped);
    world.clear_faults().await;
    assert_green(&preflight(world, text).await, name);
}

/// An address on which nobody listens, and cannot while the socket lives.
fn closed_port() -> (tokio::net::TcpSocket, String) {
    let port = tokio::net::TcpSocket::new_v4().unwrap();
    port.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let url = format!("http://{}", port.local_addr().unwrap());
    (port, url)
}

#[tokio::test]
async fn all_is_green_where_all_is_in_order_and_nothing_is_written() {
    let (world, text) = world().await;
    world.reset_counters().await;
    let (content, rows) = (world.store_content(), world.records("campaign", "profile").await);
    let ended = preflight(&world, &text).await;
    assert_green(&ended, "nothing");
    let skipped: Vec<String> =
        checks(&ended).into_iter().filter(|(_, check)| check["status"] == "skipped").map(|(name, _)| name).collect();
    assert_eq!(skipped, [BY_FILTER]);
    let files: Vec<_> = std::fs::read_dir(world.dir.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert!(!files.iter().any(|file| file.to_string_lossy().contains("preflight-")), "{files:?}");
    let counters = world.counters().await;
    for (side, method) in ["dataverse", "campaign"]
        .iter()
        .flat_map(|side| ["POST", "PATCH", "PUT", "DELETE"].map(|method| (*side, method)))
    {
        assert_eq!(total(&counters, side, method), 0, "{counters}");
    }
    assert!(total(&counters, "dataverse", "GET") > 0);
    assert!(content == world.store_content() && rows == world.records("campaign", "profile").await);
}

/// What is not configured is not looked at, and no store is made.
#[tokio::test]
async fn what_is_not_configured_is_skipped() {
    let world = World::new(5).await;
    let ended = preflight(&world, &format!("{}{CONTACT_TABLE}", world.head())).await;
    assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
    for (name, check) in checks(&ended) {
        let others = ["opt-out-pairs", BY_FILTER, BY_FILE[0], "dataverse-write-privilege"];
        let off = ACTIVITIES.iter().chain(&JOURNAL).chain(&SFTP).chain(&others).any(|other| *other == name);
        assert_eq!(check["status"], if off { "skipped" } else { "ok" }, "{check}");
    }
    assert!(!world.store().exists());
}

#[tokio::test]
async fn every_check_of_the_connection_to_dynamics() {
    let (world, text) = world().await;
    let info = world.info();
    let (_port, nobody) = closed_port();
    let authority = format!("authority = {}", info["dataverse"]["authority"]);
    let name = "dataverse-identity-provider";
    let nowhere = format!("authority = \"{nobody}\"");
    configured(&world, &text, name, (&authority, &nowhere), &without_dataverse(name)).await;
    let secret = info["dataverse"]["client_secret"].to_string();
    let name = "dataverse-credentials";
    configured(&world, &text, name, (&secret, "\"not the secret\""), &without_dataverse(name)).await;

    let fault = json!({"side": "dataverse", "route": "WhoAmI", "fault": "reset_before"});
    let name = "dataverse-reachable";
    answered(&world, &text, name, "failed", fault, &without_dataverse(name)).await;
    let fault = json!({"side": "dataverse", "route": "WhoAmI", "fault": "status", "status": 403,
        "body": {"error": {"code": "0x80072560", "message": "The user is not a member of the organization."}}});
    let name = "dataverse-application-user";
    answered(&world, &text, name, "failed", fault, &without_dataverse(name)).await;
    let body = json!({"UserId": who(&world, &text).await.0, "BusinessUnitId": OTHER, "OrganizationId": OTHER});
    let mut fault = json!({"side": "dataverse", "route": "WhoAmI", "fault": "status", "status": 200,
        "headers": {"content-type": "application/json"}, "body": body});
    answered(&world, &text, "same-organization", "failed", fault.clone(), &[]).await;
    // A run refuses it too.
    fault["times"] = json!(1000);
    world.faults(json!([fault])).await;
    let ended = world.until_idle(&world.config()).await;
    assert_eq!(ended.code(), Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains(OTHER), "{}", ended.stderr);
    world.clear_faults().await;
    let refused = json!({"error": {"code": "0x80040220", "message": "Principal user is missing a privilege."}});
    let fault =
        json!({"side": "dataverse", "route": "organizations", "fault": "status", "status": 403, "body": refused});
    answered(&world, &text, "organization-readable", "warning", fault, &[]).await;
    let fault = json!({"side": "dataverse", "route": "/contacts", "fault": "status", "status": 403, "body": refused});
    answered(&world, &text, "dataverse-read-privilege", "failed", fault, &[]).await;
}

#[tokio::test]
async fn every_check_of_the_connection_to_campaign() {
    let (world, text) = world().await;
    let info = world.info();
    let (_port, nobody) = closed_port();
    let ims = format!("ims_url = {}", info["campaign"]["ims_url"]);
    let name = "campaign-identity-provider";
    configured(&world, &text, name, (&ims, &format!("ims_url = \"{nobody}\"")), &without_campaign(name)).await;
    let secret = info["campaign"]["client_secret"].to_string();
    let name = "campaign-credentials";
    configured(&world, &text, name, (&secret, "\"not the secret\""), &without_campaign(name)).await;
    let url = info["campaign"]["url"].to_string();
    let name = "campaign-reachable";
    configured(&world, &text, name, (&url, &format!("\"{nobody}/acme\"")), &without_campaign(name)).await;
    let name = "campaign-organisation";
    let other = url.replace("/acme", "/nobody");
    configured(&world, &text, name, (&url, &other), &without_campaign(name)).await;

    let refusal = |status: u16, code: &str, message: &str| {
        json!({"side": "campaign", "route": "profileAndServicesExt", "fault": "status", "status": status,
            "body": {"error_code": code, "message": message}})
    };
    let refusals = [
        ("campaign-api-key", refusal(403, "403000", "Api Key is invalid")),
        ("campaign-product-profile", refusal(403, "403023", "Profile is not valid")),
        ("ext-api-published", refusal(404, "404", "Not found")),
    ];
    for (name, fault) in refusals {
        answered(&world, &text, name, "failed", fault, &without_campaign(name)).await;
    }
}

#[tokio::test]
async fn every_check_of_a_mapping() {
    let (world, text) = world().await;
    let mapping = |first: &[&'static str]| [first, &ROWS].concat();
    let table = ("table = \"contact\"", "table = \"contakt\"");
    let skipped = mapping(&[&["change-tracking-on"][..], &MAPPING].concat());
    configured(&world, &text, "table-exists", table, &skipped).await;
    let resource = ("resource = \"profile\"", "resource = \"cusNothing\"");
    configured(&world, &text, "resource-published", resource, &mapping(&MAPPING)).await;
    let changes = [
        ("columns-exist", ("from = \"firstname\"", "from = \"frstname\"")),
        ("attributes-exist", ("to = \"firstName\"", "to = \"fristName\"")),
        ("attributes-writable", ("to = \"birthDate\"", "to = \"blackListEmailLastModified\"")),
        ("key-holds-id", ("key = \"externalId\"", "key = \"isExternal\"")),
        ("types-convert", ("to = \"birthDate\"", "to = \"isExternal\"")),
        ("values-fit", ("with = \"female\"", "with = \"femail\"")),
    ];
    for (name, change) in changes {
        configured(&world, &text, name, change, &ROWS).await;
    }
    let other_key = text.replace("  { from = \"lastname\", to = \"lastName\" },\n", "");
    let key = ("key = \"externalId\"", "key = \"lastName\"");
    configured(&world, &other_key, "key-addresses-rows", key, &[]).await;
    assert_green(&preflight(&world, &text).await, "all of them");
}

/// Change tracking is switched in the table's properties, here by the scenario.
#[tokio::test]
async fn a_table_whose_changes_are_not_tracked() {
    for tracked in [false, true] {
        let scenario = format!("[[dataverse.tables]]\nname = \"contact\"\nchange_tracking = {tracked}\n");
        let scenario = Scenario::parse(&scenario).unwrap();
        let world = World::with(SandboxConfig { contacts: 5, scenario, ..SandboxConfig::default() }).await;
        let ended = preflight(&world, &everything(&world)).await;
        match tracked {
            false => assert_only(&ended, "change-tracking-on", "failed", &[&ROWS[..], &["opt-out-pairs"]].concat()),
            true => assert_green(&ended, "change-tracking-on"),
        }
    }
}

/// A role is given a privilege in the Power Platform admin center, here by the scenario.
#[tokio::test]
async fn a_role_that_may_not_write() {
    for (missing, place) in [
        ("prvCreateadobe_CampaignEmailOpen", "events.activities.open"),
        ("prvAppendToContact", "events"),
        ("prvWriteContact", "events"),
        ("", ""),
    ] {
        let scenario = format!("[dataverse.switches]\nmissing_privileges = [\"{missing}\"]\n");
        let scenario = Scenario::parse(&scenario).unwrap();
        let world = World::with(SandboxConfig { contacts: 5, scenario, ..SandboxConfig::default() }).await;
        let ended = preflight(&world, &everything(&world)).await;
        if missing.is_empty() {
            assert_green(&ended, "dataverse-write-privilege");
            continue;
        }
        assert_only(&ended, "dataverse-write-privilege", "failed", &[]);
        let problems = ended.summary()["problems"].as_array().unwrap();
        assert_eq!((problems.len(), &problems[0]["place"]), (1, &json!(place)));
        assert!(problems[0]["remedy"].as_str().unwrap().contains(missing), "{}", problems[0]);
    }
    let (world, text) = world().await;
    let refused = json!({"side": "dataverse", "route": "systemusers", "fault": "status", "status": 403,
        "body": {"error": {"code": "0x80040220", "message": "Principal user is missing a privilege."}}});
    answered(&world, &text, "dataverse-write-privilege", "warning", refused, &[]).await;
}

#[tokio::test]
async fn every_check_of_the_timeline() {
    let (world, text) = world().await;
    let named = |line: &str| format!("[events.activities.open]\n{line}\n");
    let behind = ["activity-columns", "activity-regarding", "activity-bulk"];
    let changes = [
        ("activity-tables", named("table = \"adobe_nothing\""), &behind[..]),
        ("activity-tables", named("table = \"account\""), &behind[..]),
        ("activity-columns", named("campaign = \"adobe_nothing\""), &behind[2..]),
    ];
    for (name, lines, skipped) in changes {
        assert_only(&preflight(&world, &format!("{text}{lines}")).await, name, "failed", skipped);
    }
    let none = json!({"side": "dataverse", "route": "ManyToOneRelationships", "fault": "status", "status": 200,
        "headers": {"content-type": "application/json"}, "body": {"value": []}});
    answered(&world, &text, "activity-regarding", "failed", none, &["activity-bulk"]).await;
    let refused = json!({"side": "dataverse", "route": "sdkmessagefilters", "fault": "status", "status": 403,
        "body": {"error": {"code": "0x80040220", "message": "Principal user is missing a privilege."}}});
    answered(&world, &text, "activity-bulk", "warning", refused, &[]).await;

    let fault = json!({"side": "journal", "fault": "reset_before"});
    answered(&world, &text, "journal-reachable", "failed", fault, &["journal-readable"]).await;
    let url = world.info()["journal"]["url"].as_str().unwrap().to_owned();
    let (front, registration) = url.rsplit_once('/').unwrap();
    let other = registration.chars().rev().collect::<String>();
    let other = format!("{front}/{other}");
    configured(&world, &text, "journal-readable", (&url, &other), &[]).await;
    assert_green(&preflight(&world, &text).await, "all of them");
}

#[tokio::test]
async fn every_check_of_the_file_exchange() {
    let (world, text) = world().await;
    let sftp = world.info()["sftp"].clone();
    let port = tokio::net::TcpSocket::new_v4().unwrap();
    port.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let line = format!("port = {}", sftp["port"]);
    let nobody = format!("port = {}", port.local_addr().unwrap().port());
    configured(&world, &text, SFTP[0], (&line, &nobody), &SFTP[1..]).await;
    // The host key of another sandbox.
    let other = World::with(SandboxConfig { contacts: 0, seed: 7, ..SandboxConfig::default() }).await;
    let other = other.info()["sftp"]["host_key"].to_string();
    configured(&world, &text, SFTP[1], (&sftp["host_key"].to_string(), &other), &SFTP[2..]).await;
    let user = format!("user = {}", sftp["user"]);
    configured(&world, &text, SFTP[2], (&user, "user = \"nobody\""), &SFTP[3..]).await;
    let folder = ("d365_loads/exports", "d365_loads/elsewhere");
    configured(&world, &text, SFTP[3], folder, &[]).await;
    let folder = (FILES, &FILES.replace("exports", "elsewhere")[..]);
    configured(&world, &text, SFTP[3], folder, &SFTP[4..]).await;
    let columns = ("pattern = \"optout*\"", "pattern = \"optout*\", columns = { external_id = \"who\" }");
    configured(&world, &text, SFTP[4], columns, &[]).await;
    assert_green(&preflight(&world, &text).await, "all of them");
}

#[tokio::test]
async fn every_check_of_the_opt_outs() {
    let (world, text) = world().await;
    let pair = ("d365 = \"donotemail\"", "d365 = \"lastname\"");
    configured(&world, &text, "opt-out-pairs", pair, &[]).await;
    let name = "opt-out-workflow-running";
    configured(&world, &text, name, ("\"WKF12\"", "\"WKF99\""), &[]).await;
    world.post("/workflows", &json!({"id": "WKF12", "state": "erroneous"})).await;
    assert_only(&preflight(&world, &text).await, name, "failed", &[]);
    world.post("/workflows", &json!({"id": "WKF12", "state": "started"})).await;
    assert_green(&preflight(&world, &text).await, name);

    let filter = "source = { filter = { name = \"byLastModified\", parameter = \"lastModified_parameter\" } }";
    let by_filter = text.replacen(FILES, filter, 1);
    let ended = preflight(&world, &by_filter).await;
    assert_green(&ended, BY_FILTER);
    assert!(BY_FILE.iter().all(|name| checks(&ended)[*name]["status"] == "skipped"));
    configured(&world, &by_filter, BY_FILTER, ("byLastModified", "byNothing"), &[]).await;
    let ended =
        preflight(&world, &by_filter.replacen("byLastModified", "byNothing", 1).replacen(pair.0, pair.1, 1)).await;
    let both = checks(&ended);
    assert_eq!((&both[BY_FILTER]["status"], &both["opt-out-pairs"]["status"]), (&json!("failed"), &json!("failed")));
}

/// The time that a service names, here by its first answer.
#[tokio::test]
async fn a_clock_that_is_off() {
    let (world, text) = world().await;
    let (user, organization) = who(&world, &text).await;
    let body = json!({"UserId": user, "BusinessUnitId": OTHER, "OrganizationId": organization});
    let fault = |time: DateTime<Utc>| {
        json!({"side": "dataverse", "route": "WhoAmI", "fault": "status", "status": 200, "body": body,
            "headers": {"content-type": "application/json", "date": time.format("%a, %d %b %Y %H:%M:%S GMT").to_string()}})
    };
    for minutes in [-6, 6] {
        let time = SystemClock::new().now() + TimeDelta::minutes(minutes);
        answered(&world, &text, "clock-skew", "failed", fault(time), &[]).await;
    }
    // A minute is no matter to us; between the services, the later change of an opt-out may be taken for the earlier.
    let near = || fault(SystemClock::new().now() - TimeDelta::minutes(1));
    answered(&world, &text, "clock-skew", "warning", near(), &[]).await;
    world.faults(json!([near()])).await;
    let one_way = text.replacen("\"bidirectional\"", "\"campaign_to_d365\"", 1);
    assert_green(&preflight(&world, &one_way).await, "clock-skew");
}

#[tokio::test]
async fn a_store_that_cannot_be_used() {
    let (world, text) = world().await;
    let change = ("sqlite = \"sync.db\"", "sqlite = \"no-such-folder/sync.db\"");
    configured(&world, &text, "store-usable", change, &[]).await;
    std::fs::write(world.path("other.db"), "this is no database, and was none before").unwrap();
    let change = ("sqlite = \"sync.db\"", "sqlite = \"other.db\"");
    // What cannot be read does not tell whose it is.
    configured(&world, &text, "store-usable", change, &["same-organization"]).await;
    std::fs::create_dir(world.path("no-such-folder")).unwrap();
    let mended = text.replace("sync.db", "no-such-folder/sync.db");
    assert_green(&preflight(&world, &mended).await, "store-usable");
}

/// For people: a line for each check, the remedy beneath.
#[tokio::test]
async fn the_table_names_every_remedy() {
    let world = World::new(5).await;
    let text = everything(&world).replace("from = \"firstname\"", "from = \"frstname\"");
    let config = world.write("preflight.toml", &text).display().to_string();
    let ended = program(&["preflight", "--config", &config]).await;
    assert_eq!(ended.code(), Some(3), "{}", ended.stderr);
    let lines: Vec<&str> = ended.stdout.lines().collect();
    let at = lines.iter().position(|line| line.starts_with("FAILED   columns-exist")).unwrap();
    assert!(lines[at].contains("frstname") && lines[at + 1].trim_start().starts_with("Remedy: "), "{}", ended.stdout);
    assert!(lines.iter().any(|line| line.starts_with("ok       table-exists")), "{}", ended.stdout);
    assert!(lines.iter().any(|line| line.starts_with("skipped  key-addresses-rows")), "{}", ended.stdout);
}
