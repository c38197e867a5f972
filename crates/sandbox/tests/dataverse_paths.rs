//! Paths of Dataverse: encodings, versions, navigation, queries of single rows, what is not imitated.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

mod client;

use client::Client;
use reqwest::Method;
use serde_json::json;

const ID: &str = "cccccccc-0000-4000-8000-000000000001";

#[tokio::test]
async fn brackets_and_quotes_may_be_encoded() {
    let client = Client::start(0).await;
    client.write(Method::POST, "contacts", &[], json!({"contactid": ID, "firstname": "Ada"})).await.expect(204);
    client.write(Method::POST, "accounts", &[], json!({"name": "x", "accountnumber": "A(1)"})).await.expect(204);
    client.control(Method::POST, "/counters/reset", json!({})).await.expect(200);
    client.get("WhoAmI%28%29").await.expect(200);
    client.get("EntityDefinitions%28LogicalName%3D%27contact%27%29/Attributes").await.expect(200);
    client.get("EntityDefinitions%28LogicalName%3D%27contact%27%29").await.expect(200);
    client.get("RetrieveTotalRecordCount%28EntityNames=%5B%27contact%27%5D%29").await.expect(200);
    assert_eq!(client.get(&format!("contacts%28{ID}%29")).await.expect(200).json()["firstname"], "Ada");
    assert_eq!(client.get(&format!("contacts%28{ID}%29/firstname")).await.expect(200).json()["value"], "Ada");
    client.get("accounts%28accountnumber%3D%27A%281%29%27%29").await.expect(200);
    let counters = client.counters().await;
    assert_eq!(
        counters["dataverse"]["requests"],
        json!({"GET /contacts({id})": 1, "GET /contacts({id})/firstname": 1, "GET /accounts({id})": 1})
    );
    assert_eq!(
        counters["dataverse"]["setup_requests"],
        json!({"GET /WhoAmI()": 1, "GET /EntityDefinitions({id})/Attributes": 1, "GET /EntityDefinitions({id})": 1,
            "GET /RetrieveTotalRecordCount({id})": 1})
    );
}

#[tokio::test]
async fn empty_brackets_are_no_collection() {
    let client = Client::start(2).await;
    assert_eq!(client.get("contacts()").await.expect(400).code(), "0x80060888");
    client.write(Method::POST, "contacts()", &[], json!({"lastname": "x"})).await.expect(400);
    assert_eq!(client.records("dataverse", "contact").await.len(), 2);
}

#[tokio::test]
async fn an_entity_id_fits_a_header_and_leads_back() {
    let client = Client::start(0).await;
    for key in ["Zo%C3%AB%20%231", "A%20%22b%22%20%281%29"] {
        let path = format!("accounts(accountnumber='{key}')");
        let made = client.write(Method::PATCH, &path, &[], json!({"name": "x"})).await.expect(204);
        let id = made.header("odata-entityid").to_owned();
        assert!(id.is_ascii() && !id.contains([' ', '#', '"']), "{id}");
        assert_eq!(client.get(&id).await.expect(200).json()["name"], "x", "{id}");
    }
}

#[tokio::test]
async fn links_lead_to_the_version_that_was_asked_for() {
    let client = Client::start(3).await;
    let origin = client.sandbox.info().dataverse.url.clone();
    for version in ["v9.0", "v9.1", "v9.2"] {
        let root = format!("{origin}/api/data/{version}/");
        let page = client.prefer("odata.maxpagesize=2", &format!("{root}contacts?$select=lastname")).await.expect(200);
        assert!(page.next_link().unwrap().starts_with(&root));
        assert!(page.json()["@odata.context"].as_str().unwrap().starts_with(&root));
        let rest = client.prefer("odata.maxpagesize=2", &page.next_link().unwrap()).await.expect(200);
        assert_eq!(rest.rows().len(), 1);
        let tracked = client.prefer("odata.track-changes", &format!("{root}contacts")).await.expect(200);
        assert!(tracked.delta_link().unwrap().starts_with(&root));
        let made = client.write(Method::POST, &format!("{root}accounts"), &[], json!({"name": "x"})).await.expect(204);
        assert!(made.header("odata-entityid").starts_with(&root));
        assert!(client.get(&format!("{root}WhoAmI")).await.text.contains(&root));
    }
}

#[tokio::test]
async fn a_single_row_takes_no_options_of_lists() {
    let client = Client::start(1).await;
    let id = client.records("dataverse", "contact").await[0]["contactid"].as_str().unwrap().to_owned();
    for option in ["$top=1", "$filter=statecode%20eq%200", "$orderby=lastname", "$count=true", "$skip=1", "$Select=x"] {
        for path in [format!("contacts({id})"), format!("contacts({id})/lastname")] {
            assert_eq!(
                client.get(&format!("{path}?{option}")).await.expect(400).code(),
                "0x80060888",
                "{path} {option}"
            );
        }
    }
    client.get(&format!("contacts({id})?$select=lastname")).await.expect(200);
}

#[tokio::test]
async fn a_write_that_is_refused_leaves_nothing() {
    let client = Client::start(1).await;
    let before = client.records("dataverse", "contact").await;
    let id = before[0]["contactid"].as_str().unwrap();
    let representation = [("prefer", "return=representation")];
    for query in ["$select=nothing", "$wrong=1", "$filter=statecode%20eq%200"] {
        for headers in [&representation[..], &[]] {
            let body = json!({"lastname": "Never"});
            client.write(Method::POST, &format!("contacts?{query}"), headers, body.clone()).await.expect(400);
            client.write(Method::PATCH, &format!("contacts({id})?{query}"), headers, body.clone()).await.expect(400);
            client.write(Method::PATCH, &format!("contacts({ID})?{query}"), headers, body).await.expect(400);
        }
        client.delete(&format!("contacts({id})?{query}")).await.expect(if query.starts_with("$select") {
            204
        } else {
            400
        });
        if query.starts_with("$select") {
            client
                .control(Method::PUT, &format!("/records/dataverse/contact/{id}"), before[0].clone())
                .await
                .expect(200);
        }
    }
    let after = client.records("dataverse", "contact").await;
    assert_eq!(after.len(), 1);
    assert_eq!(after[0]["lastname"], before[0]["lastname"]);
}

#[tokio::test]
async fn the_user_of_who_am_i_is_a_row() {
    let client = Client::start(0).await;
    let me = client.get("WhoAmI").await.json()["UserId"].as_str().unwrap().to_owned();
    let user = client.get(&format!("systemusers({me})?$select=fullname,isdisabled")).await.expect(200).json();
    assert_eq!(
        (&user["fullname"], &user["isdisabled"], &user["systemuserid"]),
        (&json!("Sandbox User"), &json!(false), &json!(me))
    );
    assert!(user.get("domainname").is_none());
    assert_eq!(client.get(&format!("systemusers({me})/fullname")).await.expect(200).json()["value"], "Sandbox User");
    client.get(&format!("systemusers({me})?$select=nothing")).await.expect(400);
    assert_eq!(client.get(&format!("systemusers({ID})")).await.expect(404).code(), "0x80040217");
}

#[tokio::test]
async fn lookups_are_followed() {
    let client = Client::start(0).await;
    let account = client.create("accounts", "accountid", json!({"name": "Contoso"})).await;
    let body = json!({"lastname": "B", "parentcustomerid_account@odata.bind": format!("/accounts({account})")});
    let contact = client.create("contacts", "contactid", body).await;
    let led =
        client.get(&format!("contacts({contact})/parentcustomerid_account?$select=name")).await.expect(200).json();
    assert_eq!((&led["name"], &led["accountid"]), (&json!("Contoso"), &json!(account)));
    assert!(led["@odata.context"].as_str().unwrap().ends_with("$metadata#accounts(name)/$entity"));
    let reference = client.get(&format!("contacts({contact})/parentcustomerid_account/$ref")).await.expect(200).json();
    assert_eq!(client.get(reference["@odata.id"].as_str().unwrap()).await.expect(200).json()["name"], "Contoso");
    for path in ["parentcustomerid_contact", "parentcustomerid_contact/$ref", "masterid"] {
        client.get(&format!("contacts({contact})/{path}")).await.expect(204);
    }
    assert_eq!(
        client.get(&format!("contacts({contact})/ownerid")).await.expect(200).json()["fullname"],
        "Sandbox User"
    );
    client.get(&format!("contacts({ID})/parentcustomerid_account")).await.expect(404);
    client.get(&format!("contacts({contact})/nothing/$ref")).await.expect(404);
}

#[tokio::test]
async fn what_is_not_imitated_says_so() {
    let client = Client::start(1).await;
    let account = client.create("accounts", "accountid", json!({"name": "Contoso"})).await;
    for path in [
        "$metadata",
        "tasks",
        "sdkmessagefilters?$select=sdkmessagefilterid",
        "RetrieveMetadataChanges(Query=@p)",
        "contacts?$expand=masterid",
        "contacts?$apply=aggregate($count%20as%20n)",
        "contacts?fetchXml=%3Cfetch/%3E",
        "accounts?$filter=contact_customer_accounts/any(o:o/statecode%20eq%200)",
        "accounts?$filter=primarycontactid/fullname%20eq%20%27x%27",
        &format!("accounts({account})/account_contact_parentcustomerid"),
        &format!("accounts({account})/account_contact_parentcustomerid/$ref"),
    ] {
        let reply = client.get(path).await.expect(501);
        assert!(
            reply.json()["error"]["message"].as_str().unwrap().starts_with("The sandbox does not imitate"),
            "{path}"
        );
    }
    client.write(Method::POST, "contacts/Microsoft.Dynamics.CRM.Merge", &[], json!({})).await.expect(501);
}
