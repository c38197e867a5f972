use proptest::prelude::*;
use serde_json::json;

use super::*;

fn written(kind: &Kind, cell: &[u8]) -> String {
    let mut out = Vec::new();
    write(&mut out, kind, cell);
    String::from_utf8(out).unwrap()
}

fn through(kind: &Kind, value: Value) -> Result<String, Problem> {
    parse(kind, DataPolicy::None, TooLong::Error, value).map(|cell| written(kind, &cell))
}

#[test]
fn instants_are_read_in_every_documented_form_and_written_in_one() {
    for text in [
        "2026-02-21 09:26:57.584Z",
        "2026-02-21T09:26:57.584Z",
        "2026-02-21T10:26:57.584+01:00",
        "2026-02-21 09:26:57.584",
    ] {
        assert_eq!(through(&Kind::DateTime, json!(text)).unwrap(), "\"2026-02-21 09:26:57.584Z\"", "{text}");
    }
    assert_eq!(through(&Kind::DateTime, json!("2026-02-21 09:26:57Z")).unwrap(), "\"2026-02-21 09:26:57.000Z\"");
    assert_eq!(through(&Kind::DateTime, json!("")).unwrap(), "\"\"");
    for text in ["x", "2026-02-30 00:00:00Z", "2026-02-21X00:00:00Z", "2026-02-21 25:00:00Z", "2026-02-21 00:00:00+1"] {
        assert!(through(&Kind::DateTime, json!(text)).is_err(), "{text}");
    }
}

#[test]
fn numbers_keep_to_their_size_and_say_so() {
    let byte = Kind::Number { bits: Some(8) };
    assert_eq!(through(&byte, json!(127)).unwrap(), "127");
    assert_eq!(through(&byte, json!("12")).unwrap(), "12");
    assert!(through(&byte, json!(128)).is_err());
    assert_eq!(
        through(&byte, json!("a")),
        Err(Problem::Convert { value: "a".into(), from: "text", to: "integer (8 bit)" })
    );
    let double = Kind::Number { bits: None };
    assert_eq!(through(&double, json!(12.5)).unwrap(), "12.5");
    assert_eq!(
        through(&double, json!("1e3x")),
        Err(Problem::Convert { value: "1e3x".into(), from: "text", to: "double" })
    );
}

#[test]
fn email_policy_refuses_and_never_changes() {
    let kind = Kind::Text { length: 128 };
    for good in ["ida.holm@example.org", "Ida+X@Example.ORG", "ø@dømæne.dk", ""] {
        let cell = parse(&kind, DataPolicy::Email, TooLong::Error, json!(good)).unwrap();
        assert_eq!(cell, good.as_bytes());
    }
    for bad in ["ida", "@example.org", "ida@", "a b@example.org", "a@b@example.org", "a@example", "a@.org"] {
        assert!(parse(&kind, DataPolicy::Email, TooLong::Error, json!(bad)).is_err(), "{bad}");
    }
}

#[test]
fn smart_case_transforms_each_word() {
    let kind = Kind::Text { length: 30 };
    let cell = parse(&kind, DataPolicy::SmartCase, TooLong::Error, json!("ida-MARIE holm")).unwrap();
    assert_eq!(cell, b"Ida-Marie Holm");
}

#[test]
fn length_counts_characters_in_each_position_of_the_switch() {
    let kind = Kind::Text { length: 3 };
    assert_eq!(parse(&kind, DataPolicy::None, TooLong::Error, json!("æøå")).unwrap(), "æøå".as_bytes());
    let long = |switch| parse(&kind, DataPolicy::None, switch, json!("æøåx"));
    assert_eq!(long(TooLong::Truncate).unwrap(), "æøå".as_bytes());
    assert_eq!(long(TooLong::Error), Err(Problem::TooLong { length: 3, database: false }));
    assert_eq!(long(TooLong::DatabaseError), Err(Problem::TooLong { length: 3, database: true }));
}

#[test]
fn numbers_sort_by_value() {
    let kind = Kind::Number { bits: None };
    let mut shown = ["10", "-2.5", "0", "9", "-30"];
    shown.sort_by_key(|n| sort_key(&kind, n.as_bytes()));
    assert_eq!(shown, ["-30", "-2.5", "0", "9", "10"]);
}

proptest! {
    #[test]
    fn strings_are_written_as_json(text in ".*") {
        let mut out = Vec::new();
        write_string(&mut out, text.as_bytes());
        let read: String = serde_json::from_slice(&out).unwrap();
        prop_assert_eq!(read, text);
    }

    #[test]
    fn instants_survive(millis in -60_000_000_000_000_i64..250_000_000_000_000) {
        let mut out = Vec::new();
        write_datetime(&mut out, millis);
        prop_assert_eq!(parse_datetime(std::str::from_utf8(&out).unwrap()), Some(millis));
    }
}
