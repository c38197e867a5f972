//! Faults of pages and links: each does what the table in `docs/sandbox.md` says, once, and where it can.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

mod client;

use std::collections::HashSet;

use client::{Client, Reply, send};
use reqwest::Method;
use serde_json::{Value, json};

const TRACKED: &str = "odata.track-changes,odata.maxpagesize=2";
/// A tracked walk, an untracked list, a sorted one.
const READS: [(&str, &str); 3] = [
    (TRACKED, "contacts?$select=lastname"),
    ("odata.maxpagesize=2", "contacts?$select=lastname"),
    ("odata.maxpagesize=2", "contacts?$select=lastname&$orderby=lastname"),
];

async fn fired(client: &Client) -> u64 {
    client.control(Method::GET, "/faults", json!(null)).await.json()[0]["fired"].as_u64().unwrap()
}

async fn armed(fault: &str) -> Client {
    let client = Client::start(5).await;
    client.faults(json!([{"side": "dataverse", "fault": fault}])).await;
    client
}

fn ids(rows: &[Value]) -> Vec<String> {
    rows.iter().map(|row| row["contactid"].as_str().unwrap().to_owned()).collect()
}

/// All pages from a path on.
async fn walk(client: &Client, prefer: &str, path: &str) -> Vec<Reply> {
    let mut pages = vec![client.prefer(prefer, path).await.expect(200)];
    while let Some(next) = pages.last().unwrap().next_link() {
        pages.push(client.prefer(prefer, &next).await.expect(200));
        assert!(pages.len() < 20, "no end");
    }
    pages
}

async fn changed(client: &Client) -> String {
    let link = client.prefer("odata.track-changes", "contacts?$select=lastname").await.expect(200).delta_link();
    let plan = json!({"side": "dataverse", "table": "contact", "update": 5, "fields": ["lastname"], "seed": 2});
    client.control(Method::POST, "/mutate", plan).await.expect(200);
    link.unwrap()
}

#[tokio::test]
async fn a_page_repeats_itself_once_and_then_goes_on() {
    for (prefer, path) in READS {
        let client = armed("repeat_page").await;
        let pages = walk(&client, prefer, path).await;
        assert_eq!(pages.iter().map(|page| page.rows().len()).collect::<Vec<_>>(), [2, 2, 2, 1], "{path}");
        assert_eq!(pages[0].rows(), pages[1].rows());
        assert!(pages[0].next_link().unwrap().ends_with(path), "it leads to itself");
        assert_eq!(fired(&client).await, 1);
    }
}

#[tokio::test]
async fn a_link_may_lead_in_a_circle_for_ever() {
    let client = Client::start(5).await;
    client.faults(json!([{"side": "dataverse", "fault": "repeat_page", "nth": 2, "times": 1000}])).await;
    let first = client.prefer(TRACKED, "contacts").await.expect(200);
    let link = first.next_link().unwrap();
    for _ in 0..5 {
        assert_eq!(client.prefer(TRACKED, &link).await.expect(200).next_link().as_ref(), Some(&link));
    }
    assert_eq!(fired(&client).await, 5);
}

#[tokio::test]
async fn an_empty_page_has_a_next_link_that_leads_to_the_rows() {
    for (prefer, path) in READS {
        let client = Client::start(5).await;
        client.faults(json!([{"side": "dataverse", "fault": "empty_page", "nth": 2}])).await;
        let pages = walk(&client, prefer, path).await;
        assert_eq!(pages.iter().map(|page| page.rows().len()).collect::<Vec<_>>(), [2, 0, 2, 1], "{path}");
        assert_ne!(pages[0].next_link(), pages[1].next_link(), "another page, not the same again");
        let all: HashSet<String> = pages.iter().flat_map(|page| ids(&page.rows())).collect();
        assert_eq!(all.len(), 5);
        // The first page as well as a later one.
        let client = armed("empty_page").await;
        let pages = walk(&client, prefer, path).await;
        assert_eq!(pages.iter().map(|page| page.rows().len()).collect::<Vec<_>>(), [0, 2, 2, 1], "{path}");
    }
    let client = Client::start(5).await;
    let link = changed(&client).await;
    client.faults(json!([{"side": "dataverse", "fault": "empty_page"}])).await;
    let pages = walk(&client, "odata.maxpagesize=3", &link).await;
    assert_eq!(pages.iter().map(|page| page.rows().len()).collect::<Vec<_>>(), [0, 3, 2]);
    assert!(pages[2].delta_link().is_some());
}

#[tokio::test]
async fn a_page_without_any_link_is_the_last_one_to_whoever_believes_it() {
    for (prefer, path) in READS {
        let client = armed("no_link").await;
        let page = client.prefer(prefer, path).await.expect(200);
        assert_eq!((page.rows().len(), page.next_link(), page.delta_link()), (2, None, None), "{path}");
        assert_eq!(fired(&client).await, 1);
        assert!(client.prefer(prefer, path).await.expect(200).next_link().is_some());
    }
    let client = Client::start(5).await;
    let link = changed(&client).await;
    client.faults(json!([{"side": "dataverse", "fault": "no_link"}])).await;
    let page = client.get(&link).await.expect(200);
    assert_eq!((page.rows().len(), page.delta_link()), (5, None));
    // A list that fits on one page has no link to lose.
    let client = armed("no_link").await;
    client.get("contacts").await.expect(200);
    assert_eq!(fired(&client).await, 0);
}

#[tokio::test]
async fn rows_come_twice() {
    for (prefer, path) in READS {
        let client = armed("resend_rows").await;
        let pages = walk(&client, prefer, path).await;
        let rows = pages[0].rows();
        assert_eq!(rows.len(), 4, "{path}");
        assert_eq!(rows[..2], rows[2..]);
        assert_eq!(pages.iter().map(|page| page.rows().len()).sum::<usize>(), 7);
    }
    let client = Client::start(5).await;
    let link = changed(&client).await;
    client.faults(json!([{"side": "dataverse", "fault": "resend_rows"}])).await;
    assert_eq!(client.get(&link).await.expect(200).rows().len(), 10);
}

#[tokio::test]
async fn a_next_link_grows_stale() {
    for (prefer, path) in READS {
        let client = armed("stale_next_link").await;
        let first = client.prefer(prefer, path).await.expect(200);
        let link = first.next_link().unwrap();
        assert_eq!(client.prefer(prefer, &link).await.expect(400).code(), "0x80060888");
        assert_eq!(fired(&client).await, 1);
        // Whoever tries again may be lucky.
        client.prefer(prefer, &link).await.expect(200);
    }
}

#[tokio::test]
async fn a_deletion_of_a_row_that_nobody_saw() {
    let client = armed("unseen_delete").await;
    let link = client.prefer("odata.track-changes", "contacts?$select=lastname").await.expect(200);
    assert_eq!((link.rows().len(), fired(&client).await), (5, 0), "a first walk has no deletions");
    let rows = client.get(&link.delta_link().unwrap()).await.expect(200).rows();
    assert_eq!((rows.len(), &rows[0]["reason"], fired(&client).await), (1, &json!("deleted"), 1));
    let known = ids(&client.records("dataverse", "contact").await);
    assert!(!known.contains(&rows[0]["id"].as_str().unwrap().to_owned()));
}

#[tokio::test]
async fn pages_of_campaign_repeat_themselves_too() {
    let client = Client::start(0).await;
    let plan = json!({"side": "campaign", "table": "profile", "create": 5, "seed": 1});
    client.control(Method::POST, "/mutate", plan).await.expect(200);
    let info = client.sandbox.info().campaign.clone();
    let (token, _) = client.sandbox.shared().tokens.issue(sandbox::service::Side::Campaign);
    let ask = |url: &str| client.http.get(url).bearer_auth(&token).header("x-api-key", &info.client_id);
    client.faults(json!([{"side": "campaign", "fault": "repeat_page"}])).await;
    let url = format!("{}/campaign/profileAndServicesExt/profile?_lineCount=2", info.url);
    let first = send(ask(&url)).await.expect(200).json();
    assert_eq!(first["next"]["href"], url.as_str());
    let again = send(ask(&url)).await.expect(200).json();
    assert_eq!(again["content"], first["content"]);
    assert_ne!(again["next"]["href"], url.as_str());
}

#[tokio::test]
async fn a_fault_of_one_side_is_refused_for_the_other() {
    let client = Client::start(0).await;
    for (side, fault) in [("campaign", "empty_page"), ("campaign", "expire_delta"), ("campaign", "no_link")] {
        let refused = client.control(Method::POST, "/faults", json!([{"side": side, "fault": fault}])).await;
        assert!(refused.expect(400).text.contains("the other side"), "{fault}");
    }
}
