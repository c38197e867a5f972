//! Every switch of the Dataverse side, in both positions.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

mod client;

use client::{Client, Reply, send};
use reqwest::Method;
use serde_json::json;

async fn switched(line: &str) -> Client {
    Client::scenario(
        5,
        &format!("[dataverse.switches]\n{line}\n[[dataverse.tables]]\nname = \"account\"\nchange_tracking = false"),
    )
    .await
}

async fn delta_link(client: &Client) -> String {
    client.prefer("odata.track-changes", "contacts?$select=lastname").await.expect(200).delta_link().unwrap()
}

async fn expired(client: &Client) -> Reply {
    let link = delta_link(client).await;
    client.faults(json!([{"side": "dataverse", "fault": "expire_delta"}])).await;
    client.get(&link).await
}

#[tokio::test]
async fn statuses_of_tracking_errors() {
    for (line, status) in [("", 400), ("expired_token_status = 410", 410)] {
        assert_eq!(expired(&switched(line).await).await.expect(status).code(), "0x80044352");
    }
    for (line, status) in [("", 400), ("tracking_off_status = 501", 501)] {
        let reply = switched(line).await.prefer("odata.track-changes", "accounts").await;
        assert_eq!(reply.expect(status).code(), "0x80072491");
    }
    for (line, status) in [("", 400), ("tracking_option_status = 405", 405)] {
        switched(line).await.prefer("odata.track-changes", "contacts?$top=1").await.expect(status);
    }
    for (line, status) in [("", 400), ("malformed_token_status = 404", 404)] {
        switched(line).await.get("contacts?$deltatoken=x").await.expect(status);
    }
}

#[tokio::test]
async fn the_cookie_of_a_tracked_walk() {
    for (line, word) in [("", "istracking=%22True%22"), ("istracking = false", "istracking=%22False%22")] {
        let client = switched(line).await;
        let first = client.prefer("odata.track-changes,odata.maxpagesize=3", "contacts").await.expect(200);
        let link = first.next_link().unwrap();
        assert!(link.contains(word), "{link}");
        let last = client.prefer("odata.track-changes,odata.maxpagesize=3", &link).await.expect(200);
        assert!(last.delta_link().is_some(), "the walk stays tracked in either position");
    }
}

#[tokio::test]
async fn ext_expires_in() {
    for (line, there) in [("", true), ("ext_expires_in = false", false)] {
        let client = switched(line).await;
        let info = &client.sandbox.info().dataverse;
        let scope = format!("{}/.default", info.url);
        let reply = client
            .ask_token(&[("client_id", &info.client_id), ("client_secret", &info.client_secret), ("scope", &scope)])
            .await;
        assert_eq!(reply.expect(200).json().get("ext_expires_in").is_some(), there);
    }
}

#[tokio::test]
async fn the_code_of_a_failed_precondition() {
    for (line, code) in [("", ""), ("empty_precondition_code = false", "0x80040237")] {
        let client = switched(line).await;
        let id = client.records("dataverse", "contact").await[0]["contactid"].as_str().unwrap().to_owned();
        let reply = client
            .write(Method::PATCH, &format!("contacts({id})"), &[("if-none-match", "*")], json!({"lastname": "x"}))
            .await;
        assert_eq!(reply.expect(412).code(), code);
    }
}

#[tokio::test]
async fn an_empty_delta_answer() {
    for (line, there) in [("", true), ("empty_delta_value = false", false)] {
        let client = switched(line).await;
        let reply = client.get(&delta_link(&client).await).await.expect(200);
        assert_eq!(reply.json().get("value").is_some(), there);
        assert!(reply.delta_link().is_some());
    }
}

#[tokio::test]
async fn annotations_and_the_delta_link() {
    let prefer = "odata.track-changes,odata.include-annotations=\"*\"";
    for (line, there) in [("", true), ("annotations_hide_delta_link = true", false)] {
        let reply = switched(line).await.prefer(prefer, "contacts?$select=gendercode").await.expect(200);
        assert_eq!(reply.delta_link().is_some(), there);
        assert!(reply.next_link().is_none());
    }
}

#[tokio::test]
async fn count_beside_tracking() {
    let refused = switched("").await.prefer("odata.track-changes", "contacts?$count=true").await;
    refused.expect(400);
    let reply =
        switched("count_with_tracking = true").await.prefer("odata.track-changes", "contacts?$count=true").await;
    assert_eq!(reply.expect(200).json()["@odata.count"], 5);
}

#[tokio::test]
async fn sizes_of_pages() {
    for (line, rows) in [("", 5), ("default_page_size = 2", 2), ("short_pages = 1", 1)] {
        let client = switched(line).await;
        let reply = client.get("contacts?$select=contactid").await.expect(200);
        assert_eq!(reply.rows().len(), rows, "{line}");
        assert_eq!(reply.next_link().is_some(), rows < 5);
    }
    let asked = switched("short_pages = 1").await;
    let reply = asked.prefer("odata.track-changes,odata.maxpagesize=4", "contacts").await.expect(200);
    assert_eq!(reply.rows().len(), 1, "a short page whatever is asked, with a next link");
    assert!(reply.next_link().is_some());
}

#[tokio::test]
async fn rows_that_are_sent_again() {
    for (line, rows) in [("", 0), ("resend_duplicates = true", 1)] {
        let client = switched(line).await;
        assert_eq!(client.get(&delta_link(&client).await).await.expect(200).rows().len(), rows);
    }
}

#[tokio::test]
async fn days_that_a_delta_token_lives() {
    for (line, days) in [("", 7), ("expire_change_tracking_days = 30", 30)] {
        let client = switched(line).await;
        let shown = client.get("organizations?$select=expirechangetrackingindays").await.expect(200).json();
        assert_eq!(shown["value"][0]["expirechangetrackingindays"], days);
        let link = delta_link(&client).await;
        client.sandbox.shared().clock.advance(10 * 86_400);
        let client = Client { token: client.new_token().await, ..client };
        client.get(&link).await.expect(if days == 7 { 400 } else { 200 });
    }
}

async fn first_id(client: &Client) -> String {
    client.records("dataverse", "contact").await[0]["contactid"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_code_of_a_tracking_option() {
    for (line, code) in [("", "0x80060888"), ("tracking_option_code = \"0x80040203\"", "0x80040203")] {
        let refused = switched(line).await.prefer("odata.track-changes", "contacts?$top=1").await.expect(400);
        assert_eq!(refused.code(), code);
    }
}

#[tokio::test]
async fn a_row_that_was_deleted_and_created_again() {
    for (line, deletions) in [("", 0), ("recreated_rows_stay_deleted = true", 1)] {
        let client = switched(line).await;
        let link = delta_link(&client).await;
        let id = first_id(&client).await;
        let path = format!("contacts({id})");
        // Twice: one deletion a row is on record, whatever happened.
        for name in ["Once", "Again"] {
            client.delete(&path).await.expect(204);
            client.write(Method::POST, "contacts", &[], json!({"contactid": id, "lastname": name})).await.expect(204);
        }
        let rows = client.get(&link).await.expect(200).rows();
        assert_eq!(rows[0]["lastname"], "Again", "{line}");
        assert_eq!(rows.len(), 1 + deletions, "{line}");
        assert!(rows[1..].iter().all(|row| row["reason"] == "deleted" && row["id"] == id.as_str()));
        let count = link.replace("contacts?$select=lastname&", "contacts/$count?");
        assert_eq!(client.get(&count).await.expect(200).text, format!("\u{feff}{}", 1 + deletions));
        // Deleted for good, it is deleted in both positions.
        client.delete(&path).await.expect(204);
        let rows = client.get(&link).await.expect(200).rows();
        assert_eq!((rows.len(), &rows[0]["reason"]), (1, &json!("deleted")));
    }
}

#[tokio::test]
async fn a_change_of_a_column_that_is_not_selected() {
    for (line, sent) in [("", 1), ("unselected_changes = false", 0)] {
        let client = switched(line).await;
        let link = delta_link(&client).await;
        let path = format!("contacts({})", first_id(&client).await);
        client.write(Method::PATCH, &path, &[], json!({"jobtitle": "Other"})).await.expect(204);
        let reply = client.get(&link).await.expect(200);
        assert_eq!(reply.rows().len(), sent, "{line}");
        assert!(reply.delta_link().is_some());
        // What is selected is sent in both positions, and so are new rows and deletions.
        client.write(Method::PATCH, &path, &[], json!({"lastname": "Other"})).await.expect(204);
        assert_eq!(client.get(&link).await.expect(200).rows().len(), 1);
        let made = client.create("contacts", "contactid", json!({"lastname": "New"})).await;
        assert_eq!(client.get(&link).await.expect(200).rows().len(), 2);
        client.delete(&format!("contacts({made})")).await.expect(204);
        assert_eq!(client.get(&link).await.expect(200).rows().len(), 2);
        let all = client.prefer("odata.track-changes", "contacts").await.expect(200).delta_link().unwrap();
        client.write(Method::PATCH, &path, &[], json!({"jobtitle": "Again"})).await.expect(204);
        assert_eq!(client.get(&all).await.expect(200).rows().len(), 1, "without $select every column is selected");
    }
}

#[tokio::test]
async fn the_age_of_a_token() {
    for (line, idle) in [("", 400), ("strict_token_age = false", 200)] {
        let client = switched(line).await;
        let link = delta_link(&client).await;
        client.sandbox.shared().clock.advance(10 * 86_400);
        let client = Client { token: client.new_token().await, ..client };
        client.get(&link).await.expect(idle);
        let path = format!("contacts({})", first_id(&client).await);
        client.write(Method::PATCH, &path, &[], json!({"lastname": "Late"})).await.expect(204);
        client.get(&link).await.expect(idle);
        // Now the token has missed a change that is older than what is kept.
        client.sandbox.shared().clock.advance(8 * 86_400);
        let client = Client { token: client.new_token().await, ..client };
        assert_eq!(client.get(&link).await.expect(400).code(), "0x80044352");
    }
    // A deletion that was missed ages as a change does.
    let client = switched("strict_token_age = false").await;
    let link = delta_link(&client).await;
    client.delete(&format!("contacts({})", first_id(&client).await)).await.expect(204);
    client.sandbox.shared().clock.advance(8 * 86_400);
    let client = Client { token: client.new_token().await, ..client };
    client.get(&link).await.expect(400);
}

#[tokio::test]
async fn a_delta_answer_without_a_link() {
    for (line, there) in [("", true), ("delta_without_link = true", false)] {
        let client = switched(line).await;
        let link = delta_link(&client).await;
        let reply = client.get(&link).await.expect(200);
        assert_eq!(reply.delta_link().is_some(), there);
        assert!(reply.next_link().is_none());
        client.get(&link).await.expect(200);
    }
}

#[tokio::test]
async fn a_date_with_a_time() {
    for (line, status) in [("", 400), ("date_only_takes_time = true", 204)] {
        let client = switched(line).await;
        let path = format!("contacts({})", first_id(&client).await);
        client.write(Method::PATCH, &path, &[], json!({"birthdate": "1990-05-01"})).await.expect(204);
        let with_time = json!({"birthdate": "1991-06-02T23:30:00Z"});
        client.write(Method::PATCH, &path, &[], with_time).await.expect(status);
        let shown = if status == 400 { "1990-05-01" } else { "1991-06-02" };
        assert_eq!(client.get(&path).await.expect(200).json()["birthdate"], shown);
        client.write(Method::PATCH, &path, &[], json!({"birthdate": "yesterday"})).await.expect(400);
    }
}

#[tokio::test]
async fn changes_of_an_inactive_row() {
    for (line, status) in [("", 204), ("inactive_rows_are_read_only = true", 400)] {
        let client = switched(line).await;
        let path = format!("contacts({})", first_id(&client).await);
        client.write(Method::PATCH, &path, &[], json!({"statecode": 1})).await.expect(204);
        client.write(Method::PATCH, &path, &[], json!({"lastname": "x"})).await.expect(status);
        client.write(Method::PUT, &format!("{path}/lastname"), &[], json!({"value": "y"})).await.expect(status);
        client.write(Method::PATCH, &path, &[], json!({"statecode": 0, "lastname": "z"})).await.expect(204);
        client.write(Method::PATCH, &path, &[], json!({"lastname": "x"})).await.expect(204);
    }
}

#[tokio::test]
async fn the_body_of_a_401() {
    for (line, empty) in [("", false), ("unauthorized_body = false", true)] {
        let client = switched(line).await;
        let url = format!("{}/api/data/v9.2/contacts", client.sandbox.info().dataverse.url);
        let reply = send(client.http.get(url).bearer_auth("made-up")).await;
        assert_eq!(reply.text.is_empty(), empty);
        assert!(reply.expect(401).header("www-authenticate").starts_with("Bearer authorization_uri="));
    }
}

#[tokio::test]
async fn ne_and_null() {
    for (line, rows) in [("", 1), ("ne_finds_null = false", 0)] {
        let client = switched(line).await;
        client.create("contacts", "contactid", json!({"lastname": "Only", "jobtitle": null})).await;
        let filter = "contacts?$filter=lastname%20eq%20%27Only%27%20and%20jobtitle%20ne%20%27x%27";
        assert_eq!(client.get(filter).await.expect(200).rows().len(), rows);
    }
}

#[tokio::test]
async fn the_entity_id_on_201() {
    for (line, there) in [("", false), ("entity_id_on_created = true", true)] {
        let client = switched(line).await;
        let prefer = [("prefer", "return=representation")];
        let reply = client.write(Method::POST, "contacts", &prefer, json!({"lastname": "x"})).await.expect(201);
        assert_eq!(!reply.header("odata-entityid").is_empty(), there);
    }
}

#[tokio::test]
async fn the_byte_order_mark_of_a_count() {
    for (line, text) in [("", "\u{feff}5"), ("count_bom = false", "5")] {
        assert_eq!(switched(line).await.get("contacts/$count").await.expect(200).text, text);
    }
}
