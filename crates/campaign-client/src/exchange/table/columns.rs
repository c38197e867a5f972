use std::collections::BTreeMap;

use crate::exchange::error::{ExchangeError, ExchangeErrorKind};

/// Which column of a file holds which field: names of fields to names of columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnMap<F: Ord> {
    required: BTreeMap<F, String>,
    optional: BTreeMap<F, String>,
}

impl<F: Ord> Default for ColumnMap<F> {
    fn default() -> Self {
        Self { required: BTreeMap::new(), optional: BTreeMap::new() }
    }
}

impl<F: Ord + Copy> ColumnMap<F> {
    /// A field whose column every file must have.
    #[must_use]
    pub fn with(mut self, field: F, column: impl Into<String>) -> Self {
        self.optional.remove(&field);
        self.required.insert(field, column.into());
        self
    }

    /// A field whose column a file may have.
    #[must_use]
    pub fn with_optional(mut self, field: F, column: impl Into<String>) -> Self {
        self.required.remove(&field);
        self.optional.insert(field, column.into());
        self
    }

    /// The column of a field.
    #[must_use]
    pub fn column(&self, field: F) -> Option<&str> {
        self.required.get(&field).or_else(|| self.optional.get(&field)).map(String::as_str)
    }

    /// The places of the columns in a header.
    ///
    /// # Errors
    /// [`ExchangeErrorKind::Layout`] naming the required columns that are missing, all of them.
    pub fn resolve(&self, header: &[String]) -> Result<BTreeMap<F, usize>, ExchangeError> {
        let place = |column: &String| header.iter().position(|name| name == column);
        let missing: Vec<&str> =
            self.required.values().filter(|column| place(column).is_none()).map(String::as_str).collect();
        if !missing.is_empty() {
            let message = format!("the header lacks the columns: {}", missing.join(", "));
            return Err(ExchangeError::because(ExchangeErrorKind::Layout, message));
        }
        let all = self.required.iter().chain(&self.optional);
        Ok(all.filter_map(|(field, column)| Some((*field, place(column)?))).collect())
    }
}
