//! Opt-out attributes of Campaign profiles: their names, and who may write them.

use std::borrow::Cow;

use record::schema::TableSchema;

use crate::{Problem, ProblemKind, TableSpec};

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
