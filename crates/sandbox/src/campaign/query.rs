//! Lists: filters, order, pages and counts.

use std::io::Write as _;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::primary_key;
use super::refusal::Refusal;
use super::render::View;
use super::route::Tail;
use super::scenario::{DataPolicy, FilterOperator, TooLong};
use super::schema::{Filter, FilterField, FilterKind, Resource, Schema};
use super::table::Row;
use super::value::{self, Kind};
use crate::injection::PendingFault;

/// What may stand unescaped in the addresses that a list hands out.
pub(super) const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'@');
const DEFAULT_LINES: u64 = 25;

/// The parameters of a request, in their order.
#[derive(Debug, Default)]
pub(super) struct Parameters(Vec<(String, String)>);

impl Parameters {
    /// Reads a query string.
    pub(super) fn read(query: &str) -> Self {
        Self(url::form_urlencoded::parse(query.as_bytes()).into_owned().collect())
    }

    /// The first of that name.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    fn is_true(&self, name: &str) -> bool {
        self.get(name) == Some("true")
    }
}

/// One condition of a list.
#[derive(Debug)]
pub(super) enum Condition {
    /// The column holds exactly this.
    Is(u8, Vec<u8>),
    /// As `Is`, without regard to letter case.
    IsCaseless(u8, String),
    /// One of the columns starts with this.
    Starts(Vec<u8>, Vec<u8>),
    /// The column's sort key is this or later, and it holds something.
    AtLeast(u8, Vec<u8>),
    /// No row.
    Never,
    /// One of the row's own times; exactly, or this and later.
    Time(FilterField, i64, FilterOperator),
}

impl Condition {
    fn holds(&self, resource: &Resource, row: &Row) -> bool {
        let cell = |column: u8| row.get(&resource.columns, column);
        match self {
            Self::Is(column, wanted) => cell(*column) == wanted.as_slice(),
            Self::IsCaseless(column, wanted) => {
                std::str::from_utf8(cell(*column)).is_ok_and(|held| held.to_lowercase() == *wanted)
            }
            Self::Never => false,
            Self::Starts(columns, wanted) => columns.iter().any(|column| cell(*column).starts_with(wanted)),
            Self::AtLeast(column, wanted) => {
                let held = cell(*column);
                let kind = resource.columns.get(usize::from(*column)).map(|c| &c.kind);
                !held.is_empty() && kind.is_some_and(|kind| value::sort_key(kind, held) >= *wanted)
            }
            Self::Time(field, wanted, operator) => {
                let held = if *field == FilterField::Created { row.created } else { row.modified };
                match operator {
                    FilterOperator::Equal => held == *wanted,
                    FilterOperator::OnOrAfter => held >= *wanted,
                }
            }
        }
    }
}

/// The conditions that the filters of a path make of the parameters.
pub(super) fn conditions(
    schema: &Schema,
    resource: &Resource,
    filters: &[&Filter],
    parameters: &Parameters,
) -> Result<Vec<Condition>, Refusal> {
    let mut out = Vec::with_capacity(filters.len());
    for filter in filters {
        match &filter.kind {
            FilterKind::Email(column) => {
                let given = parameters.get("email").ok_or_else(|| Refusal::missing_parameter(&filter.name, "email"))?;
                out.push(if schema.switches.email_filter_case_sensitive {
                    Condition::Is(*column, given.as_bytes().to_vec())
                } else {
                    Condition::IsCaseless(*column, given.to_lowercase())
                });
            }
            FilterKind::Text(defaults) => {
                let kind = parameters.get("filterType");
                let columns = match kind {
                    None | Some("") => defaults.clone(),
                    // The pages name a custom column both as it is and without its first part.
                    Some(name) => match resource.column(name).or_else(|| resource.column(&format!("cus{name}"))) {
                        Some(column) => vec![column],
                        None => return Err(Refusal::unknown_field(resource, name)),
                    },
                };
                let by_name = || {
                    let [column] = columns.as_slice() else { return None };
                    parameters.get(&resource.columns.get(usize::from(*column))?.path)
                };
                let text = parameters.get("text").or_else(by_name);
                let text = text.ok_or_else(|| Refusal::missing_parameter(&filter.name, "text"))?.as_bytes().to_vec();
                out.push(Condition::Starts(columns, text));
            }
            FilterKind::Custom { field, parameter, operator, optional } => {
                let given = parameters.get(parameter).unwrap_or_default();
                if given.is_empty() {
                    if *optional {
                        continue;
                    }
                    return Err(Refusal::missing_parameter(&filter.name, parameter));
                }
                out.push(custom(resource, *field, *operator, given)?);
            }
        }
    }
    Ok(out)
}

fn custom(
    resource: &Resource,
    field: FilterField,
    operator: FilterOperator,
    given: &str,
) -> Result<Condition, Refusal> {
    let FilterField::Column(number) = field else {
        let at = value::parse_datetime(given).ok_or_else(|| Refusal::parameter(given, "datetime"))?;
        return Ok(Condition::Time(field, at, operator));
    };
    let Some(column) = resource.columns.get(usize::from(number)) else {
        return Err(Refusal::stray());
    };
    // A parameter is compared, not stored: no policy, no length.
    let kind = match &column.kind {
        Kind::Text { .. } => &Kind::Text { length: u32::MAX },
        other => other,
    };
    let cell = value::parse(kind, DataPolicy::None, TooLong::Error, given.into())
        .map_err(|problem| Refusal::value(resource, column, &problem))?;
    Ok(match operator {
        FilterOperator::Equal => Condition::Is(number, cell),
        FilterOperator::OnOrAfter => Condition::AtLeast(number, value::sort_key(kind, &cell)),
    })
}

/// What a list is made from.
pub(super) struct Listing<'a> {
    pub(super) view: View<'a>,
    pub(super) conditions: Vec<Condition>,
    pub(super) parameters: &'a Parameters,
    /// `profileAndServicesExt/profile`, from the request, without a last slash.
    pub(super) place: String,
    /// `byText/byEmail`, or nothing.
    pub(super) filters: String,
    /// A fault that the answer is to show.
    pub(super) fault: Option<&'a PendingFault>,
}

/// The order that was asked for.
enum Order {
    Number,
    Field(FilterField, bool),
}

impl Listing<'_> {
    /// Appends the answer; tells how many rows it holds.
    pub(super) fn write(&self, out: &mut Vec<u8>, tail: Tail<'_>) -> Result<u64, Refusal> {
        if matches!(tail, Tail::Count) {
            let _ = write!(out, "{{\"count\":{}}}", self.count());
            return Ok(0);
        }
        let switches = &self.view.schema.switches;
        let mut lines = match self.parameters.get("_lineCount") {
            None | Some("") => DEFAULT_LINES,
            Some(text) => text.parse().map_err(|_| Refusal::parameter(text, "integer (32 bit)"))?,
        };
        if lines == 0 {
            lines = DEFAULT_LINES;
        }
        if switches.line_count_cap > 0 {
            lines = lines.min(switches.line_count_cap);
        }
        let after = match self.parameters.get("_lineStart") {
            None | Some("") => None,
            Some(text) => Some(primary_key::read_cursor(text).ok_or_else(Refusal::stray)?),
        };
        let order = self.order()?;
        let (page, more) = self.page(&order, after.as_ref(), usize::try_from(lines).unwrap_or(usize::MAX));
        let big = self.view.tables.of(self.view.resource).live() > self.view.schema.big_table_threshold;
        let next = more && (!big || self.parameters.is_true("_forcePagination"));
        self.write_page(out, tail, &page);
        // Counted where it is cheap for the service: a filtered list, or a table that is not big.
        out.extend_from_slice(b",\"count\":{\"href\":");
        let first = page.first().map(|(key, at)| primary_key::write_cursor(key, *at));
        value::write_string(out, self.count_address(first).as_bytes());
        if !big || !self.conditions.is_empty() {
            let _ = write!(out, ",\"value\":{}", self.count());
        }
        out.push(b'}');
        if let Some((key, at)) = page.last().filter(|_| next) {
            out.extend_from_slice(b",\"next\":{\"href\":");
            value::write_string(out, self.next_address(tail, &primary_key::write_cursor(key, *at)).as_bytes());
            out.push(b'}');
        }
        let paged = next || (after.is_some() && !page.is_empty());
        let _ = write!(out, ",\"serverSidePagination\":{paged}}}");
        Ok(page.len() as u64)
    }

    fn write_page(&self, out: &mut Vec<u8>, tail: Tail<'_>, page: &[(Vec<u8>, u32)]) {
        out.extend_from_slice(b"{\"content\":[");
        let table = self.view.tables.of(self.view.resource);
        for (number, (_, at)) in page.iter().enumerate() {
            let Some(row) = table.row(*at) else { continue };
            if number > 0 {
                out.push(b',');
            }
            match tail {
                Tail::Field(slot) => self.view.value(out, slot, *at, row, &row.spread(&self.view.resource.columns)),
                Tail::Rows | Tail::Count => self.view.record(out, *at, row, true),
            }
        }
        out.push(b']');
    }

    fn order(&self) -> Result<Order, Refusal> {
        let resource = self.view.resource;
        let Some(given) = self.parameters.get("_order").filter(|o| !o.is_empty()) else {
            return Ok(Order::Number);
        };
        let (name, direction) = given.split_once(' ').unwrap_or((given, "asc"));
        let descending = match direction.trim() {
            "asc" => false,
            "desc" => true,
            _ => return Err(Refusal::unknown_field(resource, given)),
        };
        match resource.filter_field(name) {
            Some(field) => Ok(Order::Field(field, descending)),
            // What is computed or a link says `sortable: false` in its metadata.
            None => Err(Refusal::unknown_field(resource, name)),
        }
    }

    /// Matching rows from a number on.
    fn matching(&self, from: usize) -> impl Iterator<Item = (u32, &Row)> {
        let view = &self.view;
        let table = view.tables.of(view.resource);
        // A condition on a unique key needs no walk through the table.
        let single = self.conditions.iter().find_map(|condition| match condition {
            Condition::Is(column, wanted) if !wanted.is_empty() => {
                let unique = view.resource.uniques.iter().position(|key| key.as_slice() == [*column])?;
                Some(table.find(&view.resource.columns, unique, &[wanted]))
            }
            _ => None,
        });
        let (walk, one) = match single {
            Some(found) => (usize::MAX, found.filter(|at| *at as usize >= from)),
            None => (from, None),
        };
        one.into_iter().filter_map(move |at| Some((at, table.row(at)?))).chain(table.rows_from(walk)).filter(
            |(_, row)| {
                self.conditions.iter().all(|c| c.holds(view.resource, row))
                    && view.tables.visible(view.schema, view.resource, row)
                    && !self.fault.is_some_and(|fault| fault.misses(view.now.saturating_sub(row.created)))
            },
        )
    }

    fn page(&self, order: &Order, after: Option<&(Vec<u8>, u32)>, lines: usize) -> (Vec<(Vec<u8>, u32)>, bool) {
        let wanted = lines.saturating_add(1);
        let mut page: Vec<(Vec<u8>, u32)> = match order {
            Order::Number => {
                let from = after.map_or(0, |(_, at)| *at as usize + 1);
                self.matching(from).take(wanted).map(|(at, _)| (Vec::new(), at)).collect()
            }
            Order::Field(field, descending) => {
                let key = |row: &Row| match field {
                    FilterField::Created => value::instant_key(row.created),
                    FilterField::LastModified => value::instant_key(row.modified),
                    FilterField::Column(column) => {
                        let kind = self.view.resource.columns.get(usize::from(*column)).map(|c| &c.kind);
                        kind.map(|kind| value::sort_key(kind, row.get(&self.view.resource.columns, *column)))
                            .unwrap_or_default()
                    }
                };
                let before = |a: &(Vec<u8>, u32), b: &(Vec<u8>, u32)| if *descending { b.cmp(a) } else { a.cmp(b) };
                let mut all: Vec<_> = self.matching(0).map(|(at, row)| (key(row), at)).collect();
                all.retain(|entry| after.is_none_or(|after| before(after, entry).is_lt()));
                if all.len() > wanted {
                    all.select_nth_unstable_by(wanted, before);
                    all.truncate(wanted);
                }
                all.sort_by(before);
                all
            }
        };
        let more = page.len() > lines;
        page.truncate(lines);
        (page, more)
    }

    fn count(&self) -> u64 {
        let view = &self.view;
        let all_seen = !view.schema.switches.hidden_children || view.resource.links.iter().all(|link| !link.hides);
        if self.conditions.is_empty() && all_seen {
            return view.tables.of(view.resource).live();
        }
        self.matching(0).count() as u64
    }

    fn count_address(&self, first: Option<String>) -> String {
        let mut address = format!("{}{}//{}", self.view.base, self.place, self.filters);
        if !self.filters.is_empty() {
            address.push('/');
        }
        address.push_str("_count");
        self.add_parameters(&mut address, &["_lineCount", "_lineStart"], first.as_deref());
        address
    }

    fn next_address(&self, tail: Tail<'_>, cursor: &str) -> String {
        let mut address = format!("{}{}/{}", self.view.base, self.place, self.filters);
        if let Tail::Field(slot) = tail {
            if !self.filters.is_empty() {
                address.push('/');
            }
            address.push_str(&slot.name);
        }
        self.add_parameters(&mut address, &["_lineStart"], Some(cursor));
        address
    }

    fn add_parameters(&self, address: &mut String, without: &[&str], cursor: Option<&str>) {
        let kept =
            self.parameters.0.iter().map(|(n, v)| (n.as_str(), v.as_str())).filter(|(n, _)| !without.contains(n));
        for (number, (name, value)) in kept.chain(cursor.map(|c| ("_lineStart", c))).enumerate() {
            address.push(if number == 0 { '?' } else { '&' });
            address.extend(utf8_percent_encode(name, PLAIN));
            address.push('=');
            address.extend(utf8_percent_encode(value, PLAIN));
        }
    }
}
