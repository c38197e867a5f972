//! Every problem at once, with its place and its remedy.

use mapping::{ProblemKind, compile};

use crate::support::*;

const BROKEN: &str = r#"
fields = [
  { from = "firstnam", to = "firstName" },
  { from = "firstname", to = "fristName" },
  { from = "lastname", to = "externalId" },
  { from = "image", to = "cusText" },
  { from = "secret", to = "lastName" },
  { from = "children", to = "age" },
  { from = "children", to = "birthDate" },
  { from = "owner", to = "cusLong" },
  { from = "city", to = "location.city" },
  { from = "zip", to = "location.city" },
  { from = "zip", to = "location" },
  { from = "zip", to = "orgUnit" },
  { from = "", to = "" },
  { from = "gendercode", to = "gender" },
]
replacements = [
  { field = "statecode", value = 0, with = "x" },
  { field = "gendercode", value = 9, with = "male" },
  { field = "gendercode", value = "Male", with = "male" },
  { field = "gendercode", value = "Mael", with = "male", label = true },
  { field = "gendercode", value = 1, with = "man" },
  { field = "gendercode", value = 1, with = "man" },
  { field = "city", value = ["a"], with = "b" },
]
links = [
  { from = "ownr", to = "cusOwner", parent = "contact" },
  { from = "city", to = "cusOwner", parent = "contact" },
]
[filter]
rules = [
  { field = "state", compare = "equals", value = 0 },
  { field = "statecode", compare = "greater", value = 0 },
  { field = "statecode", compare = "equals", value = 7 },
  { field = "donotemail", compare = "equals", value = 1 },
  { field = "birthdate", compare = "less", value = "yesterday" },
  { field = "city", compare = "in", value = "a" },
  { field = "city", compare = "is_empty", value = "a" },
  { field = "city", compare = "equals" },
  { field = "city", compare = "contains", value = "" },
]
"#;

#[test]
fn all_problems_are_reported_at_once() {
    let problems = compile(&spec(BROKEN), &contact(), &profile()).unwrap_err();
    insta::assert_snapshot!(problems.to_string());
}

#[test]
fn keys_that_cannot_hold() {
    let kind =
        |mapped: &mapping::TableSpec, source: &record::schema::TableSchema, target: &record::schema::TableSchema| {
            let problems = compile(mapped, source, target).unwrap_err().into_vec();
            problems.into_iter().map(|problem| (problem.path, problem.kind)).collect::<Vec<_>>()
        };
    let good = spec("fields = [ { from = \"city\", to = \"cusText\" } ]");
    let mut keyless = contact();
    keyless.key = None;
    assert_eq!(kind(&good, &keyless, &profile()), [("table".to_owned(), ProblemKind::UnsuitableKey)]);
    let mut numbered = contact();
    numbered.key = Some("children".into());
    assert_eq!(kind(&good, &numbered, &profile()), [("table".to_owned(), ProblemKind::UnsuitableKey)]);
    let mut short = profile();
    short.columns[0].max_length = Some(35);
    assert_eq!(kind(&good, &contact(), &short), [("key".to_owned(), ProblemKind::UnsuitableKey)]);
    for (key, wanted) in [
        ("cusFlag", ProblemKind::UnsuitableKey),
        ("externalID", ProblemKind::UnknownAttribute),
        ("age", ProblemKind::ReadOnly),
        ("", ProblemKind::Empty),
    ] {
        let mut mapped = good.clone();
        mapped.key = key.to_owned();
        assert_eq!(kind(&mapped, &contact(), &profile()), [("key".to_owned(), wanted)], "{key}");
    }
}

#[test]
fn a_mapping_that_is_allowed_but_doubtful_warns() {
    let doubtful = one("gendercode", "gender", "");
    assert_eq!(doubtful.warnings().len(), 1);
    assert_eq!(doubtful.warnings()[0].kind, ProblemKind::Doubtful);
    assert_eq!(one("gendercode", "cusText", "").warnings(), []);
}
