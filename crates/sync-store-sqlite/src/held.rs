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

/// Whether children have to be written first. What is unsettled up to a number only becomes less, but for a child that waits and was never
/// written, and is passed over; so this need not be one step with the release, and holds up no writer.
pub(crate) fn must_wait(db: &Database, lease: &Lease, want: &DeleteRelease) -> Result<bool, StoreError> {
    lease::check(db, lease)?;
    for child in &want.children {
        let Some(child) = state::find_stream(db, child)? else { continue };
        if db.exists(UNSETTLED_TO, params![child, signed(want.children_to.0)])? {
            return Ok(true);
        }
    }
    Ok(false)
}

pub(crate) fn release(db: &Database, lease: &Lease, want: &DeleteRelease) -> Result<u64, StoreError> {
    lease::check(db, lease)?;
    let Some(stream) = state::find_stream(db, &want.stream)? else { return Ok(0) };
    let released = db.execute(RELEASE, params![stream, signed(want.held_to.0)])?;
    Ok(released as u64)
}
