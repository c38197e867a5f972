//! Numbers for entries, dead letters and requests: they only grow, and none is given twice.

use sync_core::StoreError;

use crate::database::Database;

/// The numbers of one transaction: the last one is read when the first is wanted, and written at the end.
pub(crate) struct Numbers<'d> {
    db: &'d Database,
    last: Option<i64>,
}

impl<'d> Numbers<'d> {
    pub(crate) fn new(db: &'d Database) -> Self {
        Self { db, last: None }
    }

    pub(crate) fn next(&mut self) -> Result<i64, StoreError> {
        let last = match self.last {
            Some(last) => last,
            None => self.db.number("SELECT last FROM number", [])?,
        };
        self.last = Some(last + 1);
        Ok(last + 1)
    }

    /// Makes the numbers given so far part of the transaction.
    pub(crate) fn keep(self) -> Result<(), StoreError> {
        let Some(last) = self.last else { return Ok(()) };
        self.db.execute("UPDATE number SET last = ?1", [last]).map(drop)
    }
}
