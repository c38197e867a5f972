//! The `[[table]]` sections, key by key: serde would stop at the first problem of a table.

use mapping::{
    Compare, FieldSpec, FilterSpec, Guardrails, KeyFilterSpec, LinkMode, LinkSpec, Literal, NullPolicy, Operator,
    ProblemKind, Problems, ReplacementSpec, RuleSpec, TableSpec,
};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::reader::{Document, Section, locate};

/// Reads every table and checks them alone and against each other, also those beside one that has problems.
pub(super) fn tables<'t>(document: &mut Document<'t>, root: &DeTable<'t>, adobe_guardrails: bool) -> Vec<TableSpec> {
    let Some(value) = root.get("table") else {
        document.problem("table", 0, "No table is mapped.", "Add a [[table]] section.");
        return Vec::new();
    };
    let Some(list) = value.get_ref().as_array() else {
        document.problem("table", value.span().start, "This must be a list.", "Write each table as [[table]].");
        return Vec::new();
    };
    let before = document.problems.len();
    let specs: Vec<TableSpec> =
        list.iter().enumerate().map(|(index, value)| table(document, format!("table[{index}]"), value)).collect();
    let reported: Vec<String> = document.problems.iter().skip(before).map(|problem| problem.place.clone()).collect();

    let wrong = mapping::validate(&specs).err().into_iter();
    let beyond = adobe_guardrails.then(|| Guardrails::adobe().review(&specs).err()).flatten();
    for problem in wrong.chain(beyond).flat_map(Problems::into_vec) {
        if !follows(&problem.path, problem.kind, &reported) {
            document.problem(problem.path.clone(), locate(root, &problem.path), problem.message, problem.remedy);
        }
    }
    specs
}

/// Whether a problem is only the consequence of one that was reported: where something could not be read, an empty name or a
/// default stands in its place.
fn follows(path: &str, kind: ProblemKind, reported: &[String]) -> bool {
    let table = path.split('.').next().unwrap_or_default();
    let any = |wanted: &dyn Fn(&str) -> bool| reported.iter().any(|place| wanted(place));
    let within = |part: &str, whole: &str| {
        part.strip_prefix(whole).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    };
    match kind {
        ProblemKind::UnmappedReplacement if any(&|place| within(place, &format!("{table}.fields"))) => return true,
        ProblemKind::UnknownParent if any(&|place| !place.contains('.') || place.ends_with("].table")) => return true,
        _ => {}
    }
    // The entry of a list that the path lies in, such as `table[0].fields[1]`.
    let entry = path.rfind(']').map(|end| &path[..=end]).filter(|entry| entry.contains('.'));
    any(&|place| within(path, place) || entry.is_some_and(|entry| within(place, entry)))
}

fn table<'t>(document: &mut Document<'t>, place: String, value: &Spanned<DeValue<'t>>) -> TableSpec {
    let mut spec = TableSpec {
        table: String::new(),
        resource: String::new(),
        key: String::new(),
        key_filter: None,
        apply_deletes: false,
        technical_values: false,
        fields: Vec::new(),
        replacements: Vec::new(),
        filter: FilterSpec::default(),
        links: Vec::new(),
    };
    let Some(mut section) = Section::at(document, value, place) else { return spec };
    spec.table = section.required_text(document, "table", "the table's logical name, such as \"contact\"");
    spec.resource = section.required_text(document, "resource", "the resource in Campaign, such as \"profile\"");
    spec.key =
        section.required_text(document, "key", "the attribute that holds the record's id, such as \"externalId\"");
    if let Some(value) = section.value("key_filter") {
        spec.key_filter = key_filter(document, section.place("key_filter"), value);
    }
    spec.apply_deletes = section.boolean(document, "apply_deletes").unwrap_or(false);
    spec.technical_values = section.boolean(document, "technical_values").unwrap_or(false);
    if section.value("fields").is_none() {
        section.missing(document, "fields", "fields = [ { from = \"column\", to = \"attribute\" } ]");
    }
    for (place, value) in section.list(document, "fields") {
        spec.fields.push(field(document, place, value));
    }
    for (place, value) in section.list(document, "replacements") {
        spec.replacements.push(replacement(document, place, value));
    }
    if let Some(value) = section.value("filter") {
        spec.filter = filter(document, section.place("filter"), value);
    }
    for (place, value) in section.list(document, "links") {
        spec.links.push(link(document, place, value));
    }
    section.finish(document);
    spec
}

fn key_filter<'t>(document: &mut Document<'t>, place: String, value: &Spanned<DeValue<'t>>) -> Option<KeyFilterSpec> {
    let mut section = Section::at(document, value, place)?;
    let name = section.required_text(document, "name", "the published filter, such as \"byCrmId\"");
    let parameter = section.required_text(document, "parameter", "its parameter, such as \"crmId_parameter\"");
    section.finish(document);
    Some(KeyFilterSpec { name, parameter })
}

fn field<'t>(document: &mut Document<'t>, place: String, value: &Spanned<DeValue<'t>>) -> FieldSpec {
    let mut spec = FieldSpec { from: String::new(), to: String::new(), apply_updates: true, null: NullPolicy::Clear };
    let Some(mut section) = Section::at(document, value, place) else { return spec };
    spec.from = section.required_text(document, "from", "the column in Dynamics 365");
    spec.to = section.required_text(document, "to", "the attribute in Campaign");
    spec.apply_updates = section.boolean(document, "apply_updates").unwrap_or(true);
    let policies = [("clear", NullPolicy::Clear), ("skip", NullPolicy::Skip)];
    spec.null = section.word(document, "null", &policies).unwrap_or_default();
    section.finish(document);
    spec
}

fn replacement<'t>(document: &mut Document<'t>, place: String, value: &Spanned<DeValue<'t>>) -> ReplacementSpec {
    let nothing = Literal::Bool(false);
    let mut spec =
        ReplacementSpec { field: String::new(), value: nothing.clone(), with: nothing.clone(), label: false };
    let Some(mut section) = Section::at(document, value, place) else { return spec };
    spec.field = section.required_text(document, "field", "the mapped column in Dynamics 365");
    for (key, into) in [("value", &mut spec.value), ("with", &mut spec.with)] {
        match section.value(key) {
            Some(found) => {
                *into = document.deserialize(&section.place(key), found).unwrap_or_else(|| nothing.clone());
            }
            None => section.missing(document, key, "a number, a text, true, false or a date"),
        }
    }
    spec.label = section.boolean(document, "label").unwrap_or(false);
    section.finish(document);
    spec
}

fn filter<'t>(document: &mut Document<'t>, place: String, value: &Spanned<DeValue<'t>>) -> FilterSpec {
    let mut spec = FilterSpec::default();
    let Some(mut section) = Section::at(document, value, place) else { return spec };
    spec.operator =
        section.word(document, "operator", &[("and", Operator::And), ("or", Operator::Or)]).unwrap_or_default();
    spec.delete_filtered_out = section.boolean(document, "delete_filtered_out").unwrap_or(false);
    for (place, value) in section.list(document, "rules") {
        spec.rules.push(rule(document, place, value));
    }
    section.finish(document);
    spec
}

fn rule<'t>(document: &mut Document<'t>, place: String, value: &Spanned<DeValue<'t>>) -> RuleSpec {
    let mut spec = RuleSpec { field: String::new(), compare: Compare::IsEmpty, value: None };
    let Some(mut section) = Section::at(document, value, place) else { return spec };
    spec.field = section.required_text(document, "field", "the column in Dynamics 365");
    if section.value("compare").is_none() {
        section.missing(document, "compare", "a comparison, such as \"equals\"");
    }
    let words = Compare::ALL.map(|compare| (compare.as_str(), compare));
    spec.compare = section.word(document, "compare", &words).unwrap_or(Compare::IsEmpty);
    if let Some(found) = section.value("value") {
        spec.value = document.deserialize(&section.place("value"), found);
    }
    section.finish(document);
    spec
}

fn link<'t>(document: &mut Document<'t>, place: String, value: &Spanned<DeValue<'t>>) -> LinkSpec {
    let mut spec =
        LinkSpec { from: String::new(), to: String::new(), parent: String::new(), mode: LinkMode::default() };
    let Some(mut section) = Section::at(document, value, place) else { return spec };
    spec.from = section.required_text(document, "from", "the lookup column in Dynamics 365");
    spec.to = section.required_text(document, "to", "the attribute in Campaign that takes the parent's key");
    spec.parent = section.required_text(document, "parent", "the table that the lookup refers to");
    let modes = [("key", LinkMode::Key), ("link", LinkMode::Link)];
    spec.mode = section.word(document, "mode", &modes).unwrap_or_default();
    section.finish(document);
    spec
}
