//! Lists, single rows, counts.

use std::ops::Bound;
use std::sync::RwLockReadGuard;

use http::HeaderMap;

use super::cursor::{Cursor, Walk};
use super::error::{Refusal, refusal};
use super::filter::Filter;
use super::page::{Writer, value};
use super::path::RowKey;
use super::query::{Options, Prefer};
use super::row::{self, Row};
use super::scenario::DataverseSwitches;
use super::schema::Table;
use super::store::{Rows, Store};
use crate::faults::FaultKind;
use crate::injection::PendingFault;

/// No page holds more rows.
pub(super) const LARGEST_PAGE: usize = 5000;

/// The place before the first row, in the order of ids: nobody has the GUID of zeros.
pub(super) const BEFORE_ALL: u128 = 0;

/// An answer with a body, before headers.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) rows: u64,
    /// `text/plain` in place of JSON.
    pub(super) plain: bool,
}

/// What reading needs to know.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    pub(super) store: &'a Store,
    pub(super) switches: &'a DataverseSwitches,
    /// Root of the version that was asked for, `http://host/api/data/v9.2/`.
    pub(super) base: &'a str,
    pub(super) now: i64,
    /// A fault that the answer is to show.
    pub(super) fault: Option<&'a PendingFault>,
}

/// The frame of a list.
#[derive(Debug, Default)]
pub(super) struct Frame {
    pub(super) context: String,
    pub(super) count: Option<usize>,
    /// Collection annotations, as members with a comma behind each.
    pub(super) annotations: String,
    pub(super) next_link: Option<String>,
    pub(super) delta_link: Option<String>,
    pub(super) omit_value: bool,
}

impl Frame {
    pub(super) fn close(self, rows: &[u8]) -> Vec<u8> {
        let mut body = Vec::with_capacity(rows.len() + 1024);
        body.extend_from_slice(format!("{{\"@odata.context\":{}", quote(&self.context)).as_bytes());
        if let Some(count) = self.count {
            body.extend_from_slice(format!(",\"@odata.count\":{count}").as_bytes());
        }
        body.extend_from_slice(self.annotations.as_bytes());
        if let Some(link) = self.delta_link {
            body.extend_from_slice(format!(",\"@odata.deltaLink\":{}", quote(&link)).as_bytes());
        }
        if !self.omit_value {
            body.extend_from_slice(b",\"value\":[");
            body.extend_from_slice(rows);
            body.push(b']');
        }
        if let Some(link) = self.next_link {
            body.extend_from_slice(format!(",\"@odata.nextLink\":{}", quote(&link)).as_bytes());
        }
        body.push(b'}');
        body
    }
}

pub(super) fn quote(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_default()
}

/// `contacts` or `contacts(firstname,lastname)`.
pub(super) fn shape(table: &Table, select: Option<&[usize]>) -> String {
    match select {
        None => table.set.clone(),
        Some(columns) => {
            let names: Vec<&str> = columns.iter().map(|at| table.columns[*at].wire.as_str()).collect();
            format!("{}({})", table.set, names.join(","))
        }
    }
}

impl Reader<'_> {
    /// Whether the answer is to show this fault. `true` is a promise that it does.
    pub(super) fn injects(&self, kind: FaultKind) -> bool {
        self.fault.is_some_and(|fault| fault.take(kind))
    }

    /// Refuses a next link that is too old, or that a fault calls so.
    fn fresh(&self, cursor: &Cursor) -> Result<(), Refusal> {
        let lifetime = i64::from(self.switches.next_link_seconds);
        let old = lifetime > 0 && self.now.saturating_sub(cursor.made) > lifetime;
        if old || self.injects(FaultKind::StaleNextLink) {
            return Err(Refusal::request("The paging token is not valid."));
        }
        Ok(())
    }

    /// Rows of a page, given what the client prefers.
    pub(super) fn page_size(&self, prefer: &Prefer) -> usize {
        let asked = prefer.page_size.unwrap_or(self.switches.default_page_size.max(1) as usize).min(LARGEST_PAGE);
        match self.switches.short_pages as usize {
            0 => asked,
            most => asked.min(most),
        }
    }

    pub(super) fn link(&self, table: &Table, query: &str, options: &Options, token: &str) -> String {
        let kept = options.without_tokens(query);
        let parting = if kept.is_empty() { "" } else { "&" };
        format!("{}{}?{kept}{parting}{token}", self.base, table.set)
    }

    /// `GET {set}`.
    pub(super) fn list(&self, table: &Table, query: &str, headers: &HeaderMap) -> Result<Answer, Refusal> {
        let options = Options::parse(query)?;
        let prefer = Prefer::parse(headers);
        let cursor = options.get("$skiptoken").map(|token| Cursor::decode(&table.set, token)).transpose()?;
        if let Some(cursor) = &cursor {
            self.fresh(cursor)?;
        }
        let tracked =
            matches!(&cursor, Some(Cursor { walk: Walk::After { since: Some(_), .. } | Walk::Changes { .. }, .. }));
        if tracked || options.get("$deltatoken").is_some() || (prefer.track_changes && cursor.is_none()) {
            return self.tracked(table, query, &options, &prefer, cursor);
        }
        options.refuse_unserved()?;
        let select = options.select(table)?;
        let filter = options.filter(table, self.now)?;
        let order = options.order(table)?;
        let count = options.count()?;
        // Documented: `$top` does not count beside a page size.
        let top = options.top()?.filter(|_| prefer.page_size.is_none());
        let size = top.unwrap_or_else(|| self.page_size(&prefer));
        let mut rows = self.store.read(table);
        let number = cursor.as_ref().map_or(1, |c| c.page);
        let first = cursor.is_none();
        let empty = top.is_none() && self.injects(FaultKind::EmptyPage);
        // Sorted by the primary key, rows come as they lie.
        let (mut ids, more) = if order.first().is_none_or(|by| *by == (0, false)) {
            let after = match cursor {
                Some(Cursor { walk: Walk::After { last, .. }, .. }) => Some(last),
                Some(_) => return Err(Refusal::request("The paging token is not valid.")),
                None => None,
            };
            if empty {
                (Vec::new(), Some(Walk::After { last: after.unwrap_or(BEFORE_ALL), since: None }))
            } else {
                let (ids, more) = self.in_id_order(table, &rows, filter.as_ref(), after, size);
                let walk = ids.last().filter(|_| more).map(|last| Walk::After { last: *last, since: None });
                (ids, walk)
            }
        } else {
            let offset = match cursor {
                Some(Cursor { walk: Walk::Offset { rows }, .. }) => rows,
                Some(_) => return Err(Refusal::request("The paging token is not valid.")),
                None => 0,
            };
            if empty {
                (Vec::new(), Some(Walk::Offset { rows: offset }))
            } else {
                let mut keyed = self.keyed(table, &rows, filter.as_ref(), &order);
                if keyed.leads_elsewhere() {
                    drop(rows);
                    self.with_names(table, &mut keyed, &order);
                    rows = self.store.read(table);
                }
                let end = offset.saturating_add(size);
                let (ids, more) = keyed.page(&order, offset, end);
                (ids, more.then_some(Walk::Offset { rows: end }))
            }
        };
        let total = (first && (count || prefer.wants("Microsoft.Dynamics.CRM.totalrecordcount")))
            .then(|| self.count_of(table, &rows, filter.as_ref()));
        let mut frame = Frame {
            context: format!("{}$metadata#{}", self.base, shape(table, select.as_deref())),
            ..Frame::default()
        };
        frame.count = total.filter(|_| count).map(|n| n.min(LARGEST_PAGE));
        if prefer.wants("Microsoft.Dynamics.CRM.totalrecordcount") {
            let shown = frame.count.map_or(-1, |n| i64::try_from(n).unwrap_or(-1));
            let exceeded = count && total.is_some_and(|n| n > LARGEST_PAGE);
            frame.annotations = format!(
                ",\"@Microsoft.Dynamics.CRM.totalrecordcount\":{shown},\"@Microsoft.Dynamics.CRM.totalrecordcountlimitexceeded\":{exceeded}"
            );
        }
        if top.is_none()
            && let Some(walk) = more
        {
            let token = Cursor { page: number + 1, walk, made: self.now }.encode(&table.set, false);
            frame.next_link = Some(self.link(table, query, &options, &format!("$skiptoken={token}")));
        }
        if frame.next_link.is_some() && self.injects(FaultKind::NoLink) {
            frame.next_link = None;
        }
        self.resend(&mut ids);
        let writer = Writer::new(self.store, table, select.as_deref(), &prefer);
        let body = write_rows(&writer, table, rows, &ids);
        let mut answer = Answer { status: 200, body: frame.close(&body), rows: ids.len() as u64, ..Answer::default() };
        answer.headers.extend(prefer.applied(false).map(|applied| ("preference-applied", applied)));
        Ok(answer)
    }

    /// The rows of the page once more, when a fault says so.
    pub(super) fn resend(&self, ids: &mut Vec<u128>) {
        if !ids.is_empty() && self.injects(FaultKind::ResendRows) {
            ids.extend_from_within(..);
        }
    }

    fn in_id_order<'r>(
        &self,
        table: &'r Table,
        rows: &'r Rows,
        filter: Option<&Filter>,
        after: Option<u128>,
        size: usize,
    ) -> (Vec<u128>, bool) {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let range = (from, Bound::Unbounded);
        let mut ids = Vec::with_capacity(size.min(LARGEST_PAGE));
        let mut cells = Vec::new();
        let mut take = |id: u128, row: &'r Row| {
            let passes = self.passes(table, filter, id, row, &mut cells);
            let full = passes && ids.len() == size;
            if passes && !full {
                ids.push(id);
            }
            full
        };
        // A filter that names its rows needs no walk through the table.
        let more = match filter.and_then(Filter::only_ids) {
            Some(named) => named.range(range).any(|id| rows.by_id.get(id).is_some_and(|row| take(*id, row))),
            None => rows.by_id.range(range).any(|(id, row)| take(*id, row)),
        };
        (ids, more)
    }

    pub(super) fn passes<'r>(
        &self,
        table: &'r Table,
        filter: Option<&Filter>,
        id: u128,
        row: &'r Row,
        cells: &mut Vec<&'r [u8]>,
    ) -> bool {
        let Some(filter) = filter else { return true };
        row.spread(&table.columns, cells);
        filter.passes(table, id, cells, row.version, self.switches.ne_finds_null)
    }

    fn count_of(&self, table: &Table, rows: &Rows, filter: Option<&Filter>) -> usize {
        if filter.is_none() {
            return rows.by_id.len();
        }
        let mut cells = Vec::new();
        // One more than the cap tells that it was passed.
        rows.by_id
            .iter()
            .filter(|(id, row)| self.passes(table, filter, **id, row, &mut cells))
            .take(LARGEST_PAGE + 1)
            .count()
    }

    /// `GET {set}/$count`.
    pub(super) fn count(&self, table: &Table, query: &str) -> Result<Answer, Refusal> {
        let options = Options::parse(query)?;
        let number = if options.get("$deltatoken").is_some() {
            self.changes_since(table, &options)?
        } else {
            let filter = options.filter(table, self.now)?;
            self.count_of(table, &self.store.read(table), filter.as_ref()).min(LARGEST_PAGE)
        };
        let mark = if self.switches.count_bom { "\u{feff}" } else { "" };
        Ok(Answer { status: 200, body: format!("{mark}{number}").into_bytes(), plain: true, ..Answer::default() })
    }

    /// `GET {set}({key})`.
    pub(super) fn single(
        &self,
        table: &Table,
        key: &RowKey,
        query: &str,
        headers: &HeaderMap,
    ) -> Result<Answer, Refusal> {
        let options = Options::parse(query)?;
        options.only_for_one()?;
        options.refuse_unserved()?;
        let select = options.select(table)?;
        let prefer = Prefer::parse(headers);
        let rows = self.store.read(table);
        let id = key.find(table, &rows).ok_or_else(|| key.missing(table))?;
        let row = rows.by_id.get(&id).ok_or_else(|| key.missing(table))?;
        if matches!(key, RowKey::Alternate { .. })
            && self.fault.is_some_and(|fault| fault.misses(self.age_millis(table, row)))
        {
            return Err(key.missing(table));
        }
        let etag = etag(row);
        let known = headers.get("if-none-match").and_then(|v| v.to_str().ok());
        if known == Some(etag.as_str()) && prefer.annotations.is_none() {
            return Ok(Answer { status: 304, headers: vec![("etag", etag)], ..Answer::default() });
        }
        let row = row.clone();
        drop(rows);
        let mut answer = self.entity(table, id, &row, select.as_deref(), &prefer);
        answer.headers.extend(prefer.applied(false).map(|applied| ("preference-applied", applied)));
        Ok(answer)
    }

    /// How long a row has been there, as far as its `createdon` tells.
    fn age_millis(&self, table: &Table, row: &Row) -> i64 {
        let created = table.column("createdon").and_then(|at| row::text(row.get(&table.columns, at)));
        let created = created.and_then(|text| super::value::date_time(&text)).unwrap_or_default();
        self.now.saturating_sub(created).saturating_mul(1000)
    }

    /// One row with its context. The row is a copy, taken under the table's lock and written without it.
    pub(super) fn entity(
        &self,
        table: &Table,
        id: u128,
        row: &Row,
        select: Option<&[usize]>,
        prefer: &Prefer,
    ) -> Answer {
        let writer = Writer::new(self.store, table, select, prefer);
        let context = format!("{}$metadata#{}/$entity", self.base, shape(table, select));
        let mut cells = Vec::new();
        row.spread(&table.columns, &mut cells);
        let mut body = Vec::new();
        writer.write(id, row, &cells, &format!("\"@odata.context\":{},", quote(&context)), &mut body);
        Answer { status: 200, body, headers: vec![("etag", etag(row))], rows: 1, ..Answer::default() }
    }

    /// `GET {set}({key})/{property}` and `.../$value`.
    pub(super) fn property(
        &self,
        table: &Table,
        key: &RowKey,
        property: &str,
        query: &str,
        raw: bool,
    ) -> Result<Answer, Refusal> {
        Options::parse(query)?.only_for_one()?;
        let at = table.by_wire(property).ok_or_else(|| self.no_such_navigation(table, property))?;
        let rows = self.store.read(table);
        let id = key.find(table, &rows).ok_or_else(|| key.missing(table))?;
        let row = rows.by_id.get(&id).ok_or_else(|| key.missing(table))?;
        let mut cells = Vec::new();
        row.spread(&table.columns, &mut cells);
        let mut json = Vec::new();
        value(table, at, id, row.version, &cells, &mut json);
        if json == b"null" {
            return Ok(Answer { status: 204, ..Answer::default() });
        }
        if raw {
            let text = serde_json::from_slice::<String>(&json).map_or(json, String::into_bytes);
            return Ok(Answer { status: 200, body: text, rows: 1, plain: true, ..Answer::default() });
        }
        let context = format!("{}$metadata#{}({})/{property}", self.base, table.set, key.shown());
        let mut body = format!("{{\"@odata.context\":{},\"value\":", quote(&context)).into_bytes();
        body.extend_from_slice(&json);
        body.push(b'}');
        Ok(Answer { status: 200, body, rows: 1, ..Answer::default() })
    }
}

pub(super) fn etag(row: &Row) -> String {
    format!("W/\"{}\"", row.version)
}

/// Rows by id, parted by commas. The lock is let go as soon as it can be.
pub(super) fn write_rows(writer: &Writer<'_>, table: &Table, rows: RwLockReadGuard<'_, Rows>, ids: &[u128]) -> Vec<u8> {
    let mut body = Vec::with_capacity(ids.len() * 256);
    if writer.reads_others() {
        let copies: Vec<(u128, Row)> = ids.iter().filter_map(|id| Some((*id, rows.by_id.get(id)?.clone()))).collect();
        drop(rows);
        put_rows(writer, table, copies.iter().map(|(id, row)| (*id, row)), &mut body);
    } else {
        put_rows(writer, table, ids.iter().filter_map(|id| Some((*id, rows.by_id.get(id)?))), &mut body);
    }
    body
}

fn put_rows<'r>(
    writer: &Writer<'_>,
    table: &'r Table,
    rows: impl Iterator<Item = (u128, &'r Row)>,
    body: &mut Vec<u8>,
) {
    let mut cells = Vec::new();
    for (id, row) in rows {
        if !body.is_empty() {
            body.push(b',');
        }
        row.spread(&table.columns, &mut cells);
        writer.write(id, row, &cells, "", body);
    }
}

/// The refusal of an ETag that is not the row's.
pub(super) fn version_mismatch() -> Refusal {
    refusal(412, "0x80060882", "The version of the existing record doesn't match the RowVersion property provided.")
}
