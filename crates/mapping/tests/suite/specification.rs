//! The specification as it is written.

use mapping::{
    Compare, Guardrails, Literal, NullPolicy, Operator, ProblemKind, TableSpec, opt_out_conflicts, validate,
};

use crate::support::spec;

const FULL: &str = r#"
key_filter = { name = "byCrmId", parameter = "crmId_parameter" }
fields = [
  { from = "firstname", to = "firstName" },
  { from = "address1_city", to = "location.city", apply_updates = false, null = "skip" },
]
replacements = [ { field = "firstname", value = 1.5, with = true, label = true } ]
links = [ { from = "new_owner", to = "cusContactId", parent = "contact" } ]
[filter]
operator = "or"
delete_filtered_out = true
rules = [ { field = "statecode", compare = "in", value = [0, "a"] }, { field = "birthdate", compare = "less", value = 1990-05-01 } ]
"#;

#[test]
fn every_key_is_read_and_written_back() {
    let full = spec(FULL);
    assert!(full.fields[0].apply_updates && !full.fields[1].apply_updates);
    assert_eq!((full.fields[0].null, full.fields[1].null), (NullPolicy::Clear, NullPolicy::Skip));
    assert_eq!(full.replacements[0].value, Literal::Float(1.5));
    assert_eq!(full.filter.operator, Operator::Or);
    assert_eq!(full.filter.rules[0].compare, Compare::In);
    assert_eq!(full.filter.rules[0].value, Some(Literal::List(vec![Literal::Int(0), Literal::Text("a".into())])));
    assert_eq!(full.filter.rules[1].value, Some(Literal::Text("1990-05-01".into())));
    assert_eq!(toml::from_str::<TableSpec>(&toml::to_string(&full).unwrap()).unwrap(), full);
    assert_eq!(serde_json::from_str::<TableSpec>(&serde_json::to_string(&full).unwrap()).unwrap(), full);
}

#[test]
fn defaults_are_cautious() {
    let small = spec("fields = []");
    assert!(!small.apply_deletes && !small.technical_values && !small.filter.delete_filtered_out);
    assert_eq!((small.filter.operator, small.filter.rules.len()), (Operator::And, 0));
}

#[test]
fn what_is_unknown_or_of_another_form_is_refused() {
    for text in [
        "fields = []\nfield = []",
        "fields = [ { from = \"a\", to = \"b\", update = true } ]",
        "fields = [ { from = \"a\", to = \"b\", null = \"keep\" } ]",
        "fields = []\n[filter]\noperator = \"xor\"",
        "fields = []\n[filter]\nrules = [ { field = \"a\", compare = \"like\", value = 1 } ]",
        "fields = []\n[filter]\nrules = [ { field = \"a\", compare = \"equals\", value = { x = 1 } } ]",
        "fields = []\n[filter]\nrules = [ { field = \"a\", compare = \"in\", value = [[1]] } ]",
        "fields = []\n[filter]\nrules = [ { field = \"a\", compare = \"equals\", value = nan } ]",
    ] {
        let head = "table = \"contact\"\nresource = \"profile\"\nkey = \"externalId\"\n";
        assert!(toml::from_str::<TableSpec>(&format!("{head}{text}")).is_err(), "{text}");
    }
}

fn child(table: &str, parent: &str) -> TableSpec {
    let mut child = spec(&format!("fields = []\nlinks = [ {{ from = \"a\", to = \"b\", parent = \"{parent}\" }} ]"));
    child.table = table.to_owned();
    child.resource = format!("cus_{table}");
    child
}

#[test]
fn tables_are_checked_against_each_other() {
    let contact = spec("fields = [ { from = \"a\", to = \"b\" } ]");
    assert_eq!(validate(&[contact.clone(), child("x", "contact"), child("y", "x"), child("z", "z")]), Ok(()));
    assert_eq!(
        validate(&[child("y", "z"), child("z", "y")]),
        Ok(()),
        "the key of a row in a circle may come before it"
    );
    let by_link = |table: &str, parent: &str| {
        let mut table = child(table, parent);
        table.links[0].mode = mapping::LinkMode::Link;
        table
    };
    assert_eq!(validate(&[contact.clone(), by_link("x", "contact")]), Ok(()));
    let problems = validate(&[
        contact.clone(),
        contact,
        child("x", "nobody"),
        by_link("y", "z"),
        child("z", "y"),
        by_link("w", "w"),
    ])
    .unwrap_err();
    let found: Vec<_> = problems.iter().map(|problem| (problem.path.as_str(), problem.kind)).collect();
    assert_eq!(
        found,
        [
            ("table[1].table", ProblemKind::DuplicateTable),
            ("table[1].resource", ProblemKind::DuplicateTable),
            ("table[2].links[0].parent", ProblemKind::UnknownParent),
            ("table[3].links[0].mode", ProblemKind::LinkInCircle),
            ("table[5].links[0].mode", ProblemKind::LinkInCircle),
        ]
    );
}

#[test]
fn ceilings_warn_or_refuse() {
    let mut tables: Vec<_> =
        (0..22).map(|n| child(&format!("t{n}"), &format!("t{}", if n == 0 { 21 } else { n - 1 }))).collect();
    for (n, table) in tables.iter_mut().enumerate().filter(|(n, _)| n % 4 == 0) {
        table.links.clear();
        let field = |f| mapping::FieldSpec {
            from: "a".into(),
            to: format!("f{f}"),
            apply_updates: true,
            null: NullPolicy::Clear,
        };
        table.fields = (0..if n == 0 { 50 } else { 49 }).map(field).collect();
    }
    let link = tables[1].links[0].clone();
    tables[1].links = vec![link; 6];
    let warnings = Guardrails::none().review(&tables).unwrap();
    let paths: Vec<_> = warnings.iter().map(|warning| warning.path.as_str()).collect();
    let deep = ["table[3].links", "table[7].links", "table[11].links", "table[15].links", "table[19].links"];
    let wanted: Vec<_> = ["table", "table[0].fields", "table[1].links"].into_iter().chain(deep).collect();
    assert_eq!(paths, wanted);
    assert_eq!(Guardrails::adobe().review(&tables).unwrap_err().into_vec(), warnings);
    assert_eq!(Guardrails::adobe().review(&tables[..1][..0]), Ok(vec![]));
}

#[test]
fn one_workflow_owns_an_opt_out() {
    let ingress = spec("fields = [ { from = \"a\", to = \"firstName\" }, { from = \"b\", to = \"denyListEmail\" } ]");
    let conflicts = opt_out_conflicts(std::slice::from_ref(&ingress), ["ccpaOptOut", "blockListEmail"]);
    assert_eq!(conflicts.len(), 1);
    assert_eq!((conflicts[0].path.as_str(), conflicts[0].kind), ("table[0].fields[1].to", ProblemKind::OptOutConflict));
    assert!(opt_out_conflicts(&[ingress], ["blackListFax"]).is_empty());
}
