//! Whatever the public pages leave open, the connector works either way: every switch in its other positions.

use end_to_end_tests::Stage;
use serde_json::{Value, json};

const CONTACTS: &str = r#"
[[table]]
table = "contact"
resource = "profile"
key = "externalId"
apply_deletes = true
fields = [ { from = "firstname", to = "firstName" }, { from = "emailaddress1", to = "email" }, { from = "birthdate", to = "birthDate" } ]
[table.filter]
delete_filtered_out = true
rules = [ { field = "statecode", compare = "equals", value = 0 } ]
"#;

/// Both sides, worked out by hand.
async fn assert_equal(stage: &Stage, what: &str) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut wanted: Vec<[String; 4]> = stage
        .records("dataverse", "contact")
        .await
        .iter()
        .filter(|row| row["statecode"] == 0)
        .map(|row| {
            [text(&row["contactid"]), text(&row["firstname"]), text(&row["emailaddress1"]), text(&row["birthdate"])]
        })
        .collect();
    let mut found: Vec<[String; 4]> = stage
        .records("campaign", "profile")
        .await
        .iter()
        .map(|row| [text(&row["externalId"]), text(&row["firstName"]), text(&row["email"]), text(&row["birthDate"])])
        .collect();
    wanted.sort();
    found.sort();
    assert!(wanted == found, "{what}: {} rows wanted, {} found, or their values differ", wanted.len(), found.len());
}

/// A load, changes of every kind and a quiet run, under one setting.
async fn works_with(section: &str, switch: &str) {
    let stage = Stage::new(60, &format!("[{section}.switches]\n{switch}\n")).await;
    for seed in 0..3 {
        if seed > 0 {
            let body =
                json!({"side": "dataverse", "table": "contact", "create": 5, "update": 15, "delete": 5, "seed": seed});
            stage.post("/mutate", &body).await;
        }
        let summary = stage.run("page_size = 25", CONTACTS).await;
        assert_eq!(summary.workflows[0].status.reason, None, "{switch}");
        assert_eq!(summary.total().dead, 0, "{switch}");
        assert_equal(&stage, switch).await;
    }
}

#[tokio::test]
async fn dataverse_switches() {
    for switch in [
        "istracking = false",
        "ext_expires_in = false",
        "empty_precondition_code = false",
        "empty_delta_value = false",
        "annotations_hide_delta_link = true",
        "count_with_tracking = true",
        "default_page_size = 7",
        "short_pages = 10",
        "resend_duplicates = true",
        "unauthorized_body = false",
        "ne_finds_null = false",
        "entity_id_on_created = true",
        "count_bom = false",
        "recreated_rows_stay_deleted = true",
        "unselected_changes = false",
        "strict_token_age = false",
        "tracking_option_code = \"0x80040216\"",
        "inactive_rows_are_read_only = true",
        "delta_without_link = true",
        "date_only_takes_time = true",
    ] {
        works_with("dataverse", switch).await;
    }
}

#[tokio::test]
async fn campaign_switches() {
    for switch in [
        "error_body = \"json_string\"",
        "error_body = \"mislabelled_text\"",
        "delete_status = 204",
        "empty_patch_status = 204",
        "collection_upsert = true",
        "accept_null = false",
        "line_count_cap = 10",
        "item_href = false",
        "acs_id = true",
        "cold_organization = true",
        "error_head_line = false",
        "error_head_line = false\nerror_body = \"json_string\"",
        "delete_by_key = false",
        "link_by_key = false",
        "metadata_values = \"list\"\nmetadata_item_content = \"list\"",
        "metadata_values = \"names\"",
        "new_token_ends_earlier = true",
        "email_refusal_status = 400",
        "hidden_children = false",
        "empty_join_hides = true",
    ] {
        works_with("campaign", switch).await;
    }
}

/// A contact that is deleted and created again under its id between two polls: the feed may tell of both, in either order.
#[tokio::test]
async fn a_contact_that_was_created_again_under_its_id_is_there() {
    for switch in ["recreated_rows_stay_deleted = false", "recreated_rows_stay_deleted = true"] {
        let stage = Stage::new(30, &format!("[dataverse.switches]\n{switch}\n")).await;
        stage.run("page_size = 10", CONTACTS).await;
        let contacts = stage.records("dataverse", "contact").await;
        let again: Vec<_> = contacts.iter().filter(|row| row["statecode"] == 0).take(6).collect();
        for row in &again {
            let id = row["contactid"].as_str().unwrap();
            stage.delete_contact(id).await;
            let restored = json!({"contactid": id, "firstname": "Again", "lastname": row["lastname"]});
            stage.put(&format!("/records/dataverse/contact/{id}"), &restored).await;
        }
        let summary = stage.run("page_size = 10", CONTACTS).await;
        assert_eq!(summary.workflows[0].status.reason, None, "{switch}");
        assert_equal(&stage, switch).await;
        let profiles = stage.records("campaign", "profile").await;
        for row in again {
            let found = profiles.iter().find(|profile| profile["externalId"] == row["contactid"]);
            assert_eq!(found.map(|profile| &profile["firstName"]), Some(&json!("Again")), "{switch}");
        }
    }
}

/// D-4: the configuration may use any of the three names, and what travels is what the instance publishes.
#[tokio::test]
async fn opt_outs_arrive_whatever_the_instance_calls_them() {
    for prefix in ["blackList", "denyList", "blockList"] {
        for written in ["blackList", "denyList", "blockList"] {
            let stage = Stage::new(30, &format!("[campaign.switches]\nopt_out_prefix = \"{prefix}\"\n")).await;
            let tables = CONTACTS
                .replace("fields = [", &format!("fields = [ {{ from = \"donotemail\", to = \"{written}Email\" }},"));
            for seed in 0..2 {
                if seed > 0 {
                    for row in stage.records("dataverse", "contact").await.iter().take(12) {
                        let id = row["contactid"].as_str().unwrap_or_default();
                        let turned = json!({"donotemail": row["donotemail"] != true});
                        stage.put(&format!("/records/dataverse/contact/{id}"), &turned).await;
                    }
                }
                let summary = stage.run("", &tables).await;
                assert_eq!(summary.workflows[0].status.reason, None, "{prefix}, written {written}");
                assert_equal(&stage, prefix).await;
                let profiles = stage.records("campaign", "profile").await;
                let mut opted_out = 0;
                for row in stage.records("dataverse", "contact").await.iter().filter(|row| row["statecode"] == 0) {
                    let found = profiles.iter().find(|profile| profile["externalId"] == row["contactid"]);
                    let found = found.map(|profile| &profile[format!("{prefix}Email")]);
                    assert_eq!(found, Some(&json!(row["donotemail"] == true)), "{prefix}, written {written}");
                    opted_out += u32::from(row["donotemail"] == true);
                }
                assert!(seed == 0 || opted_out > 0, "nobody opted out: nothing was proved");
            }
        }
    }
}

#[tokio::test]
async fn an_expired_token_is_known_by_its_code_whatever_the_status() {
    for status in [400, 410] {
        let stage = Stage::new(60, &format!("[dataverse.switches]\nexpired_token_status = {status}\n")).await;
        stage.run("", CONTACTS).await;
        let body = json!({"side": "dataverse", "table": "contact", "create": 5, "update": 15, "delete": 10, "seed": 3});
        stage.post("/mutate", &body).await;
        stage.post("/faults", &json!([{"side": "dataverse", "fault": "expire_delta", "nth": 1, "times": 1}])).await;
        let summary = stage.run("", CONTACTS).await;
        assert_eq!(summary.workflows[0].status.reason, None);
        assert_equal(&stage, "expired token").await;
    }
}

#[tokio::test]
async fn a_store_of_days_ago_finds_its_token_expired_by_the_clock() {
    let stage = Stage::new(60, "").await;
    stage.run("", CONTACTS).await;
    let body = json!({"side": "dataverse", "table": "contact", "create": 5, "update": 15, "delete": 10, "seed": 4});
    stage.post("/mutate", &body).await;
    stage.post("/clock", &json!({"advance_seconds": 9 * 86_400})).await;
    let summary = stage.run("", CONTACTS).await;
    assert_eq!(summary.workflows[0].status.reason, None);
    assert_equal(&stage, "expired by the clock").await;
}

#[tokio::test]
async fn an_existing_profile_with_the_contacts_id_is_adopted() {
    let stage = Stage::new(20, "").await;
    let contacts = stage.records("dataverse", "contact").await;
    let active = contacts.iter().find(|row| row["statecode"] == 0).unwrap();
    let id = active["contactid"].as_str().unwrap();
    stage.put(&format!("/records/campaign/profile/{id}"), &json!({"firstName": "Before"})).await;
    let summary = stage.run("", CONTACTS).await;
    assert_eq!(summary.total().updated, 1);
    assert_equal(&stage, "adoption").await;
}
