//! Opt-out attributes of Campaign profiles: their names, and who may write them.

use std::borrow::Cow;

use crate::{Problem, ProblemKind, TableSpec};

/// The attribute's name on the wire: `denyList*` and `blockList*` are names of the documentation for `blackList*`
/// (experienceleague.adobe.com, "Profile data model").
pub fn wire_name(attribute: &str) -> Cow<'_, str> {
    for alias in ["denyList", "blockList"] {
        if let Some(rest) = attribute.strip_prefix(alias)
            && CHANNELS.contains(&rest)
        {
            return Cow::Owned(format!("blackList{rest}"));
        }
    }
    Cow::Borrowed(attribute)
}

/// Whether an attribute says that a person must not be contacted or sold; an empty source value never clears it.
pub fn is_opt_out(attribute: &str) -> bool {
    let wire = wire_name(attribute);
    wire == "ccpaOptOut" || wire.strip_prefix("blackList").is_some_and(|rest| CHANNELS.contains(&rest))
}

const CHANNELS: [&str; 7] = ["", "Email", "Fax", "Mobile", "Phone", "PostalMail", "Pushnotification"];

/// The opt-out attributes that a mapping onto profiles writes although an opt-out workflow owns them.
///
/// `owned` names the Campaign attributes of the workflow's pairs, by any of their names. Only tables whose resource is
/// `profile` are looked at, for only profiles have these attributes.
pub fn opt_out_conflicts<'a>(tables: &[TableSpec], owned: impl IntoIterator<Item = &'a str>) -> Vec<Problem> {
    let owned: Vec<_> = owned.into_iter().map(wire_name).collect();
    let mut problems = Vec::new();
    for (t, table) in tables.iter().enumerate().filter(|(_, table)| table.resource == "profile") {
        for (f, field) in table.fields.iter().enumerate() {
            if owned.contains(&wire_name(&field.to)) {
                problems.push(Problem::new(
                    format!("table[{t}].fields[{f}].to"),
                    ProblemKind::OptOutConflict,
                    format!("`{}` is written by the opt-out workflow as well", field.to),
                    "remove it from the fields or from the opt-out pairs",
                ));
            }
        }
    }
    problems
}
