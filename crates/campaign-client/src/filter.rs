use std::fmt;

use crate::error::Error;
use crate::key::encode;
use crate::resource::{Resource, check_name};

/// Page size where none is set: Campaign's own is 25. The service's maximum is not published.
pub const DEFAULT_LINE_COUNT: u32 = 200;

/// A filter: a segment of the path and its parameters (experienceleague.adobe.com, Campaign Standard
/// API, "Filtering"). `Debug` hides the values.
#[derive(Clone, PartialEq, Eq)]
pub struct Filter {
    name: String,
    parameters: Vec<(String, String)>,
}

impl Filter {
    /// The built-in `byEmail`: an exact comparison. E-mail is not unique in Campaign.
    #[must_use]
    pub fn by_email(email: impl Into<String>) -> Self {
        Self { name: "byEmail".to_owned(), parameters: vec![("email".to_owned(), email.into())] }
    }

    /// The built-in `byText`: beginning of e-mail or last name, with case.
    #[must_use]
    pub fn by_text(text: impl Into<String>) -> Self {
        Self { name: "byText".to_owned(), parameters: vec![("text".to_owned(), text.into())] }
    }

    /// A custom filter, `byCrmId`, without parameters yet.
    ///
    /// # Errors
    /// `Configuration` if the name is not a plain name.
    pub fn custom(name: impl Into<String>) -> Result<Self, Error> {
        let name = name.into();
        check_name(&name)?;
        Ok(Self { name, parameters: Vec::new() })
    }

    /// Adds a parameter; that of a custom filter is called `<field>_parameter`.
    ///
    /// # Errors
    /// `Configuration` if the parameter is not a plain name.
    pub fn with(mut self, parameter: impl Into<String>, value: impl Into<String>) -> Result<Self, Error> {
        let parameter = parameter.into();
        check_name(&parameter)?;
        self.parameters.push((parameter, value.into()));
        Ok(self)
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Debug for Filter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parameters: Vec<&str> = self.parameters.iter().map(|(name, _)| name.as_str()).collect();
        formatter.debug_struct("Filter").field("name", &self.name).field("parameters", &parameters).finish()
    }
}

/// What to list. `_forcePagination` is always sent: without it Campaign leaves the next link out above
/// 100,000 rows (experienceleague.adobe.com, Campaign Standard API, "Pagination").
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListQuery {
    resource: Resource,
    filters: Vec<Filter>,
    order: Option<(String, bool)>,
    line_count: u32,
}

impl ListQuery {
    /// Everything in `resource`, 200 rows a page.
    #[must_use]
    pub fn new(resource: Resource) -> Self {
        Self { resource, filters: Vec::new(), order: None, line_count: DEFAULT_LINE_COUNT }
    }

    /// Adds a filter; several hold together.
    #[must_use]
    pub fn filter(mut self, filter: Filter) -> Self {
        self.filters.push(filter);
        self
    }

    /// Sorts by a field, ascending.
    ///
    /// # Errors
    /// `Configuration` if the field is not a plain name.
    pub fn order_by(self, field: impl Into<String>) -> Result<Self, Error> {
        self.ordered(field.into(), false)
    }

    /// Sorts by a field, descending.
    ///
    /// # Errors
    /// `Configuration` if the field is not a plain name.
    pub fn order_by_descending(self, field: impl Into<String>) -> Result<Self, Error> {
        self.ordered(field.into(), true)
    }

    fn ordered(mut self, field: String, descending: bool) -> Result<Self, Error> {
        check_name(&field)?;
        self.order = Some((field, descending));
        Ok(self)
    }

    /// Sets the rows of a page; zero counts as one.
    #[must_use]
    pub fn line_count(mut self, rows: u32) -> Self {
        self.line_count = rows.max(1);
        self
    }

    /// The resource.
    #[must_use]
    pub fn resource(&self) -> &Resource {
        &self.resource
    }

    /// Path and query under the base URL, encoded.
    #[must_use]
    pub fn path_and_query(&self) -> String {
        let mut text = self.resource.path();
        for filter in &self.filters {
            text.push('/');
            text.push_str(&filter.name);
        }
        text.push('?');
        for (name, value) in self.filters.iter().flat_map(|filter| &filter.parameters) {
            text.push_str(&format!("{name}={}&", encode(value)));
        }
        if let Some((field, descending)) = &self.order {
            text.push_str(&format!("_order={field}{}&", if *descending { "%20desc" } else { "" }));
        }
        text.push_str(&format!("_lineCount={}&_forcePagination=true", self.line_count));
        text
    }
}
