//! Change tracking: the first walk, changes, deletes, expiry, what is refused.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

mod client;

use client::{Client, Reply};
use reqwest::Method;
use serde_json::{Value, json};

async fn baseline(client: &Client) -> String {
    let reply = client.prefer("odata.track-changes", "contacts?$select=firstname,lastname").await.expect(200);
    assert_eq!(reply.header("preference-applied"), "odata.track-changes");
    reply.delta_link().unwrap()
}

fn deleted(reply: &Reply) -> Vec<Value> {
    reply.rows().into_iter().filter(|row| row["reason"] == "deleted").collect()
}

#[tokio::test]
async fn a_delta_link_brings_changes_and_then_nothing() {
    let client = Client::start(4).await;
    let link = baseline(&client).await;
    assert!(link.contains("contacts?$select=firstname,lastname&$deltatoken="), "{link}");
    assert!(link.contains("%21") && link.contains("%2f") && link.contains("%3a"), "{link}");
    let quiet = client.get(&link).await.expect(200);
    assert_eq!(quiet.rows().len(), 0);
    assert!(quiet.delta_link().is_some());
    let ids: Vec<String> = client
        .records("dataverse", "contact")
        .await
        .iter()
        .map(|r| r["contactid"].as_str().unwrap().to_owned())
        .collect();
    // A column that is not selected counts too.
    client.write(Method::PATCH, &format!("contacts({})", ids[0]), &[], json!({"jobtitle": "x"})).await.expect(204);
    client.delete(&format!("contacts({})", ids[1])).await.expect(204);
    let unseen = client.create("contacts", "contactid", json!({"lastname": "Brief"})).await;
    client.delete(&format!("contacts({unseen})")).await.expect(204);
    let made = client.create("contacts", "contactid", json!({"lastname": "New"})).await;
    let count = link.replace("contacts?$select=firstname,lastname&", "contacts/$count?");
    assert_eq!(client.get(&count).await.expect(200).text, "\u{feff}4");
    let delta = client.get(&link).await.expect(200);
    assert!(delta.json()["@odata.context"].as_str().unwrap().ends_with("#contacts(firstname,lastname)/$delta"));
    let rows = delta.rows();
    assert_eq!(rows.len(), 4);
    assert_eq!((&rows[0]["contactid"], &rows[1]["contactid"]), (&json!(ids[0]), &json!(made)));
    assert!(rows[0].get("firstname").is_some() && rows[0].get("jobtitle").is_none());
    let gone = deleted(&delta);
    assert_eq!(gone.iter().map(|r| r["id"].as_str().unwrap()).collect::<Vec<_>>(), [ids[1].as_str(), unseen.as_str()]);
    assert_eq!(gone[0].as_object().unwrap().len(), 3);
    assert!(gone[0]["@odata.context"].as_str().unwrap().ends_with("#contacts/$deletedEntity"));
    // The same link again brings the same; the new one brings nothing.
    assert_eq!(client.get(&link).await.rows(), rows);
    assert_eq!(client.get(&delta.delta_link().unwrap()).await.rows().len(), 0);
}

#[tokio::test]
async fn what_is_written_during_the_walk_is_delivered_again() {
    let client = Client::start(6).await;
    let prefer = "odata.track-changes,odata.maxpagesize=4";
    let first = client.prefer(prefer, "contacts?$select=lastname").await.expect(200);
    assert!(first.delta_link().is_none());
    let link = first.next_link().unwrap();
    assert!(link.contains("istracking=%22True%22"));
    let seen = first.rows()[0]["contactid"].as_str().unwrap().to_owned();
    client.write(Method::PATCH, &format!("contacts({seen})"), &[], json!({"lastname": "Changed"})).await.expect(204);
    // The next link alone says that the walk is tracked.
    let last = client.prefer("odata.maxpagesize=4", &link).await.expect(200);
    assert_eq!(last.rows().len(), 2);
    let delta = client.get(&last.delta_link().unwrap()).await.expect(200);
    assert_eq!(delta.rows().len(), 1);
    assert_eq!(delta.rows()[0]["lastname"], "Changed");
}

#[tokio::test]
async fn changes_come_in_pages_too() {
    let client = Client::start(9).await;
    let link = baseline(&client).await;
    let plan = json!({"side": "dataverse", "table": "contact", "create": 3, "update": 4, "delete": 3, "seed": 5});
    client.control(Method::POST, "/mutate", plan).await.expect(200);
    let mut pages = 0;
    let mut rows = Vec::new();
    let mut page = client.prefer("odata.maxpagesize=3", &link).await.expect(200);
    loop {
        pages += 1;
        rows.extend(page.rows());
        let Some(next) = page.next_link() else { break };
        assert!(page.delta_link().is_none());
        page = client.prefer("odata.maxpagesize=3", &next).await.expect(200);
    }
    assert_eq!((rows.len(), pages), (10, 4));
    assert!(rows[7..].iter().all(|row| row["reason"] == "deleted"), "deletes come last");
    assert!(page.delta_link().is_some());
}

#[tokio::test]
async fn old_tokens_and_wrong_ones_are_refused() {
    let client = Client::start(2).await;
    let link = baseline(&client).await;
    client.control(Method::POST, "/clock", json!({"advance_seconds": 7 * 86_400 - 60})).await.expect(200);
    let client = Client { token: client.new_token().await, ..client };
    client.get(&link).await.expect(200);
    client.control(Method::POST, "/clock", json!({"advance_seconds": 120})).await.expect(200);
    let expired = client.get(&link).await.expect(400);
    assert_eq!(expired.code(), "0x80044352");
    assert_eq!(client.get("contacts?$deltatoken=nonsense").await.expect(400).code(), "0x80060888");
    client.get("contacts?$deltatoken=99999999999%2101%2f01%2f2026%2000%3a00%3a00").await.expect(400);
    let days = client.get("organizations?$select=expirechangetrackingindays").await.expect(200).json();
    assert_eq!(days["value"][0]["expirechangetrackingindays"], 7);
}

#[tokio::test]
async fn tracking_excludes_other_options_and_tables_without_it() {
    let client = Client::scenario(2, "[[dataverse.tables]]\nname = \"account\"\nchange_tracking = false").await;
    for option in ["$filter=statecode%20eq%200", "$orderby=lastname", "$top=1", "$expand=masterid", "$count=true"] {
        let reply = client.prefer("odata.track-changes", &format!("contacts?{option}")).await.expect(400);
        let name = option.split('=').next().unwrap();
        let message = format!("The \"{name}\" query parameter isn't supported when Change Tracking is enabled.");
        assert_eq!(reply.json()["error"]["message"], message);
    }
    let off = client.prefer("odata.track-changes", "accounts?$filter=name%20eq%20%27x%27").await.expect(400);
    assert_eq!(off.code(), "0x80072491", "the table is looked at before the options");
    assert_eq!(off.json()["error"]["message"], "Entity account isn't enabled for change tracking.");
}

#[tokio::test]
async fn a_row_that_came_back_is_not_reported_as_deleted() {
    let client = Client::start(1).await;
    let link = baseline(&client).await;
    let id = client.records("dataverse", "contact").await[0]["contactid"].as_str().unwrap().to_owned();
    client.delete(&format!("contacts({id})")).await.expect(204);
    client.write(Method::POST, "contacts", &[], json!({"contactid": id, "lastname": "Again"})).await.expect(204);
    let delta = client.get(&link).await.expect(200);
    assert_eq!(deleted(&delta).len(), 0);
    assert_eq!(delta.rows()[0]["lastname"], "Again");
}
