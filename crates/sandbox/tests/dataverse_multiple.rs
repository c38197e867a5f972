//! `CreateMultiple`, `UpdateMultiple`, `UpsertMultiple`, and the activities that are written with them.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

mod client;

use client::{Client, Reply};
use reqwest::Method;
use serde_json::{Value, json};

const SEND: &str = "adobe_campaignemailsend";
const CONTACT: &str = "cccccccc-0000-4000-8000-000000000001";

fn id(number: u32) -> String {
    format!("aaaaaaaa-0000-4000-8000-{number:012}")
}

fn target(table: &str, members: Value) -> Value {
    let mut target = json!({"@odata.type": format!("Microsoft.Dynamics.CRM.{table}")});
    target.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    target
}

async fn multiple(client: &Client, set: &str, message: &str, targets: Vec<Value>) -> Reply {
    let path = format!("{set}/Microsoft.Dynamics.CRM.{message}");
    client.write(Method::POST, &path, &[], json!({"Targets": targets})).await
}

fn contact(number: u32, name: &str) -> Value {
    target("contact", json!({"contactid": id(number), "lastname": name}))
}

async fn names(client: &Client) -> Vec<String> {
    let reply = client.get("contacts?$select=lastname&$orderby=contactid").await.expect(200);
    reply.rows().iter().map(|row| row["lastname"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn rows_are_created_updated_and_upserted_together() {
    let client = Client::start(0).await;
    let made =
        multiple(&client, "contacts", "CreateMultiple", vec![contact(2, "B"), contact(1, "A")]).await.expect(200);
    assert_eq!(made.json()["Ids"], json!([id(2), id(1)]));
    assert!(
        made.json()["@odata.context"].as_str().unwrap().ends_with("#Microsoft.Dynamics.CRM.CreateMultipleResponse")
    );
    let changed = multiple(&client, "contacts", "UpdateMultiple", vec![contact(1, "A2")]).await.expect(204);
    assert_eq!(changed.text, "");
    multiple(&client, "contacts", "UpsertMultiple", vec![contact(2, "B3"), contact(3, "C3")]).await.expect(204);
    assert_eq!(names(&client).await, ["A2", "B3", "C3"]);
    let counted = client.counters().await["dataverse"]["requests"].clone();
    assert_eq!(counted["POST /contacts/Microsoft.Dynamics.CRM.UpsertMultiple"], 1);
}

#[tokio::test]
async fn one_refused_row_takes_all_back() {
    let client = Client::start(0).await;
    multiple(&client, "contacts", "CreateMultiple", vec![contact(1, "A"), contact(2, "B")]).await.expect(200);
    let versions = || async { client.records("dataverse", "contact").await };
    let before = versions().await;
    let twice =
        multiple(&client, "contacts", "CreateMultiple", vec![contact(3, "C"), contact(2, "x")]).await.expect(412);
    assert_eq!(
        (twice.code().as_str(), twice.json()["error"]["message"].as_str()),
        ("0x80040237", Some("Cannot insert duplicate key."))
    );
    let missing =
        multiple(&client, "contacts", "UpdateMultiple", vec![contact(1, "x"), contact(9, "x")]).await.expect(404);
    assert_eq!(missing.code(), "0x80040217");
    assert_eq!(missing.json()["error"]["message"], format!("Contact With Ids = {} Do Not Exist", id(9)));
    let long = "x".repeat(51);
    let refused =
        multiple(&client, "contacts", "UpsertMultiple", vec![contact(1, "x"), contact(3, &long)]).await.expect(400);
    assert_eq!(refused.code(), "0x80044331");
    for message in ["UpdateMultiple", "UpsertMultiple"] {
        let twice = multiple(&client, "contacts", message, vec![contact(1, "x"), contact(1, "y")]).await.expect(412);
        assert_eq!(twice.code(), "0x80040237");
    }
    let twice =
        multiple(&client, "contacts", "UpsertMultiple", vec![contact(3, "x"), contact(3, "y")]).await.expect(412);
    assert_eq!(twice.code(), "0x80040237");
    assert_eq!(versions().await, before, "not even a version changed");
}

#[tokio::test]
async fn alternate_keys_stand_in_the_address_alone() {
    let client = Client::start(0).await;
    let key = |members: Value| {
        let mut target = target("account", members);
        target["@odata.id"] = "accounts(accountnumber='A1')".into();
        target
    };
    multiple(&client, "accounts", "UpsertMultiple", vec![key(json!({"name": "one"}))]).await.expect(204);
    multiple(&client, "accounts", "UpsertMultiple", vec![key(json!({"name": "two"}))]).await.expect(204);
    let rows = client.get("accounts?$select=name,accountnumber").await.expect(200).rows();
    assert_eq!((rows.len(), &rows[0]["name"], &rows[0]["accountnumber"]), (1, &json!("two"), &json!("A1")));
    // On the way of an update the column is left out, on that of a create it is refused.
    multiple(&client, "accounts", "UpsertMultiple", vec![key(json!({"name": "3", "accountnumber": "A1"}))])
        .await
        .expect(204);
    let mut other = key(json!({"name": "x", "accountnumber": "A2"}));
    other["@odata.id"] = "accounts(accountnumber='A2')".into();
    assert_eq!(multiple(&client, "accounts", "UpsertMultiple", vec![other]).await.expect(400).code(), "0x80048d19");
}

#[tokio::test]
async fn targets_that_say_too_little_are_refused() {
    let client = Client::start(0).await;
    for (target, code) in [
        (json!({"lastname": "A"}), "0x80048d19"),
        (json!({"@odata.type": "Microsoft.Dynamics.CRM.account", "name": "A"}), "0x80048d19"),
        (target("contact", json!({"citty": "A"})), "0x80048d19"),
    ] {
        assert_eq!(multiple(&client, "contacts", "CreateMultiple", vec![target]).await.expect(400).code(), code);
    }
    let nameless = vec![target("contact", json!({"lastname": "A"}))];
    assert_eq!(multiple(&client, "contacts", "UpdateMultiple", nameless).await.expect(400).code(), "0x80040203");
    multiple(&client, "contacts", "CreateMultiple", vec![]).await.expect(400);
    let none = multiple(&client, "contacts", "DeleteMultiple", vec![contact(1, "A")]).await.expect(501);
    assert!(none.json()["error"]["message"].as_str().unwrap().contains("has not yet been implemented"));
    multiple(&client, "contacts", "MergeMultiple", vec![contact(1, "A")]).await.expect(501);
    assert!(names(&client).await.is_empty());
}

#[tokio::test]
async fn the_probe_tells_which_tables_take_messages() {
    let client = Client::scenario(
        0,
        "[dataverse.switches]\ntables_without_multiple = [\"account\"]\nmultiple_answers_200 = true",
    )
    .await;
    let takes = |message: &str, table: &str| {
        let filter = format!("sdkmessageid/name eq '{message}' and primaryobjecttypecode eq '{table}'");
        format!("sdkmessagefilters?$select=sdkmessagefilterid&$filter={}", filter.replace(' ', "%20"))
    };
    for (message, table, count) in [
        ("UpsertMultiple", "contact", 1),
        ("UpdateMultiple", "contact", 1),
        ("UpsertMultiple", SEND, 1),
        ("UpsertMultiple", "account", 0),
        ("UpsertMultiple", "nothing", 0),
        ("DeleteMultiple", "contact", 0),
    ] {
        let found = client.get(&takes(message, table)).await.expect(200).rows();
        assert_eq!(found.len(), count, "{message} {table}");
    }
    assert_eq!(client.counters().await["dataverse"]["setup_requests"]["GET /sdkmessagefilters"], 6);
    let refused = vec![target("account", json!({"name": "A"}))];
    assert_eq!(multiple(&client, "accounts", "CreateMultiple", refused).await.expect(404).code(), "0x8006088a");
    multiple(&client, "contacts", "UpsertMultiple", vec![contact(1, "A")]).await.expect(200);
}

#[tokio::test]
async fn a_call_for_many_rows_is_one_request_to_the_limits() {
    let client = Client::start(0).await;
    client.control(Method::PUT, "/limits", json!({"requests": 2, "window_seconds": 300})).await.expect(200);
    let targets = |from: u32| (from..from + 50).map(|n| contact(n, "A")).collect::<Vec<_>>();
    multiple(&client, "contacts", "UpsertMultiple", targets(0)).await.expect(204);
    multiple(&client, "contacts", "UpsertMultiple", targets(50)).await.expect(204);
    let refused = multiple(&client, "contacts", "UpsertMultiple", targets(100)).await.expect(429);
    assert_eq!(refused.code(), "0x80072322");
    assert_eq!(client.records("dataverse", "contact").await.len(), 100);
}

#[tokio::test]
async fn activities_hang_on_contacts_that_are_there() {
    let client = Client::start(0).await;
    let user = client.get("WhoAmI").await.json()["UserId"].as_str().unwrap().to_owned();
    let me = client.get(&format!("systemusers({user})?$select=fullname")).await.expect(200).json();
    assert_eq!(me["fullname"], "Sandbox User");
    assert_eq!(client.records("dataverse", "systemuser").await.len(), 1);
    let filter = "$filter=ReferencingAttribute%20eq%20'regardingobjectid'%20and%20ReferencedEntity%20eq%20'contact'";
    let relationships = format!("EntityDefinitions(LogicalName='{SEND}')/ManyToOneRelationships?{filter}");
    let found = client.get(&relationships).await.expect(200).rows();
    let navigation = found[0]["ReferencingEntityNavigationPropertyName"].as_str().unwrap().to_owned();
    assert_eq!(navigation, format!("regardingobjectid_contact_{SEND}"));
    let definition = client.get(&format!("EntityDefinitions(LogicalName='{SEND}')")).await.expect(200).json();
    assert_eq!(
        (&definition["IsActivity"], &definition["PrimaryIdAttribute"], &definition["PrimaryNameAttribute"]),
        (&json!(true), &json!("activityid"), &json!("subject"))
    );
    let contact_table = client.get("EntityDefinitions(LogicalName='contact')?$select=IsActivity").await.expect(200);
    assert_eq!(contact_table.json()["IsActivity"], false);
    let event = |number: u32, contact: &str, owner: &str| {
        let mut event = target(
            SEND,
            json!({
                "activityid": id(number), "subject": "Spring offer", "adobe_campaignname": "Spring",
                "adobe_deliveryname": "Spring 1", "adobe_datesent": "2026-01-05T10:00:00Z", "adobe_mirrorpageurl": "https://m.example/1",
            }),
        );
        event[format!("{navigation}@odata.bind")] = format!("/contacts({contact})").into();
        event["ownerid@odata.bind"] = format!("/systemusers({owner})").into();
        event
    };
    let set = format!("{SEND}s");
    let early = multiple(&client, &set, "UpsertMultiple", vec![event(1, CONTACT, &user)]).await.expect(404);
    assert_eq!(
        (early.code().as_str(), early.json()["error"]["message"].as_str()),
        ("0x80040217", Some(&*format!("contact With Id = {CONTACT} Does Not Exist")))
    );
    client.write(Method::POST, "contacts", &[], json!({"contactid": CONTACT, "lastname": "Byron"})).await.expect(204);
    let nobody = multiple(&client, &set, "UpsertMultiple", vec![event(1, CONTACT, CONTACT)]).await.expect(404);
    assert_eq!(nobody.code(), "0x80040217");
    multiple(&client, &set, "UpsertMultiple", vec![event(1, CONTACT, &user), event(2, CONTACT, &user)])
        .await
        .expect(204);
    multiple(&client, &set, "UpsertMultiple", vec![event(2, CONTACT, &user)]).await.expect(204);
    let done = target(SEND, json!({"activityid": id(1), "statecode": 1, "statuscode": 2}));
    multiple(&client, &set, "UpdateMultiple", vec![done]).await.expect(204);
    let rows = client.records("dataverse", SEND).await;
    assert_eq!(rows.len(), 2);
    assert_eq!((&rows[0]["_regardingobjectid_value"], &rows[0]["statecode"]), (&json!(CONTACT), &json!(1)));
    assert_eq!(
        (&rows[1]["_ownerid_value"], &rows[1]["adobe_datesent"]),
        (&json!(user), &json!("2026-01-05T10:00:00Z"))
    );
}

#[tokio::test]
async fn a_scenario_changes_the_activities() {
    let text = "[[dataverse.activities]]\ntable = \"adobe_campaignemailopen\"\nremoved = true\n\
        [[dataverse.activities]]\ntable = \"adobe_campaignemailsend\"\nname = \"acme_sent\"\nset = \"acme_sentset\"\nnavigation = \"regardingobjectid_contact\"\n\
        [[dataverse.activities]]\ntable = \"adobe_campaignemailbounce\"\nwithout = [\"adobe_datebounced\"]\nnot_an_activity = true\n";
    let client = Client::scenario(0, text).await;
    let status = |name: &str| format!("EntityDefinitions(LogicalName='{name}')");
    client.get(&status("adobe_campaignemailopen")).await.expect(404);
    client.get(&status(SEND)).await.expect(404);
    let sent = client.get(&format!("{}?$expand=ManyToOneRelationships", status("acme_sent"))).await.expect(200).json();
    assert_eq!(sent["EntitySetName"], "acme_sentset");
    let relationships = sent["ManyToOneRelationships"].as_array().unwrap();
    let found = relationships.iter().find(|r| r["ReferencedEntity"] == "contact").unwrap();
    assert_eq!(found["ReferencingEntityNavigationPropertyName"], "regardingobjectid_contact");
    let bounce = client.get(&status("adobe_campaignemailbounce")).await.expect(200).json();
    assert_eq!(bounce["IsActivity"], false);
    client.get("adobe_campaignemailbounces?$select=adobe_datebounced").await.expect(400);
    client.get("adobe_campaignemailurlclicks?$select=adobe_trackingurl").await.expect(200);
}
