//! What holds for all values.

use mapping::{Decision, Mode, Plan};
use proptest::prelude::*;
use record::{Choice, Reference, Value};
use rust_decimal::Decimal;
use uuid::Uuid;

use crate::support::*;

fn value() -> impl Strategy<Value = Value> {
    let choice = || (-3_i32..12).prop_map(|value| Value::Choice(Choice { value, label: None }));
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        (-2_i64..3).prop_map(Value::Int),
        (any::<i64>(), 0_u32..=18).prop_map(|(digits, scale)| Value::Decimal(Decimal::new(digits, scale))),
        any::<f64>().prop_map(Value::Float),
        any::<String>().prop_map(Value::text),
        "[-0-9T:Z.e ]{0,24}|true|male|".prop_map(Value::text),
        (-99_000_000_000_i64..300_000_000_000)
            .prop_filter_map("an instant", |second| chrono::DateTime::from_timestamp(second, 0))
            .prop_map(Value::DateTime),
        (-400_000_i32..4_000_000)
            .prop_filter_map("a day", chrono::NaiveDate::from_num_days_from_ce_opt)
            .prop_map(Value::Date),
        any::<u128>().prop_map(|id| Value::Guid(Uuid::from_u128(id))),
        any::<u128>().prop_map(|id| Value::Reference(Reference { id: Uuid::from_u128(id), table: None })),
        choice(),
        prop::collection::vec(choice(), 0..4).prop_map(Value::List),
    ]
}

fn filtered(operator: &str, rules: &[String]) -> Plan {
    one("lastname", "cusText", &format!("[filter]\noperator = \"{operator}\"\nrules = [ {} ]", rules.join(", ")))
}

fn passes(plan: &Plan, city: &Value, children: &Value) -> bool {
    let fields = [("lastname", Value::Null), ("city", city.clone()), ("children", children.clone())];
    matches!(plan.decide(&change(&fields), Mode::Live), Ok(Decision::Write(_)))
}

/// A plan onto every attribute, and the columns it reads.
const SOURCES: [&str; 12] = [
    "firstname",
    "lastname",
    "city",
    "zip",
    "children",
    "income",
    "score",
    "donotemail",
    "birthdate",
    "modifiedon",
    "gendercode",
    "owner",
];

fn wide() -> Plan {
    plan(
        r#"fields = [
            { from = "firstname", to = "cusLong" }, { from = "lastname", to = "lastName" }, { from = "city", to = "location.city" },
            { from = "zip", to = "location.zipCode", apply_updates = false }, { from = "children", to = "cusByte" },
            { from = "income", to = "cusNumber" }, { from = "score", to = "cusInt64" }, { from = "donotemail", to = "cusFlag" },
            { from = "birthdate", to = "birthDate" }, { from = "modifiedon", to = "cusSeen" }, { from = "gendercode", to = "gender" },
            { from = "owner", to = "cusText" },
        ]
        replacements = [ { field = "gendercode", value = 1, with = "male" } ]"#,
    )
}

proptest! {
    #[test]
    fn any_value_in_any_column_is_written_or_refused(values in prop::collection::vec(value(), SOURCES.len())) {
        let plan = wide();
        let fields: Vec<_> = SOURCES.iter().copied().zip(values).collect();
        let change = change(&fields);
        for mode in [Mode::Live, Mode::Replay] {
            match plan.decide(&change, mode) {
                Ok(Decision::Write(write)) => {
                    prop_assert!(serde_json::from_slice::<serde_json::Value>(&write.insert).is_ok());
                    prop_assert!(serde_json::from_slice::<serde_json::Value>(write.update.as_ref().unwrap()).is_ok());
                }
                Ok(other) => prop_assert!(false, "{:?}", other),
                Err(rejection) => prop_assert!(!rejection.code.is_empty() && rejection.path.starts_with("fields[")),
            }
        }
        prop_assert_eq!(plan.explain(&change).decision, plan.decide(&change, Mode::Live));
    }

    #[test]
    fn one_value_onto_each_target_gives_valid_json(value in value()) {
        for to in ["cusText", "cusByte", "cusInt64", "cusNumber", "cusFlag", "birthDate", "cusSeen", "gender"] {
            if let Ok(Decision::Write(write)) = one("city", to, "").decide(&change(&[("city", value.clone())]), Mode::Live) {
                let body: serde_json::Value = serde_json::from_slice(write.update.as_ref().unwrap()).unwrap();
                prop_assert_eq!(body.as_object().map(|body| body.len()), Some(1));
            }
        }
    }

    #[test]
    fn bodies_decode_to_the_texts_that_went_in(last in any::<String>(), city in any::<String>(), zip in any::<String>()) {
        let plan = plan(
            r#"fields = [ { from = "zip", to = "location.zipCode" }, { from = "lastname", to = "lastName" }, { from = "city", to = "location.city" } ]"#,
        );
        let written = write(&plan, &[
            ("lastname", Value::text(last.as_str())), ("city", Value::text(city.as_str())), ("zip", Value::text(zip.as_str())),
        ]);
        let update = serde_json::json!({ "lastName": last, "location": { "city": city, "zipCode": zip } });
        prop_assert_eq!(&serde_json::from_slice::<serde_json::Value>(written.update.as_ref().unwrap()).unwrap(), &update);
        let mut insert = update;
        insert["externalId"] = ID.into();
        prop_assert_eq!(serde_json::from_slice::<serde_json::Value>(&written.insert).unwrap(), insert);
    }

    #[test]
    fn the_digest_ignores_what_an_update_does_not_write(
        last in any::<String>(), one in any::<String>(), other in any::<String>(), extra in value(),
    ) {
        let plan = plan(
            r#"fields = [ { from = "lastname", to = "lastName" }, { from = "city", to = "cusText", apply_updates = false } ]"#,
        );
        let last = || Value::text(last.as_str());
        let first = write(&plan, &[("lastname", last()), ("city", Value::text(one))]);
        let second = write(&plan, &[("image", extra), ("city", Value::text(other)), ("lastname", last())]);
        prop_assert_eq!(first.digest, second.digest);
        prop_assert_eq!(first.update, second.update);
    }

    #[test]
    fn digests_are_equal_exactly_when_update_bodies_are(one in "[ab]{0,2}", other in "[ab]{0,2}") {
        let plan = plan(r#"fields = [ { from = "lastname", to = "lastName" } ]"#);
        let (one, other) = (write(&plan, &[("lastname", Value::text(one))]), write(&plan, &[("lastname", Value::text(other))]));
        prop_assert_eq!(one.digest == other.digest, one.update == other.update);
    }

    #[test]
    fn numerically_equal_decimals_give_one_digest(digits in -999_999_i64..=999_999, scale in 0_u32..6, zeros in 1_u32..6) {
        let plan = one("income", "cusNumber", "");
        let short = Decimal::new(digits, scale);
        let mut long = short;
        long.rescale(scale + zeros);
        let digest = |number| write(&plan, &[("income", Value::Decimal(number))]).digest;
        prop_assert_eq!(digest(short), digest(long));
    }

    #[test]
    fn and_or_and_their_opposites(
        city in prop_oneof![Just(Value::Null), "[abAB]{0,2}".prop_map(Value::text)],
        children in prop_oneof![Just(Value::Null), (0_i64..4).prop_map(Value::Int)],
        wanted in "[ab]{1,2}", bound in 0_i64..4,
    ) {
        let city_rule = |compare: &str| format!("{{ field = \"city\", compare = \"{compare}\", value = \"{wanted}\" }}");
        let number_rule = format!("{{ field = \"children\", compare = \"greater\", value = {bound} }}");
        let holds = |plan: &Plan| passes(plan, &city, &children);
        // A column that no rule reads would be absent from the plan, which is fine: records may carry more.
        for (compare, opposite) in [("equals", "not_equals"), ("contains", "not_contains")] {
            let (rule, contrary) = (city_rule(compare), city_rule(opposite));
            let one = holds(&filtered("and", std::slice::from_ref(&rule)));
            let two = holds(&filtered("and", std::slice::from_ref(&number_rule)));
            let both = [rule.clone(), number_rule.clone()];
            let swapped = [number_rule.clone(), rule.clone()];
            prop_assert_eq!(holds(&filtered("and", &both)), one && two);
            prop_assert_eq!(holds(&filtered("or", &both)), one || two);
            prop_assert_eq!(holds(&filtered("or", &swapped)), one || two);
            prop_assert_eq!(holds(&filtered("or", std::slice::from_ref(&contrary))), !one);
        }
        for operator in ["and", "or"] {
            prop_assert!(holds(&filtered(operator, &[])));
        }
    }
}
