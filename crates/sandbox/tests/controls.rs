//! The control interface: rows, mutations, counters, clock.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

mod client;

use std::collections::HashSet;

use client::Client;
use reqwest::Method;
use sandbox::SandboxConfig;
use serde_json::{Value, json};

fn ids(answer: &Value, name: &str) -> HashSet<String> {
    answer[name].as_array().unwrap().iter().map(|id| id.as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn seeded_contacts_are_what_is_promised() {
    let client = Client::start(1000).await;
    let rows = client.records("dataverse", "contact").await;
    assert_eq!(rows.len(), 1000);
    assert!(rows.is_sorted_by_key(|row| row["contactid"].as_str().unwrap().to_owned()));
    let inactive = rows.iter().filter(|row| row["statecode"] == 1).count();
    assert!((60..140).contains(&inactive), "{inactive}");
    for value in [json!(1), json!(2), json!(null)] {
        assert!(rows.iter().filter(|row| row["gendercode"] == value).count() > 100, "{value}");
    }
    for column in ["firstname", "emailaddress1", "telephone1", "mobilephone", "birthdate", "address1_city", "jobtitle"]
    {
        let nulls = rows.iter().filter(|row| row[column].is_null()).count();
        assert!((50..400).contains(&nulls), "{column}: {nulls}");
    }
    let length = |row: &Value, column: &str| row[column].as_str().map_or(0, |text| text.chars().count());
    for row in &rows {
        assert_eq!(row["statuscode"].as_i64().unwrap(), row["statecode"].as_i64().unwrap() + 1);
        for (column, most) in [
            ("firstname", 30),
            ("lastname", 50),
            ("emailaddress1", 128),
            ("telephone1", 32),
            ("mobilephone", 32),
            ("fax", 32),
            ("salutation", 20),
        ] {
            assert!(length(row, column) <= most, "{column}");
        }
        assert!(length(row, "lastname") > 0);
        if let Some(email) = row["emailaddress1"].as_str() {
            assert!(email.is_ascii() && email.split('@').count() == 2 && !email.contains(' '), "{email}");
        }
    }
    let names: String = rows.iter().filter_map(|row| row["firstname"].as_str()).collect();
    for script in ['а'..='я', 'α'..='ω', '\u{627}'..='\u{64a}', '\u{4e00}'..='\u{9fff}', 'a'..='z'] {
        assert!(names.chars().any(|c| script.contains(&c)), "{script:?}");
    }
    let reply = client.control(Method::GET, "/records/dataverse/contact", json!(null)).await;
    assert!(reply.text.is_ascii() && !reply.text.contains('\r') && reply.text.ends_with('\n'));
    assert!(client.control(Method::GET, "/records/dataverse/nothing", json!(null)).await.status.as_u16() == 404);
}

#[tokio::test]
async fn the_same_seed_gives_the_same_data() {
    let text = async |seed| {
        let client = Client::with(SandboxConfig { contacts: 50, seed, ..SandboxConfig::default() }).await;
        client.control(Method::GET, "/records/dataverse/contact", json!(null)).await.text
    };
    assert_eq!(text(7).await, text(7).await);
    assert_ne!(text(7).await, text(8).await);
}

#[tokio::test]
async fn a_mutation_does_what_it_says() {
    let client = Client::start(100).await;
    let by_id = |rows: Vec<Value>| -> std::collections::HashMap<String, Value> {
        rows.into_iter().map(|row| (row["contactid"].as_str().unwrap().to_owned(), row)).collect()
    };
    let mut used: HashSet<String> = HashSet::new();
    // The start's seed again and again: created ids are new all the same.
    for seed in [42, 42, 1] {
        let before = by_id(client.records("dataverse", "contact").await);
        used.extend(before.keys().cloned());
        let plan =
            json!({"side": "dataverse", "table": "contact", "create": 10, "update": 20, "delete": 5, "seed": seed});
        let answer = client.control(Method::POST, "/mutate", plan).await.expect(200).json();
        let (created, updated, deleted) = (ids(&answer, "created"), ids(&answer, "updated"), ids(&answer, "deleted"));
        assert_eq!((created.len(), updated.len(), deleted.len()), (10, 20, 5));
        assert!(created.is_disjoint(&used) && updated.is_disjoint(&deleted));
        let after = by_id(client.records("dataverse", "contact").await);
        assert!(created.iter().all(|id| after.contains_key(id)) && deleted.iter().all(|id| !after.contains_key(id)));
        let watched =
            ["firstname", "lastname", "emailaddress1", "telephone1", "birthdate", "gendercode", "address1_city"];
        for id in &updated {
            assert!(watched.iter().any(|column| before[id][*column] != after[id][*column]), "{id}");
        }
        let untouched = before.keys().filter(|id| !updated.contains(*id) && !deleted.contains(*id));
        assert!(untouched.into_iter().all(|id| before[id] == after[id]));
    }
}

#[tokio::test]
async fn a_mutation_keeps_to_its_fields() {
    let client = Client::start(40).await;
    let before = client.records("dataverse", "contact").await;
    let plan = json!({"side": "dataverse", "table": "contact", "update": 40, "fields": ["donotemail", "_parentcustomerid_value", "jobtitle"], "seed": 3});
    client.control(Method::POST, "/mutate", plan).await.expect(200);
    for (old, new) in before.iter().zip(client.records("dataverse", "contact").await) {
        let differs = |column: &str| old[column] != new[column];
        assert!(differs("donotemail") || differs("jobtitle"));
        for column in ["firstname", "emailaddress1", "statecode", "gendercode"] {
            assert!(!differs(column), "{column}");
        }
    }
    for (plan, word) in [
        (json!({"side": "dataverse", "table": "contact", "update": 41}), "41 rows"),
        (json!({"side": "dataverse", "table": "contact", "update": 1, "fields": ["nothing"]}), "no column nothing"),
        (json!({"side": "dataverse", "table": "nothing", "update": 1}), "no table nothing"),
    ] {
        let refused = client.control(Method::POST, "/mutate", plan).await.expect(400);
        assert!(refused.text.contains(word), "{}", refused.text);
    }
    let campaign = json!({"side": "campaign", "table": "profile", "create": 3, "seed": 1});
    let answer = client.control(Method::POST, "/mutate", campaign).await.expect(200).json();
    assert_eq!(ids(&answer, "created").len(), 3);
    assert_eq!(client.records("campaign", "profile").await.len(), 3);
}

#[tokio::test]
async fn every_update_changes_a_field_though_the_state_is_toggled() {
    let client = Client::start(4000).await;
    let before = client.records("dataverse", "contact").await;
    let plan = json!({"side": "dataverse", "table": "contact", "update": 4000, "seed": 11});
    let answer = client.control(Method::POST, "/mutate", plan).await.expect(200).json();
    assert_eq!(ids(&answer, "updated").len(), 4000);
    let fields = ["firstname", "lastname", "emailaddress1", "telephone1", "birthdate", "gendercode", "address1_city"];
    let mut toggled = 0;
    for (old, new) in before.iter().zip(client.records("dataverse", "contact").await) {
        assert!(fields.iter().any(|field| old[*field] != new[*field]), "{}", old["contactid"]);
        toggled += u32::from(old["statecode"] != new["statecode"]);
    }
    assert!((300..500).contains(&toggled), "about one in ten: {toggled}");
}

#[tokio::test]
async fn a_mutation_that_cannot_be_carried_out_changes_nothing() {
    let client = Client::start(20).await;
    let before = client.records("dataverse", "contact").await;
    // There is one user, and nobody else can own a row; a required lookup is not cleared either.
    for fields in [json!(["ownerid"]), json!(["_ownerid_value"])] {
        let plan =
            json!({"side": "dataverse", "table": "contact", "create": 5, "update": 5, "delete": 5, "fields": fields});
        let refused = client.control(Method::POST, "/mutate", plan).await.expect(400);
        assert!(refused.text.contains("could be given another value"), "{}", refused.text);
    }
    assert_eq!(client.records("dataverse", "contact").await, before);
    let plan =
        json!({"side": "dataverse", "table": "contact", "update": 20, "fields": ["ownerid", "jobtitle"], "seed": 1});
    client.control(Method::POST, "/mutate", plan).await.expect(200);
    for row in client.records("dataverse", "contact").await {
        assert!(row["_ownerid_value"].is_string(), "{row}");
    }
}

#[tokio::test]
async fn columns_that_are_mostly_alike_are_not_always_so() {
    let client = Client::start(1000).await;
    let rows = client.records("dataverse", "contact").await;
    for column in ["preferredcontactmethodcode", "leadsourcecode", "customertypecode", "educationcode"] {
        let nulls = rows.iter().filter(|row| row[column].is_null()).count();
        assert!((100..300).contains(&nulls), "{column}: {nulls}");
    }
    for column in ["creditlimit", "externaluseridentifier", "address1_latitude", "address1_longitude"] {
        let values = rows.iter().filter(|row| !row[column].is_null()).count();
        assert!((60..250).contains(&values), "{column}: {values}");
    }
}

#[tokio::test]
async fn a_row_as_given_keeps_what_is_given() {
    let client = Client::scenario(1, "[[dataverse.tables]]\nname = \"account\"\nrows = 1").await;
    let contact = client.records("dataverse", "contact").await[0]["contactid"].as_str().unwrap().to_owned();
    let account = client.records("dataverse", "account").await[0]["accountid"].as_str().unwrap().to_owned();
    let id = "aaaaaaaa-0000-4000-8000-000000000009";
    let path = format!("/records/dataverse/contact/{id}");
    let put = async |row: Value| client.control(Method::PUT, &path, row).await;
    let shown = async || client.get(&format!("contacts({id})")).await.expect(200).json();
    let given = json!({"contactid": id, "lastname": "Byron", "createdon": "2001-02-03T04:05:06Z", "modifiedon": "2002-02-03T04:05:06Z", "statecode": 1});
    for _ in 0..2 {
        put(given.clone()).await.expect(200);
        let row = shown().await;
        assert_eq!((&row["createdon"], &row["modifiedon"]), (&given["createdon"], &given["modifiedon"]));
        assert_eq!((&row["statecode"], &row["statuscode"]), (&json!(1), &json!(2)));
    }
    // Without them the row keeps the day it was made and is modified now.
    put(json!({"lastname": "King", "statuscode": 2})).await.expect(200);
    let row = shown().await;
    assert_eq!(row["createdon"], given["createdon"]);
    assert_ne!(row["modifiedon"], given["modifiedon"]);
    assert_eq!((&row["statecode"], &row["statuscode"]), (&json!(1), &json!(2)));
    // What the lookup leads to is found by its id.
    for (target, table) in [(&account, "account"), (&contact, "contact")] {
        put(json!({"lastname": "King", "_parentcustomerid_value": target})).await.expect(200);
        let annotated = client.prefer("odata.include-annotations=\"*\"", &format!("contacts({id})")).await.json();
        assert_eq!(annotated["_parentcustomerid_value@Microsoft.Dynamics.CRM.lookuplogicalname"], table);
    }
    // A row as the control interface shows it goes back as it is.
    let all = client.records("dataverse", "contact").await;
    for row in &all {
        let path = format!("/records/dataverse/contact/{}", row["contactid"].as_str().unwrap());
        client.control(Method::PUT, &path, row.clone()).await.expect(200);
    }
    let without = |rows: Vec<Value>| -> Vec<Value> {
        let strip = |mut row: Value| {
            row["versionnumber"] = json!(0);
            row
        };
        rows.into_iter().map(strip).collect()
    };
    assert_eq!(without(client.records("dataverse", "contact").await), without(all));
    for wrong in [
        json!({"_parentcustomerid_value": "x"}),
        json!({"_parentcustomerid_value": 5}),
        json!({"contactid": account}),
        json!({"statecode": 0, "statuscode": 2}),
        json!({"statuscode": null}),
        json!({"_ownerid_value": null}),
    ] {
        put(wrong.clone()).await.expect(400);
    }
}

#[tokio::test]
async fn a_row_is_put_as_given() {
    let client = Client::start(0).await;
    let path = "/records/dataverse/contact/aaaaaaaa-0000-4000-8000-000000000001";
    let row = json!({"lastname": "Byron", "statecode": 1, "statuscode": 2, "gendercode": 2, "_parentcustomerid_value": "bbbbbbbb-0000-4000-8000-000000000001"});
    client.control(Method::PUT, path, row).await.expect(200);
    let shown = &client.records("dataverse", "contact").await[0];
    assert_eq!((&shown["fullname"], &shown["statecode"]), (&json!("Byron"), &json!(1)));
    assert_eq!(shown["_parentcustomerid_value"], "bbbbbbbb-0000-4000-8000-000000000001");
    client.control(Method::PUT, path, json!({"lastname": "King"})).await.expect(200);
    let shown = &client.records("dataverse", "contact").await[0];
    assert_eq!(
        (&shown["fullname"], &shown["statecode"], &shown["gendercode"]),
        (&json!("King"), &json!(0), &json!(null))
    );
    client.control(Method::PUT, path, json!({"nothing": 1})).await.expect(400);
    client.control(Method::PUT, "/records/dataverse/contact/1", json!({})).await.expect(400);
}

#[tokio::test]
async fn a_row_is_patched_as_by_a_request_and_the_changes_are_kept_in_order() {
    let client = Client::start(0).await;
    let id = "00000000-0000-4000-8000-000000000001";
    let (contact, profile) = (format!("/records/dataverse/contact/{id}"), format!("/records/campaign/profile/{id}"));
    client.control(Method::PATCH, &contact, json!({"donotemail": true})).await.expect(400);
    client.control(Method::PATCH, &profile, json!({"blackListEmail": true})).await.expect(400);
    client.control(Method::PUT, &contact, json!({"lastname": "King", "donotphone": true})).await.expect(200);
    client.control(Method::POST, "/history", json!({"keep": true})).await.expect(200);
    client.control(Method::PUT, &profile, json!({"lastName": "King"})).await.expect(200);
    client.control(Method::PATCH, &profile, json!({"blackListEmail": true})).await.expect(200);
    client.control(Method::PATCH, &contact, json!({"donotemail": true})).await.expect(200);
    client.control(Method::PATCH, &contact, json!({"donotphone": "no"})).await.expect(400);
    client.control(Method::DELETE, &profile, json!(null)).await.expect(200);

    let told = client.control(Method::GET, "/history", json!(null)).await.text;
    let told: Vec<Value> = told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let what: Vec<_> = told.iter().map(|change| (change["side"].as_str().unwrap(), change["row"].is_null())).collect();
    assert_eq!(what, [("campaign", false), ("campaign", false), ("dataverse", false), ("campaign", true)]);
    assert!(told.iter().all(|change| change["id"] == id && change["by"] == "control"));
    let (before, after) = (&told[0]["row"], &told[1]["row"]);
    assert_eq!((&before["blackListEmail"], &after["blackListEmail"]), (&json!(false), &json!(true)));
    assert_eq!((&after["lastName"], &after["externalId"]), (&json!("King"), &json!(id)));
    assert_eq!(after["blackListEmailLastModified"], after["lastModified"], "the service dates the change");
    let row = &told[2]["row"];
    assert_eq!(
        (&row["donotemail"], &row["donotphone"], &row["lastname"]),
        (&json!(true), &json!(true), &json!("King"))
    );
    client.control(Method::POST, "/history", json!({"keep": false})).await.expect(200);
    client.control(Method::PATCH, &contact, json!({"donotemail": false})).await.expect(200);
    assert_eq!(client.control(Method::GET, "/history", json!(null)).await.text, "");
}

#[tokio::test]
async fn a_call_is_read_as_json_whatever_it_calls_itself() {
    let client = Client::start(2).await;
    let call = async |method: Method, path: &str, body: &str| {
        let url = format!("{}{path}", client.sandbox.info().control);
        client::send(client.http.request(method, url).body(body.to_owned())).await
    };
    let mutation = r#"{"side":"dataverse","table":"contact","create":1}"#;
    call(Method::POST, "/mutate", mutation).await.expect(200);
    call(Method::POST, "/faults", r#"[{"fault":"hang","route":"/nothing"}]"#).await.expect(200);
    call(Method::POST, "/clock", r#"{"advance_seconds":1}"#).await.expect(200);
    call(Method::POST, "/tokens", r#"{"side":"campaign","lifetime_seconds":60}"#).await.expect(200);
    call(Method::PUT, "/records/campaign/profile/k", r#"{"lastName":"Holm"}"#).await.expect(200);
    for path in ["/mutate", "/faults", "/clock", "/tokens", "/metadata", "/versions"] {
        for wrong in ["", "nonsense", "7", r#"{"unheard_of":1}"#] {
            let refused = call(Method::POST, path, wrong).await.expect(400);
            assert!(refused.json()["error"].is_string(), "{path} {wrong}: {}", refused.text);
        }
    }
    call(Method::PUT, "/records/campaign/profile/k", "[]").await.expect(400);
}

#[tokio::test]
async fn a_slip_of_the_finger_is_refused_at_once() {
    let client = Client::start(2).await;
    for side in ["dataverse", "campaign"] {
        let table = if side == "dataverse" { "contact" } else { "profile" };
        for counts in [
            json!({"create": 1_000_001}),
            json!({"create": u64::MAX}),
            json!({"update": u64::MAX, "delete": u64::MAX}),
            json!({"create": -1}),
        ] {
            let mut plan = counts.clone();
            plan["side"] = json!(side);
            plan["table"] = json!(table);
            client.control(Method::POST, "/mutate", plan).await.expect(400);
        }
    }
    assert_eq!(client.records("dataverse", "contact").await.len(), 2);
}

/// The lines of the fault table of the documentation: name and ids.
fn documented_faults(guide: &str) -> Vec<(String, String)> {
    let table = guide.split("| fault |").nth(1).unwrap().split("\n\n").next().unwrap();
    let cells = |line: &str| line.split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    table.lines().skip(2).map(cells).map(|line| (line[1].trim_matches('`').to_owned(), line[3].clone())).collect()
}

#[tokio::test]
async fn the_guide_says_what_is_there() {
    let guide = include_str!("../../../docs/sandbox.md");
    let faults = documented_faults(guide);
    let client = Client::start(0).await;
    for (name, ids) in &faults {
        let rule = json!([{"fault": name, "route": "/nothing"}]);
        client.control(Method::POST, "/faults", rule).await.expect(200);
        for id in ids.split(", ") {
            assert!(guide.lines().any(|line| line.starts_with(&format!("| {id} |"))), "{name}: {id}");
        }
    }
    // The refusal of an unknown name lists all there are.
    let refused = client.control(Method::POST, "/faults", json!([{"fault": "unheard_of"}])).await.expect(400);
    let known = refused.text.split("expected one of").nth(1).unwrap().matches('`').count() / 2;
    assert_eq!(faults.len(), known, "{}", refused.text);
    // The example is a scenario, and its switches are the defaults.
    let example = guide.split("```toml").nth(1).unwrap().split("```").next().unwrap();
    let scenario = sandbox::scenario::Scenario::parse(example).unwrap();
    let campaign = format!("{:#?}", sandbox::campaign::CampaignSwitches::default());
    let dataverse = format!("{:#?}", sandbox::dataverse::DataverseSwitches::default());
    assert_eq!(format!("{:#?}", scenario.campaign.switches), campaign);
    assert_eq!(format!("{:#?}", scenario.dataverse.switches), dataverse);
    for (section, all) in [("[campaign.switches]", campaign), ("[dataverse.switches]", dataverse)] {
        let section = example.split(section).nth(1).unwrap().split("\n[").next().unwrap();
        let names = all.lines().filter_map(|line| line.trim().split_once(": ")).map(|(name, _)| name);
        for name in names {
            let named = section.lines().any(|line| line.starts_with(&format!("{name} =")));
            assert!(named, "the guide does not name {name}");
        }
    }
    let config = SandboxConfig { contacts: 1, scenario, ..SandboxConfig::default() };
    assert_eq!(Client::with(config).await.records("campaign", "cusOrder").await.len(), 10);
}

#[tokio::test(start_paused = true)]
async fn answers_take_the_time_that_was_asked_for() {
    use std::time::Duration;
    let (dataverse_latency, campaign_latency) = (Duration::from_secs(600), Duration::from_secs(60));
    let config = SandboxConfig { contacts: 1, dataverse_latency, campaign_latency, ..SandboxConfig::default() };
    let client = Client::with(config).await;
    let before = tokio::time::Instant::now();
    client.get("contacts").await.expect(200);
    let taken = before.elapsed();
    assert!(taken >= dataverse_latency && taken < 2 * dataverse_latency, "{taken:?}");
    let url = client.sandbox.info().campaign.url.clone();
    let before = tokio::time::Instant::now();
    client::send(client.http.get(url)).await.expect(401);
    let taken = before.elapsed();
    assert!(taken >= campaign_latency && taken < 2 * campaign_latency, "{taken:?}");
}

#[tokio::test]
async fn counters_count_and_start_again() {
    let client = Client::start(3).await;
    client.get("contacts").await.expect(200);
    client.get("contacts(aaaaaaaa-0000-4000-8000-000000000001)").await.expect(404);
    let counters = client.counters().await;
    let side = &counters["dataverse"];
    assert_eq!(side["requests"], json!({"GET /contacts": 1, "GET /contacts({id})": 1}));
    assert_eq!(side["setup_requests"], json!({"POST /oauth2/v2.0/token": 1}));
    assert_eq!(side["status"], json!({"200": 1, "404": 1}));
    assert_eq!((&side["rows"], &side["in_flight_max"], &side["throttled"]), (&json!(3), &json!(1), &json!(0)));
    assert_eq!(counters["campaign"]["engine_calls"], json!({"insert": 0, "update": 0, "delete": 0, "read": 0}));
    client.control(Method::POST, "/counters/reset", json!({})).await.expect(200);
    assert_eq!(client.counters().await["dataverse"]["requests"], json!({}));
    let info = client.control(Method::GET, "/", json!(null)).await.json();
    assert_eq!(info, client.sandbox.info().to_json());
    client.control(Method::GET, "/nothing", json!(null)).await.expect(404);
}

#[tokio::test]
async fn limits_throttle_and_the_clock_lets_go() {
    let limits = Some(sandbox::dataverse::Limits::requests_in(3, 60));
    let client = Client::with(SandboxConfig { contacts: 1, limits, ..SandboxConfig::default() }).await;
    for _ in 0..3 {
        client.get("contacts").await.expect(200);
    }
    let refused = client.get("contacts").await.expect(429);
    assert_eq!(refused.code(), "0x80072322");
    let wait: i64 = refused.header("retry-after").parse().unwrap();
    assert!((1..=60).contains(&wait));
    assert_eq!(refused.header("x-ms-ratelimit-burst-remaining-xrm-requests"), "0");
    assert_eq!(client.counters().await["dataverse"]["throttled"], 1);
    client.control(Method::POST, "/clock", json!({"advance_seconds": 61})).await.expect(200);
    client.get("contacts").await.expect(200);
}
