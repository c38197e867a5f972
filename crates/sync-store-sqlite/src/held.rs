//! Deletes that are held until those of children are done.

use rusqlite::params;
use sync_core::StoreError;
use sync_core::traits::{DeleteRelease, Lease};

use crate::database::Database;
use crate::row::signed;
use crate::{lease, state};

/// What is unsettled up to a number, but for what waits for a parent and is not at the destination. A delete that is held counts.
pub(crate) const UNSETTLED_TO: &str =
    "SELECT 1 FROM entry e INDEXED BY entry_age WHERE e.stream = ?1 AND e.seq <= ?2 AND e.verification = 0
       AND (e.waiting = 0 OR e.kind = 1
         OR EXISTS (SELECT 1 FROM idx i WHERE i.stream = e.stream AND i.key = e.key AND i.bound = 1)) LIMIT 1";
pub(crate) const RELEASE: &str =
    "UPDATE entry SET waiting = 0 WHERE stream = ?1 AND kind = 1 AND waiting > 0 AND waiting <= ?2";

pub(crate) fn release(db: &Database, lease: &Lease, want: &DeleteRelease) -> Result<Option<u64>, StoreError> {
    lease::check(db, lease)?;
    for child in &want.children {
        let Some(child) = state::find_stream(db, child)? else { continue };
        if db.exists(UNSETTLED_TO, params![child, signed(want.children_to.0)])? {
            return Ok(None);
        }
    }
    let Some(stream) = state::find_stream(db, &want.stream)? else { return Ok(Some(0)) };
    let released = db.execute(RELEASE, params![stream, signed(want.held_to.0)])?;
    Ok(Some(released as u64))
}
