//! One connection, with statements that are parsed once in its life and errors that are the store's.

use rusqlite::{CachedStatement, Connection, Params, Row};
use sync_core::StoreError;

use crate::error::store_error;
use crate::seal::Seal;

/// A connection to the file.
#[derive(Debug)]
pub(crate) struct Database {
    pub(crate) connection: Connection,
    pub(crate) seal: Seal,
}

impl Database {
    pub(crate) fn new(connection: Connection, seal: Seal) -> Self {
        // Every statement of this crate finds room; a claim alone has a dozen.
        connection.set_prepared_statement_cache_capacity(96);
        Self { connection, seal }
    }

    pub(crate) fn statement(&self, sql: &str) -> Result<CachedStatement<'_>, StoreError> {
        self.connection.prepare_cached(sql).map_err(store_error)
    }

    /// Answers how many rows were changed.
    pub(crate) fn execute(&self, sql: &str, values: impl Params) -> Result<usize, StoreError> {
        self.statement(sql)?.execute(values).map_err(store_error)
    }

    /// The first row, where there is one.
    pub(crate) fn one<T>(
        &self,
        sql: &str,
        values: impl Params,
        read: impl FnOnce(&Row<'_>) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        let mut statement = self.statement(sql)?;
        let mut rows = statement.query(values).map_err(store_error)?;
        rows.next().map_err(store_error)?.map(read).transpose()
    }

    pub(crate) fn all<T>(
        &self,
        sql: &str,
        values: impl Params,
        mut read: impl FnMut(&Row<'_>) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        let mut statement = self.statement(sql)?;
        let mut rows = statement.query(values).map_err(store_error)?;
        let mut found = Vec::new();
        while let Some(row) = rows.next().map_err(store_error)? {
            found.push(read(row)?);
        }
        Ok(found)
    }

    pub(crate) fn exists(&self, sql: &str, values: impl Params) -> Result<bool, StoreError> {
        self.statement(sql)?.exists(values).map_err(store_error)
    }

    /// The number that a statement finds; 0 where it finds none.
    pub(crate) fn number(&self, sql: &str, values: impl Params) -> Result<i64, StoreError> {
        Ok(self.one(sql, values, |row| get::<Option<i64>>(row, 0))?.flatten().unwrap_or_default())
    }
}

/// A column's value; one of another type than this program writes there means damage.
pub(crate) fn get<T: rusqlite::types::FromSql>(row: &Row<'_>, column: usize) -> Result<T, StoreError> {
    row.get(column).map_err(store_error)
}

/// How many rows a caller wants, as SQLite counts.
pub(crate) fn limit(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}
