//! `$batch`: requests one by one, change sets as a whole, and what counts.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

mod client;

use client::{Client, Reply, send};
use reqwest::Method;
use serde_json::{Value, json};

fn id(number: u32) -> String {
    format!("aaaaaaaa-0000-4000-8000-{number:012}")
}

fn part(content_id: Option<u32>, request: &str, headers: &str, body: &str) -> String {
    let id = content_id.map(|id| format!("Content-ID: {id}\r\n")).unwrap_or_default();
    let kind = if body.is_empty() { "" } else { "Content-Type: application/json\r\n" };
    format!(
        "Content-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n{id}\r\n{request} HTTP/1.1\r\n{kind}{headers}\r\n{body}\r\n"
    )
}

fn create(number: u32, name: &str) -> String {
    let body = json!({"contactid": id(number), "lastname": name}).to_string();
    part(None, "POST /api/data/v9.2/contacts", "", &body)
}

fn set(members: &[String]) -> String {
    let members: String = members.iter().map(|member| format!("--c\r\n{member}")).collect();
    format!("Content-Type: multipart/mixed; boundary=c\r\n\r\n{members}--c--\r\n")
}

async fn batch(client: &Client, parts: &[String], prefer: &str) -> Reply {
    let body: String = parts.iter().map(|part| format!("--b\r\n{part}")).collect();
    let request = client.request(Method::POST, "$batch").header("content-type", "multipart/mixed; boundary=\"b\"");
    send(request.header("prefer", prefer).body(format!("{body}--b--\r\n"))).await
}

const GO_ON: &str = "odata.continue-on-error";

/// The statuses of the requests in order, those in change sets included.
fn statuses(reply: &Reply) -> Vec<u16> {
    assert!(reply.header("content-type").starts_with("multipart/mixed; boundary=batchresponse_"), "{}", reply.text);
    reply.text.lines().filter_map(|line| line.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()).collect()
}

async fn names(client: &Client) -> Vec<String> {
    let reply = client.get("contacts?$select=lastname&$orderby=contactid").await.expect(200);
    reply.rows().iter().map(|row| row["lastname"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_batch_stops_at_the_first_failure_unless_told_otherwise() {
    let client = Client::start(0).await;
    let get = |number: u32| part(None, &format!("GET contacts({})?$select=lastname", id(number)), "", "");
    let parts = [create(1, "A"), create(1, "B"), create(2, "C"), get(1)];
    let stopped = batch(&client, &parts, "").await.expect(412);
    assert_eq!(statuses(&stopped), [204, 412]);
    assert!(stopped.text.contains("REQ_ID: ") && stopped.text.contains("Cannot insert duplicate key."));
    assert_eq!(names(&client).await, ["A"], "what was done stays");
    let whole = batch(&client, &parts, GO_ON).await.expect(200);
    assert_eq!(statuses(&whole), [412, 412, 204, 200]);
    assert_eq!(whole.header("preference-applied"), GO_ON);
    assert!(
        whole.text.contains("\"lastname\":\"A\"")
            && whole.text.contains(&format!(
                "Location: {}/api/data/v9.2/contacts({})",
                client.sandbox.info().dataverse.url,
                id(2)
            ))
    );
    let counted = client.counters().await["dataverse"].clone();
    assert_eq!(
        (&counted["requests"]["POST /$batch"], &counted["batch_parts"]),
        (&json!(2), &json!({"POST /contacts": 5, "GET /contacts({id})": 1}))
    );
}

#[tokio::test]
async fn a_change_set_is_done_as_a_whole_or_not_at_all() {
    let client = Client::start(0).await;
    let contact = json!({"contactid": id(1), "lastname": "Byron"}).to_string();
    let vehicle = json!({"new_name": "car", "new_Owner@odata.bind": "$1"}).to_string();
    let members = |last: &str| {
        vec![
            part(Some(1), "POST /api/data/v9.2/contacts", "", &contact),
            part(Some(2), "POST /api/data/v9.2/new_vehicles", "", &vehicle),
            part(Some(3), "PATCH $1", "If-Match: *\r\n", last),
        ]
    };
    let failed = batch(&client, &[set(&members(r#"{"citty":"x"}"#)), create(2, "C")], "").await.expect(400);
    assert_eq!(statuses(&failed), [400]);
    assert!(failed.text.contains("changesetresponse_") && names(&client).await.is_empty());
    assert!(client.records("dataverse", "new_vehicle").await.is_empty());
    let went_on = batch(&client, &[set(&members(r#"{"citty":"x"}"#)), create(2, "C")], GO_ON).await.expect(200);
    assert_eq!((statuses(&went_on), names(&client).await), (vec![400, 204], vec!["C".to_owned()]));
    let done = batch(&client, &[set(&members(r#"{"lastname":"King"}"#))], "").await.expect(200);
    assert_eq!(statuses(&done), [204, 204, 204]);
    assert!(done.text.contains("Content-ID: 3"));
    assert_eq!(names(&client).await, ["King", "C"]);
    assert_eq!(client.records("dataverse", "new_vehicle").await[0]["_new_owner_value"], json!(id(1)));
    let unknown = part(Some(1), "PATCH $7", "", "{}");
    let refused = batch(&client, &[set(&[unknown])], "").await.expect(400);
    assert!(refused.text.contains("Content-ID Reference: '$7' does not exist in the batch context."));
}

#[tokio::test]
async fn batches_that_cannot_be_read_are_refused_whole() {
    let client = Client::start(0).await;
    let text = |reply: &Reply| -> Value { reply.json()["error"]["message"].clone() };
    let get = || part(None, "GET contacts", "", "");
    for (parts, message) in [
        (vec![set(&[create(1, "A")])], "Content-ID header not present"),
        (vec![set(&[part(Some(1), "GET contacts", "", "")])], "A change set cannot hold GET"),
        (vec![get(); 1001], "1000 are allowed"),
    ] {
        let reply = batch(&client, &parts, "").await.expect(400);
        assert!(text(&reply).as_str().unwrap().contains(message), "{}", reply.text);
        assert_eq!(reply.code(), "0x80060888");
    }
    client.write(Method::POST, "$batch", &[], json!({})).await.expect(400);
    client.get("$batch").await.expect(405);
    let nested = batch(&client, &[part(None, "POST $batch", "", "{}")], "").await.expect(400);
    assert!(nested.text.contains("cannot hold another batch"));
    let whole = batch(&client, &vec![get(); 1000], "").await.expect(200);
    assert_eq!(statuses(&whole).len(), 1000);
}

#[tokio::test]
async fn each_part_counts_towards_the_limits() {
    let client = Client::start(0).await;
    client.control(Method::PUT, "/limits", json!({"requests": 3, "window_seconds": 300})).await.expect(200);
    let parts: Vec<String> = (0..5).map(|number| create(number, "A")).collect();
    let part_way = batch(&client, &parts, GO_ON).await.expect(200);
    assert_eq!(statuses(&part_way), [204, 204, 204, 429, 429]);
    assert!(part_way.text.contains("retry-after: ") && part_way.text.contains("0x80072322"));
    let refused = batch(&client, &parts, GO_ON).await.expect(429);
    assert_eq!(refused.code(), "0x80072322", "a refusal of the whole is no multipart");
}

#[tokio::test]
async fn faults_hit_a_batch_as_any_request() {
    let client = Client::start(0).await;
    client.faults(json!([{"side": "dataverse", "route": "POST /$batch", "fault": "status", "status": 503}])).await;
    batch(&client, &[create(1, "A")], "").await.expect(503);
    assert!(names(&client).await.is_empty());
    assert_eq!(statuses(&batch(&client, &[create(1, "A")], "").await.expect(200)), [204]);
}
