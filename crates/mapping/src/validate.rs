//! What can be said about specifications before any service is asked.

use std::collections::{HashMap, HashSet};

use crate::{Compare, LinkMode, Literal, Problem, ProblemKind, Problems, TableSpec, opt_out};

/// Checks everything that needs no schema: names that are missing, tables and targets that are taken twice, replacements
/// of unmapped fields, values that a comparison lacks, links to tables that are not mapped, and links by a row that is there
/// where the tables refer to each other in a circle.
///
/// # Errors
/// All problems, with paths from the list of tables (`table[0].fields[3].to`).
pub fn validate(tables: &[TableSpec]) -> Result<(), Problems> {
    let mut problems = Vec::new();
    let mut sources = HashMap::new();
    let mut resources = HashMap::new();
    for (t, table) in tables.iter().enumerate() {
        let at = |path: &str| format!("table[{t}].{path}");
        for (seen, name, path) in [(&mut sources, &table.table, "table"), (&mut resources, &table.resource, "resource")]
        {
            if name.is_empty() {
                problems.push(empty(at(path)));
            } else if let Some(first) = seen.insert(name.as_str(), t) {
                problems.push(Problem::new(
                    at(path),
                    ProblemKind::DuplicateTable,
                    format!("`{name}` is mapped by table[{first}] already"),
                    "a table or resource takes part in one mapping only: merge the sections or remove one",
                ));
            }
        }
        problems.extend(alone(table).into_iter().map(|problem| Problem { path: at(&problem.path), ..problem }));
        for (l, link) in table.links.iter().enumerate() {
            if !tables.iter().any(|other| other.table == link.parent) {
                problems.push(Problem::new(
                    at(&format!("links[{l}].parent")),
                    ProblemKind::UnknownParent,
                    format!("the table `{}` is not mapped", link.parent),
                    "map the parent table in a section of its own, or map the column as a field",
                ));
            } else if link.mode == LinkMode::Link && reaches(tables, &link.parent, &table.table) {
                problems.push(Problem::new(
                    at(&format!("links[{l}].mode")),
                    ProblemKind::LinkInCircle,
                    format!("rows of `{}` and `{}` may refer to each other in a circle", table.table, link.parent),
                    "write the key into an ordinary column (mode = \"key\"): a link needs a row that is there",
                ));
            }
        }
    }
    Problems::check(problems)
}

/// What can be said about one specification alone; paths are relative to it.
pub(crate) fn alone(table: &TableSpec) -> Vec<Problem> {
    let mut problems = Vec::new();
    if table.key.is_empty() {
        problems.push(empty("key".to_owned()));
    }
    if let Some(filter) = &table.key_filter {
        for (name, path) in [(&filter.name, "key_filter.name"), (&filter.parameter, "key_filter.parameter")] {
            if name.is_empty() {
                problems.push(empty(path.to_owned()));
            }
        }
    }
    if table.fields.is_empty() && table.links.is_empty() {
        problems.push(Problem::new(
            "fields",
            ProblemKind::Empty,
            "no field is mapped",
            "map at least one field besides the key",
        ));
    }
    targets(table, &mut problems);
    replacements(table, &mut problems);
    for (r, rule) in table.filter.rules.iter().enumerate() {
        let path = format!("filter.rules[{r}].value");
        let word = rule.compare.as_str();
        let fault = match (rule.compare, &rule.value) {
            (Compare::IsEmpty | Compare::IsNotEmpty, Some(_)) => {
                Some((format!("`{word}` takes no value"), "remove it"))
            }
            (Compare::IsEmpty | Compare::IsNotEmpty, None) => None,
            (Compare::In | Compare::NotIn, Some(Literal::List(items))) if !items.is_empty() => None,
            (Compare::In | Compare::NotIn, _) => {
                Some((format!("`{word}` needs a list of values"), "write value = [ ... ] with at least one value"))
            }
            (_, None) => Some((format!("`{word}` needs a value"), "write value = ...")),
            (_, Some(Literal::List(_))) => Some((format!("`{word}` takes one value, not a list"), "use in or not_in")),
            // `not_contains ""` would shut every record out and `contains ""` let every one in.
            (
                Compare::Contains | Compare::NotContains | Compare::BeginsWith | Compare::EndsWith,
                Some(Literal::Text(text)),
            ) if text.is_empty() => {
                Some((format!("`{word}` needs a text that is not empty"), "use is_empty or is_not_empty"))
            }
            _ => None,
        };
        if let Some((message, remedy)) = fault {
            problems.push(Problem::new(path, ProblemKind::BadFilterValue, message, remedy));
        }
    }
    problems
}

fn targets(table: &TableSpec, problems: &mut Vec<Problem>) {
    let key = opt_out::wire_name(&table.key);
    let fields = table.fields.iter().enumerate().map(|(f, field)| (format!("fields[{f}]"), &field.from, &field.to));
    let links = table.links.iter().enumerate().map(|(l, link)| (format!("links[{l}]"), &link.from, &link.to));
    let mut seen: Vec<(std::borrow::Cow<'_, str>, String)> = Vec::new();
    for (path, from, to) in fields.chain(links) {
        if from.is_empty() {
            problems.push(empty(format!("{path}.from")));
        }
        if to.is_empty() || to.split('.').any(str::is_empty) {
            problems.push(empty(format!("{path}.to")));
            continue;
        }
        let to = opt_out::wire_name(to);
        if overlap(&to, &key) {
            problems.push(Problem::new(
                format!("{path}.to"),
                ProblemKind::KeyMapped,
                format!("`{to}` is the key, which receives the source's primary key by itself"),
                "remove the field",
            ));
        } else if let Some((taken, first)) = seen.iter().find(|(taken, _)| overlap(&to, taken)) {
            problems.push(Problem::new(
                format!("{path}.to"),
                ProblemKind::DuplicateTarget,
                format!("`{to}` has a source already: {first} writes `{taken}`"),
                "several sources cannot feed one attribute: remove one of the fields",
            ));
        }
        seen.push((to, path));
    }
}

/// Whether two attributes are the same or one is a part of the other.
fn overlap(one: &str, other: &str) -> bool {
    let inside = |part: &str, whole: &str| part.strip_prefix(whole).is_some_and(|rest| rest.starts_with('.'));
    one == other || inside(one, other) || inside(other, one)
}

fn replacements(table: &TableSpec, problems: &mut Vec<Problem>) {
    let mapped: HashSet<&str> = table.fields.iter().map(|field| field.from.as_str()).collect();
    for (r, replacement) in table.replacements.iter().enumerate() {
        if !mapped.contains(replacement.field.as_str()) {
            problems.push(Problem::new(
                format!("replacements[{r}].field"),
                ProblemKind::UnmappedReplacement,
                format!("the column `{}` is not mapped", replacement.field),
                "map it under fields, or remove the replacement",
            ));
        }
        for (path, literal) in [("value", &replacement.value), ("with", &replacement.with)] {
            if matches!(literal, Literal::List(_)) {
                problems.push(Problem::new(
                    format!("replacements[{r}].{path}"),
                    ProblemKind::BadReplacement,
                    "a replacement takes one value, not a list",
                    "write one replacement for each value",
                ));
            }
        }
        let twin = |other: &crate::ReplacementSpec| {
            (&other.field, &other.value, other.label) == (&replacement.field, &replacement.value, replacement.label)
        };
        if let Some(first) = table.replacements[..r].iter().position(twin) {
            problems.push(Problem::new(
                format!("replacements[{r}].value"),
                ProblemKind::DuplicateReplacement,
                format!("replacements[{first}] replaces this value already"),
                "remove one of them",
            ));
        }
    }
}

/// Whether links lead from one table to another.
fn reaches(tables: &[TableSpec], from: &str, to: &str) -> bool {
    let mut open = vec![from];
    let mut seen = HashSet::new();
    while let Some(name) = open.pop() {
        if name == to {
            return true;
        }
        if seen.insert(name) {
            let links = tables.iter().filter(|table| table.table == name).flat_map(|table| &table.links);
            open.extend(links.map(|link| link.parent.as_str()));
        }
    }
    false
}

fn empty(path: String) -> Problem {
    Problem::new(path, ProblemKind::Empty, "the name is empty", "write the name as the service has it")
}
