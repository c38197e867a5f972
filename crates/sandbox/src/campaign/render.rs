//! Rows as JSON: what a GET, a create and the control listing show, written as text in one pass.

use std::io::Write as _;

use chrono::{DateTime, Datelike as _, NaiveDate};

use super::primary_key;
use super::scenario::ResourceFamily;
use super::schema::{Output, Resource, Schema, Slot};
use super::table::{Row, Tables};
use super::value;

/// The three families of paths that hold records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    /// Built-in columns only.
    Plain,
    /// With what was added.
    Extended,
    /// Resources that are not linked to the profile.
    Custom,
}

impl Family {
    /// Under which all of a resource is shown.
    pub(super) fn of(resource: &Resource) -> Self {
        match resource.family {
            ResourceFamily::ProfileAndServicesExt => Self::Extended,
            ResourceFamily::CustomResources => Self::Custom,
        }
    }

    /// As a path segment.
    pub(super) fn path(self) -> &'static str {
        match self {
            Self::Plain => "profileAndServices",
            Self::Extended => "profileAndServicesExt",
            Self::Custom => "customResources",
        }
    }
}

/// How rows of one resource are shown in one answer.
pub(super) struct View<'a> {
    pub(super) schema: &'a Schema,
    pub(super) tables: &'a Tables,
    pub(super) resource: &'a Resource,
    pub(super) family: Family,
    /// `http://host/acme/campaign/`
    pub(super) base: &'a str,
    /// Path after the base under which an item's PKey is put, without a last slash.
    pub(super) under: &'a str,
    /// Number of the path by which the rows were reached.
    pub(super) context: u64,
    /// Milliseconds since 1970.
    pub(super) now: i64,
}

impl View<'_> {
    /// Appends a row as an object.
    pub(super) fn record(&self, out: &mut Vec<u8>, at: u32, row: &Row, href: bool) {
        let cells = row.spread(&self.resource.columns);
        let mut comma = b'{';
        for slot in &self.resource.slots {
            if (self.family == Family::Plain && !slot.plain) || (!href && matches!(slot.what, Output::Href)) {
                continue;
            }
            out.push(comma);
            comma = b',';
            out.extend_from_slice(&slot.literal);
            self.value(out, slot, at, row, &cells);
        }
        out.push(b'}');
    }

    /// Appends the value of one slot.
    pub(super) fn value(&self, out: &mut Vec<u8>, slot: &Slot, at: u32, row: &Row, cells: &[&[u8]]) {
        match &slot.what {
            Output::PrimaryKey => {
                out.push(b'"');
                self.primary_key(out, at);
                out.push(b'"');
            }
            Output::Href => {
                out.push(b'"');
                self.href(out, at);
                out.push(b'"');
            }
            Output::Column(column) => self.cell(out, *column, cells),
            Output::Item(parts) => {
                let mut comma = b'{';
                for (literal, column) in parts {
                    out.push(comma);
                    comma = b',';
                    out.extend_from_slice(literal);
                    self.cell(out, *column, cells);
                }
                out.push(b'}');
            }
            Output::Created => datetime(out, row.created),
            Output::LastModified => datetime(out, row.modified),
            Output::Title => value::write_string(out, &self.title(cells)),
            Output::Age => {
                let birth = cell(self.resource.known.birth, cells);
                let age =
                    std::str::from_utf8(birth).ok().and_then(value::parse_date).map_or(0, |birth| age(birth, self.now));
                let _ = write!(out, "{age}");
            }
            Output::Domain => {
                let email = cell(self.resource.known.email, cells);
                let domain = email.iter().position(|b| *b == b'@').map_or(&[][..], |at| &email[at + 1..]);
                value::write_string(out, domain);
            }
            Output::CryptedId => {
                out.push(b'"');
                primary_key::write_crypted(out, at);
                out.push(b'"');
            }
            Output::PostalAddress => self.postal_address(out, cells),
            Output::Null => out.extend_from_slice(b"null"),
            Output::Link(link) => match self.tables.follow(self.schema, self.resource, *link, row) {
                Some((target, found)) => self.link(out, target, found),
                None => out.extend_from_slice(b"null"),
            },
            Output::Collection => {
                out.extend_from_slice(b"{\"href\":\"");
                self.href(out, at);
                out.push(b'/');
                out.extend_from_slice(slot.name.as_bytes());
                out.extend_from_slice(b"/\"}");
            }
        }
    }

    /// Appends the PKey of a row.
    pub(super) fn primary_key(&self, out: &mut Vec<u8>, at: u32) {
        primary_key::write(out, self.resource.index, at, self.context);
    }

    /// Appends the address of a row.
    pub(super) fn href(&self, out: &mut Vec<u8>, at: u32) {
        out.extend_from_slice(self.base.as_bytes());
        out.extend_from_slice(self.under.as_bytes());
        out.push(b'/');
        self.primary_key(out, at);
    }

    fn cell(&self, out: &mut Vec<u8>, column: u8, cells: &[&[u8]]) {
        if let Some(defined) = self.resource.columns.get(usize::from(column)) {
            value::write(out, &defined.kind, cell(Some(column), cells));
        }
    }

    fn link(&self, out: &mut Vec<u8>, target: &Resource, found: u32) {
        let Some(row) = self.tables.of(target).row(found) else {
            out.extend_from_slice(b"null");
            return;
        };
        let under = format!("{}/{}", self.family.path(), target.name);
        let view = View { resource: target, under: &under, context: self.context ^ 1, ..*self };
        out.extend_from_slice(b"{\"PKey\":\"");
        view.primary_key(out, found);
        out.extend_from_slice(b"\",\"href\":\"");
        view.href(out, found);
        out.extend_from_slice(b"\",\"title\":");
        value::write_string(out, &view.title(&row.spread(&target.columns)));
        out.push(b'}');
    }

    fn title(&self, cells: &[&[u8]]) -> Vec<u8> {
        let known = &self.resource.known;
        let (words, mark) = if self.resource.is_profile {
            ([cell(known.first, cells), cell(known.last, cells)], cell(known.email, cells))
        } else {
            ([cell(known.text, cells), &[][..]], cell(self.resource.key.map(|(_, column)| column), cells))
        };
        let mut title = Vec::new();
        join(&mut title, &words, b' ');
        if !mark.is_empty() {
            if !title.is_empty() {
                title.push(b' ');
            }
            title.push(b'(');
            title.extend_from_slice(mark);
            title.push(b')');
        }
        title
    }

    fn postal_address(&self, out: &mut Vec<u8>, cells: &[&[u8]]) {
        let known = &self.resource.known;
        let part = |at: usize| cell(known.address.get(at).copied(), cells);
        let (mut name, mut town) = (Vec::new(), Vec::new());
        join(&mut name, &[cell(known.first, cells), cell(known.last, cells)], b' ');
        join(&mut town, &[part(5), part(4)], b' ');
        let lines = [&name[..], part(0), part(1), part(2), part(3), &town[..]];
        let defined = !town.is_empty() && (0..4).any(|at| !part(at).is_empty());
        let _ = write!(out, r#"{{"addrDefined":{defined},"addrErrorCount":0,"addrLastCheck":"","addrQuality":"0""#);
        for (number, line) in (1..).zip(lines) {
            let _ = write!(out, ",\"line{number}\":");
            value::write_string(out, line);
        }
        let mut all = Vec::new();
        join(&mut all, &lines, b'\n');
        out.extend_from_slice(b",\"serialized\":");
        value::write_string(out, &all);
        out.push(b'}');
    }
}

fn cell<'a>(column: Option<u8>, cells: &[&'a [u8]]) -> &'a [u8] {
    column.and_then(|at| cells.get(usize::from(at)).copied()).unwrap_or_default()
}

fn join(out: &mut Vec<u8>, words: &[&[u8]], between: u8) {
    for word in words.iter().filter(|w| !w.is_empty()) {
        if !out.is_empty() {
            out.push(between);
        }
        out.extend_from_slice(word);
    }
}

fn datetime(out: &mut Vec<u8>, at: i64) {
    out.push(b'"');
    value::write_datetime(out, at);
    out.push(b'"');
}

/// Whole years from a birthday to a moment; 0 before it.
fn age(birth: NaiveDate, now: i64) -> u32 {
    DateTime::from_timestamp_millis(now).and_then(|now| now.date_naive().years_since(birth)).unwrap_or(0)
}

/// The year of a moment, for values that must lie in the past.
pub(super) fn year(now: i64) -> i32 {
    DateTime::from_timestamp_millis(now).map_or(2026, |now| now.year())
}

/// Appends JSON with every character above U+007F escaped: what the control listing promises.
pub(super) fn write_ascii(out: &mut Vec<u8>, json: &[u8]) {
    if json.is_ascii() {
        out.extend_from_slice(json);
        return;
    }
    let mut units = [0_u16; 2];
    for c in String::from_utf8_lossy(json).chars() {
        if let Ok(plain) = u8::try_from(c)
            && plain.is_ascii()
        {
            out.push(plain);
        } else {
            for unit in c.encode_utf16(&mut units) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        }
    }
}
