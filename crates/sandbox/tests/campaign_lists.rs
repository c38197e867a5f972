//! Lists: pages, order, filters, counts, projections.

mod campaign_harness;

use campaign_harness::{Campaign, PROFILE, VEHICLE, ids, start};
use serde_json::json;

async fn filled(scenario: &str, rows: usize) -> Campaign {
    let campaign = start(scenario).await;
    for number in 0..rows {
        let body = json!({"externalId": format!("k{number:03}"), "lastName": format!("Name{:02}", number % 10), "email": format!("m{number}@example.org")});
        campaign.post(PROFILE, body).await.expect(201);
    }
    campaign
}

#[tokio::test]
async fn next_leads_through_every_row_once() {
    let campaign = filled("", 60).await;
    let first = campaign.get(PROFILE).await.expect(200);
    assert_eq!(first["content"].as_array().unwrap().len(), 25);
    assert_eq!((&first["count"]["value"], &first["serverSidePagination"]), (&json!(60), &json!(true)));
    let count = first["count"]["href"].as_str().unwrap();
    assert!(count.contains("/profileAndServicesExt/profile//_count?_lineStart=@"), "{count}");
    assert_eq!(campaign.get(count).await.expect(200), json!({"count": 60}));
    let mut seen = ids(&first);
    let mut page = first;
    for _ in 0..10 {
        let Some(next) = page["next"]["href"].as_str().map(str::to_owned) else { break };
        page = campaign.get(&next).await.expect(200);
        seen.extend(ids(&page));
    }
    assert_eq!(page.get("next"), None);
    assert_eq!(seen, (0..60).map(|n| format!("k{n:03}")).collect::<Vec<_>>());
}

#[tokio::test]
async fn an_empty_list_says_so() {
    let campaign = start("").await;
    let list = campaign.get(PROFILE).await.expect(200);
    assert_eq!(list["content"], json!([]));
    assert_eq!(list["count"]["value"], 0);
    assert_eq!((list.get("next"), &list["serverSidePagination"]), (None, &json!(false)));
}

#[tokio::test]
async fn above_the_threshold_next_is_given_to_those_who_force_it() {
    let campaign = filled("big_table_threshold = 9", 10).await;
    let plain = campaign.get(&format!("{PROFILE}?_lineCount=4")).await.expect(200);
    assert_eq!((plain.get("next"), plain["count"].get("value")), (None, None));
    let forced = campaign.get(&format!("{PROFILE}?_lineCount=4&_forcePagination=true")).await.expect(200);
    let next = forced["next"]["href"].as_str().unwrap();
    assert!(next.contains("/profile/?_lineCount=4&_forcePagination=true&_lineStart=@"), "{next}");
    assert_eq!(campaign.ids(next).await, ["k004", "k005", "k006", "k007"]);
    campaign.delete(&format!("{PROFILE}/k000")).await.expect(200);
    let below = campaign.get(&format!("{PROFILE}?_lineCount=4")).await.expect(200);
    assert!(below["next"]["href"].is_string());
    assert_eq!(below["count"]["value"], 9);
}

#[tokio::test]
async fn lists_are_ordered_by_sortable_columns_only() {
    let campaign = filled("", 20).await;
    let asked = campaign.get(&format!("{PROFILE}?_order=lastName%20desc&_lineCount=3")).await.expect(200);
    assert_eq!(ids(&asked), ["k019", "k009", "k018"]);
    let next = asked["next"]["href"].as_str().unwrap();
    assert!(next.contains("_order=lastName%20desc"), "{next}");
    assert_eq!(campaign.ids(next).await, ["k008", "k017", "k007"]);
    assert_eq!(campaign.ids(&format!("{PROFILE}?_order=lastName&_lineCount=2")).await, ["k000", "k010"]);
    assert_eq!(campaign.ids(&format!("{PROFILE}?_order=created&_lineCount=1")).await, ["k000"]);
    campaign.get(&format!("{PROFILE}?_order=age")).await.refused(500, "age");
    campaign.get(&format!("{PROFILE}?_order=lastName%20sideways")).await.refused(500, "sideways");
    campaign.get(&format!("{PROFILE}?_lineCount=x")).await.refused(500, "BAS-010040");
    campaign.get(&format!("{PROFILE}?_lineStart=@x")).await.refused(500, "RST-360011");
}

#[tokio::test]
async fn built_in_filters_find_and_combine() {
    let campaign = filled("", 12).await;
    assert_eq!(campaign.ids(&format!("{PROFILE}/byEmail?email=m3%40example.org")).await, ["k003"]);
    assert_eq!(campaign.ids(&format!("{PROFILE}/byKeysProfile?email=m3%40example.org")).await, ["k003"]);
    assert_eq!(campaign.ids(&format!("{PROFILE}/byText?text=Name01")).await, ["k001", "k011"]);
    assert_eq!(campaign.ids(&format!("{PROFILE}/byText?text=name01")).await, Vec::<String>::new());
    assert_eq!(campaign.ids(&format!("{PROFILE}/byText?text=m11")).await, ["k011"]);
    assert_eq!(campaign.ids(&format!("{PROFILE}/byText?text=m1&filterType=lastName")).await, Vec::<String>::new());
    assert_eq!(campaign.ids(&format!("{PROFILE}/byText?text=m1&filterType=email")).await, ["k001", "k010", "k011"]);
    assert_eq!(campaign.ids(&format!("{PROFILE}/byText/byEmail?text=Name01&email=m11@example.org")).await, ["k011"]);
    let chained =
        campaign.get(&format!("{PROFILE}/byText/byEmail?text=Name01&email=m11@example.org")).await.expect(200);
    let count = chained["count"]["href"].as_str().unwrap();
    assert!(count.contains("/profile//byText/byEmail/_count?text=Name01&email=m11@example.org"), "{count}");
    assert_eq!(campaign.get(count).await.expect(200), json!({"count": 1}));
    campaign.get(&format!("{PROFILE}/byText?text=a&filterType=shoeSize")).await.refused(500, "shoeSize");
    // Filters that are not there, or not imitated, are not taken for keys; neither is one without its parameter for no filter.
    for filter in ["byNothing?x=1", "birthday?day=1", "subscribers?service=@x", "byStaticAudience?audience=@x"] {
        campaign.get(&format!("{PROFILE}/{filter}")).await.refused(404, "rc=-2003");
    }
    campaign.get(&format!("{VEHICLE}/birthday")).await.refused(404, "from key 'birthday:0'");
    campaign
        .get(&format!("{PROFILE}/byEmail"))
        .await
        .refused(500, "'email' parameter of the 'byEmail' filter is missing");
    campaign.get(&format!("{PROFILE}/byText?filterType=email")).await.refused(500, "'text' parameter");
}

#[tokio::test]
async fn custom_filters_take_the_parameter_that_publishing_made() {
    let scenario = r#"
        [[resources]]
        name = "profile"
        filters = [
            { name = "byCity", field = "location.city" },
            { name = "byFax", field = "fax", optional = false },
            { name = "byPhone", field = "phone", optional = true },
            { name = "byBorn", field = "birthDate", operator = "on_or_after", parameter = "since", optional = true },
        ]
    "#;
    let campaign = filled(scenario, 3).await;
    campaign
        .patch(&format!("{PROFILE}/k001"), json!({"location": {"city": "Århus"}, "birthDate": "1990-01-02"}))
        .await
        .expect(200);
    assert_eq!(campaign.ids(&format!("{PROFILE}/byCity?city_parameter=%C3%85rhus")).await, ["k001"]);
    assert_eq!(campaign.ids(&format!("{PROFILE}/byBorn?since=1990-01-02")).await, ["k001"]);
    assert_eq!(campaign.ids(&format!("{PROFILE}/byBorn?since=1990-01-03")).await, Vec::<String>::new());
    assert_eq!(campaign.ids(&format!("{PROFILE}/byBorn")).await.len(), 3);
    assert_eq!(campaign.ids(&format!("{PROFILE}/byCrmId?crmId_parameter=k002")).await, ["k002"]);
    assert_eq!(campaign.ids(&format!("{PROFILE}/byCrmId?crmId_parameter=none")).await, Vec::<String>::new());
    campaign.get(&format!("{PROFILE}/byLastModified?lastModified_parameter=x")).await.refused(500, "BAS-010040");
    campaign.get(&format!("{PROFILE}/byLastModified")).await.refused(500, "'lastModified_parameter' parameter");
    // Every row has an empty fax and an empty phone; only the optional filter lets them all through.
    for missing in ["byFax", "byFax?fax_parameter="] {
        campaign.get(&format!("{PROFILE}/{missing}")).await.refused(500, "'fax_parameter' parameter");
    }
    assert_eq!(campaign.ids(&format!("{PROFILE}/byPhone")).await.len(), 3);
    campaign.shared.clock.advance(60);
    let changed = campaign.shared.clock.now().format("%Y-%m-%d%%20%H:%M:%SZ").to_string();
    campaign.patch(&format!("{PROFILE}/k002"), json!({"fax": "1"})).await.expect(200);
    assert_eq!(
        campaign.ids(&format!("{PROFILE}/byLastModified?lastModified_parameter={changed}&_order=lastModified")).await,
        ["k002"]
    );
    campaign.post(VEHICLE, json!({"cusVehicleId": "v1"})).await.expect(201);
    assert_eq!(campaign.ids(&format!("{VEHICLE}/byCusVehicleId?cusVehicleId_parameter=v1")).await, ["v1"]);
}

#[tokio::test]
async fn one_attribute_can_be_asked_for_alone() {
    let campaign = filled("", 3).await;
    let list = campaign.get(&format!("{PROFILE}/email?_lineCount=2")).await.expect(200);
    assert_eq!(list["content"], json!(["m0@example.org", "m1@example.org"]));
    let next = campaign.get(list["next"]["href"].as_str().unwrap()).await.expect(200);
    assert_eq!((&next["content"], next.get("next")), (&json!(["m2@example.org"]), None));
    let chained = campaign.get(&format!("{PROFILE}/byText/lastName?text=m&_lineCount=2")).await.expect(200);
    let next = campaign.get(chained["next"]["href"].as_str().unwrap()).await.expect(200);
    assert_eq!(next["content"], json!(["Name02"]));
    assert_eq!(campaign.get(&format!("{PROFILE}/k002/email")).await.expect(200), json!("m2@example.org"));
    assert_eq!(
        campaign.get(&format!("{PROFILE}/byEmail/lastName?email=m2@example.org")).await.expect(200)["content"],
        json!(["Name02"])
    );
}
