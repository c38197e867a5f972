//! The compiled mapping: the hot path from a change to its bodies.

use record::schema::Column;
use record::{Change, ChangeBody, FieldName, Key, Record, TableName, Value};
use xxhash_rust::xxh3::Xxh3;

use crate::body::{Body, Place, string};
use crate::comparison::same;
use crate::convert::{Misfit, Options, Selected, Target, label, select};
use crate::decision::code;
use crate::filter::Filter;
use crate::{Decision, KeyFilterSpec, Mode, NullPolicy, Parent, Problem, Rejection, SourceColumn, Write};

/// A mapping compiled against the schemas of both sides. Immutable, cheap to share behind an `Arc`, and pure.
#[derive(Debug, Clone)]
pub struct Plan {
    pub(crate) table: TableName,
    pub(crate) resource: TableName,
    pub(crate) key_column: FieldName,
    pub(crate) key_attribute: FieldName,
    pub(crate) key_max: Option<u32>,
    pub(crate) key_filter: Option<KeyFilterSpec>,
    pub(crate) apply_deletes: bool,
    pub(crate) technical: bool,
    pub(crate) columns: Vec<SourceColumn>,
    /// The opt-out attributes that the target takes: the name on the wire, and the target's name.
    pub(crate) opt_out_names: Vec<(String, FieldName)>,
    /// Sorted by target path; the key is one of them.
    pub(crate) slots: Vec<Slot>,
    pub(crate) filter: Filter,
    pub(crate) parents: Vec<TableName>,
    pub(crate) warnings: Vec<Problem>,
    pub(crate) fingerprint: u64,
    /// Enters every digest: what decides about an update body besides its content.
    pub(crate) shape: u64,
}

/// One target attribute.
#[derive(Debug, Clone)]
pub(crate) struct Slot {
    pub(crate) path: String,
    pub(crate) from: FieldName,
    pub(crate) to: FieldName,
    pub(crate) place: Place,
    pub(crate) role: Role,
}

#[derive(Debug, Clone)]
pub(crate) enum Role {
    Key,
    Field(Box<Field>),
    /// An attribute of the opt-out workflow, whose column is at this position: a create carries it where the column is TRUE, and
    /// nothing else does.
    OptOut(usize),
}

#[derive(Debug, Clone)]
pub(crate) struct Field {
    /// Position in the plan's source columns.
    pub(crate) column: usize,
    pub(crate) target: Target,
    pub(crate) options: Options,
    pub(crate) apply_updates: bool,
    /// Whether nothing is sent for an empty value: by policy, or because it is an opt-out.
    pub(crate) keep_on_null: bool,
    pub(crate) null: NullPolicy,
    pub(crate) replacements: Vec<Replacement>,
    pub(crate) parent: Option<TableName>,
}

#[derive(Debug, Clone)]
pub(crate) struct Replacement {
    pub(crate) path: String,
    pub(crate) matcher: Matcher,
    /// The replaced value as JSON text of the target; `None` when it stands for nothing.
    pub(crate) encoded: Option<Vec<u8>>,
}

#[derive(Debug, Clone)]
pub(crate) enum Matcher {
    Value(Value),
    Label(String),
}

/// What an attribute becomes.
pub(crate) enum Outcome<'a> {
    Nothing,
    Replaced(&'a [u8]),
    Encoded,
}

impl Field {
    /// Runs one value through selection, replacement and conversion; what is converted is appended to `out`.
    pub(crate) fn convert<'a>(
        &'a self,
        value: &Value,
        technical: bool,
        out: &mut Vec<u8>,
    ) -> Result<Outcome<'a>, Misfit> {
        if value.is_null() {
            return Ok(Outcome::Nothing);
        }
        if let Some(replacement) =
            self.replacements.iter().find(|replacement| replacement.matches(value, &self.options))
        {
            return Ok(replacement.encoded.as_deref().map_or(Outcome::Nothing, Outcome::Replaced));
        }
        let selected = select(value, technical, &self.options)?;
        if is_nothing(&selected, &self.target) {
            return Ok(Outcome::Nothing);
        }
        self.target.encode(&selected, out)?;
        Ok(Outcome::Encoded)
    }
}

/// Whether a value stands for nothing: an empty text does wherever the target is no text.
pub(crate) fn is_nothing(selected: &Selected<'_>, target: &Target) -> bool {
    match selected {
        Selected::Nothing => true,
        Selected::Text(text) => text.is_empty() && !matches!(target, Target::Text { .. }),
        _ => false,
    }
}

impl Replacement {
    pub(crate) fn matches(&self, value: &Value, options: &Options) -> bool {
        match (&self.matcher, value) {
            (Matcher::Value(wanted), value) => same(wanted, value),
            (Matcher::Label(wanted), Value::Choice(choice)) => {
                label(choice, options).is_ok_and(|label| label == wanted)
            }
            (Matcher::Label(_), _) => false,
        }
    }
}

impl Plan {
    /// The source table.
    pub fn table(&self) -> &TableName {
        &self.table
    }

    /// The target resource.
    pub fn resource(&self) -> &TableName {
        &self.resource
    }

    /// The source's primary key column.
    pub fn key_column(&self) -> &FieldName {
        &self.key_column
    }

    /// The target attribute that holds the key.
    pub fn key_attribute(&self) -> &FieldName {
        &self.key_attribute
    }

    /// How rows are found where the resource cannot be addressed by its key.
    pub fn key_filter(&self) -> Option<&KeyFilterSpec> {
        self.key_filter.as_ref()
    }

    /// What the source has to deliver: the key, then every mapped column, then columns that only the filter or the opt-out pairs
    /// need.
    pub fn source_columns(&self) -> &[SourceColumn] {
        &self.columns
    }

    /// The source tables whose records have to be written before records of this one.
    pub fn parents(&self) -> &[TableName] {
        &self.parents
    }

    /// What is allowed but probably not meant; paths are relative to the table section.
    pub fn warnings(&self) -> &[Problem] {
        &self.warnings
    }

    /// Changes when the meaning of the mapping changes: its fields, its rules, or the parts of the schemas it rests on.
    /// The order in which fields, replacements and rules are written has no meaning.
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// Decides what a change means for the target.
    ///
    /// # Errors
    /// A [`Rejection`] when the record cannot be mapped; other records are not affected.
    pub fn decide(&self, change: &Change, mode: Mode) -> Result<Decision, Rejection> {
        let record = match &change.body {
            ChangeBody::Delete => return Ok(Decision::Delete { apply: self.apply_deletes }),
            ChangeBody::Unreadable { field, error } => return Err(self.unreadable(field, error)),
            ChangeBody::Upsert(record) => record,
        };
        let key_value = key_value(&change.key);
        let values = self.values(record, &key_value)?;
        if !self.filter.passes(|column| values.get(column).copied().unwrap_or(&Value::Null)) {
            return Ok(Decision::FilteredOut { delete: self.filter.delete_filtered_out });
        }
        self.write(&change.key, &values, mode).map(Decision::Write)
    }

    /// The records of other tables that have to be at the target before this one: those of [`Write::parents`], without the rest.
    pub fn parents_of(&self, change: &Change) -> Vec<Parent> {
        let ChangeBody::Upsert(record) = &change.body else { return Vec::new() };
        let links = self.slots.iter().filter_map(|slot| match &slot.role {
            Role::Field(field) => field.parent.as_ref().map(|parent| (field.column, parent)),
            Role::Key | Role::OptOut(_) => None,
        });
        let value = |at: usize| record.get_near(at, self.columns.get(at)?.name.as_str());
        links.filter_map(|(column, parent)| parent_of(value(column)?, parent)).collect()
    }

    fn write(&self, key: &Key, values: &[&Value], mode: Mode) -> Result<Write, Rejection> {
        let key_text = self.key_text(key)?;
        let room = 64 + self.slots.len() * 40;
        let mut insert = Body::with_capacity(room);
        let mut update = Body::with_capacity(room);
        // A replay writes more than a live change, but the digest has to be the one that the next live change will have.
        let mut full = (mode == Mode::Replay).then(|| Body::with_capacity(room));
        let mut impossible = None;
        let mut parents = Vec::new();
        let mut scratch = Vec::with_capacity(64);
        for slot in &self.slots {
            scratch.clear();
            let field = match &slot.role {
                Role::Key => {
                    string(&mut scratch, &key_text);
                    insert.attribute(&slot.place, &scratch);
                    continue;
                }
                Role::OptOut(column) => {
                    // FALSE and nothing are what a new row has anyway, until the workflow has read both sides.
                    if values.get(*column) == Some(&&Value::Bool(true)) {
                        insert.attribute(&slot.place, b"true");
                    }
                    continue;
                }
                Role::Field(field) => field,
            };
            let value = values.get(field.column).copied().unwrap_or(&Value::Null);
            let outcome =
                field.convert(value, self.technical, &mut scratch).map_err(|misfit| slot.rejection(misfit))?;
            let written: &[u8] = match outcome {
                Outcome::Replaced(encoded) => encoded,
                Outcome::Encoded => &scratch,
                Outcome::Nothing if field.keep_on_null || (!field.apply_updates && full.is_none()) => continue,
                Outcome::Nothing => match field.target.nothing(&mut scratch) {
                    Ok(()) => &scratch,
                    Err(misfit) => {
                        impossible.get_or_insert_with(|| slot.rejection(misfit));
                        // Stands in the digest alone, which has to tell this state from others.
                        b"null"
                    }
                },
            };
            if !matches!(outcome, Outcome::Nothing) {
                insert.attribute(&slot.place, written);
            }
            if field.apply_updates {
                update.attribute(&slot.place, written);
            }
            if let Some(full) = &mut full {
                full.attribute(&slot.place, written);
            }
            if let Some(parent) = &field.parent {
                parents.extend(parent_of(value, parent));
            }
        }
        let live = update.finish();
        let digest = self.digest(&live);
        let update = impossible.map_or_else(|| Ok(full.map_or(live, Body::finish)), Err);
        Ok(Write { key_text, insert: insert.finish(), update, digest, parents })
    }

    fn digest(&self, live: &[u8]) -> [u8; 16] {
        let mut hash = Xxh3::with_seed(self.shape);
        hash.update(live);
        hash.digest128().to_be_bytes()
    }

    /// The key as it stands in the key attribute.
    ///
    /// # Errors
    /// When it is empty or longer than the attribute takes.
    pub fn key_text(&self, key: &Key) -> Result<String, Rejection> {
        let text = key.to_text();
        let limit = self.key_max.and_then(|max| usize::try_from(max).ok()).unwrap_or(usize::MAX);
        if text.is_empty() || (text.len() > limit && text.chars().count() > limit) {
            return Err(Rejection {
                code: code::UNSUITABLE_KEY,
                path: "key".to_owned(),
                field: Some(self.key_column.clone()),
                explanation: "the key is empty or longer than the key attribute takes".to_owned(),
            });
        }
        Ok(text)
    }

    /// The values of all source columns, in their order.
    pub(crate) fn values<'r>(&self, record: &'r Record, key: &'r Value) -> Result<Vec<&'r Value>, Rejection> {
        let mut values = Vec::with_capacity(self.columns.len());
        for (at, column) in self.columns.iter().enumerate() {
            match record.get_near(at, column.name.as_str()) {
                Some(value) => values.push(value),
                // The change carries the key beside the record.
                None if column.name == self.key_column => values.push(key),
                // Absent is not null: taking it for null would empty the target without a word.
                None => {
                    return Err(Rejection {
                        code: code::MISSING_VALUE,
                        path: self.path_of(&column.name),
                        field: Some(column.name.clone()),
                        explanation: format!("the record arrived without the column `{}`", column.name),
                    });
                }
            }
        }
        Ok(values)
    }

    pub(crate) fn unreadable(&self, field: &FieldName, error: &record::ValueError) -> Rejection {
        Rejection {
            code: code::UNREADABLE_VALUE,
            path: self.path_of(field),
            field: Some(field.clone()),
            explanation: format!("the column `{field}` does not have the form of its type: {error}"),
        }
    }

    fn path_of(&self, column: &FieldName) -> String {
        let slot = self.slots.iter().find(|slot| slot.from == *column);
        let rule = || {
            let mut rules = self.filter.rules.iter();
            rules.find(|rule| self.columns.get(rule.column).is_some_and(|known| known.name == *column))
        };
        match slot {
            Some(slot) => slot.path.clone(),
            None => rule().map_or_else(|| "key".to_owned(), |rule| rule.path.clone()),
        }
    }
}

impl Slot {
    pub(crate) fn rejection(&self, misfit: Misfit) -> Rejection {
        Rejection {
            code: misfit.code,
            path: self.path.clone(),
            field: Some(self.from.clone()),
            explanation: format!("`{}` -> `{}`: {}", self.from, self.to, misfit.explanation),
        }
    }
}

/// The key as a value, for mappings that send the key column to a further attribute.
pub(crate) fn key_value(key: &Key) -> Value {
    match key {
        Key::Guid(guid) => Value::Guid(*guid),
        Key::Text(text) => Value::Text(text.clone()),
    }
}

/// The record that a link refers to. A polymorphic lookup that points at another table waits for nobody.
pub(crate) fn parent_of(value: &Value, table: &TableName) -> Option<Parent> {
    let id = match value {
        Value::Guid(id) => *id,
        Value::Reference(reference) if reference.table.as_ref().is_none_or(|known| known == table) => reference.id,
        _ => return None,
    };
    Some(Parent { table: table.clone(), key: Key::Guid(id) })
}

impl Field {
    pub(crate) fn new(column: usize, source: &Column, target: Target) -> Self {
        Self {
            column,
            target,
            options: Options::of(source),
            apply_updates: true,
            keep_on_null: false,
            null: NullPolicy::Clear,
            replacements: Vec::new(),
            parent: None,
        }
    }
}
