//! Bodies, digests, deletes, links, fingerprints, explanations.

use crate::support::*;
use mapping::{Compare, Decision, Emptied, Mode, Parent, code};
use record::{Change, ChangeBody, Key, Reference, Value, ValueError};
use uuid::Uuid;

const NESTED: &str = r#"fields = [
    { from = "zip", to = "location.zipCode" },
    { from = "lastname", to = "lastName" },
    { from = "city", to = "location.city", apply_updates = false },
]"#;

fn nested(last: &str, city: &str, zip: &str) -> Vec<(&'static str, Value)> {
    vec![("lastname", Value::text(last)), ("city", Value::text(city)), ("zip", Value::text(zip))]
}

#[test]
fn bodies_nest_dotted_paths_in_one_object() {
    let written = write(&plan(NESTED), &nested("Holm", "Aarhus", "8000"));
    assert_eq!(written.key_text, ID);
    assert_eq!(
        text(&written.insert),
        format!(r#"{{"externalId":"{ID}","lastName":"Holm","location":{{"city":"Aarhus","zipCode":"8000"}}}}"#)
    );
    assert_eq!(text(written.update.as_ref().unwrap()), r#"{"lastName":"Holm","location":{"zipCode":"8000"}}"#);
}

#[test]
fn a_field_without_updates_is_written_by_inserts_and_replays_only() {
    let plan = plan(NESTED);
    let live = write(&plan, &nested("Holm", "Aarhus", "8000"));
    let moved = write(&plan, &nested("Holm", "Odense", "8000"));
    assert_eq!(live.digest, moved.digest, "a change in such a field alone costs nothing");
    assert_ne!(live.insert, moved.insert);
    let replay = write_as(&plan, &nested("Holm", "Aarhus", "8000"), Mode::Replay);
    assert_eq!(
        text(replay.update.as_ref().unwrap()),
        r#"{"lastName":"Holm","location":{"city":"Aarhus","zipCode":"8000"}}"#
    );
    assert_eq!(replay.digest, live.digest, "the next live change recognises what a replay wrote");
    let mut empty = nested("Holm", "", "8000");
    empty[1].1 = Value::Null;
    assert!(text(write_as(&plan, &empty, Mode::Replay).update.as_ref().unwrap()).contains(r#""city":"""#));
    assert!(!text(write(&plan, &empty).update.as_ref().unwrap()).contains("city"));
}

#[test]
fn the_digest_follows_the_update_body() {
    let plan = plan(NESTED);
    let one = write(&plan, &nested("Holm", "a", "8000"));
    assert_eq!(one.digest, write(&plan, &nested("Holm", "a", "8000")).digest);
    assert_ne!(one.digest, write(&plan, &nested("Holmes", "a", "8000")).digest);
}

#[test]
fn a_record_without_a_column_that_was_asked_for_is_refused() {
    let rejection = plan(NESTED).decide(&change(&nested("a", "b", "c")[..2]), Mode::Live).unwrap_err();
    assert_eq!((rejection.code, rejection.path.as_str()), (code::MISSING_VALUE, "fields[0]"));
}

#[test]
fn the_order_of_the_fields_in_the_record_does_not_matter() {
    let plan = plan(NESTED);
    let mut fields = nested("Holm", "Aarhus", "8000");
    let first = write(&plan, &fields);
    fields.reverse();
    assert_eq!(first, write(&plan, &fields));
}

#[test]
fn deletes_and_unreadable_records() {
    let key = Key::Guid(Uuid::from_u128(7));
    let gone = Change { key: key.clone(), version: None, body: ChangeBody::Delete };
    assert_eq!(plan(NESTED).decide(&gone, Mode::Live), Ok(Decision::Delete { apply: false }));
    let applied = plan(&format!("apply_deletes = true\n{NESTED}"));
    assert_eq!(applied.decide(&gone, Mode::Live), Ok(Decision::Delete { apply: true }));
    let body = ChangeBody::Unreadable { field: "lastname".into(), error: ValueError { expected: "a text" } };
    let rejection = applied.decide(&Change { key, version: None, body }, Mode::Live).unwrap_err();
    assert_eq!((rejection.code, rejection.path.as_str()), (code::UNREADABLE_VALUE, "fields[1]"));
}

#[test]
fn filtered_out_records_are_deleted_when_asked_for_whatever_deletes_do() {
    let filtered = |delete: bool| {
        let filter = format!(
            "[filter]\ndelete_filtered_out = {delete}\nrules = [ {{ field = \"statecode\", compare = \"equals\", value = 0 }} ]"
        );
        one("lastname", "lastName", &filter)
    };
    for delete in [true, false] {
        let plan = filtered(delete);
        let inactive = change(&[("lastname", Value::Null), ("statecode", choice(1))]);
        assert_eq!(plan.decide(&inactive, Mode::Live), Ok(Decision::FilteredOut { delete }));
        let active = change(&[("lastname", Value::Null), ("statecode", choice(0))]);
        assert!(matches!(plan.decide(&active, Mode::Live), Ok(Decision::Write(_))));
    }
    let names: Vec<_> = filtered(true).source_columns().iter().map(|column| column.name.to_string()).collect();
    assert_eq!(names, ["contactid", "lastname", "statecode"]);
}

#[test]
fn the_key_column_may_feed_a_field_too() {
    let written = write(&one("contactid", "cusText", ""), &[]);
    assert_eq!(text(written.update.as_ref().unwrap()), format!(r#"{{"cusText":"{ID}"}}"#));
}

#[test]
fn a_link_writes_the_parents_key_and_waits_for_the_parent() {
    let plan = plan("fields = []\nlinks = [ { from = \"owner\", to = \"cusOwner\", parent = \"account\" } ]");
    let id = Uuid::from_u128(5);
    let linked = |table: Option<&str>| Value::Reference(Reference { id, table: table.map(Into::into) });
    let written = write(&plan, &[("owner", linked(None))]);
    assert_eq!(written.parents, [Parent { table: "account".into(), key: Key::Guid(id) }]);
    assert_eq!(text(written.update.as_ref().unwrap()), format!(r#"{{"cusOwner":"{id}"}}"#));
    assert_eq!(write(&plan, &[("owner", linked(Some("account")))]).parents.len(), 1);
    assert!(write(&plan, &[("owner", linked(Some("team")))]).parents.is_empty());
    let unlinked = write(&plan, &[("owner", Value::Null)]);
    assert!(unlinked.parents.is_empty());
    assert_eq!(text(unlinked.update.as_ref().unwrap()), r#"{"cusOwner":""}"#);
    assert_eq!(plan.parents(), ["account".into()]);
}

#[test]
fn a_text_key_has_to_fit() {
    let mut source = contact();
    source.columns[0].kind = record::ValueKind::Text;
    let plan =
        mapping::compile(&spec("fields = [ { from = \"city\", to = \"cusText\" } ]"), &source, &profile()).unwrap();
    for (key, fits) in [("A-1", true), ("", false), (&*"x".repeat(101), false), (&*"é".repeat(100), true)] {
        assert_eq!(plan.key_text(&Key::text(key)).is_ok(), fits);
    }
}

#[test]
fn the_fingerprint_follows_the_meaning() {
    let base = "fields = [ { from = \"city\", to = \"cusText\" }, { from = \"zip\", to = \"lastName\" } ]";
    let same = [
        base,
        "fields = [ { from = \"zip\", to = \"lastName\" }, { from = \"city\", to = \"cusText\", apply_updates = true } ]",
        &format!("{base}\n[filter]\noperator = \"or\"\nrules = []"),
    ]
    .map(|text| plan(text).fingerprint());
    assert!(same.iter().all(|fingerprint| *fingerprint == same[0]));
    let filter = |value: &str| {
        format!("{base}\n[filter]\nrules = [ {{ field = \"city\", compare = \"equals\", value = \"{value}\" }} ]")
    };
    let mut different = vec![
        plan(base).fingerprint(),
        plan(&format!("apply_deletes = true\n{base}")).fingerprint(),
        plan(&format!("technical_values = true\n{base}")).fingerprint(),
        plan(&filter("a")).fingerprint(),
        plan(&filter("b")).fingerprint(),
        plan(&base.replace("\"zip\"", "\"firstname\"")).fingerprint(),
        plan(&format!("{base}\nreplacements = [ {{ field = \"city\", value = \"a\", with = \"b\" }} ]")).fingerprint(),
    ];
    let mut shorter = profile();
    shorter.columns[2].max_length = Some(9);
    different.push(mapping::compile(&spec(base), &contact(), &shorter).unwrap().fingerprint());
    let count = different.len();
    different.sort_unstable();
    different.dedup();
    assert_eq!(different.len(), count);
}

#[test]
fn a_new_filter_does_not_change_the_digest_of_what_it_lets_through() {
    let base = "fields = [ { from = \"city\", to = \"cusText\" } ]";
    let filter = "[filter]\nrules = [ { field = \"city\", compare = \"is_not_empty\" } ]";
    let fields = [("city", Value::text("Aarhus"))];
    assert_eq!(write(&plan(base), &fields).digest, write(&plan(&format!("{base}\n{filter}")), &fields).digest);
}

#[test]
fn an_explanation_shows_each_step_and_its_debug_form_nothing() {
    let plan = one(
        "gendercode",
        "gender",
        "replacements = [ { field = \"gendercode\", value = 1, with = \"male\" } ]\n[filter]\nrules = [ { field = \"city\", compare = \"is_not_empty\" } ]",
    );
    let explanation = plan.explain(&change(&[("gendercode", choice(1)), ("city", Value::text("Aarhus"))]));
    let step = &explanation.fields[0];
    assert_eq!((step.source.as_str(), step.selected.as_deref()), ("1", Some("Male")));
    assert_eq!(step.replacement.as_deref(), Some("replacements[0]"));
    assert_eq!(step.written, Ok(Some("\"male\"".to_owned())));
    assert!(step.in_insert && step.in_update);
    let rule = &explanation.rules[0];
    assert_eq!((rule.field.as_str(), rule.compare, rule.with.len()), ("city", Compare::IsNotEmpty, 0));
    assert_eq!((rule.value.as_str(), rule.holds), ("\"Aarhus\"", true));
    assert!(matches!(explanation.decision, Ok(Decision::Write(_))));
    let refused = plan.explain(&change(&[("gendercode", choice(2)), ("city", Value::text("Aarhus"))]));
    assert_eq!(refused.fields[0].written.as_ref().unwrap_err().code, code::NOT_IN_ENUMERATION);
    assert!(!format!("{explanation:?}{:?}", explanation.fields).contains("male"));
    let empty = plan.explain(&change(&[("gendercode", Value::Null), ("city", Value::text("Aarhus"))]));
    let step = &empty.fields[0];
    assert_eq!((step.empty, step.in_insert, step.in_update), (Some(Emptied::Cleared), false, true));
}
