//! Single-valued navigation: the row that a lookup leads to, and the reference to it. The one user of the sandbox is a row too.

use http::HeaderMap;
use serde_json::{Map, Value, json};

use super::builtin;
use super::error::Refusal;
use super::path::RowKey;
use super::query::Options;
use super::read::{Answer, Reader};
use super::row;
use super::schema::Table;

impl Reader<'_> {
    /// `GET {set}({key})/{navigation}`; with `reference`, `GET {set}({key})/{navigation}/$ref`.
    pub(super) fn follow(
        &self,
        table: &Table,
        key: &RowKey,
        (navigation, reference): (&str, bool),
        query: &str,
        headers: &HeaderMap,
    ) -> Result<Answer, Refusal> {
        let (at, _) = table.navigation(navigation).ok_or_else(|| self.no_such_navigation(table, navigation))?;
        let column = &table.columns[at];
        let found = {
            let rows = self.store.read(table);
            let id = key.find(table, &rows).ok_or_else(|| key.missing(table))?;
            let row = rows.by_id.get(&id).ok_or_else(|| key.missing(table))?;
            row::reference(row.get(&table.columns, at))
        };
        let led = found.and_then(|(id, place)| Some((id, column.targets.get(place)?)));
        // A customer that is a contact is not there by way of the account.
        let Some((id, target)) = led.filter(|(_, target)| target.navigation == navigation) else {
            return Ok(Answer { status: 204, ..Answer::default() });
        };
        if reference {
            let body = json!({
                "@odata.context": format!("{}$metadata#$ref", self.base),
                "@odata.id": format!("{}{}({})", self.base, target.set, row::guid(id)),
            });
            return Ok(Answer { status: 200, body: body.to_string().into_bytes(), rows: 1, ..Answer::default() });
        }
        match self.store.schema.by_name(&target.table) {
            Some(other) => self.single(other, &RowKey::Id(id), query, headers),
            None if target.table == "systemuser" => system_user(self.base, id, None, query),
            None => Err(Refusal::not_imitated(&format!("the table {}", target.table))),
        }
    }

    /// What is no navigation property to one row: to many, which is not served, or nothing.
    pub(super) fn no_such_navigation(&self, table: &Table, name: &str) -> Refusal {
        let incoming = |other: &Table| {
            other.columns.iter().any(|column| {
                column.targets.iter().any(|target| {
                    target.table == table.name && name == format!("{}_{}_{}", table.name, other.name, column.name)
                })
            })
        };
        if self.store.schema.tables.iter().any(incoming) {
            return Refusal::not_imitated(&format!("collection-valued navigation such as {name}"));
        }
        if name.starts_with("Microsoft.Dynamics.CRM.") {
            return Refusal::not_imitated(&format!("the bound function or action {name}"));
        }
        Refusal::no_such_segment(name)
    }
}

/// `GET systemusers({id})`, for the user that `WhoAmI` names.
pub(super) fn system_user(base: &str, id: u128, property: Option<&str>, query: &str) -> Result<Answer, Refusal> {
    let options = Options::parse(query)?;
    options.only_for_one()?;
    options.refuse_unserved()?;
    if id != builtin::USER {
        return Err(Refusal::no_such_row("systemuser", id));
    }
    let Value::Object(mut all) = json!({
        "systemuserid": row::guid(id),
        "fullname": "Sandbox User",
        "firstname": "Sandbox",
        "lastname": "User",
        "domainname": "sandbox@contoso.example",
        "internalemailaddress": "sandbox@contoso.example",
        "isdisabled": false,
        "_businessunitid_value": row::guid(builtin::BUSINESS_UNIT),
        "versionnumber": 1000,
    }) else {
        return Err(Refusal::no_such_row("systemuser", id));
    };
    if let Some(property) = property {
        let value = all.get(property).ok_or_else(|| Refusal::no_such_segment(property))?;
        let context = format!("{base}$metadata#systemusers({})/{property}", row::guid(id));
        let body = json!({"@odata.context": context, "value": value});
        return Ok(Answer { status: 200, body: body.to_string().into_bytes(), rows: 1, ..Answer::default() });
    }
    let mut context = format!("{base}$metadata#systemusers");
    if let Some(select) = options.get("$select") {
        let names: Vec<&str> = select.split(',').map(str::trim).collect();
        if let Some(unknown) = names.iter().find(|name| !all.contains_key(**name)) {
            return Err(Refusal::no_such_column("systemuser", unknown));
        }
        all.retain(|name, _| name == "systemuserid" || names.contains(&name.as_str()));
        context.push_str(&format!("({select})"));
    }
    let mut body = Map::new();
    body.insert("@odata.context".to_owned(), format!("{context}/$entity").into());
    body.insert("@odata.etag".to_owned(), "W/\"1000\"".into());
    body.extend(all);
    Ok(Answer { status: 200, body: Value::Object(body).to_string().into_bytes(), rows: 1, ..Answer::default() })
}
