//! The conversion table, the empty values, replacements: value by value.

use crate::support::*;
use chrono::{DateTime, NaiveDate};
use mapping::{Mode, code};
use record::{Reference, Value, json};
use uuid::Uuid;

fn instant(text: &str) -> Value {
    Value::DateTime(json::instant(text).unwrap())
}

fn day(text: &str) -> Value {
    Value::Date(json::date(text).unwrap())
}

fn decimal(text: &str) -> Value {
    Value::Decimal(json::decimal(text).unwrap())
}

#[test]
fn every_kind_converts_as_documented() {
    let table: Vec<(&str, &str, Value, &str)> = vec![
        ("firstname", "firstName", Value::text("Zoë 1"), "\"Zoë 1\""),
        ("firstname", "firstName", Value::text("Zoë 12"), code::TEXT_TOO_LONG),
        ("firstname", "cusText", Value::text("  a \"q\" \\ \n\u{1} "), "\"  a \\\"q\\\" \\\\ \\n\\u0001 \""),
        ("firstname", "cusLong", Value::text("42"), "42"),
        ("firstname", "cusLong", Value::text("forty"), code::NOT_A_NUMBER),
        ("firstname", "cusLong", Value::text("00123"), "123"),
        ("firstname", "cusLong", Value::text(" +7 "), "7"),
        ("firstname", "cusLong", Value::text("-000"), "0"),
        ("firstname", "cusLong", Value::text("000"), "0"),
        ("firstname", "cusNumber", Value::text("-00.50"), "-0.5"),
        ("firstname", "cusNumber", Value::text("0e5"), "0"),
        ("firstname", "cusLong", Value::text("--1"), code::NOT_A_NUMBER),
        ("firstname", "cusLong", Value::text("+-1"), code::NOT_A_NUMBER),
        ("firstname", "cusLong", Value::text("0x1F"), code::NOT_A_NUMBER),
        ("firstname", "cusLong", Value::text("00 1"), code::NOT_A_NUMBER),
        ("firstname", "cusLong", Value::text("+"), code::NOT_A_NUMBER),
        ("firstname", "cusLong", Value::text("1\t"), "1"),
        ("firstname", "cusLong", Value::text(""), "0"),
        ("firstname", "cusFlag", Value::text("TRUE"), "true"),
        ("firstname", "cusFlag", Value::text("yes"), code::NOT_A_BOOLEAN),
        ("firstname", "birthDate", Value::text("1990-05-01"), "\"1990-05-01\""),
        ("firstname", "birthDate", Value::text("01/05/1990"), code::NOT_A_DATE),
        ("firstname", "cusSeen", Value::text("2026-01-05T10:00:00Z"), "\"2026-01-05 10:00:00.000Z\""),
        ("firstname", "cusSeen", Value::text("soon"), code::NOT_AN_INSTANT),
        ("firstname", "gender", Value::text("female"), "\"female\""),
        ("firstname", "gender", Value::text("Female"), code::NOT_IN_ENUMERATION),
        ("firstname", "gender", Value::text(""), "\"unknown\""),
        ("children", "cusByte", Value::Int(127), "127"),
        ("children", "cusByte", Value::Int(128), code::OUT_OF_RANGE),
        ("children", "cusLong", Value::Int(2_147_483_648), code::OUT_OF_RANGE),
        ("children", "cusInt64", Value::Int(i64::MIN), "-9223372036854775808"),
        ("children", "cusNumber", Value::Int(3), "3"),
        ("children", "cusFlag", Value::Int(1), "true"),
        ("children", "cusFlag", Value::Int(2), code::NOT_A_BOOLEAN),
        ("children", "cusText", Value::Int(-3), "\"-3\""),
        ("income", "cusLong", decimal("12.00"), "12"),
        ("income", "cusLong", decimal("12.01"), code::NOT_A_WHOLE_NUMBER),
        ("income", "cusText", decimal("20000.0000"), "\"20000.0000\""),
        ("income", "cusNumber", decimal("20000.5000"), "20000.5"),
        ("score", "cusNumber", Value::Float(0.25), "0.25"),
        ("score", "cusLong", Value::Float(3.0), "3"),
        ("score", "cusLong", Value::Float(3.5), code::NOT_A_WHOLE_NUMBER),
        ("score", "cusInt64", Value::Float(1e30), code::OUT_OF_RANGE),
        ("donotemail", "cusFlag", Value::Bool(true), "true"),
        ("donotemail", "cusLong", Value::Bool(true), "1"),
        ("donotemail", "cusText", Value::Bool(false), "\"false\""),
        ("birthdate", "birthDate", day("1990-05-01"), "\"1990-05-01\""),
        ("birthdate", "cusSeen", day("1990-05-01"), "\"1990-05-01 00:00:00.000Z\""),
        ("birthdate", "cusText", day("1990-05-01"), "\"1990-05-01\""),
        ("modifiedon", "birthDate", instant("2026-01-05T23:30:00-05:00"), "\"2026-01-06\""),
        ("modifiedon", "cusSeen", instant("2026-01-05T10:00:00.584Z"), "\"2026-01-05 10:00:00.584Z\""),
        ("modifiedon", "cusText", instant("2026-01-05T10:00:00Z"), "\"2026-01-05T10:00:00Z\""),
        ("gendercode", "cusText", choice(2), "\"Female\""),
        ("gendercode", "cusText", choice(77), code::UNKNOWN_LABEL),
        ("hobbies", "cusText", Value::List(vec![choice(1), choice(9)]), "\"Chess; Golf\""),
        ("hobbies", "cusText", Value::List(vec![]), "\"\""),
        (
            "owner",
            "cusText",
            Value::Reference(Reference { id: Uuid::parse_str(&ID.to_uppercase()).unwrap(), table: None }),
            "\"8c1f0c52-0000-4000-8000-00000000000a\"",
        ),
    ];
    for (from, to, value, wanted) in table {
        let plan = one(from, to, "");
        assert_eq!(converted(&plan, from, to, value.clone()), wanted, "{from} -> {to}: {}", json::print(&value));
    }
}

#[test]
fn technical_values_concern_choices_only() {
    let technical = "technical_values = true";
    assert_eq!(converted(&one("gendercode", "cusText", technical), "gendercode", "cusText", choice(2)), "\"2\"");
    assert_eq!(converted(&one("gendercode", "cusLong", technical), "gendercode", "cusLong", choice(2)), "2");
    let both = Value::List(vec![choice(1), choice(9)]);
    assert_eq!(converted(&one("hobbies", "cusText", technical), "hobbies", "cusText", both), "\"1,9\"");
    assert_eq!(converted(&one("donotemail", "cusFlag", technical), "donotemail", "cusFlag", Value::Bool(true)), "true");
}

#[test]
fn a_label_on_the_record_wins_over_the_schema() {
    let value = Value::Choice(record::Choice { value: 2, label: Some("Kvinde".into()) });
    assert_eq!(converted(&one("gendercode", "cusText", ""), "gendercode", "cusText", value), "\"Kvinde\"");
}

#[test]
fn an_empty_value_clears_on_update_and_is_left_out_on_insert() {
    let table = [
        ("firstname", "firstName", r#"{"firstName":""}"#),
        ("children", "cusLong", r#"{"cusLong":0}"#),
        ("income", "cusNumber", r#"{"cusNumber":0}"#),
        ("donotemail", "cusFlag", r#"{"cusFlag":false}"#),
        ("birthdate", "birthDate", r#"{"birthDate":""}"#),
        ("modifiedon", "cusSeen", r#"{"cusSeen":""}"#),
        ("gendercode", "gender", r#"{"gender":"unknown"}"#),
        ("donotemail", "blackListEmail", "{}"),
        ("donotemail", "denyListEmail", "{}"),
    ];
    for (from, to, update) in table {
        let written = write(&one(from, to, ""), &[(from, Value::Null)]);
        assert_eq!(text(written.update.as_ref().unwrap()), update, "{to}");
        assert_eq!(text(&written.insert), format!(r#"{{"externalId":"{ID}"}}"#), "{to}");
    }
    let tier = one("gendercode", "cusTier", "");
    // Nothing clears it, but a record without it can be created.
    let new = write(&tier, &[("gendercode", Value::Null)]);
    assert_eq!(new.update.as_ref().unwrap_err().code, code::CANNOT_CLEAR);
    assert_eq!(text(&new.insert), format!(r#"{{"externalId":"{ID}"}}"#));
    let again = write(&tier, &[("gendercode", Value::Null)]);
    let other = write(&tier, &[("gendercode", Value::Text("gold".into()))]);
    assert_eq!(new.digest, again.digest, "equal states are equal");
    assert_ne!(new.digest, other.digest);
    let skip = plan(r#"fields = [ { from = "gendercode", to = "cusTier", null = "skip" } ]"#);
    assert_eq!(text(write(&skip, &[("gendercode", Value::Null)]).update.as_ref().unwrap()), "{}");
}

#[test]
fn opt_outs_have_their_wire_names_and_are_written_when_they_say_something() {
    for name in ["denyListEmail", "blockListEmail", "blackListEmail"] {
        let written = write(&one("donotemail", name, ""), &[("donotemail", Value::Bool(false))]);
        assert_eq!(text(written.update.as_ref().unwrap()), r#"{"blackListEmail":false}"#);
    }
    assert!(mapping::is_opt_out("ccpaOptOut"));
    assert!(!mapping::is_opt_out("blackListEmailLastModified"));
    assert_eq!(mapping::wire_name("denyListening"), "denyListening");
}

#[test]
fn an_opt_out_goes_by_the_name_that_the_instance_publishes() {
    let published = |names: &[&str]| {
        let mut target = profile();
        target.columns.retain(|column| column.name.as_str() != "blackListEmail");
        target.columns.extend(names.iter().map(|name| column(name, record::ValueKind::Bool, "boolean")));
        target
    };
    let names = ["denyListEmail", "blockListEmail", "blackListEmail"];
    for (has, travels) in [
        (&names[..1], "denyListEmail"),
        (&names[1..2], "blockListEmail"),
        (&names[..2], "denyListEmail"),
        (&names[..], "blackListEmail"),
    ] {
        for written in names {
            let mapped = spec(&format!("fields = [ {{ from = \"donotemail\", to = \"{written}\" }} ]"));
            let plan = mapping::compile(&mapped, &contact(), &published(has)).unwrap();
            let body = text(write(&plan, &[("donotemail", Value::Bool(true))]).update.as_ref().unwrap());
            assert_eq!(body, format!("{{\"{travels}\":true}}"), "{written} where there is {has:?}");
            // Nobody becomes contactable because a column is empty, under whatever name.
            assert_eq!(text(write(&plan, &[("donotemail", Value::Null)]).update.as_ref().unwrap()), "{}");
        }
    }
    let mapped = spec("fields = [ { from = \"donotemail\", to = \"denyListEmail\" } ]");
    let problems = mapping::compile(&mapped, &contact(), &published(&[])).unwrap_err().to_string();
    assert!(problems.contains("`denyListEmail`"), "{problems}");
}

#[test]
fn an_empty_text_is_a_text_for_a_text() {
    let written = write(&one("firstname", "firstName", ""), &[("firstname", Value::text(""))]);
    assert_eq!(text(&written.insert), format!(r#"{{"externalId":"{ID}","firstName":""}}"#));
}

#[test]
fn a_replaced_value_goes_through_conversion() {
    let rules = r#"replacements = [
        { field = "gendercode", value = 1, with = "male" },
        { field = "gendercode", value = "Female", with = "female", label = true },
        { field = "gendercode", value = 3, with = "" },
    ]"#;
    let plan = one("gendercode", "gender", rules);
    assert_eq!(converted(&plan, "gendercode", "gender", choice(1)), "\"male\"");
    assert_eq!(converted(&plan, "gendercode", "gender", choice(2)), "\"female\"");
    assert_eq!(converted(&plan, "gendercode", "gender", choice(3)), "\"unknown\"");
    assert!(plan.warnings().is_empty());
}

#[test]
fn replacements_match_exactly_and_other_values_pass() {
    let rules = r##"replacements = [ { field = "firstname", value = "#00FF00", with = "green" } ]"##;
    let colour = one("firstname", "cusText", rules);
    assert_eq!(converted(&colour, "firstname", "cusText", Value::text("#00FF00")), "\"green\"");
    assert_eq!(converted(&colour, "firstname", "cusText", Value::text("#00ff00")), "\"#00ff00\"");
    let number = one("income", "cusNumber", r#"replacements = [ { field = "income", value = 12.5, with = 1 } ]"#);
    assert_eq!(converted(&number, "income", "cusNumber", decimal("12.500")), "1");
    let flag =
        one("donotemail", "cusText", r#"replacements = [ { field = "donotemail", value = true, with = "no" } ]"#);
    assert_eq!(converted(&flag, "donotemail", "cusText", Value::Bool(true)), "\"no\"");
    assert_eq!(converted(&flag, "donotemail", "cusText", Value::Bool(false)), "\"false\"");
    let date =
        one("birthdate", "cusText", r#"replacements = [ { field = "birthdate", value = 1900-01-01, with = "?" } ]"#);
    assert_eq!(converted(&date, "birthdate", "cusText", day("1900-01-01")), "\"?\"");
}

#[test]
fn a_replacement_may_feed_several_attributes() {
    let plan = plan(
        r#"fields = [ { from = "gendercode", to = "gender" }, { from = "gendercode", to = "cusText" } ]
           replacements = [ { field = "gendercode", value = 1, with = "male" } ]"#,
    );
    let written = write(&plan, &[("gendercode", choice(1))]);
    assert_eq!(text(written.update.as_ref().unwrap()), r#"{"cusText":"male","gender":"male"}"#);
    assert_eq!(plan.warnings().len(), 1, "two options have labels that the enumeration lacks");
}

#[test]
fn dates_outside_of_four_digits_are_refused() {
    let far = Value::Date(NaiveDate::from_ymd_opt(12_000, 1, 1).unwrap());
    assert_eq!(converted(&one("birthdate", "birthDate", ""), "birthdate", "birthDate", far), code::OUT_OF_RANGE);
    let long_ago = Value::DateTime(DateTime::from_timestamp(-99_999_999_999, 0).unwrap());
    assert_eq!(converted(&one("modifiedon", "cusSeen", ""), "modifiedon", "cusSeen", long_ago), code::OUT_OF_RANGE);
}

#[test]
fn a_rejection_names_the_place_and_not_the_value() {
    let plan = one("firstname", "firstName", "");
    let rejection = plan.decide(&change(&[("firstname", Value::text("Hemmelig"))]), Mode::Live).unwrap_err();
    assert_eq!(rejection.path, "fields[0]");
    assert_eq!(
        rejection.to_string(),
        "fields[0]: `firstname` -> `firstName`: the target takes at most 5 characters (text-too-long)"
    );
    assert!(!format!("{rejection:?}").contains("Hemmelig"));
}
