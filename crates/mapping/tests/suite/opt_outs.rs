//! Rows are created with the opt-outs of pairs that another workflow owns.

use mapping::{Mode, OptOutPair, Plan, Problem, code, compile, compile_with_opt_outs, validate_pairs};
use record::schema::TableSchema;
use record::{Value, ValueKind};

use super::support::{change, column, contact, profile, spec, write, write_as};

const FIELDS: &str =
    "fields = [ { from = \"firstname\", to = \"firstName\" }, { from = \"lastname\", to = \"lastName\" } ]";

fn pair(d365: &str, campaign: &str) -> OptOutPair {
    OptOutPair { d365: d365.to_owned(), campaign: campaign.to_owned() }
}

/// The source with a second boolean column.
fn source() -> TableSchema {
    let mut source = contact();
    source.columns.push(column("donotfax", ValueKind::Bool, "Boolean"));
    source
}

/// The target with every opt-out attribute, some under other names.
fn target() -> TableSchema {
    let mut target = profile();
    for name in ["blackList", "denyListFax", "blackListMobile", "ccpaOptOut"] {
        target.columns.push(column(name, ValueKind::Bool, "boolean"));
    }
    target
}

fn plan_with(pairs: &[OptOutPair]) -> Plan {
    compile_with_opt_outs(&spec(FIELDS), &source(), &target(), pairs).unwrap_or_else(|problems| panic!("{problems}"))
}

fn email_and_fax() -> Plan {
    plan_with(&[pair("donotfax", "blackListFax"), pair("donotemail", "denyListEmail")])
}

fn values(email: Value, fax: Value) -> Vec<(&'static str, Value)> {
    let ada = Value::text("Ada");
    vec![("firstname", ada.clone()), ("lastname", ada), ("donotemail", email), ("donotfax", fax)]
}

#[test]
fn an_insert_carries_true_and_nothing_else() {
    use Value::{Bool, Null};
    let cases = [
        (Bool(true), Bool(true), r#""blackListEmail":true,"denyListFax":true,"#),
        (Bool(true), Bool(false), r#""blackListEmail":true,"#),
        (Null, Bool(true), r#""denyListFax":true,"#),
        (Bool(false), Null, ""),
    ];
    for (email, fax, carried) in cases {
        let written = write(&email_and_fax(), &values(email, fax));
        let id = super::support::ID;
        let wanted = format!(r#"{{{carried}"externalId":"{id}","firstName":"Ada","lastName":"Ada"}}"#);
        assert_eq!(String::from_utf8(written.insert).unwrap(), wanted);
        assert_eq!(written.update.unwrap(), br#"{"firstName":"Ada","lastName":"Ada"}"#);
    }
}

#[test]
fn updates_and_digests_are_those_of_the_plan_without_pairs() {
    let plain = plan_with(&[]);
    for email in [Value::Null, Value::Bool(false), Value::Bool(true)] {
        let values = values(email, Value::Bool(true));
        let (one, other) = (write(&plain, &values), write(&email_and_fax(), &values));
        assert_eq!((one.digest, one.update), (other.digest, other.update));
        for mode in [Mode::Live, Mode::Replay] {
            let body = |plan: &Plan| write_as(plan, &values, mode).update;
            assert_eq!(body(&plain), body(&email_and_fax()), "{mode:?}");
        }
    }
}

#[test]
fn the_source_delivers_the_columns_of_the_pairs() {
    let names = |plan: &Plan| plan.source_columns().iter().map(|column| column.name.to_string()).collect::<Vec<_>>();
    assert_eq!(names(&email_and_fax()), ["contactid", "firstname", "lastname", "donotfax", "donotemail"]);
    let incomplete = [("firstname", Value::Null), ("lastname", Value::Null), ("donotfax", Value::Null)];
    let rejection = email_and_fax().decide(&change(&incomplete), Mode::Live).unwrap_err();
    assert_eq!((rejection.code, rejection.path.as_str()), (code::MISSING_VALUE, "pairs[1]"));
}

#[test]
fn bodies_made_without_a_pair_are_of_another_plan() {
    let plain = plan_with(&[]).fingerprint();
    assert_eq!(compile(&spec(FIELDS), &source(), &target()).unwrap().fingerprint(), plain);
    assert_ne!(email_and_fax().fingerprint(), plain);
    assert_ne!(plan_with(&[pair("donotemail", "blackListEmail")]).fingerprint(), email_and_fax().fingerprint());
    // Neither the order of the pairs nor the name that is used for an attribute has a meaning.
    let again = plan_with(&[pair("donotemail", "blockListEmail"), pair("donotfax", "denyListFax")]);
    assert_eq!(again.fingerprint(), email_and_fax().fingerprint());
}

#[test]
fn pairs_have_no_meaning_for_other_resources() {
    let mut vehicle = target();
    vehicle.name = "cusVehicle".into();
    let pairs = [pair("nowhere", "nothing")];
    let plan = compile_with_opt_outs(&spec(FIELDS), &source(), &vehicle, &pairs).unwrap();
    assert_eq!(plan.source_columns().len(), 3);
    assert_eq!(plan.with_opt_outs(b"{}", ["blackList"]).unwrap_err().code, code::UNKNOWN_OPT_OUT);
}

fn paths(problems: &[Problem]) -> Vec<String> {
    problems.iter().map(|problem| format!("{} {:?}", problem.path, problem.kind)).collect()
}

#[test]
fn pairs_are_checked_against_both_schemas() {
    let (mut source, mut target) = (source(), target());
    source.columns.push(column("hidden", ValueKind::Bool, "Boolean"));
    source.columns.last_mut().unwrap().readable = false;
    target.columns.iter_mut().find(|column| column.name.as_str() == "ccpaOptOut").unwrap().writable = false;
    let pairs = [
        pair("donotemail", "denyListEmail"),
        pair("gendercode", "blackListFax"),
        pair("nowhere", "cusFlag"),
        pair("hidden", "denyListPhone"),
        pair("donotemail", "blackListEmail"),
        pair("donotfax", "ccpaOptOut"),
    ];
    let problems = validate_pairs(&pairs, &source, &target);
    let wanted = [
        "pairs[1].d365 NotConvertible",
        "pairs[2].d365 UnknownColumn",
        "pairs[2].campaign UnknownAttribute",
        "pairs[3].d365 Unreadable",
        "pairs[3].campaign UnknownAttribute",
        "pairs[4].d365 DuplicateTarget",
        "pairs[4].campaign DuplicateTarget",
        "pairs[5].campaign ReadOnly",
    ];
    assert_eq!(paths(&problems), wanted);
    assert!(problems.iter().all(|problem| !problem.remedy.is_empty()));
    let compiled = compile_with_opt_outs(&spec(FIELDS), &source, &target, &pairs).unwrap_err();
    assert_eq!(paths(&compiled.into_vec()).len(), wanted.len());
}

#[test]
fn an_attribute_of_a_pair_cannot_be_a_field_too() {
    let fields = "fields = [ { from = \"donotemail\", to = \"blockListEmail\" } ]";
    let pairs = [pair("donotemail", "denyListEmail")];
    let problems = compile_with_opt_outs(&spec(fields), &source(), &target(), &pairs).unwrap_err();
    assert_eq!(paths(&problems.into_vec()), ["fields[0].to OptOutConflict"]);
}

#[test]
fn the_ledgers_opt_outs_go_into_a_new_row() {
    let plan = email_and_fax();
    let body =
        br#"{"aaa":1.50000000000000000001,"blackListEmail":false,"firstName":"A\u00e9","location":{"city":"x"}}"#;
    let with = |opted_out: &[&str]| {
        let body = plan.with_opt_outs(body, opted_out.iter().copied()).unwrap();
        String::from_utf8(body).unwrap()
    };
    assert_eq!(with(&[]).as_bytes(), body);
    assert_eq!(
        with(&["blackListEmail", "blackListFax", "blackList", "denyListMobile", "ccpaOptOut"]),
        r#"{"aaa":1.50000000000000000001,"blackList":true,"blackListEmail":true,"blackListMobile":true,"ccpaOptOut":true,"denyListFax":true,"firstName":"A\u00e9","location":{"city":"x"}}"#
    );
    // Nothing that cannot be carried is left out without a word.
    for (body, attribute) in
        [(&b"{}"[..], "blackListPhone"), (b"{}", "firstName"), (b"[]", "blackList"), (b"", "blackList")]
    {
        assert_eq!(plan.with_opt_outs(body, [attribute]).unwrap_err().code, code::UNKNOWN_OPT_OUT, "{attribute}");
    }
}

#[test]
fn an_explanation_shows_what_the_insert_carries() {
    let explained = email_and_fax().explain(&change(&values(Value::Bool(true), Value::Bool(false))));
    let steps: Vec<_> =
        explained.fields.iter().map(|step| (step.to.as_str(), step.in_insert, step.in_update)).collect();
    let wanted = [
        ("blackListEmail", true, false),
        ("denyListFax", false, false),
        ("firstName", true, true),
        ("lastName", true, true),
    ];
    assert_eq!(steps, wanted);
}
