//! Single-valued navigation: the row that a lookup leads to, and the reference to it.

use http::HeaderMap;
use serde_json::json;

use super::error::Refusal;
use super::path::RowKey;
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
