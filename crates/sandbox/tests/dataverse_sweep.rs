//! The reads of a sweep: keys and versions of a whole table, and rows by their keys.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

mod client;

use client::Client;
use reqwest::Method;
use serde_json::{Value, json};

const LIST: &str = "contacts?$select=contactid,versionnumber&$orderby=contactid";

fn id(row: &Value) -> &str {
    row["contactid"].as_str().unwrap()
}

#[tokio::test]
async fn keys_and_versions_come_in_the_order_of_the_keys_page_by_page() {
    let client = Client::start(12_345).await;
    let expected = client.records("dataverse", "contact").await;
    for order in ["contactid", "contactid%20asc", "contactid,lastname%20desc"] {
        let path = format!("contacts?$select=contactid,versionnumber&$orderby={order}");
        let mut page = client.prefer("odata.maxpagesize=5000", &path).await.expect(200);
        let (mut rows, mut sizes) = (Vec::new(), Vec::new());
        loop {
            sizes.push(page.rows().len());
            rows.extend(page.rows());
            let Some(next) = page.next_link() else { break };
            // The link names the row that it goes on after: no page is found by counting through those before it.
            assert!(next.contains("last%253d") && !next.contains("offset"), "{next}");
            page = client.prefer("odata.maxpagesize=5000", &next).await.expect(200);
        }
        assert_eq!(sizes, [5000, 5000, 2345]);
        assert!(rows.iter().map(id).eq(expected.iter().map(id)));
        assert!(rows.iter().zip(&expected).all(|(row, own)| row["versionnumber"] == own["versionnumber"]));
        assert_eq!(rows[0].as_object().unwrap().len(), 3, "key, version and tag, and nothing else");
    }
}

#[tokio::test]
async fn a_version_grows_with_each_change_of_any_row() {
    let client = Client::start(3).await;
    let version = async |path: String| {
        let row = client.get(&format!("{path}?$select=versionnumber")).await.expect(200).json();
        assert_eq!(row["@odata.etag"], format!("W/\"{}\"", row["versionnumber"]));
        row["versionnumber"].as_i64().unwrap()
    };
    let rows = client.records("dataverse", "contact").await;
    let paths: Vec<String> = rows.iter().map(|row| format!("contacts({})", id(row))).collect();
    let mut newest = 0;
    for path in &paths {
        newest = newest.max(version(path.clone()).await);
    }
    // One counter for all rows and tables.
    for round in 0..3 {
        for path in &paths {
            client.write(Method::PATCH, path, &[], json!({"jobtitle": format!("{round}")})).await.expect(204);
            let now = version(path.clone()).await;
            assert!(now > newest);
            newest = now;
        }
        let account = client.create("accounts", "accountid", json!({"name": "x"})).await;
        let now = version(format!("accounts({account})")).await;
        assert!(now > newest);
        newest = now;
    }
    // A write that changes nothing is a write.
    client.write(Method::PATCH, &paths[0], &[], json!({"jobtitle": "2"})).await.expect(204);
    assert!(version(paths[0].clone()).await > newest);
}

#[tokio::test]
async fn a_walk_goes_on_past_rows_that_vanish_and_shows_rows_that_come_ahead() {
    let client = Client::start(6).await;
    let ids: Vec<String> = client.records("dataverse", "contact").await.iter().map(|row| id(row).to_owned()).collect();
    let first = client.prefer("odata.maxpagesize=2", LIST).await.expect(200);
    // The row that the link names is gone.
    client.delete(&format!("contacts({})", ids[1])).await.expect(204);
    client.delete(&format!("contacts({})", ids[2])).await.expect(204);
    let last = "ffffffff-ffff-4fff-8fff-ffffffffffff";
    client.write(Method::POST, "contacts", &[], json!({"contactid": last, "lastname": "x"})).await.expect(204);
    let rest = client.prefer("odata.maxpagesize=9", &first.next_link().unwrap()).await.expect(200);
    let seen: Vec<String> = rest.rows().iter().map(|row| id(row).to_owned()).collect();
    assert_eq!(seen, [&ids[3], &ids[4], &ids[5], last].map(ToString::to_string));
}

#[tokio::test]
async fn rows_are_read_by_their_keys_in_one_request() {
    let client = Client::start(400).await;
    let rows = client.records("dataverse", "contact").await;
    let wanted: Vec<&str> = rows.iter().map(id).step_by(2).collect();
    let missing = "00000000-0000-4000-8000-00000000dead";
    let either =
        |ids: &[&str]| ids.iter().map(|id| format!("contactid%20eq%20{id}")).collect::<Vec<_>>().join("%20or%20");
    let list = wanted.iter().map(|id| format!("%22{id}%22")).collect::<Vec<_>>().join(",");
    let function =
        |values: &str| format!("Microsoft.Dynamics.CRM.In(PropertyName=%27contactid%27,PropertyValues=%5B{values}%5D)");
    let mut with_strays = wanted.clone();
    with_strays.push(missing);
    with_strays.push(wanted[0]);
    let filters = [
        either(&wanted),
        either(&with_strays),
        function(&list),
        format!("({})%20and%20versionnumber%20gt%200", function(&list)),
        format!("{}%20or%20{}", either(&wanted[..100]), function(&list)),
    ];
    for filter in filters {
        let reply = client.get(&format!("contacts?$select=contactid,lastname&$filter={filter}")).await.expect(200);
        assert!(reply.rows().iter().map(id).eq(wanted.iter().copied()), "{}", &filter[..60]);
        // Sorted and paged as any list.
        let path = format!("contacts?$select=contactid&$orderby=contactid&$filter={filter}");
        let page = client.prefer("odata.maxpagesize=150", &path).await.expect(200);
        let rest = client.prefer("odata.maxpagesize=150", &page.next_link().unwrap()).await.expect(200);
        assert_eq!((page.rows().len(), rest.rows().len(), rest.next_link()), (150, 50, None));
    }
    // A condition beside the keys still counts, and so does a row that the keys alone do not name.
    let none = format!("contacts?$filter=({})%20and%20versionnumber%20lt%200", either(&wanted));
    assert_eq!(client.get(&none).await.expect(200).rows().len(), 0);
    let other = format!("contacts?$select=contactid&$filter={}%20or%20versionnumber%20gt%200", either(&wanted[..2]));
    assert_eq!(client.get(&other).await.expect(200).rows().len(), 400);
    let negated = format!("contacts?$select=contactid&$filter=not%20({})", either(&wanted));
    assert_eq!(client.get(&negated).await.expect(200).rows().len(), 200);
}
