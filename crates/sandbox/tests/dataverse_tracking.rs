//! Change tracking while the table changes: both answers to what the token of a first walk covers, and tokens that end early.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

mod client;

use client::{Client, Reply};
use reqwest::Method;
use serde_json::{Value, json};

const SMALL: &str = "odata.track-changes,odata.maxpagesize=2";

async fn mode(covers: bool) -> Client {
    Client::scenario(6, &format!("[dataverse.switches]\ntoken_covers_paging = {covers}")).await
}

async fn ids(client: &Client) -> Vec<String> {
    let rows = client.records("dataverse", "contact").await;
    rows.iter().map(|row| row["contactid"].as_str().unwrap().to_owned()).collect()
}

async fn rename(client: &Client, id: &str, name: &str) {
    client.write(Method::PATCH, &format!("contacts({id})"), &[], json!({"lastname": name})).await.expect(204);
}

/// The rest of a walk after a page: its rows, and the link at its end.
async fn rest(client: &Client, page: &Reply) -> (Vec<Value>, String) {
    let mut rows = Vec::new();
    let mut link = page.next_link().unwrap();
    loop {
        let page = client.prefer(SMALL, &link).await.expect(200);
        rows.extend(page.rows());
        match page.next_link() {
            Some(next) => link = next,
            None => return (rows, page.delta_link().unwrap()),
        }
    }
}

fn names(rows: &[Value]) -> Vec<&str> {
    rows.iter().filter_map(|row| row["lastname"].as_str()).collect()
}

#[tokio::test]
async fn what_changes_behind_a_walk_is_in_its_token_or_nowhere() {
    for covers in [true, false] {
        let client = mode(covers).await;
        let ids = ids(&client).await;
        let first = client.prefer(SMALL, "contacts?$select=lastname").await.expect(200);
        // Read already: one changed, one deleted.
        rename(&client, &ids[0], "Behind").await;
        client.delete(&format!("contacts({})", ids[1])).await.expect(204);
        // Not read yet: one changed, one deleted.
        rename(&client, &ids[4], "Ahead").await;
        client.delete(&format!("contacts({})", ids[5])).await.expect(204);
        let (rows, link) = rest(&client, &first).await;
        // No page is of a snapshot: each shows the rows as they are when it is asked for.
        assert_eq!(rows.len(), 3);
        assert!(names(&rows).contains(&"Ahead") && !names(&rows).contains(&"Behind"));
        let delta = client.get(&link).await.expect(200).rows();
        if covers {
            assert_eq!(names(&delta), ["Behind", "Ahead"]);
            let gone: Vec<&str> = delta.iter().filter_map(|row| row["id"].as_str()).collect();
            assert_eq!(gone, [ids[1].as_str(), ids[5].as_str()]);
        } else {
            assert_eq!(delta.len(), 0, "{delta:?}");
        }
        // From the end of the walk on nothing is lost in either mode.
        rename(&client, &ids[0], "Later").await;
        client.delete(&format!("contacts({})", ids[2])).await.expect(204);
        let later = client.get(&link).await.expect(200).rows();
        assert!(names(&later).contains(&"Later"));
        assert!(later.iter().any(|row| row["id"] == ids[2].as_str()));
    }
}

#[tokio::test]
async fn a_row_that_is_made_behind_a_walk_is_treated_alike() {
    for covers in [true, false] {
        let client = mode(covers).await;
        let first = client.prefer(SMALL, "contacts?$select=lastname").await.expect(200);
        let low = "00000000-0000-4000-8000-000000000001";
        client.write(Method::POST, "contacts", &[], json!({"contactid": low, "lastname": "Low"})).await.expect(204);
        let (rows, link) = rest(&client, &first).await;
        assert!(!names(&rows).contains(&"Low"));
        assert_eq!(client.get(&link).await.expect(200).rows().len(), usize::from(covers));
    }
}

#[tokio::test]
async fn a_poll_of_several_pages_loses_nothing_in_either_mode() {
    for covers in [true, false] {
        let client = mode(covers).await;
        let ids = ids(&client).await;
        let link = client.prefer("odata.track-changes", "contacts?$select=lastname").await.expect(200);
        let link = link.delta_link().unwrap();
        for id in &ids[..4] {
            rename(&client, id, "Once").await;
        }
        let first = client.prefer("odata.maxpagesize=2", &link).await.expect(200);
        rename(&client, &ids[0], "Twice").await;
        rename(&client, &ids[3], "Twice").await;
        let (rows, link) = rest(&client, &first).await;
        assert_eq!(names(&rows), ["Once"], "the one that moved on comes with the next poll");
        assert_eq!(names(&client.get(&link).await.expect(200).rows()), ["Twice", "Twice"]);
    }
}

#[tokio::test]
async fn a_change_of_the_definition_ends_the_tokens_of_its_table() {
    let client = Client::start(2).await;
    let tracked = async |set: &str| client.prefer("odata.track-changes", set).await.expect(200).delta_link().unwrap();
    let (contacts, accounts) = (tracked("contacts").await, tracked("accounts").await);
    client.control(Method::POST, "/metadata", json!({"table": "contact"})).await.expect(200);
    assert_eq!(client.get(&contacts).await.expect(400).code(), "0x80044352");
    client.get(&accounts).await.expect(200);
    // A new walk gives a token that is good.
    client.get(&tracked("contacts").await).await.expect(200);
    let unknown = client.control(Method::POST, "/metadata", json!({"table": "nothing"})).await.expect(400);
    assert!(unknown.text.contains("no table nothing"));
}

#[tokio::test]
async fn the_organization_may_be_closed_to_the_user() {
    let client = Client::scenario(0, "[dataverse.switches]\norganization_readable = false").await;
    let refused = client.get("organizations?$select=expirechangetrackingindays").await.expect(403);
    assert_eq!(refused.code(), "0x80040220");
    assert!(refused.text.contains("prvReadOrganization"));
    client.get("WhoAmI").await.expect(200);
}

#[tokio::test]
async fn versions_become_visible_out_of_order() {
    let client = Client::start(4).await;
    let ids = ids(&client).await;
    let link =
        client.prefer("odata.track-changes", "contacts?$select=lastname").await.expect(200).delta_link().unwrap();
    let reserved = client.control(Method::POST, "/versions", json!({"reserve": 3})).await.expect(200).json();
    let version = |at: usize| reserved["versions"][at].as_i64().unwrap();
    rename(&client, &ids[3], "Quick").await;
    let polled = client.get(&link).await.expect(200);
    assert_eq!(names(&polled.rows()), ["Quick"]);
    // Now the slow ones come to light: a change, a new row, a deletion.
    let put = async |id: &str, at: usize| {
        let path = format!("/records/dataverse/contact/{id}?version={}", version(at));
        client.control(Method::PUT, &path, json!({"lastname": "Slow"})).await
    };
    put(&ids[0], 0).await.expect(200);
    let made = "00000000-0000-4000-8000-0000000000aa";
    put(made, 1).await.expect(200);
    let gone = format!("/records/dataverse/contact/{}?version={}", ids[1], version(2));
    client.control(Method::DELETE, &gone, json!({})).await.expect(200);
    let later = client.get(&polled.delta_link().unwrap()).await.expect(200);
    assert_eq!(later.rows().len(), 0, "no poll after the quick one tells of them");
    let list = client.get("contacts?$select=contactid,versionnumber&$orderby=contactid").await.expect(200).rows();
    let of =
        |id: &str| list.iter().find(|row| row["contactid"] == id).map(|row| row["versionnumber"].as_i64().unwrap());
    assert_eq!((of(&ids[0]), of(made), of(&ids[1])), (Some(version(0)), Some(version(1)), None));
    // The old link, from before all of them, tells.
    assert_eq!(client.get(&link).await.expect(200).rows().len(), 4);
    // A version is used once, and never takes a row back.
    put(&ids[2], 0).await.expect(400);
    let more = client.control(Method::POST, "/versions", json!({"reserve": 1})).await.json()["versions"][0].clone();
    rename(&client, &ids[2], "Newer").await;
    let path = format!("/records/dataverse/contact/{}?version={more}", ids[2]);
    client.control(Method::PUT, &path, json!({"lastname": "Older"})).await.expect(400);
    client.control(Method::PUT, &format!("{path}&x=1"), json!({})).await.expect(400);
    client.control(Method::PUT, "/records/campaign/profile/k?version=1", json!({})).await.expect(400);
    client.control(Method::POST, "/versions", json!({"reserve": 1_000_001})).await.expect(400);
}

#[tokio::test]
async fn next_links_grow_old_when_they_are_told_to() {
    for (line, status) in [("", 200), ("next_link_seconds = 600", 400)] {
        let client = Client::scenario(5, &format!("[dataverse.switches]\n{line}")).await;
        for prefer in [SMALL, "odata.maxpagesize=2"] {
            let link = client.prefer(prefer, "contacts").await.expect(200).next_link().unwrap();
            client.control(Method::POST, "/clock", json!({"advance_seconds": 500})).await.expect(200);
            client.get(&link).await.expect(200);
            client.control(Method::POST, "/clock", json!({"advance_seconds": 200})).await.expect(200);
            client.get(&link).await.expect(status);
        }
    }
}
