//! Laws of the JSON forms and of keys.

#![expect(clippy::unwrap_used, reason = "the helpers of a test may panic")]

use chrono::{DateTime, NaiveDate};
use proptest::prelude::*;
use record::{Choice, Key, Reference, Value, ValueKind, json};
use rust_decimal::Decimal;
use uuid::Uuid;

const KINDS: [ValueKind; 12] = [
    ValueKind::Null,
    ValueKind::Bool,
    ValueKind::Int,
    ValueKind::Decimal,
    ValueKind::Float,
    ValueKind::Text,
    ValueKind::Date,
    ValueKind::DateTime,
    ValueKind::Guid,
    ValueKind::Choice,
    ValueKind::Reference,
    ValueKind::List,
];

/// Every text that a reader may answer with.
const EXPECTED: [&str; 12] = [
    "expected null",
    "expected true or false",
    "expected a number",
    "expected a whole number of 64 bits",
    "expected a decimal number of at most 28 digits",
    "expected a finite number",
    "expected a text",
    "expected a date YYYY-MM-DD",
    "expected an instant such as 2026-01-05T10:00:00Z",
    "expected a GUID",
    "expected the whole number of a choice",
    "expected whole numbers separated by commas",
];

const NUMBER: &str = "-?[0-9]{1,12}(\\.[0-9]{0,12})?([eE][-+]?[0-9]{1,2})?";

/// Texts near the forms of the wire, right and slightly wrong.
fn looks_right() -> impl Strategy<Value = String> {
    let day = "[12][0-9]{3}-[01][0-9]-[0-3][0-9]";
    let time = "[0-2][0-9]:[0-6][0-9]:[0-6][0-9](\\.[0-9]{0,9})?";
    let hex = "[0-9a-fA-F]";
    let pattern = |pattern: String| prop::string::string_regex(&pattern).unwrap();
    prop_oneof![
        pattern(NUMBER.to_owned()),
        pattern(format!("\"{day}\"")),
        pattern(format!("\"{day}[T ]{time}(Z|[+-][01][0-9]:[0-5][0-9])?\"")),
        pattern(format!("\"\\{{?{hex}{{8}}-({hex}{{4}}-){{3}}{hex}{{12}}\\}}?\"")),
        pattern("\"-?[0-9]{1,11}(, ?[0-9]{1,10}){0,3}\"".to_owned()),
        pattern("true|false|null|\"?[-+0-9TZ:., eE]{0,30}\"?".to_owned()),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let choice = || any::<i32>().prop_map(|value| Value::Choice(Choice { value, label: None }));
    let guid = || any::<u128>().prop_map(Uuid::from_u128);
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        (any::<i64>(), 0_u32..=18).prop_map(|(digits, scale)| Value::Decimal(Decimal::new(digits, scale))),
        any::<f64>().prop_filter("finite", |number| number.is_finite()).prop_map(Value::Float),
        any::<String>().prop_map(Value::text),
        (1_i32..=9999, 1_u32..=365)
            .prop_filter_map("a day", |(year, day)| NaiveDate::from_yo_opt(year, day))
            .prop_map(Value::Date),
        (-6_847_804_800_i64..253_402_300_800, 0_u32..1_000_000_000)
            .prop_filter_map("an instant", |(second, nanos)| DateTime::from_timestamp(second, nanos))
            .prop_map(Value::DateTime),
        guid().prop_map(Value::Guid),
        choice(),
        guid().prop_map(|id| Value::Reference(Reference { id, table: None })),
        prop::collection::vec(choice(), 0..5).prop_map(Value::List),
    ]
}

proptest! {
    #[test]
    fn what_is_printed_is_read_back(value in value()) {
        prop_assert_eq!(json::parse(value.kind(), &json::print(&value)), Ok(value));
    }

    #[test]
    fn what_is_printed_is_json(value in value()) {
        prop_assert!(serde_json::from_str::<serde_json::Value>(&json::print(&value)).is_ok());
    }

    #[test]
    fn a_decimal_keeps_its_scale(digits in any::<i64>(), scale in 0_u32..=18) {
        let text = Decimal::new(digits, scale).to_string();
        prop_assert_eq!(json::decimal(&text).map(|number| number.to_string()), Ok(text));
    }

    #[test]
    fn an_exponent_moves_the_point_exactly(digits in -999_999_i64..=999_999, exponent in -20_i32..=20) {
        let shifted = json::decimal(&format!("{digits}e{exponent}"));
        let by_hand = if exponent < 0 {
            Decimal::new(digits, exponent.unsigned_abs())
        } else {
            Decimal::from_i128_with_scale(i128::from(digits) * 10_i128.pow(exponent.unsigned_abs()), 0)
        };
        prop_assert_eq!(shifted, Ok(by_hand));
    }

    #[test]
    fn no_input_panics_and_no_error_shows_it(raw in ".{0,40}") {
        for kind in KINDS {
            if let Err(error) = json::parse(kind, &raw) {
                prop_assert!(EXPECTED.contains(&error.to_string().as_str()), "{error}");
            }
        }
    }

    #[test]
    fn input_that_looks_right_is_json_and_read_the_same_when_printed(raw in looks_right()) {
        for kind in KINDS {
            if let Ok(value) = json::parse(kind, &raw) {
                prop_assert!(value.is_null() || value.kind() == kind);
                prop_assert!(serde_json::from_str::<Box<serde_json::value::RawValue>>(&raw).is_ok(), "{kind:?} {raw}");
                prop_assert_eq!(json::parse(kind, &json::print(&value)), Ok(value));
            }
        }
    }

    #[test]
    fn numbers_that_look_right_are_refused_only_when_they_do_not_fit(raw in NUMBER) {
        let known = serde_json::from_str::<f64>(&raw).is_ok_and(f64::is_finite);
        prop_assert_eq!(json::parse(ValueKind::Float, &raw).is_ok(), known);
        if let Ok(Value::Int(number)) = json::parse(ValueKind::Int, &raw) {
            prop_assert_eq!(json::parse(ValueKind::Decimal, &raw), Ok(Value::Decimal(Decimal::from(number))));
        }
    }

    #[test]
    fn a_text_is_read_as_serde_reads_it(text in any::<String>()) {
        let raw = serde_json::Value::from(text.as_str()).to_string();
        prop_assert_eq!(json::parse(ValueKind::Text, &raw), Ok(Value::text(text)));
    }

    #[test]
    fn a_key_survives_its_bytes(key in key()) {
        prop_assert_eq!(Key::from_bytes(&key.to_bytes()), Ok(key));
    }

    #[test]
    fn keys_are_equal_exactly_when_their_bytes_are(one in key(), other in key()) {
        prop_assert_eq!(one == other, one.to_bytes() == other.to_bytes());
    }

    #[test]
    fn bytes_that_are_a_key_are_its_bytes(bytes in prop::collection::vec(any::<u8>(), 0..24)) {
        if let Ok(key) = Key::from_bytes(&bytes) {
            prop_assert_eq!(key.to_bytes(), bytes);
        }
    }
}

fn key() -> impl Strategy<Value = Key> {
    prop_oneof![any::<u128>().prop_map(|id| Key::Guid(Uuid::from_u128(id))), "[ab]{0,3}|.{0,20}".prop_map(Key::text)]
}

#[test]
fn each_kind_reads_its_wire_forms() {
    let read =
        |kind, raw| json::parse(kind, raw).map(|value| json::print(&value)).unwrap_or_else(|error| error.to_string());
    let table = [
        (ValueKind::Bool, "true", "true"),
        (ValueKind::Bool, "1", "expected true or false"),
        (ValueKind::Int, "9223372036854775807", "9223372036854775807"),
        (ValueKind::Int, "9223372036854775808", "expected a whole number of 64 bits"),
        (ValueKind::Int, "12.0", "12"),
        (ValueKind::Int, "1.5", "expected a whole number of 64 bits"),
        (ValueKind::Int, "\"1\"", "expected a whole number of 64 bits"),
        (ValueKind::Decimal, "12.5000", "12.5000"),
        (ValueKind::Decimal, "1.5E-3", "0.0015"),
        (ValueKind::Decimal, "1e40", "expected a decimal number of at most 28 digits"),
        (ValueKind::Decimal, "0e40", "0"),
        (ValueKind::Decimal, "1_000", "expected a number"),
        (ValueKind::Decimal, "007", "expected a number"),
        (ValueKind::Float, "1e400", "expected a finite number"),
        (ValueKind::Float, "NaN", "expected a finite number"),
        (ValueKind::Text, r#""a\"\u00e9""#, "\"a\\\"é\""),
        (ValueKind::Text, "\"a\"b\"", "expected a text"),
        (ValueKind::Date, "\"2024-02-29\"", "\"2024-02-29\""),
        (ValueKind::Date, "\"2023-02-29\"", "expected a date YYYY-MM-DD"),
        (ValueKind::Date, "\"2023-2-09\"", "expected a date YYYY-MM-DD"),
        (ValueKind::DateTime, "\"2026-01-05T10:00:00Z\"", "\"2026-01-05T10:00:00Z\""),
        (ValueKind::DateTime, "\"2026-01-05T10:00:00.25Z\"", "\"2026-01-05T10:00:00.250Z\""),
        (ValueKind::DateTime, "\"2026-01-05T10:00:00+02:00\"", "\"2026-01-05T08:00:00Z\""),
        (ValueKind::DateTime, "\"2026-01-05T10:00:00\"", "\"2026-01-05T10:00:00Z\""),
        (ValueKind::DateTime, "\"2026-01-05 10:00:00.584Z\"", "\"2026-01-05T10:00:00.584Z\""),
        (ValueKind::DateTime, "\"2026-01-05T25:00:00Z\"", "expected an instant such as 2026-01-05T10:00:00Z"),
        (ValueKind::Guid, "\"8C1F0C52-0000-4000-8000-00000000000A\"", "\"8c1f0c52-0000-4000-8000-00000000000a\""),
        (ValueKind::Guid, "\"{8c1f0c52-0000-4000-8000-00000000000a}\"", "expected a GUID"),
        (ValueKind::Choice, "2", "2"),
        (ValueKind::Choice, "2147483648", "expected the whole number of a choice"),
        (ValueKind::List, "\"1, 9\"", "\"1,9\""),
        (ValueKind::List, "\"\"", "\"\""),
        (ValueKind::List, "\"1,x\"", "expected whole numbers separated by commas"),
        (ValueKind::Text, " null ", "null"),
    ];
    for (kind, raw, wanted) in table {
        assert_eq!(read(kind, raw), wanted, "{kind:?} {raw}");
    }
}

#[test]
fn decimals_are_equal_by_what_they_count() {
    let decimal = |raw| json::parse(ValueKind::Decimal, raw).unwrap();
    assert_eq!(decimal("12.50"), decimal("12.5"));
    assert_ne!(json::print(&decimal("12.50")), json::print(&decimal("12.5")));
}
