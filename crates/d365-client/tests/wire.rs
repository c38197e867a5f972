//! Typed structs lose nothing: decimals keep every digit, multi-select choices their options.
#![allow(clippy::unwrap_used, reason = "a test fails by a panic, also in what it shares")]

use std::path::Path;

use d365_client::wire;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

#[derive(Debug, Deserialize, Serialize, PartialEq)]
struct Money {
    #[serde(with = "wire::option_decimal", default)]
    annualincome: Option<Decimal>,
    #[serde(with = "wire::decimal")]
    exchangerate: Decimal,
    #[serde(with = "wire::option_decimal", default)]
    creditlimit: Option<Decimal>,
    #[serde(with = "wire::choices", default)]
    new_interests: Vec<i32>,
}

#[test]
fn a_recorded_contact_keeps_its_digits_in_a_struct() {
    let path = "tests/fixtures/dataverse-recorded/data_record/resource/Validate_Create/get_contact_00000000-0000-0000-0000-000000000010.json";
    let json = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
    let money: Money = serde_json::from_str(&json).unwrap();
    assert_eq!(money.annualincome.unwrap().to_string(), "1234.5600000000");
    assert_eq!(money.exchangerate.to_string(), "1.000000000000");
    assert_eq!((money.creditlimit, money.new_interests.len()), (None, 0));
    let again = serde_json::to_string(&money).unwrap();
    assert_eq!(
        again,
        r#"{"annualincome":1234.5600000000,"exchangerate":1.000000000000,"creditlimit":null,"new_interests":null}"#
    );
    // Through a reader, where nothing can be borrowed, it is the same.
    assert_eq!(serde_json::from_reader::<_, Money>(again.as_bytes()).unwrap(), money);
}

#[test]
fn digits_that_a_double_cannot_hold_survive() {
    for digits in ["0.1", "79228162514264337593543950335", "-0.0000000000000000000000000001", "9007199254740993.25"] {
        let text = format!(r#"{{"exchangerate":{digits},"new_interests":"1, 9,-3"}}"#);
        let money: Money = serde_json::from_str(&text).unwrap();
        assert_eq!((money.exchangerate.to_string().as_str(), &*money.new_interests), (digits, &[1, 9, -3][..]));
        let again = serde_json::to_string(&money).unwrap();
        assert!(again.contains(digits) && again.contains(r#""new_interests":"1,9,-3""#), "{again}");
    }
}

#[test]
fn other_shapes_are_refused_without_being_shown() {
    for exchangerate in ["null", "\"1.5\"", "1e99", "true", "[]", "0.00000000000000000000000000001"] {
        let text = format!(r#"{{"exchangerate":{exchangerate}}}"#);
        assert!(serde_json::from_str::<Money>(&text).is_err(), "{exchangerate}");
    }
    for interests in ["\"1;9\"", "[1,9]", "1", "\"CANARY\"", "\"99999999999\""] {
        let text = format!(r#"{{"exchangerate":1,"new_interests":{interests}}}"#);
        let error = serde_json::from_str::<Money>(&text).unwrap_err();
        assert!(!error.to_string().contains("CANARY"), "{error}");
    }
    for none in ["null", "\"\"", "\" \""] {
        let text = format!(r#"{{"exchangerate":1,"new_interests":{none}}}"#);
        assert!(serde_json::from_str::<Money>(&text).unwrap().new_interests.is_empty());
    }
}

/// Both features of serde_json change what this family of crates relies on: with `arbitrary_precision` numbers become
/// maps for some deserialisers, with `preserve_order` equal objects print differently.
#[test]
fn serde_json_has_the_features_that_the_crates_were_written_for() {
    let number: serde_json::Value = serde_json::from_str("1.10e1").unwrap();
    assert_eq!(number.to_string(), "11.0", "arbitrary_precision is on");
    let object: serde_json::Value = serde_json::from_str(r#"{"b":1,"a":2}"#).unwrap();
    assert_eq!(object.to_string(), r#"{"a":2,"b":1}"#, "preserve_order is on");
}
