//! Rows of Dataverse one by one: creates, reads, the upsert matrix, ETags, alternate keys, lookups, refusals.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

mod client;

use client::{Client, send};
use reqwest::Method;
use serde_json::json;

const ID: &str = "cccccccc-0000-4000-8000-000000000001";

#[tokio::test]
async fn a_row_lives_from_create_to_delete() {
    let client = Client::start(0).await;
    let body = json!({"firstname": "Ada", "lastname": "Byron", "createdon": "2001-01-01T00:00:00Z", "statecode": 1, "contactid": ID});
    let made = client.write(Method::POST, "contacts", &[], body).await.expect(204);
    assert!(made.header("odata-entityid").ends_with(&format!("/api/data/v9.2/contacts({ID})")));
    assert_eq!(made.header("odata-version"), "4.0");
    let read = client
        .get(&format!("contacts({ID})?$select=fullname,_parentcustomerid_value,statecode,createdon"))
        .await
        .expect(200);
    let row = read.json();
    assert_eq!(row["fullname"], "Ada Byron");
    assert_eq!(row["contactid"], ID);
    assert_eq!(row["_parentcustomerid_value"], json!(null));
    // Neither is valid for create, and neither is refused.
    assert_eq!(row["statecode"], 0);
    assert!(!row["createdon"].as_str().unwrap().starts_with("2001"));
    assert_eq!(row["@odata.etag"], read.header("etag"));
    assert!(
        row["@odata.context"]
            .as_str()
            .unwrap()
            .ends_with("#contacts(fullname,_parentcustomerid_value,statecode,createdon)/$entity")
    );
    let changed = client
        .write(
            Method::PATCH,
            &format!("contacts({ID})"),
            &[("if-match", "*")],
            json!({"lastname": "King", "statecode": 1}),
        )
        .await;
    changed.expect(204);
    let row = client.get(&format!("contacts({ID})")).await.expect(200).json();
    assert_eq!((&row["fullname"], &row["statecode"], &row["statuscode"]), (&json!("Ada King"), &json!(1), &json!(2)));
    assert!(row.get("yomifirstname").is_none(), "auxiliary columns are not data");
    client.delete(&format!("contacts({ID})")).await.expect(204);
    let gone = client.get(&format!("contacts({ID})")).await.expect(404);
    assert_eq!(gone.code(), "0x80040217");
    assert_eq!(client.delete(&format!("contacts({ID})")).await.expect(404).code(), "0x80040217");
}

#[tokio::test]
async fn the_upsert_matrix_is_the_documented_one() {
    let client = Client::start(0).await;
    let path = format!("contacts({ID})");
    let representation = ("prefer", "return=representation");
    let body = || json!({"lastname": "Byron"});
    // Absent.
    client.write(Method::PATCH, &path, &[("if-match", "*")], body()).await.expect(404);
    client.write(Method::PATCH, &path, &[("if-match", "W/\"1\"")], body()).await.expect(404);
    client.write(Method::PATCH, &path, &[("if-none-match", "*")], body()).await.expect(204);
    client.delete(&path).await.expect(204);
    client.write(Method::PATCH, &path, &[], body()).await.expect(204);
    client.delete(&path).await.expect(204);
    let made = client.write(Method::PATCH, &path, &[representation], body()).await.expect(201);
    assert_eq!(made.header("preference-applied"), "return=representation");
    let version = made.json()["@odata.etag"].as_str().unwrap().to_owned();
    // There.
    assert_eq!(client.write(Method::PATCH, &path, &[("if-none-match", "*")], body()).await.expect(412).code(), "");
    client.write(Method::PATCH, &path, &[("if-match", &version)], body()).await.expect(204);
    assert_eq!(
        client.write(Method::PATCH, &path, &[("if-match", &version)], body()).await.expect(412).code(),
        "0x80060882"
    );
    client.write(Method::PATCH, &path, &[("if-match", "*")], body()).await.expect(204);
    client.write(Method::PATCH, &path, &[], body()).await.expect(204);
    let shown = client
        .write(Method::PATCH, &format!("{path}?$select=lastname"), &[representation], json!({"lastname": "Hopper"}))
        .await
        .expect(200);
    assert_eq!(shown.json()["lastname"], "Hopper");
    assert!(shown.json().get("firstname").is_none());
    let twice =
        client.write(Method::POST, "contacts", &[], json!({"contactid": ID, "lastname": "x"})).await.expect(412);
    assert_eq!(twice.code(), "0x80040237");
    let stale = send(client.request(Method::DELETE, &path).header("if-match", version)).await.expect(412);
    assert_eq!(stale.code(), "0x80060882");
}

#[tokio::test]
async fn an_unchanged_row_is_not_sent_again() {
    let client = Client::start(0).await;
    let id = client.create("contacts", "contactid", json!({"lastname": "Byron"})).await;
    let etag = client.get(&format!("contacts({id})")).await.header("etag").to_owned();
    let same =
        send(client.request(Method::GET, &format!("contacts({id})")).header("if-none-match", &etag)).await.expect(304);
    assert_eq!(same.text, "");
    send(client.request(Method::GET, &format!("contacts({id})")).header("if-none-match", "null")).await.expect(200);
}

#[tokio::test]
async fn alternate_keys_address_rows() {
    let client = Client::start(0).await;
    let made = client
        .write(Method::PATCH, "accounts(accountnumber='A%201')", &[], json!({"name": "Contoso"}))
        .await
        .expect(204);
    assert!(
        made.header("odata-entityid").ends_with("accounts(accountnumber='A%201')"),
        "the key is echoed, not the id"
    );
    let row = client.get("accounts(accountnumber='a 1')?$select=name,accountnumber").await.expect(200).json();
    assert_eq!((&row["name"], &row["accountnumber"]), (&json!("Contoso"), &json!("A 1")));
    // The key columns of the body are left alone on update and win on create.
    client
        .write(Method::PATCH, "accounts(accountnumber='A%201')", &[], json!({"name": "C2", "accountnumber": "A2"}))
        .await
        .expect(204);
    assert_eq!(client.get("accounts(accountnumber='A%201')").await.expect(200).json()["name"], "C2");
    client
        .write(Method::PATCH, "accounts(accountnumber='A3')", &[], json!({"name": "C3", "accountnumber": "A4"}))
        .await
        .expect(204);
    client.get("accounts(accountnumber='A4')").await.expect(200);
    assert_eq!(client.get("accounts(accountnumber='A3')").await.expect(404).code(), "0x80060891");
    assert_eq!(
        client
            .write(Method::POST, "accounts", &[], json!({"name": "x", "accountnumber": "a4"}))
            .await
            .expect(412)
            .code(),
        "0x80060892"
    );
    assert_eq!(client.get("contacts(emailaddress1='a')").await.expect(400).code(), "0x80060888");
    client.get("accounts(accountnumber='a%2Fb')").await.expect(400);
    let id = row["accountid"].as_str().unwrap();
    client.get(&format!("accounts(accountid={id})")).await.expect(200);
}

#[tokio::test]
async fn lookups_are_bound_cleared_and_checked() {
    let client = Client::start(0).await;
    let account = client.create("accounts", "accountid", json!({"name": "Contoso", "accountnumber": "A1"})).await;
    let bind = "parentcustomerid_account@odata.bind";
    let contact =
        client.create("contacts", "contactid", json!({"lastname": "B", bind: format!("/accounts({account})")})).await;
    let path = format!("contacts({contact})?$select=_parentcustomerid_value");
    let annotated = client.prefer("odata.include-annotations=\"*\"", &path).await.expect(200).json();
    assert_eq!(annotated["_parentcustomerid_value"], account.as_str());
    assert_eq!(annotated["_parentcustomerid_value@Microsoft.Dynamics.CRM.lookuplogicalname"], "account");
    assert_eq!(
        annotated["_parentcustomerid_value@Microsoft.Dynamics.CRM.associatednavigationproperty"],
        "parentcustomerid_account"
    );
    assert_eq!(annotated["_parentcustomerid_value@OData.Community.Display.V1.FormattedValue"], "Contoso");
    for cleared in [json!({bind: null}), json!({"parentcustomerid_account": null})] {
        let again = json!({bind: "accounts(accountnumber='A1')"});
        client.write(Method::PATCH, &format!("contacts({contact})"), &[], again).await.expect(204);
        assert_eq!(client.get(&path).await.json()["_parentcustomerid_value"], account.as_str());
        client.write(Method::PATCH, &format!("contacts({contact})"), &[], cleared).await.expect(204);
        assert_eq!(client.get(&path).await.json()["_parentcustomerid_value"], json!(null));
    }
    let reference =
        json!({"@odata.id": format!("{}/api/data/v9.2/accounts({account})", client.sandbox.info().dataverse.url)});
    let reference_path = format!("contacts({contact})/parentcustomerid_account/$ref");
    client.write(Method::PUT, &reference_path, &[], reference).await.expect(204);
    assert_eq!(client.get(&path).await.json()["_parentcustomerid_value"], account.as_str());
    client.delete(&reference_path).await.expect(204);
    assert_eq!(client.get(&path).await.json()["_parentcustomerid_value"], json!(null));
    let wrong_case = json!({"lastname": "x", "ParentCustomerId_account@odata.bind": format!("/accounts({account})")});
    assert_eq!(client.write(Method::POST, "contacts", &[], wrong_case).await.expect(400).code(), "0x80048d19");
    let dangling = json!({"lastname": "x", bind: format!("/accounts({ID})")});
    assert_eq!(client.write(Method::POST, "contacts", &[], dangling).await.expect(404).code(), "0x80040217");
    let owner = json!({"new_name": "Car", "new_Owner@odata.bind": format!("/contacts({contact})")});
    let vehicle = client.create("new_vehicles", "new_vehicleid", owner).await;
    assert_eq!(client.get(&format!("new_vehicles({vehicle})")).await.json()["_new_owner_value"], contact.as_str());
    let direct = json!({"lastname": "x", "_parentcustomerid_value": account});
    assert_eq!(client.write(Method::POST, "contacts", &[], direct).await.expect(400).code(), "0x80048d19");
}

#[tokio::test]
async fn values_are_checked() {
    let client = Client::start(0).await;
    let cases = [
        (json!({"citty": "x"}), "0x80048d19"),
        (json!({"suffix": "12345678901"}), "0x80044331"),
        (json!({"firstname": 5}), "0x80048d19"),
        (json!({"gendercode": 3}), "0x8004431a"),
        (json!({"gendercode": "1"}), "0x80048d19"),
        (json!({"birthdate": "1990-05-01T00:00:00Z"}), "0x80048d19"),
        (json!({"donotemail": "true"}), "0x80048d19"),
        (json!({"annualincome": -1}), "0x80044330"),
        (json!({"statuscode": 2}), "0x80048408"),
        (json!({"statuscode": null}), "0x80040203"),
        (json!({"birthdate": "1752-12-31"}), "0x80040239"),
        (json!({"overriddencreatedon": "1752-12-31T00:00:00Z"}), "0x80040239"),
        (json!({"ownerid@odata.bind": null}), "0x80040203"),
        (json!({"ownerid": null}), "0x80040203"),
    ];
    for (body, code) in cases {
        assert_eq!(client.write(Method::POST, "contacts", &[], body.clone()).await.expect(400).code(), code, "{body}");
    }
    assert_eq!(
        client.write(Method::POST, "new_vehicles", &[], json!({"new_seats": 101})).await.expect(400).code(),
        "0x8004432f"
    );
    let raw = client.request(Method::POST, "contacts").header("content-type", "application/json").body("{not json");
    assert_eq!(send(raw).await.expect(400).code(), "0x80048d19");
    send(client.request(Method::POST, "contacts").body("{}")).await.expect(415);
    send(client.request(Method::PUT, "contacts")).await.expect(405);
    assert_eq!(client.get("counteracts").await.expect(404).code(), "0x8006088a");
    assert_eq!(client.records("dataverse", "contact").await.len(), 0, "nothing refused is stored");
}

#[tokio::test]
async fn every_type_comes_back_as_it_went_in() {
    let client = Client::start(0).await;
    let text = r#"{"new_name":"Zoë \"the\" car","new_seats":5,"new_consumption":12.5000,"new_weight":1250.5,"new_electric":true,
        "new_lastservice":"2026-01-05T11:00:00+01:00","new_registeredon":"1990-05-01","new_fuel":100000002,"new_notes":"a\nb",
        "new_extras":"100000001, 100000000","new_price":20000.0000}"#;
    let request = client
        .request(Method::POST, "new_vehicles")
        .header("content-type", "application/json")
        .header("prefer", "return=representation");
    let made = send(request.body(text)).await.expect(201);
    for part in [
        r#""new_name":"Zoë \"the\" car""#,
        r#""new_seats":5"#,
        r#""new_consumption":12.5000"#,
        r#""new_weight":1250.5"#,
        r#""new_electric":true"#,
        r#""new_lastservice":"2026-01-05T10:00:00Z""#,
        r#""new_registeredon":"1990-05-01""#,
        r#""new_fuel":100000002"#,
        r#""new_notes":"a\nb""#,
        r#""new_extras":"100000000,100000001""#,
        r#""new_price":20000.0000"#,
        r#""new_price_base":20000.0000"#,
    ] {
        assert!(made.text.contains(part), "{part} is not in {}", made.text);
    }
    let id = made.json()["new_vehicleid"].as_str().unwrap().to_owned();
    let labels = client
        .prefer(
            "odata.include-annotations=\"OData.Community.Display.V1.FormattedValue\"",
            &format!("new_vehicles({id})"),
        )
        .await
        .json();
    assert_eq!(labels["new_fuel@OData.Community.Display.V1.FormattedValue"], "Electric");
    assert_eq!(labels["new_extras@OData.Community.Display.V1.FormattedValue"], "Tow bar; Roof rack");
    assert_eq!(labels["new_electric@OData.Community.Display.V1.FormattedValue"], "Yes");
    assert_eq!(labels["new_price@OData.Community.Display.V1.FormattedValue"], "$20,000.0000");
    assert!(labels.get("_new_owner_value@Microsoft.Dynamics.CRM.lookuplogicalname").is_none());
    client
        .write(Method::PATCH, &format!("new_vehicles({id})"), &[], json!({"new_notes": "", "new_electric": null}))
        .await
        .expect(204);
    let row = client.get(&format!("new_vehicles({id})")).await.json();
    assert_eq!((&row["new_notes"], &row["new_electric"]), (&json!(null), &json!(null)));
}

#[tokio::test]
async fn single_properties_are_read_set_and_cleared() {
    let client = Client::start(0).await;
    let id = client.create("contacts", "contactid", json!({"firstname": "Ada", "lastname": "Byron"})).await;
    let path = format!("contacts({id})/firstname");
    assert_eq!(client.get(&path).await.expect(200).json()["value"], "Ada");
    assert_eq!(client.get(&format!("{path}/$value")).await.expect(200).text, "Ada");
    client.write(Method::PUT, &path, &[], json!({"value": "Augusta"})).await.expect(204);
    assert_eq!(client.get(&path).await.json()["value"], "Augusta");
    client.delete(&path).await.expect(204);
    client.get(&path).await.expect(204);
    for required in ["statecode", "statuscode", "ownerid/$ref"] {
        let refused = client.delete(&format!("contacts({id})/{required}")).await.expect(400);
        assert_eq!(refused.code(), "0x80040203", "{required}");
    }
    for required in ["statecode", "statuscode"] {
        client.write(Method::PUT, &format!("contacts({id})/{required}"), &[], json!({"value": null})).await.expect(400);
        client.write(Method::PATCH, &format!("contacts({id})"), &[], json!({required: null})).await.expect(400);
    }
    let row = client.get(&format!("contacts({id})")).await.expect(200).json();
    assert_eq!((&row["statecode"], &row["statuscode"]), (&json!(0), &json!(1)));
    client.create("contacts", "contactid", json!({"birthdate": "1753-01-01"})).await;
}
