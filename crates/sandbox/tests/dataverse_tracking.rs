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
