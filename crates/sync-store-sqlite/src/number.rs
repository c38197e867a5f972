//! Numbers for entries and dead letters: they only grow, and none is given twice.

use rusqlite::Connection;
use sync_core::StoreError;

use crate::error::store_error;

/// The numbers of one transaction: the last one is read when the first is wanted, and written at the end.
pub(crate) struct Numbers<'c> {
    connection: &'c Connection,
    last: Option<i64>,
}

impl<'c> Numbers<'c> {
    pub(crate) fn new(connection: &'c Connection) -> Self {
        Self { connection, last: None }
    }

    pub(crate) fn next(&mut self) -> Result<i64, StoreError> {
        let last = match self.last {
            Some(last) => last,
            None => {
                let mut statement = self.connection.prepare_cached("SELECT last FROM number").map_err(store_error)?;
                statement.query_row([], |row| row.get(0)).map_err(store_error)?
            }
        };
        self.last = Some(last + 1);
        Ok(last + 1)
    }

    /// Makes the numbers given so far part of the transaction.
    pub(crate) fn keep(self) -> Result<(), StoreError> {
        let Some(last) = self.last else { return Ok(()) };
        let mut statement = self.connection.prepare_cached("UPDATE number SET last = ?1").map_err(store_error)?;
        statement.execute([last]).map(drop).map_err(store_error)
    }
}
