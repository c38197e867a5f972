//! Rows one at a time, as a client that nobody here wrote would ask for them.

mod campaign_harness;

use campaign_harness::{PROFILE, VEHICLE, start};
use serde_json::json;

#[tokio::test]
async fn a_create_answers_the_whole_row_with_its_defaults() {
    let campaign = start("").await;
    let made = campaign
        .post(PROFILE, json!({"externalId": "k1", "email": "ida.holm@example.org", "firstName": "Ida", "lastName": "Holm", "location": {"city": "Aarhus", "zipCode": "8000"}}))
        .await
        .expect(201);
    assert_eq!(made["title"], "Ida Holm (ida.holm@example.org)");
    assert_eq!(made["domain"], "example.org");
    assert_eq!(made["gender"], "unknown");
    assert_eq!(made["emailFormat"], "unknown");
    assert_eq!((&made["timeZone"], &made["preferredLanguage"]), (&json!("none"), &json!("none")));
    assert_eq!((&made["birthDate"], &made["age"], &made["blackList"]), (&json!(""), &json!(0), &json!(false)));
    assert_eq!(made["thumbnail"], "/nl/img/thumbnails/defaultProfil.png");
    assert_eq!(made["location"]["city"], "Aarhus");
    assert_eq!(made["location"].as_object().unwrap().len(), 8);
    assert_eq!(made["postalAddress"]["serialized"], "Ida Holm\n8000 Aarhus");
    assert_eq!(made["orgUnit"], json!(null));
    assert!(made["subscriptions"]["href"].as_str().unwrap().ends_with("/subscriptions/"));
    assert_eq!(made["created"], made["lastModified"]);
    assert_eq!(made["created"].as_str().unwrap().len(), "2026-02-21 09:26:57.584Z".len());
    let read = campaign.get(&format!("{PROFILE}/k1")).await.expect(200);
    assert_eq!(read, made);
}

#[tokio::test]
async fn a_row_is_reached_by_its_key_and_by_each_of_its_primary_keys() {
    let campaign = start("").await;
    let made = campaign.post(PROFILE, json!({"externalId": "a b/c", "email": "a@example.org"})).await.expect(201);
    let by_filter = campaign.get(&format!("{PROFILE}/byEmail?email=a%40example.org")).await.expect(200);
    let other = &by_filter["content"][0]["PKey"];
    assert_ne!(made["PKey"], *other);
    let addresses = [
        format!("{PROFILE}/a%20b%2Fc"),
        format!("{PROFILE}/{}", made["PKey"].as_str().unwrap()),
        format!("{PROFILE}/{}", other.as_str().unwrap()),
        made["href"].as_str().unwrap().to_owned(),
        by_filter["content"][0]["href"].as_str().unwrap().to_owned(),
    ];
    for (number, address) in addresses.iter().enumerate() {
        let name = format!("n{number}");
        let answer = campaign.patch(address, json!({"firstName": name})).await.expect(200);
        assert_eq!(answer.as_object().unwrap().keys().collect::<Vec<_>>(), ["PKey", "href"]);
        assert_eq!(campaign.get(address).await.expect(200)["firstName"], name);
    }
    campaign.delete(&addresses[2]).await.expect(200);
    for address in &addresses {
        campaign.get(address).await.refused(404, "RST-360011");
    }
}

#[tokio::test]
async fn an_update_touches_what_it_names_and_a_patch_of_an_item_its_parts() {
    let campaign = start("").await;
    campaign
        .post(PROFILE, json!({"externalId": "k", "lastName": "Holm", "location": {"city": "Aarhus", "zipCode": "8000"}, "birthDate": "1984-02-11", "gender": "female"}))
        .await
        .expect(201);
    let address = format!("{PROFILE}/k");
    campaign
        .patch(&address, json!({"location": {"city": "Odense"}, "birthDate": "", "externalId": "k"}))
        .await
        .expect(200);
    let row = campaign.get(&address).await.expect(200);
    assert_eq!((&row["location"]["city"], &row["location"]["zipCode"]), (&json!("Odense"), &json!("8000")));
    assert_eq!((&row["lastName"], &row["gender"], &row["birthDate"]), (&json!("Holm"), &json!("female"), &json!("")));
}

#[tokio::test]
async fn refusals_have_the_texts_of_the_service() {
    let campaign = start("").await;
    let made = campaign.post(PROFILE, json!({"externalId": "k1"})).await.expect(201);
    campaign.post(PROFILE, json!({"externalId": "k2"})).await.expect(201);
    let k1 = format!("{PROFILE}/k1");
    let duplicate = campaign.post(PROFILE, json!({"externalId": "k1"})).await;
    assert!(duplicate.content_type.starts_with("text/plain"));
    duplicate.refused(500, "A 'Profile' with the same key 'k1' already exists.\nPGS-220000 PostgreSQL error: ERROR: duplicate key value violates unique constraint");
    let cases = [
        (json!({"age": 3}), "Cannot update the 'age' property that is read-only"),
        (json!({"lastModified": "2026-01-01 00:00:00Z"}), "Cannot update the 'lastModified' property"),
        (json!({"blackListEmailLastModified": ""}), "Cannot update the 'blackListEmailLastModified' property"),
        (json!({"shoeSize": 3}), "'shoeSize' property is not valid for the 'profile' resource."),
        (json!({"denyList": true}), "'denyList' property is not valid"),
        (
            json!({"gender": "invalid"}),
            "The value 'invalid' is not valid for the 'nms:recipient:gender' enumeration of the '@gender' field",
        ),
        (json!({"gender": "__Invalid_value__"}), "enumeration"),
        (
            json!({"blackList": "a"}),
            "BAS-010040 Cannot convert 'a' (type text) to boolean type (BAS-010011 Invalid value).",
        ),
        (json!({"birthDate": "11.2.1984"}), "BAS-010040"),
        (json!({"email": "ida"}), "email"),
        (json!({"firstName": "x".repeat(31)}), "RST-360011"),
        (
            json!({"externalId": "k3"}),
            "RST-360012 Inconsistent operation on resource 'profile' - Cannot update key 'k1' to 'k3'.",
        ),
        (json!({"location": {"planet": "x"}}), "'location.planet' property is not valid"),
        (json!({"PKey": "@gibberish"}), "'@gibberish' is not a valid constant"),
        (json!([1]), "RST-360011"),
    ];
    for (body, text) in cases {
        campaign.patch(&k1, body.clone()).await.refused(500, text);
        assert_eq!(campaign.get(&k1).await.expect(200), made, "{body}");
    }
    let gone = "Unable to find document with path 'Profile' from key 'none:0' (document with schema 'profile' and name 'none')";
    campaign.get(&format!("{PROFILE}/none")).await.refused(404, gone);
    campaign.patch(&format!("{PROFILE}/none"), json!({})).await.refused(404, gone);
    campaign.delete(&format!("{PROFILE}/none")).await.refused(404, gone);
    let key = made["PKey"].as_str().unwrap();
    let unknown = format!("{}A{}", &key[..20], &key[21..]);
    let unknown = if unknown == key { format!("{}B{}", &key[..20], &key[21..]) } else { unknown };
    campaign
        .get(&format!("{PROFILE}/{unknown}"))
        .await
        .refused(500, "attribute unknown (see definition of 'Profiles (nms:recipient)' schema).");
    campaign.get(&format!("{PROFILE}/@gibberish")).await.refused(500, "'@gibberish' is not a valid constant");
    campaign.get(&format!("{PROFILE}/k1,")).await.refused(500, "RST-360011");
    campaign.post(&k1, json!({})).await.refused(404, "Error rc=-2003");
    campaign.get("/profileAndServicesExt/nothing").await.refused(404, "Error rc=-2003");
    campaign.call("PUT", &k1, Some(json!({}))).await.refused(405, "RST-360011");
}

#[tokio::test]
async fn times_and_ages_follow_the_clock_of_the_sandbox() {
    let campaign = start("").await;
    let born = campaign.shared.clock.now().date_naive();
    campaign.post(PROFILE, json!({"externalId": "k", "birthDate": born.to_string()})).await.expect(201);
    campaign.shared.tokens.set_lifetime(sandbox::service::Side::Campaign, 100 * 366 * 86_400);
    campaign.shared.clock.advance(0);
    let address = format!("{PROFILE}/k");
    let before = campaign.get(&address).await.expect(200);
    campaign.shared.clock.advance(3600);
    campaign.patch(&address, json!({"blackListEmail": true, "blackListFax": false})).await.expect(200);
    let after = campaign.get(&address).await.expect(200);
    assert_eq!(before["created"], after["created"]);
    assert!(after["lastModified"].as_str() > before["lastModified"].as_str());
    assert_eq!(after["blackListEmailLastModified"], after["lastModified"]);
    assert_eq!((&after["blackListFaxLastModified"], &after["blackListLastModified"]), (&json!(""), &json!("")));
    let (token, _) = campaign.shared.tokens.issue(sandbox::service::Side::Campaign);
    campaign.shared.clock.advance(41 * 366 * 86_400);
    let headers = [("authorization", format!("bearer {token}")), ("x-api-key", "key".to_owned())];
    let headers: Vec<(&str, &str)> = headers.iter().map(|(n, v)| (*n, v.as_str())).collect();
    let old = campaign.send("GET", &address, None, &headers).await.expect(200);
    assert_eq!(old["age"], 41);
}

#[tokio::test]
async fn a_row_without_a_value_to_join_by_has_no_children() {
    let scenario = r#"
        [[resources]]
        name = "profile"
        unique_keys = [["externalId"], ["email"]]
        [[resources]]
        name = "cusVisit"
        unique_keys = [["cusCode"]]
        fields = [{ name = "cusCode" }, { name = "cusEmail" }]
        links = [{ name = "cusGuest", field = "cusEmail", target = "profile", target_field = "email", collection = "cusVisits" }]
    "#;
    let campaign = start(scenario).await;
    let guest = campaign.post(PROFILE, json!({"externalId": "k"})).await.expect(201);
    campaign.post("/profileAndServicesExt/cusVisit", json!({"cusCode": "v"})).await.expect(201);
    let nested = guest["cusVisits"]["href"].as_str().unwrap();
    let list = campaign.get(nested).await.expect(200);
    assert_eq!((&list["content"], &list["count"]["value"]), (&json!([]), &json!(0)));
    assert_eq!(campaign.get(&format!("{nested}_count")).await.expect(200), json!({"count": 0}));
    campaign.get(&format!("{nested}v")).await.refused(404, "from key 'v:0'");
    campaign.patch(&format!("{PROFILE}/k"), json!({"email": "k@example.org"})).await.expect(200);
    campaign.patch("/profileAndServicesExt/cusVisit/v", json!({"cusEmail": "k@example.org"})).await.expect(200);
    let before = campaign.shared.counters.snapshot()["campaign"]["rows"].clone();
    campaign.get(&format!("{nested}v")).await.expect(200);
    let rows = campaign.shared.counters.snapshot()["campaign"]["rows"].clone();
    assert_eq!(rows.as_u64(), before.as_u64().map(|before| before + 1), "a nested row is a row too");
}

#[tokio::test]
async fn the_plain_family_knows_built_in_columns_only() {
    let scenario = r#"
        [[resources]]
        name = "profile"
        fields = [{ name = "cusTier", values = ["none", "gold"], type = "enumeration" }]
    "#;
    let campaign = start(scenario).await;
    campaign.post(PROFILE, json!({"externalId": "k", "cusTier": "gold"})).await.expect(201);
    let plain = campaign.get("/profileAndServices/profile/k").await.expect(200);
    let all = campaign.get(&format!("{PROFILE}/k")).await.expect(200);
    assert_eq!(all["cusTier"], "gold");
    assert!(plain.get("cusTier").is_none() && plain.get("orgUnit").is_none() && plain.get("cusVehicles").is_none());
    assert_eq!(plain["externalId"], "k");
    campaign
        .patch("/profileAndServices/profile/k", json!({"cusTier": "none"}))
        .await
        .refused(500, "'cusTier' property is not valid");
    campaign.get("/profileAndServices/cusVehicle").await.refused(404, "rc=-2003");
}

#[tokio::test]
async fn a_custom_resource_holds_typed_columns() {
    let campaign = start("").await;
    let body = json!({"cusVehicleId": "v1", "cusName": "Bus", "cusSeats": "52", "cusPrice": 1250.5, "cusElectric": true, "cusFuel": "electric",
        "cusRegisteredOn": "2024-05-06", "cusLastServiceAt": "2026-02-21T09:26:57.584Z"});
    let made = campaign.post(VEHICLE, body).await.expect(201);
    assert_eq!(
        (&made["cusSeats"], &made["cusPrice"], &made["cusElectric"]),
        (&json!(52), &json!(1250.5), &json!(true))
    );
    assert_eq!(
        (&made["cusLastServiceAt"], &made["title"], &made["cusOwner"]),
        (&json!("2026-02-21 09:26:57.584Z"), &json!("Bus (v1)"), &json!(null))
    );
    campaign.post(VEHICLE, json!({"cusName": "x"})).await.refused(500, "mandatory");
    campaign.post(VEHICLE, json!({"cusVehicleId": "v1"})).await.refused(500, "PGS-220000");
    campaign.patch(&format!("{VEHICLE}/v1"), json!({"cusSeats": "a"})).await.refused(500, "integer (32 bit)");
}

#[tokio::test]
async fn a_child_is_hidden_until_its_parent_comes_and_again_when_it_goes() {
    let campaign = start("").await;
    campaign.post(VEHICLE, json!({"cusVehicleId": "v1", "cusContactId": "p1"})).await.expect(201);
    let address = format!("{VEHICLE}/v1");
    campaign.get(&address).await.refused(404, "Unable to find document");
    campaign.patch(&address, json!({"cusName": "x"})).await.refused(404, "Unable to find document");
    campaign.delete(&address).await.refused(404, "Unable to find document");
    let list = campaign.get(VEHICLE).await.expect(200);
    assert_eq!((&list["content"], &list["count"]["value"]), (&json!([]), &json!(0)));
    campaign.post(VEHICLE, json!({"cusVehicleId": "v1"})).await.refused(500, "PGS-220000");
    assert_eq!(campaign.records("cusVehicle")[0]["_hidden"], true);
    campaign.post(PROFILE, json!({"externalId": "p1", "lastName": "Holm"})).await.expect(201);
    let seen = campaign.get(&address).await.expect(200);
    assert_eq!(seen["cusOwner"]["title"], "Holm");
    assert!(campaign.records("cusVehicle")[0].get("_hidden").is_none());
    campaign.delete(&format!("{PROFILE}/p1")).await.expect(200);
    campaign.get(&address).await.refused(404, "Unable to find document");
}

#[tokio::test]
async fn links_are_set_by_primary_key_or_key_and_collections_lead_back() {
    let campaign = start("").await;
    let parent = campaign.post(PROFILE, json!({"externalId": "p1"})).await.expect(201);
    campaign.post(VEHICLE, json!({"cusVehicleId": "v1", "cusOwner": {"PKey": parent["PKey"]}})).await.expect(201);
    campaign.post(VEHICLE, json!({"cusVehicleId": "v2", "cusOwner": {"PKey": "p1"}})).await.expect(201);
    campaign.post(VEHICLE, json!({"cusVehicleId": "v3", "cusOwner": {"externalId": "p1"}})).await.expect(201);
    campaign
        .post(VEHICLE, json!({"cusVehicleId": "v4", "cusOwner": {"PKey": "none"}}))
        .await
        .refused(404, "from key 'none' (");
    let nested = parent["cusVehicles"]["href"].as_str().unwrap();
    let list = campaign.get(nested).await.expect(200);
    assert_eq!(campaign_harness::ids(&list), ["v1", "v2"]);
    let child = &list["content"][0];
    let top = campaign.get(&format!("{VEHICLE}/v1")).await.expect(200);
    assert_ne!(child["PKey"], top["PKey"]);
    assert_eq!(top["cusContactId"], "p1");
    campaign.patch(child["href"].as_str().unwrap(), json!({"cusName": "changed"})).await.expect(200);
    assert_eq!(
        campaign.get(&format!("{VEHICLE}/{}", child["PKey"].as_str().unwrap())).await.expect(200)["cusName"],
        "changed"
    );
    let added = campaign.post(nested, json!({"cusVehicleId": "v5"})).await.expect(201);
    assert_eq!(added["cusContactId"], "p1");
    assert_eq!(campaign.get(list["count"]["href"].as_str().unwrap()).await.expect(200), json!({"count": 3}));
    campaign.delete(child["href"].as_str().unwrap()).await.expect(200);
    campaign.get(&format!("{VEHICLE}/v1")).await.refused(404, "RST-360011");
    campaign.post(PROFILE, json!({"externalId": "å/ß", "lastName": "Nest"})).await.expect(201);
    campaign.post(&format!("{PROFILE}/%C3%A5%2F%C3%9F/cusVehicles"), json!({"cusVehicleId": "v6"})).await.expect(201);
    let list = campaign.get(&format!("{PROFILE}/%C3%A5%2F%C3%9F/cusVehicles?_lineCount=1")).await.expect(200);
    campaign.get(list["content"][0]["href"].as_str().unwrap()).await.expect(200);
    let none = campaign.get(parent["subscriptions"]["href"].as_str().unwrap()).await.expect(200);
    assert_eq!(none["content"], json!([]));
}

#[tokio::test]
async fn every_unique_key_is_kept_and_the_single_one_stands_in_paths() {
    let scenario = r#"
        [[resources]]
        name = "cusSeat"
        unique_keys = [["cusRow", "cusNumber"], ["cusCode"]]
        fields = [{ name = "cusRow" }, { name = "cusNumber", type = "number" }, { name = "cusCode" }]
    "#;
    let campaign = start(scenario).await;
    let seat = "/profileAndServicesExt/cusSeat";
    campaign.post(seat, json!({"cusRow": "A", "cusNumber": 1, "cusCode": "a1"})).await.expect(201);
    campaign.post(seat, json!({"cusRow": "A", "cusNumber": 2, "cusCode": "a2"})).await.expect(201);
    let duplicate = campaign.post(seat, json!({"cusRow": "A", "cusNumber": 1, "cusCode": "a3"})).await;
    duplicate.refused(500, "Key (scusrow, scusnumber)=(A, 1) already exists.");
    campaign
        .post(seat, json!({"cusRow": "B", "cusNumber": 1, "cusCode": "a1"}))
        .await
        .refused(500, "'a1' already exists");
    assert_eq!(campaign.get(&format!("{seat}/a2")).await.expect(200)["cusNumber"], 2);
    campaign.delete(&format!("{seat}/a1")).await.expect(200);
    campaign.post(seat, json!({"cusRow": "A", "cusNumber": 1, "cusCode": "a3"})).await.expect(201);
}

#[tokio::test]
async fn profiles_without_a_key_are_as_many_as_one_likes() {
    let campaign = start("").await;
    let first = campaign.post(PROFILE, json!({"email": "a@example.org"})).await.expect(201);
    campaign.post(PROFILE, json!({"email": "a@example.org"})).await.expect(201);
    let adopted = first["href"].as_str().unwrap();
    campaign.patch(adopted, json!({"externalId": "k"})).await.expect(200);
    assert_eq!(campaign.get(&format!("{PROFILE}/k")).await.expect(200)["email"], "a@example.org");
    assert_eq!(campaign.get(PROFILE).await.expect(200)["count"]["value"], 2);
}
