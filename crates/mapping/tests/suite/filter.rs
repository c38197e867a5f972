//! Every comparison, on every kind that has it.

use mapping::{Decision, Mode};
use record::{Reference, Value, json};
use uuid::Uuid;

use crate::support::*;

fn passes(field: &str, rule: &str, value: Value) -> bool {
    let plan = one(field, "cusText", &format!("[filter]\nrules = [ {{ field = \"{field}\", {rule} }} ]"));
    match plan.decide(&change(&[(field, value)]), Mode::Live) {
        Ok(Decision::Write(_)) => true,
        Ok(Decision::FilteredOut { .. }) => false,
        other => panic!("{other:?}"),
    }
}

#[test]
fn comparisons_by_kind() {
    let text = |text: &str| Value::text(text);
    let instant = |text: &str| Value::DateTime(json::instant(text).unwrap());
    let day = |text: &str| Value::Date(json::date(text).unwrap());
    let decimal = |text: &str| Value::Decimal(json::decimal(text).unwrap());
    let owner = Value::Reference(Reference { id: Uuid::parse_str(ID).unwrap(), table: None });
    let hobbies = || Value::List(vec![choice(9), choice(1)]);
    let table: Vec<(&str, &str, Value, bool)> = vec![
        ("city", r#"compare = "equals", value = "ÅRHUS""#, text("århus"), true),
        ("city", r#"compare = "equals", value = "ÅRHUS""#, text("arhus"), false),
        ("city", r#"compare = "not_equals", value = "a""#, text("A"), false),
        ("city", r#"compare = "contains", value = "HUS""#, text("Århus C"), true),
        ("city", r#"compare = "not_contains", value = "HUS""#, text("Århus C"), false),
        ("city", r#"compare = "begins_with", value = "år""#, text("ÅRHUS"), true),
        ("city", r#"compare = "begins_with", value = "hus""#, text("ÅRHUS"), false),
        ("city", r#"compare = "ends_with", value = "Hus""#, text("ÅRHUS"), true),
        ("city", r#"compare = "is_empty""#, text(""), true),
        ("city", r#"compare = "is_empty""#, text(" "), false),
        ("city", r#"compare = "is_not_empty""#, text("x"), true),
        ("city", r#"compare = "in", value = ["a", "B"]"#, text("b"), true),
        ("city", r#"compare = "not_in", value = ["a", "B"]"#, text("b"), false),
        ("children", r#"compare = "greater", value = 2"#, Value::Int(3), true),
        ("children", r#"compare = "greater", value = 2"#, Value::Int(2), false),
        ("children", r#"compare = "greater_or_equal", value = 2.5"#, Value::Int(2), false),
        ("children", r#"compare = "in", value = [1, 2.0]"#, Value::Int(2), true),
        ("income", r#"compare = "equals", value = 12.5"#, decimal("12.5000"), true),
        ("income", r#"compare = "less", value = 0.3"#, decimal("0.2999999999"), true),
        ("income", r#"compare = "less_or_equal", value = 0.1"#, decimal("0.1"), true),
        ("score", r#"compare = "equals", value = 0.1"#, Value::Float(0.1), true),
        ("score", r#"compare = "greater", value = 1"#, Value::Float(1e300), true),
        ("donotemail", r#"compare = "equals", value = false"#, Value::Bool(false), true),
        ("donotemail", r#"compare = "not_equals", value = true"#, Value::Bool(true), false),
        ("birthdate", r#"compare = "less", value = "1990-01-01""#, day("1989-12-31"), true),
        ("birthdate", r#"compare = "equals", value = 1990-01-01"#, day("1990-01-01"), true),
        (
            "modifiedon",
            r#"compare = "greater_or_equal", value = 2026-01-05T10:00:00Z"#,
            instant("2026-01-05T10:00:00Z"),
            true,
        ),
        ("modifiedon", r#"compare = "greater", value = "2026-01-05""#, instant("2026-01-05T00:00:00Z"), false),
        ("gendercode", r#"compare = "equals", value = 2"#, choice(2), true),
        ("gendercode", r#"compare = "not_in", value = [1, 3]"#, choice(2), true),
        ("hobbies", r#"compare = "contains", value = 9"#, hobbies(), true),
        ("hobbies", r#"compare = "equals", value = "1,9""#, hobbies(), true),
        ("hobbies", r#"compare = "equals", value = "1""#, hobbies(), false),
        ("hobbies", r#"compare = "is_empty""#, Value::List(vec![]), true),
        ("owner", r#"compare = "equals", value = "8C1F0C52-0000-4000-8000-00000000000A""#, owner, true),
    ];
    for (field, rule, value, wanted) in table {
        assert_eq!(passes(field, rule, value.clone()), wanted, "{field} {rule} with {}", json::print(&value));
    }
}

#[test]
fn an_empty_value_differs_from_everything() {
    for (rule, wanted) in [
        (r#"compare = "is_empty""#, true),
        (r#"compare = "is_not_empty""#, false),
        (r#"compare = "equals", value = "a""#, false),
        (r#"compare = "not_equals", value = "a""#, true),
        (r#"compare = "in", value = ["a"]"#, false),
        (r#"compare = "not_in", value = ["a"]"#, true),
        (r#"compare = "contains", value = "a""#, false),
        (r#"compare = "not_contains", value = "a""#, true),
        (r#"compare = "begins_with", value = "a""#, false),
        (r#"compare = "ends_with", value = "a""#, false),
    ] {
        assert_eq!(passes("city", rule, Value::Null), wanted, "{rule}");
    }
    for compare in ["greater", "greater_or_equal", "less", "less_or_equal"] {
        assert!(!passes("children", &format!("compare = \"{compare}\", value = 0"), Value::Null), "{compare}");
    }
}

#[test]
fn the_filter_sees_the_value_before_replacement() {
    let plan = one(
        "city",
        "cusText",
        "replacements = [ { field = \"city\", value = \"a\", with = \"b\" } ]\n[filter]\nrules = [ { field = \"city\", compare = \"equals\", value = \"a\" } ]",
    );
    assert_eq!(text(write(&plan, &[("city", Value::text("a"))]).update.as_ref().unwrap()), r#"{"cusText":"b"}"#);
}
