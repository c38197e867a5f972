//! What the application user may do (learn.microsoft.com, "Security roles and privileges",
//! "RetrieveUserPrivilegeByPrivilegeName Function"): everything, but for the privileges that a scenario takes away.

use http::header::IF_MATCH;
use http::{HeaderMap, Method};
use serde_json::{Value, json};

use super::builtin;
use super::definitions::metadata_id;
use super::error::{Refusal, refusal};
use super::multiple::NAMESPACE;
use super::read::Answer;
use super::row::{guid, parse_guid};
use super::schema::{Schema, Table};

const KINDS: [&str; 8] = ["Create", "Read", "Write", "Delete", "Assign", "Share", "Append", "AppendTo"];

const FUNCTION: &str = "RetrieveUserPrivilegeByPrivilegeName";

fn name(kind: &str, table: &Table) -> String {
    format!("prv{kind}{}", table.schema_name)
}

/// The privileges of a table, as its definition lists them.
pub(super) fn of_table(table: &Table) -> Vec<Value> {
    let shown = |kind: &str| {
        let name = name(kind, table);
        json!({
            "CanBeBasic": true, "CanBeDeep": true, "CanBeGlobal": true, "CanBeLocal": true, "CanBeEntityReference": false,
            "CanBeParentEntityReference": false, "Name": name, "PrivilegeId": metadata_id(&name), "PrivilegeType": kind,
        })
    };
    KINDS.map(shown).to_vec()
}

fn is_held(missing: &[String], name: &str) -> bool {
    !missing.iter().any(|missing| missing.eq_ignore_ascii_case(name))
}

/// Whether a path asks what a user may do; both segments are decoded.
pub(super) fn is_asked(path: &[String]) -> bool {
    matches!(path, [user, function] if user.starts_with("systemusers(")
        && function.strip_prefix(NAMESPACE).is_some_and(|function| function.starts_with(FUNCTION)))
}

/// Answers whether the user holds a privilege: with it, or with nothing.
pub(super) fn answer(schema: &Schema, missing: &[String], base: &str, path: &[String]) -> Result<Answer, Refusal> {
    let inner = |segment: &String| Some(segment.split_once('(')?.1.strip_suffix(')')?.to_owned());
    let user = path.first().and_then(inner).as_deref().and_then(parse_guid).unwrap_or_default();
    if user != builtin::USER {
        return Err(Refusal::no_such_row("systemuser", user));
    }
    let parameter = path.get(1).and_then(inner).unwrap_or_default();
    let wanted = parameter.strip_prefix("PrivilegeName=").unwrap_or_default().trim_matches('\'');
    let mut all = schema.tables.iter().flat_map(|table| KINDS.map(|kind| name(kind, table)));
    let Some(known) = all.find(|known| known.eq_ignore_ascii_case(wanted)) else {
        // Unconfirmed: what the service says of a name that it does not know.
        return Err(refusal(404, "0x80040217", format!("privilege With Name = {wanted} Does Not Exist")));
    };
    let held = json!({
        "Depth": "Global", "PrivilegeId": metadata_id(&known), "BusinessUnitId": guid(builtin::BUSINESS_UNIT),
        "PrivilegeName": known,
    });
    let context = format!("{base}$metadata#{NAMESPACE}{FUNCTION}Response");
    let held: Vec<Value> = is_held(missing, &known).then_some(held).into_iter().collect();
    let body = json!({"@odata.context": context, "RolePrivileges": held}).to_string().into_bytes();
    Ok(Answer { status: 200, body, ..Answer::default() })
}

/// Refuses what the user may not do with the rows of a table; `rest` is what stands behind the set in the path.
pub(super) fn check(
    missing: &[String],
    table: &Table,
    one: bool,
    rest: &[&str],
    method: &Method,
    headers: &HeaderMap,
) -> Result<(), Refusal> {
    let action = rest.first().and_then(|segment| segment.strip_prefix(NAMESPACE));
    let needed: &[&str] = match (one, action, method) {
        (_, _, &Method::GET) => &["Read"],
        (false, None | Some("CreateMultiple"), &Method::POST) => &["Create"],
        (false, Some("UpsertMultiple"), &Method::POST) => &["Create", "Write"],
        (_, _, &Method::DELETE) if rest.is_empty() => &["Delete"],
        (true, _, &Method::PATCH) if !headers.contains_key(IF_MATCH) => &["Create", "Write"],
        _ => &["Write"],
    };
    let lacks = needed.iter().map(|kind| name(kind, table)).find(|name| !is_held(missing, name));
    match lacks {
        None => Ok(()),
        Some(name) => Err(refusal(
            403,
            "0x80040220",
            format!(
                "Principal user (Id={}, type=8, roleCount=1, privilegeCount=1, accessMode=4) is missing {name} privilege (Id={}) on \
                 OTC={} for entity '{}'.",
                guid(builtin::USER),
                metadata_id(&name),
                table.type_code,
                table.name
            ),
        )),
    }
}
