//! The gateway, what describes the resources, the counters, and what the control interface needs.

mod campaign_harness;

use std::collections::HashSet;

use campaign_harness::{EXT, PROFILE, VEHICLE, start};
use sandbox::campaign::{CampaignMutationPlan, CampaignScenario, CampaignService};
use serde_json::{Map, Value, json};

#[tokio::test]
async fn the_gateway_looks_at_token_key_and_organization() {
    let campaign = start("").await;
    let bearer = format!("Bearer {}", campaign.token);
    let stranger = "{\"error_code\":\"401013\",\"message\":\"Oauth token is not valid\"}";
    for headers in [vec![], vec![("x-api-key", "key")], vec![("authorization", "Bearer made-up"), ("x-api-key", "key")]]
    {
        let answer = campaign.send("GET", PROFILE, None, &headers).await;
        assert_eq!((answer.status, answer.text.as_str()), (401, stranger));
    }
    for headers in
        [vec![("authorization", bearer.as_str())], vec![("authorization", bearer.as_str()), ("x-api-key", "other")]]
    {
        campaign.send("GET", PROFILE, None, &headers).await.refused(403, "\"error_code\":\"403000\"");
    }
    let other = campaign.get(&format!("{}/other/campaign{PROFILE}", campaign.origin)).await.expect(500);
    assert_eq!(other, json!({"code": 500, "message": "Oops. Something went wrong. Check your URI and try again."}));
    campaign.get("/nothing/profile").await.refused(500, "Oops");
    for unknown in ["/", "/nothing", "/acme", "/acme/other/profileAndServicesExt/profile", "/ims/nothing"] {
        let address = format!("{}{unknown}", campaign.origin);
        assert_eq!(campaign.get(&address).await.expect(500)["code"], 500, "{unknown}");
        let answer = campaign.send("GET", &address, None, &[]).await;
        assert_eq!((answer.status, answer.text.as_str()), (401, stranger), "{unknown}");
    }
    campaign.shared.clock.advance(86_400);
    campaign.get(PROFILE).await.refused(401, "401013");
}

#[tokio::test]
async fn a_body_is_bounded() {
    let campaign = start("").await;
    let answer = campaign.post(PROFILE, json!({"externalId": "x".repeat(2_000_000)})).await;
    assert_eq!(answer.status, 413);
}

#[tokio::test]
async fn discovery_lists_the_resources_of_a_family() {
    let campaign = start("[[resources]]\nname = \"cusShop\"\nfamily = \"customResources\"\nunique_keys = [[\"cusCode\"]]\nfields = [{ name = \"cusCode\" }]").await;
    let names = |list: Value| list.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let ext = campaign.get(&format!("{EXT}/")).await.expect(200);
    assert_eq!((&ext["apiName"], &ext["cusVehicle"]["type"]), (&json!("resourceType"), &json!("collection")));
    assert_eq!(ext["cusVehicle"]["data"], "/profileAndServicesExt/cusVehicle/");
    assert_eq!(names(ext), ["apiName", "cusVehicle", "profile"]);
    assert_eq!(names(campaign.get("/customResources/").await.expect(200)), ["apiName", "cusShop"]);
    assert_eq!(names(campaign.get("/profileAndServices").await.expect(200)), ["apiName", "profile"]);
    campaign.post("/customResources/cusShop", json!({"cusCode": "s1"})).await.expect(201);
    campaign.get("/customResources/cusShop/s1").await.expect(200);
    campaign.get(&format!("{EXT}/cusShop/s1")).await.refused(404, "rc=-2003");
}

#[tokio::test]
async fn metadata_has_the_documented_shape() {
    let campaign = start("").await;
    let profile = campaign.get(&format!("{EXT}/resourceType/profile")).await.expect(200);
    assert_eq!(
        (&profile["schema"], &profile["name"], &profile["type"]),
        (&json!("nms:recipient"), &json!("profile"), &json!("item"))
    );
    let email = profile["content"]["email"].as_object().unwrap();
    let keys = [
        "PKey",
        "apiName",
        "category",
        "dataPolicy",
        "desc",
        "displayFormat",
        "help",
        "label",
        "lazyLoaded",
        "length",
        "mandatory",
        "metadata",
        "privacy",
        "queryable",
        "readOnly",
        "resName",
        "resType",
        "sortable",
        "type",
    ];
    assert_eq!(email.keys().map(String::as_str).collect::<Vec<_>>(), keys);
    assert_eq!(
        (&email["length"], &email["dataPolicy"], &email["type"]),
        (&json!("128"), &json!("email"), &json!("string"))
    );
    let gender = &profile["content"]["gender"];
    assert_eq!((&gender["type"], &gender["resType"]), (&json!("enumeration"), &json!("byte")));
    assert_eq!(gender["values"]["male"], json!({"label": "Male", "name": "male", "value": "1"}));
    assert_eq!(profile["content"]["age"]["readOnly"], true);
    assert_eq!(profile["content"]["location"]["content"]["city"]["type"], "string");
    assert_eq!(profile["content"]["subscriptions"]["resTarget"], "subscriptionRcp");
    assert_eq!(profile["content"]["cusVehicles"]["type"], "collection");
    let same = campaign.get(profile["href"].as_str().unwrap()).await.expect(200);
    assert_eq!(same, profile);
    let vehicle = campaign.get(&format!("{EXT}/resourceType/cusVehicle")).await.expect(200);
    assert_eq!(vehicle["content"]["cusOwner"]["resTarget"], "profile");
    assert_eq!(vehicle["content"]["cusVehicleId"]["mandatory"], true);
    let filters = campaign.get(profile["filters"]["href"].as_str().unwrap()).await.expect(200);
    assert_eq!(filters["byText"]["data"], "/profileAndServicesExt/profile/byText?text=$value");
    assert!(filters["byCrmId"]["data"].as_str().unwrap().contains("crmId_parameter=$value"));
    campaign.get(&format!("{EXT}/resourceType/nothing")).await.refused(404, "rc=-2003");
}

#[tokio::test]
async fn one_record_request_is_one_engine_call_whatever_its_answer() {
    let campaign = start("").await;
    campaign.post(PROFILE, json!({"externalId": "k"})).await.expect(201);
    campaign.post(PROFILE, json!({"externalId": "k"})).await.refused(500, "PGS-220000");
    campaign.patch(&format!("{PROFILE}/k"), json!({"firstName": "Ida"})).await.expect(200);
    campaign.get(&format!("{PROFILE}/k")).await.expect(200);
    campaign.get(PROFILE).await.expect(200);
    campaign.get(&format!("{PROFILE}/none")).await.refused(404, "RST-360011");
    campaign.delete(&format!("{PROFILE}/k")).await.expect(200);
    campaign.get(&format!("{EXT}/resourceType/profile")).await.expect(200);
    campaign.get(&format!("{EXT}/")).await.expect(200);
    let counters = campaign.shared.counters.snapshot();
    assert_eq!(counters["campaign"]["engine_calls"], json!({"insert": 2, "update": 1, "delete": 1, "read": 3}));
    assert_eq!(counters["campaign"]["rows"], 2);
    // The gateway's refusals are answers like any other.
    campaign.send("DELETE", &format!("{PROFILE}/k"), None, &[]).await.refused(401, "401013");
    campaign.patch("/profileAndServicesExt/nothing/k", json!({})).await.refused(404, "rc=-2003");
    campaign.patch(&format!("{}/other/campaign{PROFILE}/k", campaign.origin), json!({})).await.refused(500, "Oops");
    let counters = campaign.shared.counters.snapshot();
    assert_eq!(counters["campaign"]["engine_calls"], json!({"insert": 2, "update": 3, "delete": 2, "read": 3}));
    let requests = counters["campaign"]["requests"].as_object().unwrap();
    assert_eq!(requests.values().filter_map(Value::as_u64).sum::<u64>(), 10, "{requests:?}");
}

#[tokio::test]
async fn descriptions_are_set_up_whatever_they_describe() {
    let campaign = start("").await;
    for path in [
        "/profileAndServicesExt/resourceType/nope",
        "/profileAndServicesExt/nope/metadata",
        "/profileAndServicesExt/resourceType/nope/filters",
        "/customResources/resourceType/profile",
    ] {
        campaign.get(path).await.refused(404, "rc=-2003");
    }
    campaign.get("/profileAndServicesExt/profile/metadata").await.expect(200);
    for number in 0..5 {
        campaign.get(&format!("/profileAndServicesExt/junk{number}")).await.refused(404, "rc=-2003");
    }
    let counters = campaign.shared.counters.snapshot()["campaign"].clone();
    let set_up = json!({"GET /{other}": 4, "GET /profileAndServicesExt/profile/metadata": 1});
    assert_eq!(counters["setup_requests"], set_up);
    assert_eq!(counters["requests"], json!({"GET /{other}": 5}));
    assert_eq!(counters["engine_calls"]["read"], 5);
}

#[tokio::test]
async fn an_answer_without_a_body_has_no_type() {
    let campaign = start("[switches]\nempty_patch_status = 204").await;
    campaign.post(PROFILE, json!({"externalId": "k"})).await.expect(201);
    for answer in
        [campaign.patch(&format!("{PROFILE}/k"), json!({})).await, campaign.delete(&format!("{PROFILE}/k")).await]
    {
        assert_eq!((answer.content_type.as_str(), answer.text.as_str()), ("", ""), "{}", answer.status);
    }
}

fn row(value: Value) -> Map<String, Value> {
    serde_json::from_value(value).unwrap_or_default()
}

#[tokio::test]
async fn rows_can_be_put_as_they_are_and_are_listed_in_order() {
    let campaign = start("").await;
    let put = |key: &str, value: Value| campaign.service.put_record("profile", key, row(value));
    put("b", json!({"firstName": "Bo", "location": {"city": "Århus 😀"}, "blackListEmail": true, "blackListEmailLastModified": "2026-01-02 03:04:05.006Z"})).unwrap();
    put("a", json!({"email": "a@example.org", "created": "2020-01-01 00:00:00.000Z"})).unwrap();
    let rows = campaign.records("profile");
    assert_eq!((&rows[0]["externalId"], &rows[1]["externalId"]), (&json!("a"), &json!("b")));
    assert_eq!(rows[0]["created"], "2020-01-01 00:00:00.000Z");
    assert_eq!(
        (&rows[1]["location"]["city"], &rows[1]["blackListEmailLastModified"]),
        (&json!("Århus 😀"), &json!("2026-01-02 03:04:05.006Z"))
    );
    assert_eq!(rows[1], campaign.get(&format!("{PROFILE}/b")).await.expect(200));
    put("b", rows[1].as_object().unwrap().clone().into()).unwrap();
    put("b", json!({"lastName": "Holm"})).unwrap();
    let whole = campaign.get(&format!("{PROFILE}/b")).await.expect(200);
    assert_eq!(
        (&whole["firstName"], &whole["lastName"], &whole["blackListEmail"]),
        (&json!(""), &json!("Holm"), &json!(false))
    );
    assert!(put("b", json!({"shoeSize": 1})).unwrap_err().contains("shoeSize"));
    assert!(put("b", json!({"gender": "x"})).is_err());
    assert!(campaign.service.put_record("nothing", "b", Map::new()).is_err());
    assert!(campaign.service.records("nothing").is_none());
    assert_eq!(campaign.records("profile").len(), 2);
}

#[tokio::test]
async fn mutations_are_seeded_and_disjoint_and_change_what_they_say() {
    let run = || async {
        let campaign = start("[[resources]]\nname = \"profile\"\nrows = 300").await;
        let before = campaign.records("profile");
        let fields = ["firstName".to_owned(), "location.city".to_owned(), "blackListEmail".to_owned()];
        let plan =
            CampaignMutationPlan { resource: "profile", create: 20, update: 50, delete: 30, fields: &fields, seed: 42 };
        let done = campaign.service.mutate(&plan).unwrap();
        let after = campaign.records("profile");
        (before, done, after)
    };
    let (before, done, after) = run().await;
    let all: HashSet<&String> = done.created.iter().chain(&done.updated).chain(&done.deleted).collect();
    assert_eq!((done.created.len(), done.updated.len(), done.deleted.len(), all.len()), (20, 50, 30, 100));
    assert_eq!(after.len(), 290);
    let find = |rows: &[Value], id: &str| rows.iter().find(|r| r["externalId"] == id).cloned();
    for id in &done.updated {
        let (old, new) = (find(&before, id).unwrap(), find(&after, id).unwrap());
        let picked = |r: &Value| (r["firstName"].clone(), r["location"]["city"].clone(), r["blackListEmail"].clone());
        assert_ne!(picked(&old), picked(&new));
        assert_eq!((&old["lastName"], &old["email"]), (&new["lastName"], &new["email"]));
    }
    assert!(done.deleted.iter().all(|id| find(&before, id).is_some() && find(&after, id).is_none()));
    assert!(done.created.iter().all(|id| find(&before, id).is_none() && find(&after, id).is_some()));
    assert_eq!(run().await.1, done);
}

#[tokio::test]
async fn mutations_that_cannot_be_made_change_nothing() {
    let campaign = start("[[resources]]\nname = \"profile\"\nrows = 5").await;
    let before = campaign.records("profile");
    let unknown = ["shoeSize".to_owned()];
    let key = ["externalId".to_owned()];
    let plan = CampaignMutationPlan { resource: "profile", create: 1, update: 3, delete: 3, fields: &[], seed: 1 };
    assert!(campaign.service.mutate(&plan).is_err());
    assert!(campaign.service.mutate(&CampaignMutationPlan { resource: "nothing", ..plan }).is_err());
    assert!(campaign.service.mutate(&CampaignMutationPlan { delete: 0, fields: &unknown, ..plan }).is_err());
    assert!(campaign.service.mutate(&CampaignMutationPlan { delete: 0, fields: &key, ..plan }).is_err());
    assert_eq!(campaign.records("profile"), before);
    let none = CampaignMutationPlan { create: 0, update: 0, delete: 0, ..plan };
    assert_eq!(campaign.service.mutate(&none).unwrap(), Default::default());
    for huge in [
        CampaignMutationPlan { create: usize::MAX, update: 0, delete: 0, ..plan },
        CampaignMutationPlan { create: 0, update: usize::MAX, delete: usize::MAX, ..plan },
    ] {
        assert!(campaign.service.mutate(&huge).unwrap_err().contains("at once"));
    }
    // A column that seeding gives one value only cannot be changed, and nothing else is changed in its place.
    let fixed = ["location.stateCode".to_owned()];
    let one_value = CampaignMutationPlan { create: 1, update: 1, delete: 0, fields: &fixed, ..plan };
    assert!(campaign.service.mutate(&one_value).unwrap_err().contains("another value"));
    assert_eq!(campaign.records("profile"), before);
    let vehicles = CampaignMutationPlan { resource: "cusVehicle", create: 4, update: 0, delete: 0, ..plan };
    assert_eq!(campaign.service.mutate(&vehicles).unwrap().created.len(), 4);
    assert_eq!(campaign.ids(VEHICLE).await.len(), 4);
}

#[tokio::test]
async fn every_update_shows_though_a_named_column_cannot_change() {
    let campaign = start("[[resources]]\nname = \"profile\"\nrows = 40").await;
    let before = campaign.records("profile");
    let fields = ["location.stateCode", "gender", "gender"].map(str::to_owned);
    let plan = CampaignMutationPlan { resource: "profile", create: 0, update: 40, delete: 0, fields: &fields, seed: 7 };
    assert_eq!(campaign.service.mutate(&plan).unwrap().updated.len(), 40);
    for (old, new) in before.iter().zip(campaign.records("profile")) {
        assert_ne!(old["gender"], new["gender"]);
    }
}

#[tokio::test]
async fn created_keys_are_new_whatever_the_seed() {
    let campaign = start("").await;
    let mut seen = HashSet::new();
    // The same seed over and over, the start's seed included, with everything gone in between.
    for seed in [42, 42, 7, 42, 7] {
        let plan = CampaignMutationPlan { resource: "profile", create: 20, update: 0, delete: 0, fields: &[], seed };
        let created = campaign.service.mutate(&plan).unwrap().created;
        for id in &created {
            assert!(seen.insert(id.clone()), "{id} came twice");
            campaign.delete(&format!("{PROFILE}/{id}")).await.expect(200);
        }
    }
}

#[tokio::test]
async fn a_mutation_ends_where_keys_run_out() {
    let scenario = "[[resources]]\nname = \"cusTiny\"\nunique_keys = [[\"cusCode\"]]\nfields = [{ name = \"cusCode\", length = 1 }]";
    let campaign = start(scenario).await;
    let plan = CampaignMutationPlan { resource: "cusTiny", create: 17, update: 0, delete: 0, fields: &[], seed: 1 };
    assert!(campaign.service.mutate(&plan).unwrap_err().contains("hardly a key left"));
    assert_eq!(campaign.records("cusTiny").len(), 0);
}

#[tokio::test]
async fn columns_are_what_their_options_say() {
    let scenario = r#"
        [[resources]]
        name = "profile"
        label = "Customers"
        fields = [
            { name = "firstName", label = "Given name", mandatory = true },
            { name = "cusTier", label = "Tier", type = "enumeration", values = ["none", "gold"], default = "gold" },
            { name = "cusScore", type = "number", default = 7, read_only = true },
        ]
        [[resources]]
        name = "cusOrder"
        unique_keys = [["cusNumber"]]
        fields = [{ name = "cusNumber", type = "number" }, { name = "cusOwnerId" }, { name = "cusNote", length = 4 }]
        links = [{ name = "cusOwner", field = "cusOwnerId", target = "profile", target_field = "externalId", cardinality = "zero_or_one" }]
    "#;
    let campaign = start(scenario).await;
    campaign.post(PROFILE, json!({"externalId": "k"})).await.refused(500, "'firstName' property");
    let made = campaign.post(PROFILE, json!({"externalId": "k", "firstName": "Ida"})).await.expect(201);
    assert_eq!((&made["cusTier"], &made["cusScore"]), (&json!("gold"), &json!(7)));
    campaign.patch(&format!("{PROFILE}/k"), json!({"cusScore": 8})).await.refused(500, "read-only");
    let profile = campaign.get(&format!("{EXT}/resourceType/profile")).await.expect(200);
    let content = &profile["content"];
    assert_eq!(profile["label"], "Customers");
    assert_eq!(
        (&content["firstName"]["label"], &content["firstName"]["mandatory"]),
        (&json!("Given name"), &json!(true))
    );
    assert_eq!((&content["firstName"]["length"], &content["lastName"]["mandatory"]), (&json!("30"), &json!(false)));
    assert_eq!((&content["cusTier"]["label"], &content["cusScore"]["readOnly"]), (&json!("Tier"), &json!(true)));
    // "0 or 1 cardinality": seen with and without its counterpart, and a number is a key in any spelling.
    let orders = format!("{EXT}/cusOrder");
    campaign.post(&orders, json!({"cusNumber": 7, "cusOwnerId": "nobody"})).await.expect(201);
    assert_eq!(campaign.get(&format!("{orders}/7")).await.expect(200)["cusOwner"], Value::Null);
    campaign.get(&format!("{orders}/007")).await.expect(200);
    campaign.get(&format!("{orders}/seven")).await.refused(404, "from key 'seven:0'");
    campaign.patch(&format!("{orders}/7"), json!({"cusOwnerId": "k"})).await.expect(200);
    assert_eq!(campaign.get(&format!("{orders}/7")).await.expect(200)["cusOwner"]["title"], "Ida");
    campaign.patch(&format!("{orders}/7"), json!({"cusNote": "12345"})).await.refused(500, "longer than 4");
}

#[tokio::test]
async fn names_and_types_that_are_taken_are_refused() {
    let shared = start("").await.shared;
    let problems = |text: &str| {
        let scenario: CampaignScenario = toml::from_str(text).unwrap();
        CampaignService::new(&scenario, shared.clone()).err().map(|error| error.0.join("\n")).unwrap_or_default()
    };
    let custom = |fields: &str, rest: &str| {
        problems(&format!(
            "[[resources]]\nname = \"cusA\"\nunique_keys = [[\"cusKey\"]]\nfields = [{{ name = \"cusOther\" }}, {fields}]\n{rest}"
        ))
    };
    for name in ["title", "created", "lastModified", "PKey", "href"] {
        let found = custom(&format!("{{ name = \"cusKey\" }}, {{ name = \"{name}\" }}"), "");
        assert!(found.contains(&format!("cusA.{name}: every resource has")), "{found}");
    }
    let link = |name: &str, collection: &str| {
        let link = format!(
            "links = [{{ name = \"{name}\", field = \"cusOther\", target = \"profile\", target_field = \"externalId\", collection = \"{collection}\" }}]"
        );
        custom("{ name = \"cusKey\" }", &link)
    };
    assert_eq!(link("cusOwner", "cusAs"), "");
    assert!(link("cusOther", "cusAs").contains("another attribute has the name"));
    assert!(link("cusOwner", "email").contains("another attribute has the name"));
    for (kind, fits) in [
        ("type = \"enumeration\", values = [\"a\"]", false),
        ("type = \"datetime\"", false),
        ("type = \"date\"", false),
        ("type = \"boolean\"", false),
        ("type = \"number\"", true),
        ("type = \"string\"", true),
    ] {
        let found = custom(&format!("{{ name = \"cusKey\", {kind} }}"), "");
        assert_eq!(found.contains("a key is a text or a number"), !fits, "{kind}: {found}");
    }
    for (field, fits) in [
        ("{ name = \"firstName\", type = \"number\" }", false),
        ("{ name = \"gender\", type = \"string\" }", false),
        ("{ name = \"firstName\", fraction = true }", false),
        ("{ name = \"firstName\", values = [\"a\"] }", false),
        ("{ name = \"gender\", type = \"enumeration\", values = [\"unknown\", \"other\"] }", true),
        ("{ name = \"firstName\", length = 10 }", true),
    ] {
        let found = problems(&format!("[[resources]]\nname = \"profile\"\nfields = [{field}]"));
        assert_eq!(found.is_empty(), fits, "{field}: {found}");
    }
    assert!(problems("[[resources]]\nname = \"profile\"\nfamily = \"customResources\"").contains("family"));
    assert!(problems("[switches]\nims_error_status = 200\nemail_refusal_status = 302").contains("302"));
}

#[tokio::test]
async fn a_scenario_that_does_not_fit_together_is_refused_with_every_problem() {
    let text = r#"
        [[resources]]
        name = "cusA"
        unique_keys = [["cusNothing"]]
        fields = [{ name = "cusX", type = "enumeration" }, { name = "cusX" }]
        links = [{ name = "cusB", field = "cusX", target = "profile", target_field = "firstName" }]
        filters = [{ name = "byY", field = "cusY" }]
    "#;
    let scenario: CampaignScenario = toml::from_str(text).unwrap();
    let shared = start("").await.shared;
    let problems = CampaignService::new(&scenario, shared).unwrap_err().0;
    assert_eq!(problems.len(), 6, "{problems:#?}");
    assert!(toml::from_str::<CampaignScenario>("[switches]\nunheard_of = true").is_err());
}
