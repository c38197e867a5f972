//! Keys, queries, values and metadata, without a network.

#![expect(clippy::unwrap_used, reason = "the helpers of a test fail by panicking, like the test")]

use campaign_client::value::{format_datetime, parse_datetime, wire_name, wire_name_with};
use campaign_client::{
    CampaignClient, CampaignConfig, CustomRecord, ErrorKind, Family, FieldType, Filter, ListQuery, Profile, RecordKey,
    Resource, ResourceMeta,
};
use http_kit::SecretString;
use proptest::prelude::*;
use serde_json::json;

/// Percent-decoding, written here so that the test does not trust the encoder's library.
fn decode(segment: &str) -> String {
    let bytes = segment.as_bytes();
    let (mut out, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        if bytes[at] == b'%' {
            out.push(u8::from_str_radix(&segment[at + 1..at + 3], 16).unwrap());
            at += 3;
        } else {
            out.push(bytes[at]);
            at += 1;
        }
    }
    String::from_utf8(out).unwrap()
}

proptest! {
    #[test]
    fn a_key_is_one_segment_and_comes_back(value in "\\PC{1,60}") {
        // What is refused has a test of its own.
        prop_assume!(RecordKey::new(value.clone()).is_ok());
        let key = RecordKey::new(value.clone()).unwrap();
        let segment = key.path_segment();
        prop_assert_eq!(decode(&segment), value);
        let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%".contains(&byte);
        prop_assert!(segment.bytes().all(unreserved));
    }
}

#[test]
fn hostile_keys_are_refused() {
    let long = "ä".repeat(256);
    for value in [
        "",
        ".",
        "..",
        "@abc",
        "a\nb",
        "a\u{0}",
        "\u{85}",
        &long,
        // Read as something else than a key.
        "_count",
        "_",
        "metadata",
        "Metadata",
        "k1.json",
        "k1.XML",
        ".json",
        "byEmail",
        "byX",
        "birthday",
        "subscribers",
    ] {
        let error = RecordKey::new(value).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::HostileKey, "{value:?}");
    }
    assert_eq!(RecordKey::new("a/b?c#d%2e@").unwrap().path_segment(), "a%2Fb%3Fc%23d%252e%40");
    for value in ["byron", "by", "by-1", "metadata1", "a_b", "json", "k.jsonl", "é.json5", "ä"] {
        assert!(RecordKey::new(value).is_ok(), "{value}");
    }
    assert!(RecordKey::new("x".repeat(255)).is_ok());
    assert!(RecordKey::new("ä".repeat(255)).is_ok(), "characters are counted, not bytes");
    assert_eq!(format!("{:?}", RecordKey::new("ida").unwrap()), "RecordKey(3 bytes)");
}

#[test]
fn queries_are_written_as_documented() {
    let query = ListQuery::new(Resource::profile())
        .filter(Filter::by_text("A b"))
        .filter(Filter::by_email("a+b@x.org"))
        .order_by_descending("lastName")
        .unwrap()
        .line_count(10);
    assert_eq!(
        query.path_and_query(),
        "profileAndServicesExt/profile/byText/byEmail?text=A%20b&email=a%2Bb%40x.org&_order=lastName%20desc&_lineCount=10&_forcePagination=true"
    );
    let vehicle = Resource::new(Family::CustomResources, "cusVehicle").unwrap();
    let custom = Filter::custom("byAmount").unwrap().with("amount_parameter", "100").unwrap();
    assert_eq!(
        ListQuery::new(vehicle).filter(custom).order_by("amount").unwrap().path_and_query(),
        "customResources/cusVehicle/byAmount?amount_parameter=100&_order=amount&_lineCount=200&_forcePagination=true"
    );
}

#[test]
fn names_that_are_no_names_are_refused() {
    for name in ["", "../x", "a/b", "1a", "a b", "a?b"] {
        assert_eq!(Resource::new(Family::CustomResources, name).unwrap_err().kind(), ErrorKind::Configuration);
        assert!(Filter::custom(name).is_err() && Filter::by_email("x").with(name, "v").is_err());
        assert!(ListQuery::new(Resource::profile()).order_by(name).is_err());
    }
}

#[test]
fn times_are_read_in_both_forms_and_written_in_one() {
    let time = parse_datetime("2026-02-21 09:26:57.584Z").unwrap();
    assert_eq!(format_datetime(&time), "2026-02-21 09:26:57.584Z");
    for text in ["2026-02-21T09:26:57.584Z", "2026-02-21T10:26:57.584+01:00"] {
        assert_eq!(parse_datetime(text), Some(time));
    }
    assert_eq!(format_datetime(&parse_datetime("2026-02-21 09:00:00Z").unwrap()), "2026-02-21 09:00:00.000Z");
    for text in ["", "yesterday", "2026-02-21", "2026-13-01 00:00:00Z"] {
        assert_eq!(parse_datetime(text), None, "{text}");
    }
}

#[test]
fn opt_out_names_become_those_of_the_wire() {
    for alias in ["denyList", "blockList", "blackList"] {
        for suffix in ["", "Email", "Fax", "Mobile", "Phone", "PostalMail", "Pushnotification", "EmailLastModified"] {
            assert_eq!(wire_name(&format!("{alias}{suffix}")), format!("blackList{suffix}"));
        }
    }
    assert_eq!(wire_name("denyListPushNotification"), "blackListPushnotification");
    assert_eq!(wire_name_with("blackListEmail", "denyList"), "denyListEmail");
    for other in ["ccpaOptOut", "denyListed", "email", "cusDenyList"] {
        assert_eq!(wire_name(other), other);
    }
}

#[test]
fn metadata_is_read_in_every_shape() {
    let nested = |values: serde_json::Value| {
        json!({"label":"Profiles","content":{
            "email":{"type":"string","resType":"string","length":"128","mandatory":true,"readOnly":false},
            "age":{"type":"number","resType":"long","readOnly":true,"length":4},
            "gender":{"type":"enumeration","resType":"byte","values":values},
            "orgUnit":{"type":"link","resTarget":"orgUnitBase"},
            "strange":{"type":"geometry","length":{"odd":1}},
            "broken":7,
            "location":{"type":"item","content":{"city":{"type":"string","length":"50"}}},
            "postalAddress":{"type":"item","readOnly":true,"content":[{"apiName":"line1","type":"string"}]}}})
    };
    let object = json!({"male":{"label":"Male","name":"male","value":"1"},"unknown":{"label":"U"}});
    let list = json!([{"name":"male","value":1,"label":"Male"}, {"name":"unknown","label":"U"}]);
    for values in [object, list] {
        let meta = ResourceMeta::read(Resource::profile(), &nested(values));
        let email = meta.field("email").unwrap();
        assert_eq!((email.length, email.mandatory, email.read_only), (Some(128), true, false));
        let age = meta.field("age").unwrap();
        assert_eq!((age.length, age.read_only, &age.field_type), (Some(4), true, &FieldType::Number));
        let gender = &meta.field("gender").unwrap().values;
        assert_eq!(gender.iter().map(|value| value.name.as_str()).collect::<Vec<_>>(), ["male", "unknown"]);
        assert_eq!(gender[0].value.as_deref(), Some("1"));
        assert_eq!(meta.field("orgUnit").unwrap().target.as_deref(), Some("orgUnitBase"));
        assert_eq!(meta.field("strange").unwrap().field_type, FieldType::Other("geometry".to_owned()));
        assert!(!meta.field("location.city").unwrap().read_only);
        assert!(meta.field("postalAddress.line1").unwrap().read_only);
        assert!(meta.field("broken").is_none());
    }
    assert!(ResourceMeta::read(Resource::profile(), &json!([1])).fields.is_empty());
}

#[test]
fn typed_profiles_lose_nothing() {
    let wire = json!({"email":"a@x.org","firstName":"Ida","blackListEmail":false,"cusTier":"gold",
        "location":{"city":"Aarhus","address1":"","cusFloor":3},"orgUnit":null});
    let profile: Profile = serde_json::from_value(wire.clone()).unwrap();
    assert_eq!(profile.location.as_ref().and_then(|location| location.city.as_deref()), Some("Aarhus"));
    assert_eq!(serde_json::to_value(&profile).unwrap(), wire);
    assert!(!format!("{profile:?}").contains("Ida"));
    let record: CustomRecord = serde_json::from_value(wire).unwrap();
    assert_eq!(record.text("location.cusFloor").as_deref(), Some("3"));
    assert!(!format!("{record:?}").contains("Ida"));
}

#[test]
fn impossible_settings_name_their_remedy() {
    for url in ["https://mc.adobe.io", "https://mc.adobe.io/acme/campaign", "http://mc.adobe.io/acme", "acme"] {
        let config = CampaignConfig::new(url, "id", SecretString::from("s3cret"));
        assert!(!format!("{config:?}").contains("s3cret"));
        let error = CampaignClient::new(config).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration, "{url}");
        assert!(!error.remedy().is_empty());
        assert!(error.to_string().starts_with("the configuration cannot be used: url: "), "{error}");
    }
    let mut config = CampaignConfig::new("https://mc.adobe.io/acme", "id", SecretString::from("s3cret"));
    config.ims_url = "http://ims.example.com".to_owned();
    let error = CampaignClient::new(config).unwrap_err();
    assert!(error.to_string().contains("ims_url: the base URL is plain http"), "{error}");
}
