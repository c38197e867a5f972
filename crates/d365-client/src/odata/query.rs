//! The query of a list request.

use super::{Filter, Name, encode};
use crate::error::Error;

/// The largest `$top` (learn.microsoft.com, "Page results using OData": 5000 rows of a standard table).
pub const MAX_TOP: u32 = 5000;

/// The longest URL of a GET request, in characters (learn.microsoft.com, "Compose HTTP requests and handle errors").
pub const MAX_URL: usize = 32_768;

/// Ascending or descending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Smallest first.
    Ascending,
    /// Largest first.
    Descending,
}

/// Which rows and columns a list request returns, in which order.
///
/// ```
/// use d365_client::odata::{Column, Direction, Query};
/// let query = Query::new()
///     .select(["fullname", "emailaddress1"])?
///     .filter(Column::new("statecode")?.eq(0))
///     .order_by("createdon", Direction::Descending)?
///     .top(10)?;
/// assert_eq!(
///     query.to_query_string(),
///     "$select=fullname,emailaddress1&$filter=statecode%20eq%200&$orderby=createdon%20desc&$top=10"
/// );
/// # Ok::<(), d365_client::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Query {
    select: Vec<Name>,
    filter: Option<Filter>,
    order: Vec<(Name, Direction)>,
    top: Option<u32>,
    count: bool,
    page_size: Option<u32>,
    annotations: bool,
}

impl Query {
    /// All rows, the entity's own columns.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds columns. Without any, the entity's own list of columns ([`Entity::columns`](crate::Entity::columns)) is asked
    /// for, which for a struct is a choice; [`DynamicEntity`](crate::DynamicEntity) has no such list, so that a query
    /// without columns reads all of them. Lookups are selected as `_x_value`. The primary key and
    /// the etag come in any case.
    ///
    /// # Errors
    /// A name that is no identifier.
    pub fn select<N: TryInto<Name>>(mut self, columns: impl IntoIterator<Item = N>) -> Result<Self, Error>
    where
        Error: From<N::Error>,
    {
        for column in columns {
            let column = column.try_into()?;
            if !self.select.contains(&column) {
                self.select.push(column);
            }
        }
        Ok(self)
    }

    /// Adds a condition; several are joined with `and`.
    #[must_use]
    pub fn filter(mut self, filter: Filter) -> Self {
        self.filter = Some(match self.filter.take() {
            Some(first) => first.and(filter),
            None => filter,
        });
        self
    }

    /// Adds a column to sort by. For a stable walk over pages add the primary key last: rows that compare equal may
    /// otherwise be repeated or left out between pages.
    ///
    /// # Errors
    /// A name that is no identifier.
    pub fn order_by<N: TryInto<Name>>(mut self, column: N, direction: Direction) -> Result<Self, Error>
    where
        Error: From<N::Error>,
    {
        self.order.push((column.try_into()?, direction));
        Ok(self)
    }

    /// Returns at most `rows` rows, in one page: the service gives no next link then, and ignores a page size.
    ///
    /// # Errors
    /// Zero, or more than [`MAX_TOP`].
    pub fn top(mut self, rows: u32) -> Result<Self, Error> {
        if rows == 0 || rows > MAX_TOP {
            return Err(Error::validation("$top must lie between 1 and 5000"));
        }
        self.top = Some(rows);
        Ok(self)
    }

    /// Asks for the number of matching rows; the service counts to 5000 at most.
    #[must_use]
    pub fn count(mut self) -> Self {
        self.count = true;
        self
    }

    /// Rows per page, in place of the client's setting. Brought into the range from 1 to 5000: with a page size of 0 the
    /// service would choose one of its own, and larger ones it reduces silently.
    #[must_use]
    pub fn page_size(mut self, rows: u32) -> Self {
        self.page_size = Some(rows.clamp(1, MAX_TOP));
        self
    }

    /// Asks for annotations: formatted values, logical names of lookup targets.
    #[must_use]
    pub fn annotations(mut self) -> Self {
        self.annotations = true;
        self
    }

    /// The selected columns.
    #[must_use]
    pub fn selected(&self) -> &[Name] {
        &self.select
    }

    /// Refuses what no text column holds, before anything is sent.
    pub(crate) fn check(&self) -> Result<(), Error> {
        match &self.filter {
            Some(filter) if filter.has_control_characters() => {
                Err(Error::validation("a condition compares with a text that holds control characters"))
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn limit(&self) -> Option<u32> {
        self.top
    }

    pub(crate) fn wanted_page_size(&self) -> Option<u32> {
        self.page_size
    }

    pub(crate) fn wants_annotations(&self) -> bool {
        self.annotations
    }

    /// The query string without its question mark, percent-encoded; empty when nothing is asked for.
    #[must_use]
    pub fn to_query_string(&self) -> String {
        let mut out = String::new();
        let mut option = |name: &str, value: &str| {
            if !out.is_empty() {
                out.push('&');
            }
            out.push_str(name);
            out.push('=');
            out.push_str(value);
        };
        if !self.select.is_empty() {
            option("$select", &join(self.select.iter().map(Name::as_str)));
        }
        if let Some(filter) = &self.filter {
            option("$filter", &encode(&filter.to_expression()));
        }
        if !self.order.is_empty() {
            let parts: Vec<String> = self
                .order
                .iter()
                .map(|(name, direction)| match direction {
                    Direction::Ascending => format!("{name}%20asc"),
                    Direction::Descending => format!("{name}%20desc"),
                })
                .collect();
            option("$orderby", &join(parts.iter().map(String::as_str)));
        }
        if let Some(top) = self.top {
            option("$top", &top.to_string());
        }
        if self.count {
            option("$count", "true");
        }
        out
    }
}

/// Joins checked names with bare commas, as the option lists of OData want them.
pub(crate) fn join<'a>(parts: impl Iterator<Item = &'a str>) -> String {
    let mut out = String::new();
    for (at, part) in parts.enumerate() {
        if at > 0 {
            out.push(',');
        }
        out.push_str(part);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::odata::Column;

    #[test]
    fn options_are_encoded_once_and_joined() {
        let query = Query::new()
            .select(["a", "b", "a"])
            .unwrap()
            .filter(Column::new("n").unwrap().eq("A&B +50% #1 = 'x'"))
            .filter(Column::new("s").unwrap().eq(0))
            .order_by("a", Direction::Ascending)
            .unwrap()
            .order_by("b", Direction::Descending)
            .unwrap()
            .count();
        assert_eq!(
            query.to_query_string(),
            "$select=a,b&$filter=(n%20eq%20%27A%26B%20%2B50%25%20%231%20%3D%20%27%27x%27%27%27)%20and%20(s%20eq%200)\
             &$orderby=a%20asc,b%20desc&$count=true"
        );
    }

    #[test]
    fn an_empty_query_is_empty() {
        assert_eq!(Query::new().to_query_string(), "");
    }

    #[test]
    fn limits_and_names_are_checked() {
        assert!(Query::new().top(0).is_err());
        assert!(Query::new().top(5001).is_err());
        assert_eq!(Query::new().top(5000).unwrap().limit(), Some(5000));
        for (wanted, sent) in [(0, 1), (1, 1), (5000, 5000), (5001, 5000), (u32::MAX, 5000)] {
            assert_eq!(Query::new().page_size(wanted).wanted_page_size(), Some(sent));
        }
        assert!(Query::new().select(["a b"]).is_err());
        assert!(Query::new().order_by("a desc", Direction::Ascending).is_err());
    }
}
