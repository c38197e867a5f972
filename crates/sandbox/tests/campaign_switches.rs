//! Each switch in each of its positions.

mod campaign_harness;

use campaign_harness::{Campaign, PROFILE, VEHICLE, start};
use serde_json::{Value, json};

async fn with(switch: &str) -> Campaign {
    let campaign = start(&format!("[switches]\n{switch}")).await;
    campaign.post(PROFILE, json!({"externalId": "k", "email": "Ida@example.org"})).await.expect(201);
    campaign
}

#[tokio::test]
async fn error_bodies() {
    let address = format!("{PROFILE}/none");
    let text = with("error_body = \"text\"").await.get(&address).await;
    assert!(text.text.starts_with("RST-360011") && text.content_type.starts_with("text/plain"));
    let string = with("error_body = \"json_string\"").await.get(&address).await;
    assert!(string.content_type.starts_with("application/json"));
    assert_eq!(string.json(), Value::String(text.text.clone()));
    let wrong = with("error_body = \"mislabelled_text\"").await.get(&address).await;
    assert!(wrong.content_type.starts_with("application/json"));
    assert_eq!(wrong.text, text.text);
}

#[tokio::test]
async fn head_lines() {
    const HEAD: &str = "RST-360011 An error has occurred - please contact your administrator.";
    let address = format!("{PROFILE}/none");
    let with_head = with("error_head_line = true").await.get(&address).await.text;
    let without = with("error_head_line = false").await.get(&address).await.text;
    assert_eq!(with_head, format!("{HEAD}\n{without}"));
    assert!(without.starts_with("Unable to find document"));
    // Where there is nothing else, it stays.
    let alone = with("error_head_line = false").await.get(&format!("{PROFILE}/k,")).await.text;
    assert_eq!(alone, HEAD);
}

#[tokio::test]
async fn refused_addresses() {
    let address = format!("{PROFILE}/k");
    let body = json!({"email": "ida"});
    with("").await.patch(&address, body.clone()).await.refused(
        500,
        "RST-360011 An error has occurred - please contact your administrator.\nThe value 'ida' of the '@email' field",
    );
    let other =
        "error_head_line = false\nemail_refusal_status = 400\nemail_refusal_text = \"{field}: {value} is none.\"";
    let answer = with(other).await.patch(&address, body).await;
    assert_eq!((answer.status, answer.text.as_str()), (400, "email: ida is none."));
}

#[tokio::test]
async fn shapes_of_metadata() {
    let meta = async |switch: &str| {
        let answer = with(switch).await.get("/profileAndServicesExt/resourceType/profile").await.expect(200);
        (answer["content"]["gender"]["values"].clone(), answer["content"]["location"]["content"].clone())
    };
    let male = json!({"label": "Male", "name": "male", "value": "1"});
    let (values, content) = meta("").await;
    assert_eq!((&values["male"], &content["city"]["apiName"]), (&male, &json!("city")));
    assert_eq!(meta("metadata_values = \"object\"\nmetadata_item_content = \"object\"").await, (values, content));
    let (values, content) = meta("metadata_values = \"list\"\nmetadata_item_content = \"list\"").await;
    assert_eq!(values[1], male);
    assert!(content.as_array().unwrap().iter().any(|part| part["apiName"] == "city"));
    assert_eq!(meta("metadata_values = \"names\"").await.0, json!(["unknown", "male", "female"]));
}

#[tokio::test]
async fn deletes_and_links_by_key() {
    for (switch, status) in [("", 200), ("delete_by_key = false", 405)] {
        let campaign = with(switch).await;
        let row = campaign.get(&format!("{PROFILE}/k")).await.expect(200);
        assert_eq!(campaign.delete(&format!("{PROFILE}/k")).await.status, status);
        let by_primary_key = campaign.delete(row["href"].as_str().unwrap()).await.status;
        assert_eq!(by_primary_key, if status == 200 { 404 } else { 200 });
    }
    let body = json!({"cusVehicleId": "v", "cusOwner": {"PKey": "k"}});
    with("link_by_key = true").await.post(VEHICLE, body.clone()).await.expect(201);
    let campaign = with("link_by_key = false").await;
    campaign.post(VEHICLE, body).await.refused(500, "'k' attribute unknown");
    let parent = campaign.get(&format!("{PROFILE}/k")).await.expect(200);
    let body = json!({"cusVehicleId": "v", "cusOwner": {"PKey": parent["PKey"]}});
    assert_eq!(campaign.post(VEHICLE, body).await.expect(201)["cusContactId"], "k");
}

#[tokio::test]
async fn errors_and_tokens_of_the_identity_service() {
    let ask = async |campaign: &Campaign, secret: &str| {
        let form = format!(
            "grant_type=client_credentials&client_id=key&client_secret={secret}&scope=openid,additional_info.projectedProductContext"
        );
        campaign.send("POST", &format!("{}/ims/token/v3", campaign.origin), Some(form), &[]).await
    };
    for (switch, status, error) in [
        ("", 400, "invalid_client"),
        ("ims_error_status = 401\nims_client_error = \"unauthorized_client\"", 401, "unauthorized_client"),
    ] {
        let answer = ask(&with(switch).await, "wrong").await;
        assert_eq!((answer.status, &answer.json()["error"]), (status, &json!(error)));
    }
    for (switch, status) in [("", 200), ("new_token_ends_earlier = true", 401)] {
        let campaign = with(switch).await;
        let token = ask(&campaign, "").await.expect(200)["access_token"].as_str().unwrap().to_owned();
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", bearer.as_str()), ("x-api-key", "key")];
        campaign.send("GET", PROFILE, None, &headers).await.expect(200);
        assert_eq!(campaign.get(PROFILE).await.status, status, "the earlier token");
    }
}

#[tokio::test]
async fn statuses() {
    for (switch, status) in [("", 200), ("delete_status = 200", 200), ("delete_status = 204", 204)] {
        let answer = with(switch).await.delete(&format!("{PROFILE}/k")).await;
        assert_eq!((answer.status, answer.text.as_str()), (status, ""));
    }
    for (switch, status) in [("", 200), ("empty_patch_status = 204", 204)] {
        let answer = with(switch).await.patch(&format!("{PROFILE}/k"), json!({})).await;
        assert_eq!((answer.status, answer.text.is_empty()), (status, status == 204));
    }
    let cold = with("cold_organization = true").await;
    let other = format!("{}/other/campaign{PROFILE}", cold.origin);
    assert_eq!((cold.get(&other).await.status, cold.get(&other).await.status), (400, 500));
    let warm = with("cold_organization = false").await;
    let other = format!("{}/other/campaign{PROFILE}", warm.origin);
    assert_eq!((warm.get(&other).await.status, warm.get(&other).await.status), (500, 500));
}

#[tokio::test]
async fn custom_resource_keys() {
    for (switch, found) in [("", true), ("custom_resource_keys = false", false)] {
        let campaign = with(switch).await;
        campaign.post(VEHICLE, json!({"cusVehicleId": "v"})).await.expect(201);
        let by_key = campaign.get(&format!("{VEHICLE}/v")).await;
        assert_eq!(by_key.status, if found { 200 } else { 404 });
        let by_filter = campaign.get(&format!("{VEHICLE}/byCusVehicleId?cusVehicleId_parameter=v")).await.expect(200);
        campaign.patch(by_filter["content"][0]["href"].as_str().unwrap(), json!({"cusName": "x"})).await.expect(200);
        // The documented case, top-level profiles, is not touched by it.
        campaign.get(&format!("{PROFILE}/k")).await.expect(200);
    }
}

#[tokio::test]
async fn collection_upsert() {
    let body = json!({"externalId": "k", "firstName": "Ida"});
    with("collection_upsert = false").await.post(PROFILE, body.clone()).await.refused(500, "PGS-220000");
    let campaign = with("collection_upsert = true").await;
    let answer = campaign.post(PROFILE, body).await.expect(200);
    assert_eq!((&answer["firstName"], &answer["email"]), (&json!("Ida"), &json!("Ida@example.org")));
    assert_eq!(campaign.records("profile").len(), 1);
    let patch = json!({"externalId": "k", "lastName": "Holm"});
    campaign.patch(PROFILE, patch.clone()).await.expect(200);
    assert_eq!(campaign.records("profile")[0]["lastName"], "Holm");
    campaign.patch(PROFILE, json!({"externalId": "none"})).await.refused(404, "from key 'none:0'");
    campaign.patch(PROFILE, json!({"lastName": "x"})).await.refused(405, "not supported");
    with("collection_upsert = false").await.patch(PROFILE, patch).await.refused(405, "not supported");
}

#[tokio::test]
async fn nulls() {
    let body = json!({"email": null, "blackList": null, "gender": null, "location": null});
    let campaign = with("accept_null = true").await;
    campaign.patch(&format!("{PROFILE}/k"), body.clone()).await.expect(200);
    let row = campaign.get(&format!("{PROFILE}/k")).await.expect(200);
    assert_eq!((&row["email"], &row["blackList"], &row["gender"]), (&json!(""), &json!(false), &json!("unknown")));
    with("accept_null = false").await.patch(&format!("{PROFILE}/k"), body).await.refused(500, "BAS-010040");
}

#[tokio::test]
async fn long_strings() {
    let body = json!({"firstName": "x".repeat(40)});
    let address = format!("{PROFILE}/k");
    let answer = with("too_long = \"error\"").await.patch(&address, body.clone()).await;
    assert!(answer.status == 500 && !answer.text.contains("PGS-220000"), "{answer:?}");
    with("too_long = \"database_error\"")
        .await
        .patch(&address, body.clone())
        .await
        .refused(500, "value too long for type character varying(30)");
    let campaign = with("too_long = \"truncate\"").await;
    campaign.patch(&address, body).await.expect(200);
    assert_eq!(campaign.get(&address).await.expect(200)["firstName"], "x".repeat(30));
}

#[tokio::test]
async fn line_count_cap() {
    for (switch, rows) in [("", 200), ("line_count_cap = 3", 3), ("line_count_cap = 0", 211)] {
        let campaign = start(&format!("[switches]\n{switch}\n[[resources]]\nname = \"profile\"\nrows = 211")).await;
        let list = campaign.get(&format!("{PROFILE}?_lineCount=1000")).await.expect(200);
        assert_eq!(list["content"].as_array().unwrap().len(), rows, "{switch}");
    }
}

#[tokio::test]
async fn email_filter_case() {
    let address = format!("{PROFILE}/byEmail?email=ida@EXAMPLE.org");
    assert_eq!(with("email_filter_case_sensitive = false").await.ids(&address).await, ["k"]);
    assert_eq!(with("email_filter_case_sensitive = true").await.ids(&address).await, Vec::<String>::new());
}

#[tokio::test]
async fn href_of_items() {
    let with_href = with("item_href = true").await;
    assert!(with_href.get(&format!("{PROFILE}/k")).await.expect(200).get("href").is_some());
    let without = with("item_href = false").await;
    assert!(without.get(&format!("{PROFILE}/k")).await.expect(200).get("href").is_none());
    assert!(without.get(PROFILE).await.expect(200)["content"][0].get("href").is_some());
}

#[tokio::test]
async fn opt_out_names_and_dates() {
    for prefix in ["blackList", "denyList", "blockList"] {
        let campaign = with(&format!("opt_out_prefix = \"{prefix}\"")).await;
        let address = format!("{PROFILE}/k");
        campaign.patch(&address, json!({format!("{prefix}Email"): true})).await.expect(200);
        let row = campaign.get(&address).await.expect(200);
        assert_eq!(row[format!("{prefix}Email")], true);
        assert_eq!(row[format!("{prefix}EmailLastModified")], row["lastModified"]);
        let other = if prefix == "denyList" { "blackListEmail" } else { "denyListEmail" };
        campaign.patch(&address, json!({other: true})).await.refused(500, "is not valid for the 'profile' resource");
    }
    for (switch, own, all) in [("black_list", true, false), ("all", false, true), ("both", true, true)] {
        let campaign = with(&format!("general_opt_out_date = \"{switch}\"")).await;
        let address = format!("{PROFILE}/k");
        campaign.patch(&address, json!({"blackList": true})).await.expect(200);
        let row = campaign.get(&address).await.expect(200);
        assert_eq!((row["blackListLastModified"] != "", row["blackListAllLastModified"] != ""), (own, all), "{switch}");
    }
    for (switch, there) in [("false", false), ("true", true)] {
        let campaign = with(&format!("pushnotification_date = {switch}")).await;
        let row = campaign.get(&format!("{PROFILE}/k")).await.expect(200);
        assert_eq!(row.get("blackListPushnotificationLastModified").is_some(), there);
    }
    let body = json!({"blackListFax": true, "blackListFaxLastModified": "2020-01-02 03:04:05.006Z"});
    with("opt_out_dates_writable = false")
        .await
        .patch(&format!("{PROFILE}/k"), body.clone())
        .await
        .refused(500, "read-only");
    let campaign = with("opt_out_dates_writable = true").await;
    campaign.patch(&format!("{PROFILE}/k"), body).await.expect(200);
    assert_eq!(
        campaign.get(&format!("{PROFILE}/k")).await.expect(200)["blackListFaxLastModified"],
        "2020-01-02 03:04:05.006Z"
    );
}

#[tokio::test]
async fn acs_id() {
    let without = with("acs_id = false").await.get(&format!("{PROFILE}/k")).await.expect(200);
    assert!(without.get("acsId").is_none());
    let campaign = with("acs_id = true").await;
    let row = campaign.get(&format!("{PROFILE}/k")).await.expect(200);
    assert_eq!(row["acsId"].as_str().unwrap().len(), 36);
    campaign.patch(&format!("{PROFILE}/k"), json!({"acsId": "x"})).await.refused(500, "read-only");
}

#[tokio::test]
async fn hidden_children() {
    for (switch, orphan, unlinked) in
        [("", 404, 200), ("hidden_children = false", 200, 200), ("empty_join_hides = true", 404, 404)]
    {
        let campaign = with(switch).await;
        campaign.post(VEHICLE, json!({"cusVehicleId": "orphan", "cusContactId": "nobody"})).await.expect(201);
        campaign.post(VEHICLE, json!({"cusVehicleId": "unlinked"})).await.expect(201);
        campaign.post(VEHICLE, json!({"cusVehicleId": "child", "cusContactId": "k"})).await.expect(201);
        assert_eq!(campaign.get(&format!("{VEHICLE}/orphan")).await.status, orphan, "{switch}");
        assert_eq!(campaign.get(&format!("{VEHICLE}/unlinked")).await.status, unlinked, "{switch}");
        assert_eq!(campaign.get(&format!("{VEHICLE}/child")).await.status, 200, "{switch}");
        let seen = 1 + usize::from(orphan == 200) + usize::from(unlinked == 200);
        let list = campaign.get(VEHICLE).await.expect(200);
        assert_eq!((list["content"].as_array().unwrap().len(), &list["count"]["value"]), (seen, &json!(seen)));
    }
}

#[tokio::test]
async fn smart_case_only_where_the_scenario_says() {
    let campaign =
        start("[[resources]]\nname = \"profile\"\nfields = [{ name = \"firstName\", data_policy = \"smartCase\" }]")
            .await;
    let row =
        campaign.post(PROFILE, json!({"externalId": "k", "firstName": "ida", "lastName": "holm"})).await.expect(201);
    assert_eq!((&row["firstName"], &row["lastName"]), (&json!("Ida"), &json!("holm")));
    let metadata = campaign.get("/profileAndServicesExt/resourceType/profile").await.expect(200);
    assert_eq!(metadata["content"]["firstName"]["dataPolicy"], "smartCase");
}
