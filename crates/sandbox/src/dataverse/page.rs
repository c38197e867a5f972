//! Rows as JSON, written straight into a buffer.

use super::query::Prefer;
use super::row::{self, Row};
use super::schema::{Column, Kind, Place, Table};
use super::store::{Mask, Store, mark};

const FORMATTED: &str = "OData.Community.Display.V1.FormattedValue";
const LOGICAL_NAME: &str = "Microsoft.Dynamics.CRM.lookuplogicalname";
const NAVIGATION: &str = "Microsoft.Dynamics.CRM.associatednavigationproperty";

/// Writes rows of one shape.
pub(super) struct Writer<'a> {
    table: &'a Table,
    store: &'a Store,
    columns: Vec<usize>,
    /// `"name":` of each column.
    names: Vec<Vec<u8>>,
    formatted: bool,
    logical_name: bool,
    navigation: bool,
    pub(super) etag: bool,
}

impl<'a> Writer<'a> {
    /// For the selected columns, or all; the primary key is always there.
    pub(super) fn new(store: &'a Store, table: &'a Table, select: Option<&[usize]>, prefer: &Prefer) -> Self {
        let all = || (0..table.columns.len()).filter(|at| table.columns[*at].selectable()).collect();
        let mut columns: Vec<usize> = select.map_or_else(all, <[usize]>::to_vec);
        let money = columns.iter().any(|at| matches!(table.columns[*at].kind, Kind::Decimal { money: true, .. }));
        let any = |names: &[&str]| names.iter().any(|name| table.column(name).is_some_and(|at| columns.contains(&at)));
        // An amount of money brings its currency, a part of a composite the composite.
        let brought = [
            ("transactioncurrencyid", money),
            ("fullname", any(&["firstname", "middlename", "lastname"])),
            ("address1_composite", table.address.iter().any(|at| columns.contains(at))),
        ];
        let brought = brought.map(|(name, brought)| table.column(name).filter(|_| brought));
        for at in brought.into_iter().flatten() {
            if !columns.contains(&at) {
                columns.push(at);
            }
        }
        if !columns.contains(&0) {
            columns.push(0);
        }
        let name = |at: &usize| format!("\"{}\":", table.columns[*at].wire).into_bytes();
        Self {
            names: columns.iter().map(name).collect(),
            table,
            store,
            columns,
            formatted: prefer.wants(FORMATTED),
            logical_name: prefer.wants(LOGICAL_NAME),
            navigation: prefer.wants(NAVIGATION),
            etag: true,
        }
    }

    /// The columns that are written; a composite stands for its parts.
    pub(super) fn columns(&self) -> Mask {
        let mut mask = Mask::default();
        for at in &self.columns {
            match self.table.columns[*at].place {
                Place::Stored => mark(&mut mask, *at),
                Place::SameAs(other) => mark(&mut mask, other),
                Place::Composite => {
                    self.table.address.iter().for_each(|at| mark(&mut mask, *at));
                }
            }
        }
        mask
    }

    /// Whether writing a row reads other rows: no table's lock may be held then, since two of them at once, taken in different
    /// orders by different requests, stop both for good.
    pub(super) fn reads_others(&self) -> bool {
        self.formatted
    }

    /// Writes a row's object; `opening` is put behind its first brace.
    pub(super) fn write(&self, id: u128, row: &Row, cells: &[&[u8]], opening: &str, out: &mut Vec<u8>) {
        out.push(b'{');
        out.extend_from_slice(opening.as_bytes());
        if self.etag {
            out.extend_from_slice(b"\"@odata.etag\":\"W/\\\"");
            out.extend_from_slice(row.version.to_string().as_bytes());
            out.extend_from_slice(b"\\\"\",");
        }
        for (nth, (at, name)) in self.columns.iter().zip(&self.names).enumerate() {
            if nth > 0 {
                out.push(b',');
            }
            let column = &self.table.columns[*at];
            if self.formatted || self.logical_name || self.navigation {
                self.annotate(column, *at, cells, out);
            }
            out.extend_from_slice(name);
            value(self.table, *at, id, row.version, cells, out);
        }
        out.push(b'}');
    }

    fn annotate(&self, column: &Column, at: usize, cells: &[&[u8]], out: &mut Vec<u8>) {
        let cell = match column.place {
            Place::SameAs(other) => cells.get(other),
            _ => cells.get(at),
        };
        let Some(cell) = cell.filter(|cell| !row::is_null(column.kind, cell)) else { return };
        let mut put = |annotation: &str, text: &str| {
            out.extend_from_slice(format!("\"{}@{annotation}\":", column.wire).as_bytes());
            out.extend_from_slice(&serde_json::to_vec(text).unwrap_or_default());
            out.push(b',');
        };
        if let Some((id, target)) = row::reference(cell).filter(|_| column.kind == Kind::Lookup) {
            let Some(target) = column.targets.get(target) else { return };
            if let Some(name) = self.formatted.then(|| self.store.name_of(&target.table, id)).flatten() {
                put(FORMATTED, &name);
            }
            if self.navigation {
                put(NAVIGATION, &target.navigation);
            }
            if self.logical_name {
                put(LOGICAL_NAME, &target.table);
            }
        } else if self.formatted
            && let Some(text) = formatted(column, cell)
        {
            put(FORMATTED, &text);
        }
    }
}

/// A column's value in JSON.
pub(super) fn value(table: &Table, at: usize, id: u128, version: i64, cells: &[&[u8]], out: &mut Vec<u8>) {
    let Some(column) = table.columns.get(at) else { return };
    let place = match column.place {
        Place::Stored => at,
        Place::SameAs(other) => other,
        Place::Composite => {
            out.extend_from_slice(&composite(table, cells));
            return;
        }
    };
    let cell = cells.get(place).copied().unwrap_or(b"null");
    match column.kind {
        Kind::PrimaryKey => {
            out.push(b'"');
            row::write_guid(id, out);
            out.push(b'"');
        }
        Kind::Version => out.extend_from_slice(version.to_string().as_bytes()),
        Kind::Lookup => match row::reference(cell) {
            Some((id, _)) => {
                out.push(b'"');
                row::write_guid(id, out);
                out.push(b'"');
            }
            None => out.extend_from_slice(b"null"),
        },
        _ => out.extend_from_slice(cell),
    }
}

/// The cell of `address1_composite`.
pub(super) fn composite(table: &Table, cells: &[&[u8]]) -> Vec<u8> {
    let part = |at: &usize| row::text(cells.get(*at)?);
    let parts: Vec<String> = table.address.iter().filter_map(part).collect();
    row::text_cell(&parts.join("\r\n"))
}

/// What a person would read; `None` for texts, which are their own label.
fn formatted(column: &Column, cell: &[u8]) -> Option<String> {
    let raw = std::str::from_utf8(cell).ok()?;
    match column.kind {
        Kind::Picklist | Kind::State | Kind::Status => column.label_of(raw.parse().ok()?).map(str::to_owned),
        Kind::Boolean => Some(column.truth[usize::from(raw != "true")].to_owned()),
        Kind::MultiSelect => {
            let text = row::text(cell)?;
            let label = |part: &str| Some(column.label_of(part.parse().ok()?)?.to_owned());
            Some(text.split(',').filter_map(label).collect::<Vec<_>>().join("; "))
        }
        Kind::Decimal { money: true, .. } => Some(format!("${}", thousands(raw))),
        Kind::Decimal { .. } | Kind::Double { .. } | Kind::Integer { .. } => Some(thousands(raw)),
        Kind::DateOnly => {
            let day = chrono::NaiveDate::parse_from_str(&row::text(cell)?, "%Y-%m-%d").ok()?;
            Some(day.format("%-m/%-d/%Y").to_string())
        }
        Kind::DateTime { .. } => {
            let moment = chrono::DateTime::parse_from_rfc3339(&row::text(cell)?).ok()?;
            Some(moment.format("%-m/%-d/%Y %-I:%M %p").to_string())
        }
        _ => None,
    }
}

fn thousands(number: &str) -> String {
    let (sign, rest) = number.strip_prefix('-').map_or(("", number), |rest| ("-", rest));
    let (whole, fraction) = rest.split_once('.').map_or((rest, None), |(w, f)| (w, Some(f)));
    let mut grouped = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    let fraction = fraction.map_or_else(String::new, |f| format!(".{f}"));
    format!("{sign}{grouped}{fraction}")
}
