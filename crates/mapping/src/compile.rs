//! From a specification and two schemas to a plan, or to every problem there is.

use record::schema::{Column, TableSchema};
use record::{FieldName, Value, ValueKind};
use xxhash_rust::xxh3::xxh3_64;

use crate::body::Place;
use crate::comparison::{selected, typed};
use crate::convert::{Options, Target};
use crate::filter::{Filter, Rule, allowed, lower};
use crate::opt_out::{PROFILE, is_opt_out, owned_twice, published_name, validate_pairs, wire_name, writable_names};
use crate::plan::{Field, Matcher, Replacement, Role, Slot, is_nothing};
use crate::validate::alone;
use crate::{
    Compare, LinkMode, Literal, NullPolicy, Operator, OptOutPair, Plan, Problem, ProblemKind, Problems, SourceColumn,
    TableSpec,
};

/// Compiles a specification against the schema of the source table and of the target resource.
///
/// # Errors
/// Every problem at once, in the order of the specification, each with its path relative to the table section.
pub fn compile(spec: &TableSpec, source: &TableSchema, target: &TableSchema) -> Result<Plan, Problems> {
    compile_with_opt_outs(spec, source, target, &[])
}

/// Compiles a specification beside an opt-out workflow that owns these pairs.
///
/// Nobody is to become contactable because a row is created before the workflow has come to it: every insert body carries TRUE for each
/// pair whose column is TRUE. FALSE and empty columns add nothing, and update bodies and digests are as without pairs; the
/// fingerprint is another, so that bodies made without the pairs are made anew. Only profiles have such attributes: for another
/// resource the pairs have no meaning.
///
/// # Errors
/// As [`compile`]; also what [`validate_pairs`](crate::validate_pairs) finds, and fields that write an attribute of a pair.
pub fn compile_with_opt_outs(
    spec: &TableSpec,
    source: &TableSchema,
    target: &TableSchema,
    pairs: &[OptOutPair],
) -> Result<Plan, Problems> {
    let pairs = if target.name.as_str() == PROFILE { pairs } else { &[] };
    let mut compiler =
        Compiler { spec, source, target, problems: alone(spec), warnings: Vec::new(), columns: Vec::new() };
    let key = compiler.key();
    let mut slots = compiler.fields();
    slots.extend(compiler.links());
    compiler.replacements(&mut slots);
    let filter = compiler.filter();
    slots.extend(compiler.opt_outs(pairs));
    compiler.doubts(&slots);
    let Compiler { mut problems, warnings, columns, .. } = compiler;
    let (Some((key_column, key_attribute, key_max)), true) = (key, problems.is_empty()) else {
        problems.sort_by_key(|problem| place_in_spec(&problem.path));
        problems.dedup();
        Problems::check(problems)?;
        // A missing key comes with a problem of its own; this only keeps the function total.
        let message = format!("`{}` has no key", spec.table);
        return Err(Problems::one(Problem::new("key", ProblemKind::UnsuitableKey, message, "choose a key")));
    };
    slots.push(Slot {
        path: "key".to_owned(),
        from: key_column.clone(),
        to: key_attribute.clone(),
        place: Place::of(key_attribute.as_str()),
        role: Role::Key,
    });
    // By segments, so that the attributes of one nested object come one after the other.
    slots.sort_by(|one, other| one.to.as_str().split('.').cmp(other.to.as_str().split('.')));
    let mut parents: Vec<_> = spec.links.iter().map(|link| link.parent.as_str().into()).collect();
    parents.sort_unstable();
    parents.dedup();
    let mut plan = Plan {
        table: source.name.clone(),
        resource: target.name.clone(),
        key_column,
        key_attribute,
        key_max,
        key_filter: spec.key_filter.clone(),
        apply_deletes: spec.apply_deletes,
        technical: spec.technical_values,
        columns,
        opt_out_names: if target.name.as_str() == PROFILE { writable_names(target) } else { Vec::new() },
        slots,
        filter,
        parents,
        warnings,
        fingerprint: 0,
        shape: 0,
    };
    plan.shape = plan.shape_hash();
    plan.fingerprint = plan.meaning_hash(spec);
    Ok(plan)
}

/// Sorts paths as the specification has its parts.
fn place_in_spec(path: &str) -> (usize, usize) {
    const PARTS: [&str; 8] = ["table", "resource", "key", "fields", "replacements", "filter", "links", "pairs"];
    let head = path.split(['.', '[']).next().unwrap_or_default();
    let index = path.split(['[', ']']).nth(1).and_then(|index| index.parse().ok()).unwrap_or(0);
    (PARTS.iter().position(|part| *part == head).unwrap_or(PARTS.len()), index)
}

struct Compiler<'s> {
    spec: &'s TableSpec,
    source: &'s TableSchema,
    target: &'s TableSchema,
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
    columns: Vec<SourceColumn>,
}

impl<'s> Compiler<'s> {
    fn problem(&mut self, path: impl Into<String>, kind: ProblemKind, message: String, remedy: impl Into<String>) {
        self.problems.push(Problem::new(path, kind, message, remedy));
    }

    fn key(&mut self) -> Option<(FieldName, FieldName, Option<u32>)> {
        let source = match self.source.key.as_ref().and_then(|key| self.source.column(key.as_str())) {
            Some(column) if matches!(column.kind, ValueKind::Guid | ValueKind::Text) => Some(column),
            Some(column) => {
                let message = format!("the primary key `{}` is of type {}", column.name, column.type_name);
                self.problem("table", ProblemKind::UnsuitableKey, message, "map a table whose key is a GUID or a text");
                None
            }
            None => {
                let message = format!("the schema of `{}` names no primary key", self.source.name);
                self.problem("table", ProblemKind::UnsuitableKey, message, "check the table's name and its metadata");
                None
            }
        };
        if let Some(column) = source {
            self.column(column);
        }
        let name = published_name(&self.spec.key, self.target);
        let attribute = self.attribute("key", &name)?;
        let wanted = if source.is_some_and(|column| column.kind == ValueKind::Guid) { 36 } else { 1 };
        let fault = match (attribute.kind, attribute.max_length) {
            (ValueKind::Guid, _) => None,
            (ValueKind::Text, Some(max)) if max < wanted => {
                Some(format!("`{name}` takes {max} characters, the key has {wanted}"))
            }
            (ValueKind::Text, _) => None,
            _ => Some(format!("`{name}` is of type {}, which cannot hold the key", attribute.type_name)),
        };
        if let Some(message) = fault {
            self.problem(
                "key",
                ProblemKind::UnsuitableKey,
                message,
                "choose a text attribute of 36 characters or more",
            );
            return None;
        }
        Some((source?.name.clone(), attribute.name.clone(), attribute.max_length))
    }

    fn fields(&mut self) -> Vec<Slot> {
        let spec = self.spec;
        let mut slots = Vec::new();
        for (f, field) in spec.fields.iter().enumerate() {
            let path = format!("fields[{f}]");
            let to = published_name(&field.to, self.target);
            let source = self.source_column(&format!("{path}.from"), &field.from);
            let attribute = self.attribute(&format!("{path}.to"), &to);
            let (Some(source), Some(attribute)) = (source, attribute) else { continue };
            let Some(target) = self.target_of(&path, source, attribute) else { continue };
            let mut compiled = Field::new(self.column(source), source, target);
            compiled.apply_updates = field.apply_updates;
            compiled.null = field.null;
            // Nobody becomes contactable because a column is empty.
            compiled.keep_on_null = field.null == NullPolicy::Skip || is_opt_out(&to);
            slots.push(slot(path, source, attribute, compiled));
        }
        slots
    }

    fn links(&mut self) -> Vec<Slot> {
        let spec = self.spec;
        let mut slots = Vec::new();
        for (l, link) in spec.links.iter().enumerate() {
            let path = format!("links[{l}]");
            let source = self.source_column(&format!("{path}.from"), &link.from);
            let to = published_name(&link.to, self.target);
            let attribute = match link.mode {
                LinkMode::Key => self.attribute(&format!("{path}.to"), &to),
                LinkMode::Link => self.link(&format!("{path}.to"), &to),
            };
            let (Some(source), Some(attribute)) = (source, attribute) else { continue };
            let fault = if !matches!(source.kind, ValueKind::Reference | ValueKind::Guid) {
                Some((".from", format!("`{}` is of type {}, a link needs a lookup", source.name, source.type_name)))
            } else if link.mode == LinkMode::Link {
                None
            } else if !matches!(attribute.kind, ValueKind::Text | ValueKind::Guid) {
                Some((".to", format!("`{}` is of type {}, a link needs a text", attribute.name, attribute.type_name)))
            } else if attribute.max_length.is_some_and(|max| max < 36) {
                Some((".to", format!("`{}` is shorter than the 36 characters of a key", attribute.name)))
            } else {
                None
            };
            if let Some((end, message)) = fault {
                let remedy = "link a lookup column to the text attribute that holds the parent's key";
                self.problem(format!("{path}{end}"), ProblemKind::NotConvertible, message, remedy);
                continue;
            }
            let target = match link.mode {
                LinkMode::Key => self.target_of(&path, source, attribute),
                LinkMode::Link => Some(Target::Link),
            };
            let Some(target) = target else { continue };
            let mut compiled = Field::new(self.column(source), source, target);
            compiled.parent = Some(link.parent.as_str().into());
            slots.push(slot(path, source, attribute, compiled));
        }
        slots
    }

    fn replacements(&mut self, slots: &mut [Slot]) {
        let spec = self.spec;
        for (r, replacement) in spec.replacements.iter().enumerate() {
            // Unmapped columns are reported already, unknown ones with their field.
            let Some(source) = self.source.column(&replacement.field) else { continue };
            let Some(with) = selected(&replacement.with) else { continue };
            let path = format!("replacements[{r}]");
            let matcher = match (replacement.label, &replacement.value) {
                (_, Literal::List(_)) => continue,
                (true, Literal::Text(label)) if source.kind == ValueKind::Choice => {
                    if !source.options.is_empty() && !Options::of(source).iter().any(|(_, known)| known == label) {
                        Err(format!("one of the labels of `{}`", source.name))
                    } else {
                        Ok(Matcher::Label(label.clone()))
                    }
                }
                (true, Literal::Text(_)) => Err("label = false: the column is no choice".to_owned()),
                (true, _) => Err("a label in quotes".to_owned()),
                (false, literal) => typed(literal, source).map(Matcher::Value).map_err(str::to_owned),
            };
            let matcher = match matcher {
                Ok(matcher) => matcher,
                Err(expected) => {
                    let message = format!("no value of `{}` ({})", source.name, source.type_name);
                    self.problem(
                        format!("{path}.value"),
                        ProblemKind::BadReplacement,
                        message,
                        format!("write {expected}"),
                    );
                    continue;
                }
            };
            for slot in slots.iter_mut().filter(|slot| slot.from == source.name && slot.path.starts_with("fields")) {
                let Role::Field(field) = &mut slot.role else { continue };
                let mut encoded = Vec::new();
                let encoded = if is_nothing(&with, &field.target) {
                    None
                } else if let Err(misfit) = field.target.encode(&with, &mut encoded) {
                    let message = format!("`{}` does not take it: {}", slot.to, misfit.explanation);
                    self.problems.push(Problem::new(
                        format!("{path}.with"),
                        ProblemKind::BadReplacement,
                        message,
                        field.target.remedy(),
                    ));
                    continue;
                } else {
                    Some(encoded)
                };
                field.replacements.push(Replacement { path: path.clone(), matcher: matcher.clone(), encoded });
            }
        }
    }

    fn filter(&mut self) -> Filter {
        let spec = &self.spec.filter;
        let mut rules = Vec::new();
        for (r, rule) in spec.rules.iter().enumerate() {
            let path = format!("filter.rules[{r}]");
            let Some(source) = self.source_column(&format!("{path}.field"), &rule.field) else { continue };
            if !allowed(source.kind, rule.compare) {
                let words: Vec<_> = Compare::ALL
                    .iter()
                    .filter(|known| allowed(source.kind, **known))
                    .map(|known| known.as_str())
                    .collect();
                let message =
                    format!("`{}` cannot compare `{}` ({})", rule.compare.as_str(), source.name, source.type_name);
                let remedy = format!("use one of {}", words.join(", "));
                self.problem(format!("{path}.compare"), ProblemKind::BadComparison, message, remedy);
                continue;
            }
            let literals = match &rule.value {
                Some(Literal::List(items)) if matches!(rule.compare, Compare::In | Compare::NotIn) => items.as_slice(),
                Some(literal) => std::slice::from_ref(literal),
                None => &[],
            };
            let mut with = Vec::with_capacity(literals.len());
            for literal in literals {
                match typed(literal, source) {
                    Ok(Value::Text(text)) => with.push(Value::text(lower(&text))),
                    Ok(value) => with.push(value),
                    Err(expected) => {
                        let message = format!("`{}` ({}) cannot be compared with it", source.name, source.type_name);
                        let remedy = format!("write {expected}");
                        self.problem(format!("{path}.value"), ProblemKind::BadFilterValue, message, remedy);
                    }
                }
            }
            rules.push(Rule { column: self.column(source), path, compare: rule.compare, with });
        }
        Filter { operator: spec.operator, delete_filtered_out: spec.delete_filtered_out, rules }
    }

    fn opt_outs(&mut self, pairs: &[OptOutPair]) -> Vec<Slot> {
        self.problems.extend(validate_pairs(pairs, self.source, self.target));
        self.problems.extend(owned_twice(self.spec, pairs));
        let mut slots = Vec::new();
        for (p, pair) in pairs.iter().enumerate() {
            let to = published_name(&pair.campaign, self.target);
            // What is not there is among the problems.
            let (Some(source), Some(attribute)) = (self.source.column(&pair.d365), self.target.column(&to)) else {
                continue;
            };
            slots.push(Slot {
                path: format!("pairs[{p}]"),
                from: source.name.clone(),
                to: attribute.name.clone(),
                place: Place::of(attribute.name.as_str()),
                role: Role::OptOut(self.column(source)),
            });
        }
        slots
    }

    /// Warns of choices whose labels the target will refuse.
    fn doubts(&mut self, slots: &[Slot]) {
        for slot in slots {
            let Role::Field(field) = &slot.role else { continue };
            let Some(source) = self.source.column(slot.from.as_str()) else { continue };
            if source.kind != ValueKind::Choice || field.options.is_empty() {
                continue;
            }
            let refused = field.options.iter().filter(|(value, _)| {
                let Ok(value) = i32::try_from(*value) else { return false };
                let choice = Value::Choice(record::Choice { value, label: None });
                field.convert(&choice, self.spec.technical_values, &mut Vec::new()).is_err()
            });
            let refused = refused.count();
            if refused > 0 {
                self.warnings.push(Problem::new(
                    &slot.path,
                    ProblemKind::Doubtful,
                    format!("`{}` refuses {refused} of the options of `{}`", slot.to, slot.from),
                    "add a replacement for each of them, or records with these options become dead letters",
                ));
            }
        }
    }

    /// The position of a column among those that the source delivers.
    fn column(&mut self, column: &Column) -> usize {
        if let Some(known) = self.columns.iter().position(|known| known.name == column.name) {
            return known;
        }
        self.columns.push(SourceColumn { name: column.name.clone(), kind: column.kind });
        self.columns.len() - 1
    }

    fn source_column(&mut self, path: &str, name: &str) -> Option<&'s Column> {
        if name.is_empty() {
            return None;
        }
        let Some(column) = self.source.column(name) else {
            let message = format!("the table `{}` has no column `{name}`", self.source.name);
            self.problem(path, ProblemKind::UnknownColumn, message, nearest(name, self.source));
            return None;
        };
        if !column.convertible || column.kind == ValueKind::Null {
            let message = format!("`{name}` is of type {}, which cannot be converted", column.type_name);
            self.problem(path, ProblemKind::NotConvertible, message, "map another column");
            return None;
        }
        if !column.readable {
            let message = format!("`{name}` cannot be read");
            self.problem(path, ProblemKind::Unreadable, message, "give the application user the right to read it");
            return None;
        }
        Some(column)
    }

    fn attribute(&mut self, path: &str, name: &str) -> Option<&'s Column> {
        if name.is_empty() {
            return None;
        }
        let Some(column) = self.target.column(name) else {
            let message = format!("the resource `{}` has no attribute `{name}`", self.target.name);
            self.problem(path, ProblemKind::UnknownAttribute, message, nearest(name, self.target));
            return None;
        };
        if !column.convertible {
            let message = format!("`{name}` is of type {}, which takes no value", column.type_name);
            self.problem(path, ProblemKind::NotConvertible, message, "map onto another attribute");
            return None;
        }
        if !column.writable {
            let message = format!("`{name}` is read-only");
            self.problem(path, ProblemKind::ReadOnly, message, "map onto another attribute");
            return None;
        }
        Some(column)
    }

    /// An attribute that is a link itself.
    fn link(&mut self, path: &str, name: &str) -> Option<&'s Column> {
        if name.is_empty() {
            return None;
        }
        let Some(found) = self.target.column(name) else {
            let message = format!("the resource `{}` has no link `{name}`", self.target.name);
            self.problem(path, ProblemKind::UnknownAttribute, message, nearest(name, self.target));
            return None;
        };
        if &*found.type_name == "link" {
            return Some(found);
        }
        let message = format!("`{name}` is of type {}, no link", found.type_name);
        self.problem(path, ProblemKind::NotConvertible, message, "name the link, or write the key: mode = \"key\"");
        None
    }

    fn target_of(&mut self, path: &str, source: &Column, attribute: &Column) -> Option<Target> {
        let target = Target::of(attribute).filter(|target| target.accepts(source.kind));
        if target.is_none() {
            let message = format!(
                "`{}` ({}) cannot become `{}` ({})",
                source.name, source.type_name, attribute.name, attribute.type_name
            );
            self.problem(path, ProblemKind::NotConvertible, message, "map onto an attribute of a matching type");
        }
        target
    }
}

fn slot(path: String, source: &Column, attribute: &Column, field: Field) -> Slot {
    Slot {
        path,
        from: source.name.clone(),
        to: attribute.name.clone(),
        place: Place::of(attribute.name.as_str()),
        role: Role::Field(Box::new(field)),
    }
}

impl Plan {
    /// What decides about an update body besides its content. The filter is no part of it: a record that a new filter
    /// lets through as before is unchanged.
    fn shape_hash(&self) -> u64 {
        let mut text = format!("{}\u{0}{}", self.resource, self.key_attribute);
        for slot in &self.slots {
            if let Role::Field(field) = &slot.role {
                text.push_str(&format!("\u{0}{}\u{0}{}", slot.to, field.apply_updates));
            }
        }
        xxh3_64(text.as_bytes())
    }

    fn meaning_hash(&self, spec: &TableSpec) -> u64 {
        let mut spec = spec.clone();
        spec.key = self.key_attribute.to_string();
        for field in &mut spec.fields {
            field.to = wire_name(&field.to).into_owned();
        }
        spec.fields.sort_by(|one, other| one.to.cmp(&other.to));
        spec.links.sort_by(|one, other| one.to.cmp(&other.to));
        // Among the replacements of one column the first match counts, hence a stable sort.
        spec.replacements.sort_by(|one, other| one.field.cmp(&other.field));
        spec.filter.rules.sort_by_cached_key(|rule| serde_json::to_string(rule).unwrap_or_default());
        if spec.filter.rules.len() < 2 {
            spec.filter.operator = Operator::And;
        }
        // Serialising plain data into memory cannot fail.
        let mut text = serde_json::to_string(&spec).unwrap_or_default();
        text.push_str(&format!("\u{0}{:?}", self.key_max));
        for slot in &self.slots {
            if let Role::Field(field) = &slot.role {
                let kind = self.columns.get(field.column).map(|column| column.kind);
                text.push_str(&format!("\u{0}{kind:?}\u{0}{:?}\u{0}{:?}", field.target, field.options));
            }
            if let Role::OptOut(_) = &slot.role {
                text.push_str(&format!("\u{0}opt-out\u{0}{}\u{0}{}", slot.from, slot.to));
            }
        }
        xxh3_64(text.as_bytes())
    }
}

/// The name that was probably meant.
fn nearest(name: &str, schema: &TableSchema) -> String {
    let wanted = lower(name);
    let candidates =
        schema.columns.iter().map(|column| (distance(&wanted, &lower(column.name.as_str())), &column.name));
    match candidates.min_by_key(|(distance, _)| *distance) {
        Some((distance, found)) if distance <= 1 + name.len() / 4 => format!("did you mean `{found}`?"),
        _ => "check the name against the schema; names are logical names, not labels".to_owned(),
    }
}

/// The number of characters to change, add or remove.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, left) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, right) in other.iter().enumerate() {
            let cost = diagonal + usize::from(left != *right);
            diagonal = row[j + 1];
            row[j + 1] = cost.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}
