//! What a preview shows.

use std::fmt;

use mapping::{Emptied, Explanation, FieldStep, Operator, RuleStep, TableSpec};
use record::Key;
use serde::Serialize;
use sync_core::Acceptance;
use sync_core::traits::{DraftBody, Effect, RecordLife, Rejection};

use crate::explain::{EntryView, RecordRef, listed};

/// One record on its way to Campaign. **It contains the record's values**: `Debug` shows none of them, `Display` and the
/// serialised form do.
#[derive(Clone, Serialize)]
pub struct Preview {
    /// The Dynamics 365 table.
    pub table: String,
    /// The Campaign resource.
    pub resource: String,
    /// The record's id.
    pub record: String,
    /// The Campaign attribute that holds it.
    pub key: String,
    /// Whether Dynamics 365 has the record.
    pub found: bool,
    /// Its row version.
    pub version: Option<i64>,
    /// How the filter's rules are joined: `and` or `or`.
    pub operator: &'static str,
    /// Each rule of the filter, in the order of the configuration.
    pub rules: Vec<RuleView>,
    /// Each field and link, in the order of the body.
    pub fields: Vec<FieldView>,
    /// What comes of it.
    pub outcome: OutcomeView,
    /// What is on its way already and is written first, as it was read then.
    pub before: Vec<EntryView>,
    /// The records that have to be in Campaign before it.
    pub waits_for: Vec<RecordRef>,
    /// What is sent to Campaign, in order. A GET finds the row to write where a filter has to; it was sent indeed.
    pub requests: Vec<RequestView>,
}

/// One rule of the filter.
#[derive(Clone, Serialize)]
pub struct RuleView {
    /// Its place in the configuration, below the table.
    pub place: String,
    /// The column.
    pub field: String,
    /// The comparison.
    pub compare: &'static str,
    /// What the value is compared with, as JSON; texts in lower case.
    pub with: Vec<String>,
    /// The record's value, as JSON.
    pub value: String,
    /// Whether it holds.
    pub holds: bool,
}

/// One field or link.
#[derive(Clone, Serialize)]
pub struct FieldView {
    /// Its place in the configuration, below the table.
    pub place: String,
    /// The column.
    pub from: String,
    /// The attribute.
    pub to: String,
    /// The record's value, as JSON.
    pub value: String,
    /// The text that stands for it: of a choice its label or number. `None` for nothing.
    pub selected: Option<String>,
    /// The replacement that applied, by its place.
    pub replacement: Option<String>,
    /// What the null policy does, where the value stands for nothing: `kept` or `cleared`.
    pub empty: Option<&'static str>,
    /// What is written, as JSON; `None` for nothing.
    pub written: Option<String>,
    /// Why it cannot be converted.
    pub refused: Option<String>,
    /// Whether a new row gets it.
    pub in_insert: bool,
    /// Whether a change of a row has it.
    pub in_update: bool,
    /// The record that a link refers to.
    pub parent: Option<RecordRef>,
}

/// What comes of a record.
#[derive(Clone, Serialize)]
pub struct OutcomeView {
    /// `inserted`, `updated`, `deleted`, `unchanged`, `filtered`, `ignored`, `superseded` or `dead`: the words of a run's
    /// summary.
    pub outcome: &'static str,
    /// Why.
    pub why: String,
}

/// A request.
#[derive(Clone, Serialize)]
pub struct RequestView {
    /// The method.
    pub method: String,
    /// The path as it travels, with the query.
    pub path: String,
    /// The body as it travels.
    pub body: Option<String>,
}

macro_rules! opaque {
    ($($name:ident),*) => {$(
        /// Shows nothing of the content, which is personal data.
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }
    )*};
}
opaque!(Preview, RuleView, FieldView, OutcomeView, RequestView);

/// What became known of one record.
pub(super) struct Findings {
    pub(super) found: bool,
    pub(super) version: Option<i64>,
    pub(super) explanation: Explanation,
    pub(super) outcome: OutcomeView,
    pub(super) before: Vec<EntryView>,
    pub(super) waits_for: Vec<RecordRef>,
    pub(super) requests: Vec<RequestView>,
}

impl Preview {
    pub(super) fn of(spec: &TableSpec, key: &Key, findings: Findings) -> Self {
        let Findings { found, version, explanation, outcome, before, waits_for, requests } = findings;
        Self {
            table: spec.table.clone(),
            resource: spec.resource.clone(),
            record: key.to_text(),
            key: spec.key.clone(),
            found,
            version,
            operator: match explanation.operator {
                Operator::And => "and",
                Operator::Or => "or",
            },
            rules: explanation.rules.into_iter().map(RuleView::of).collect(),
            fields: explanation.fields.into_iter().map(FieldView::of).collect(),
            outcome,
            before,
            waits_for,
            requests,
        }
    }
}

impl RuleView {
    fn of(step: RuleStep) -> Self {
        let RuleStep { path, field, compare, with, value, holds } = step;
        Self { place: path, field, compare: compare.as_str(), with, value, holds }
    }
}

impl FieldView {
    fn of(step: FieldStep) -> Self {
        let (written, refused) = match step.written {
            Ok(written) => (written, None),
            Err(rejection) => (None, Some(rejection.explanation)),
        };
        Self {
            place: step.path,
            from: step.from,
            to: step.to,
            value: step.source,
            selected: step.selected,
            replacement: step.replacement,
            empty: step.empty.map(|empty| match empty {
                Emptied::Kept => "kept",
                Emptied::Cleared => "cleared",
            }),
            written,
            refused,
            in_insert: step.in_insert,
            in_update: step.in_update,
            parent: step.parent.map(|at| RecordRef { table: at.table.to_string(), record: at.key.to_text() }),
        }
    }
}

impl OutcomeView {
    fn new(outcome: &'static str, why: impl Into<String>) -> Self {
        Self { outcome, why: why.into() }
    }

    pub(super) fn dead(rejection: &Rejection) -> Self {
        let field = rejection.field.as_ref().map(|field| format!(" in {field}")).unwrap_or_default();
        Self::new("dead", format!("it becomes a dead letter: {}{field}: {}", rejection.code, rejection.explanation))
    }

    pub(super) fn written(effect: Effect) -> Self {
        match effect {
            Effect::Inserted => Self::new("inserted", "it is not in Campaign, as far as the store knows"),
            Effect::Updated => Self::new("updated", "it is in Campaign and differs from what was written last"),
            Effect::Deleted => Self::new("deleted", "it is in Campaign and does not belong there any more"),
            Effect::Unchanged => Self::new("unchanged", "it equals what was written last"),
            Effect::Ignored => Self::new("ignored", "it is to be deleted, and Campaign has it no more"),
        }
    }

    /// Nothing is written for it.
    pub(super) fn nothing(body: &DraftBody, acceptance: Acceptance, life: &RecordLife) -> Self {
        let there = life.index.is_some_and(|row| row.bound);
        let stays = if there { "; its row in Campaign stays" } else { "; it is not in Campaign" };
        match (body, acceptance) {
            (_, Acceptance::Stale) => Self::new("superseded", "the store knows a newer state of it"),
            (DraftBody::Upsert { .. }, _) => Self::new("unchanged", "it equals what was written last"),
            (DraftBody::Filtered | DraftBody::DeleteFiltered, _) => {
                Self::new("filtered", format!("the filter does not let it through{stays}"))
            }
            (DraftBody::Ignored, _) => {
                Self::new("ignored", format!("it is gone, and deletes of this table are not applied{stays}"))
            }
            _ => Self::new("ignored", "it is gone, and was never written"),
        }
    }
}

impl fmt::Display for RuleView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let holds = if self.holds { "holds" } else { "does not hold" };
        write!(f, "{}  {} {}", self.place, self.field, self.compare)?;
        if !self.with.is_empty() {
            write!(f, " {}", self.with.join(", "))?;
        }
        write!(f, ": {} {holds}", self.value)
    }
}

impl fmt::Display for FieldView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}  {} -> {}: {}", self.place, self.from, self.to, self.value)?;
        if let Some(selected) = &self.selected {
            write!(f, " is {selected}")?;
        }
        if let Some(replacement) = &self.replacement {
            write!(f, ", replaced by {replacement}")?;
        }
        match self.empty {
            Some("kept") => write!(f, ", nothing, which leaves the attribute as it is")?,
            Some(_) => write!(f, ", nothing, which an update clears")?,
            None => {}
        }
        if let Some(parent) = &self.parent {
            write!(f, ", refers to {} {}", parent.table, parent.record)?;
        }
        match (&self.written, &self.refused) {
            (_, Some(refused)) => write!(f, "; refused: {refused}"),
            (Some(written), None) => {
                let kinds = match (self.in_insert, self.in_update) {
                    (true, true) => "insert and update",
                    (true, false) => "insert only",
                    (false, true) => "update only",
                    (false, false) => "neither insert nor update",
                };
                write!(f, "; written as {written} ({kinds})")
            }
            (None, None) if self.in_insert => write!(f, "; a new row gets it, and no update has it"),
            (None, None) => write!(f, "; not written"),
        }
    }
}

impl fmt::Display for RequestView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.path)?;
        match &self.body {
            Some(body) => write!(f, "\n    {body}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Preview {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} {} -> {}, key {}", self.table, self.record, self.resource, self.key)?;
        match self.version {
            _ if !self.found => writeln!(f, "  Dynamics 365 has it no more")?,
            Some(version) => writeln!(f, "  read from Dynamics 365, row version {version}")?,
            None => writeln!(f, "  read from Dynamics 365")?,
        }
        if !self.rules.is_empty() {
            writeln!(f, "  filter ({}):", self.operator)?;
        }
        for rule in &self.rules {
            writeln!(f, "    {rule}")?;
        }
        if !self.fields.is_empty() {
            writeln!(f, "  fields:")?;
        }
        for field in &self.fields {
            writeln!(f, "    {field}")?;
        }
        for entry in &self.before {
            writeln!(f, "  first, as it was read then: {entry}")?;
        }
        if !self.waits_for.is_empty() {
            writeln!(f, "  waits for {}", listed(&self.waits_for))?;
        }
        write!(f, "  {}: {}", self.outcome.outcome, self.outcome.why)?;
        for request in &self.requests {
            write!(f, "\n  {request}")?;
        }
        Ok(())
    }
}
