//! Opt-out attributes of Campaign profiles: their names, and who may write them.

use std::borrow::Cow;
use std::collections::BTreeMap;

use record::schema::{Column, TableSchema};
use record::{FieldName, ValueKind};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{Plan, Problem, ProblemKind, Rejection, TableSpec, code};

/// A pair of the opt-out workflow: two names of one opt-out. TRUE means opted out on both sides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OptOutPair {
    /// The boolean column of the contact.
    pub d365: String,
    /// The opt-out attribute of the profile, by any of its names.
    pub campaign: String,
}

/// The attribute's name on the wire: `denyList*` and `blockList*` are names of the documentation for `blackList*`
/// (experienceleague.adobe.com, "Profile data model").
pub fn wire_name(attribute: &str) -> Cow<'_, str> {
    for alias in PREFIXES {
        if let Some(rest) = attribute.strip_prefix(alias)
            && alias != "blackList"
            && CHANNELS.contains(&rest)
        {
            return Cow::Owned(format!("blackList{rest}"));
        }
    }
    Cow::Borrowed(attribute)
}

/// The name that a resource has for the attribute: which of the three names an instance publishes differs, and `blackList*` is
/// preferred where it publishes several. The name as it is written where the resource has none of them.
pub(crate) fn published_name<'a>(attribute: &'a str, schema: &TableSchema) -> Cow<'a, str> {
    let preferred = wire_name(attribute);
    let Some(channel) = preferred.strip_prefix("blackList").filter(|rest| CHANNELS.contains(rest)) else {
        return preferred;
    };
    let known = |name: &String| schema.column(name).is_some();
    let names = PREFIXES.map(|prefix| format!("{prefix}{channel}"));
    names.into_iter().find(known).map_or(Cow::Borrowed(attribute), Cow::Owned)
}

/// Whether an attribute says that a person must not be contacted or sold; an empty source value never clears it.
pub fn is_opt_out(attribute: &str) -> bool {
    let wire = wire_name(attribute);
    wire == "ccpaOptOut" || wire.strip_prefix("blackList").is_some_and(|rest| CHANNELS.contains(&rest))
}

/// In the order of preference.
const PREFIXES: [&str; 3] = ["blackList", "denyList", "blockList"];

const CHANNELS: [&str; 7] = ["", "Email", "Fax", "Mobile", "Phone", "PostalMail", "Pushnotification"];

/// The opt-out attributes that a mapping onto profiles writes although an opt-out workflow owns them.
///
/// `owned` names the Campaign attributes of the workflow's pairs, by any of their names. Only tables whose resource is
/// `profile` are looked at, for only profiles have these attributes.
pub fn opt_out_conflicts<'a>(tables: &[TableSpec], owned: impl IntoIterator<Item = &'a str>) -> Vec<Problem> {
    let owned: Vec<_> = owned.into_iter().map(wire_name).collect();
    let tables = tables.iter().enumerate().filter(|(_, table)| table.resource == PROFILE);
    let placed = |t: usize, problem: Problem| Problem { path: format!("table[{t}].{}", problem.path), ..problem };
    tables.flat_map(|(t, table)| conflicts(table, &owned).map(move |problem| placed(t, problem))).collect()
}

/// The conflicts of one table; paths are relative to it.
fn conflicts<'t>(table: &'t TableSpec, owned: &'t [Cow<'_, str>]) -> impl Iterator<Item = Problem> + 't {
    let fields = table.fields.iter().enumerate().filter(|(_, field)| owned.contains(&wire_name(&field.to)));
    fields.map(|(f, field)| {
        Problem::new(
            format!("fields[{f}].to"),
            ProblemKind::OptOutConflict,
            format!("`{}` is written by the opt-out workflow as well", field.to),
            "remove it from the fields or from the opt-out pairs",
        )
    })
}

/// Only profiles have opt-out attributes.
pub(crate) const PROFILE: &str = "profile";

/// Checks the pairs of the opt-out workflow: boolean columns of the contact, opt-out attributes of the profile, none of them twice.
/// Paths are relative to the section of the pairs (`pairs[0].d365`).
pub fn validate_pairs(pairs: &[OptOutPair], contact: &TableSchema, profile: &TableSchema) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (p, pair) in pairs.iter().enumerate() {
        let mut problem = |end: &str, kind, message: String, remedy: &str| {
            problems.push(Problem::new(format!("pairs[{p}].{end}"), kind, message, remedy));
        };
        let OptOutPair { d365, campaign } = pair;
        match contact.column(d365) {
            None => {
                let message = format!("the table `{}` has no column `{d365}`", contact.name);
                problem("d365", ProblemKind::UnknownColumn, message, "name a boolean column, such as donotemail");
            }
            Some(column) if column.kind != ValueKind::Bool => {
                let message = format!("`{d365}` is of type {}, an opt-out is a boolean", column.type_name);
                problem("d365", ProblemKind::NotConvertible, message, "name a boolean column, such as donotemail");
            }
            Some(Column { readable: false, .. }) => {
                let message = format!("`{d365}` cannot be read");
                problem("d365", ProblemKind::Unreadable, message, "give the application user the right to read it");
            }
            Some(_) => {}
        }
        if !is_opt_out(campaign) {
            let message = format!("`{campaign}` is no opt-out attribute");
            let remedy = "choose one of denyList, denyListEmail, denyListFax, denyListMobile, denyListPhone, \
                          denyListPostalMail, denyListPushnotification, ccpaOptOut";
            problem("campaign", ProblemKind::UnknownAttribute, message, remedy);
        } else {
            match profile.column(&published_name(campaign, profile)) {
                None => {
                    let message = format!("the resource `{}` has no attribute `{campaign}`", profile.name);
                    problem(
                        "campaign",
                        ProblemKind::UnknownAttribute,
                        message,
                        "choose an attribute that is published",
                    );
                }
                Some(column) if column.kind != ValueKind::Bool => {
                    let message = format!("`{campaign}` is of type {}, an opt-out is a boolean", column.type_name);
                    problem("campaign", ProblemKind::NotConvertible, message, "choose a boolean attribute");
                }
                Some(Column { writable: false, .. }) => {
                    let message = format!("`{campaign}` is read-only");
                    problem("campaign", ProblemKind::ReadOnly, message, "choose another attribute");
                }
                Some(_) => {}
            }
        }
        // One column for two attributes could not hold what both say.
        for (end, same) in [
            ("d365", (|one, other| one.d365 == other.d365) as fn(&OptOutPair, &OptOutPair) -> bool),
            ("campaign", |one, other| wire_name(&one.campaign) == wire_name(&other.campaign)),
        ] {
            if let Some(first) = pairs[..p].iter().position(|other| same(pair, other)) {
                let message = format!("pairs[{first}] has it already");
                problem(end, ProblemKind::DuplicateTarget, message, "remove one of the pairs");
            }
        }
    }
    problems
}

/// What is wrong with a table's fields beside the pairs.
pub(crate) fn owned_twice(table: &TableSpec, pairs: &[OptOutPair]) -> Vec<Problem> {
    let owned: Vec<_> = pairs.iter().map(|pair| wire_name(&pair.campaign)).collect();
    conflicts(table, &owned).collect()
}

/// Every opt-out attribute that can be written: its name on the wire, and the name that the resource has for it.
pub(crate) fn writable_names(profile: &TableSchema) -> Vec<(String, FieldName)> {
    let wire = CHANNELS.iter().map(|channel| format!("blackList{channel}")).chain(["ccpaOptOut".to_owned()]);
    let writable = |name: &str| {
        let column = profile.column(&published_name(name, profile))?;
        (column.writable && column.kind == ValueKind::Bool).then(|| column.name.clone())
    };
    wire.filter_map(|name| writable(&name).map(|published| (name, published))).collect()
}

impl Plan {
    /// A create's body with further opt-outs: each attribute is TRUE in it, whatever it was. Everything else stays as it is, to the
    /// character.
    ///
    /// `opted_out` are opt-out attributes by any of their names, as the ledger holds them of a record that was there before.
    ///
    /// # Errors
    /// [`code::UNKNOWN_OPT_OUT`] when the resource cannot hold one of them, or the body is no body of this plan. The record must then
    /// not be created: it would be contactable.
    pub fn with_opt_outs<'a>(
        &self,
        insert: &[u8],
        opted_out: impl IntoIterator<Item = &'a str>,
    ) -> Result<Vec<u8>, Rejection> {
        let rejection = |explanation: String| Rejection {
            code: code::UNKNOWN_OPT_OUT,
            path: "key".to_owned(),
            field: None,
            explanation,
        };
        let broken = || rejection("the body is not a JSON object".to_owned());
        // Values stay text: a decimal is not to lose digits on its way through a number.
        let mut body: BTreeMap<String, &RawValue> = serde_json::from_slice(insert).map_err(|_| broken())?;
        for attribute in opted_out {
            let wire = wire_name(attribute);
            let known = self.opt_out_names.iter().find(|(name, _)| *name == wire);
            let (_, published) = known.ok_or_else(|| {
                rejection(format!("the resource `{}` has no attribute `{wire}` that can be written", self.resource))
            })?;
            body.insert(published.to_string(), RawValue::TRUE);
        }
        serde_json::to_vec(&body).map_err(|_| broken())
    }
}
