//! Which of the ready entries a claim takes.

use rusqlite::params;
use sync_core::StoreError;
use sync_core::traits::Class;

use crate::database::{Database, get, limit};

/// Ready entries of one class that fit the plan: its upserts, and the deletes.
pub(crate) const OF_PLAN: &str = "SELECT seq FROM entry
     WHERE stream = ?1 AND class = ?2 AND iif(kind = 1, NULL, plan) = ?3
       AND state <> 1 AND due_ms = 0 AND blocked = 0 AND waiting = 0
     ORDER BY seq LIMIT ?4";
pub(crate) const DELETES: &str = "SELECT seq FROM entry
     WHERE stream = ?1 AND class = ?2 AND iif(kind = 1, NULL, plan) IS NULL
       AND state <> 1 AND due_ms = 0 AND blocked = 0 AND waiting = 0
     ORDER BY seq LIMIT ?3";

/// A place in the order of claims: the rank of its class, and its number.
type Place = (u8, i64);

/// The ready entries that a claim of `max` takes, by the rule of `Backlog::claim`: by class and age, but a quarter for those
/// that would be left behind. Nothing is read but the entries that are taken, and a quarter of `max` for each class.
pub(crate) fn pick(db: &Database, stream: i64, plan: i64, max: usize) -> Result<Vec<i64>, StoreError> {
    let mut taken: Vec<Place> = Vec::with_capacity(max.min(1024));
    for class in Class::ALL {
        let left = max - taken.len();
        taken.extend(oldest(db, stream, plan, class, left)?.into_iter().map(|seq| (class.rank(), seq)));
    }
    let urgent = taken.iter().map(|(rank, _)| *rank).find(|rank| *rank != Class::OptOut.rank());
    let Some(urgent) = urgent.filter(|_| taken.len() == max) else {
        return Ok(taken.into_iter().map(|(_, seq)| seq).collect());
    };
    let quarter = max / 4;
    let lesser = taken.iter().filter(|(rank, _)| *rank > urgent).count();
    let mut behind: Vec<Place> = Vec::new();
    for class in Class::ALL.into_iter().filter(|class| class.rank() > urgent) {
        // Those of the class that are taken already are its oldest.
        let taken = taken.iter().filter(|(rank, _)| *rank == class.rank()).count();
        let waiting = oldest(db, stream, plan, class, taken.saturating_add(quarter))?;
        behind.extend(waiting.into_iter().skip(taken).map(|seq| (class.rank(), seq)));
    }
    behind.sort_unstable_by_key(|(_, seq)| *seq);
    // They take the places of the youngest of the urgent class.
    for at in behind.into_iter().take(quarter.saturating_sub(lesser)) {
        let Some(place) = taken.iter().rposition(|(rank, _)| *rank == urgent) else { break };
        taken.remove(place);
        taken.push(at);
    }
    taken.sort_unstable();
    Ok(taken.into_iter().map(|(_, seq)| seq).collect())
}

/// The oldest ready entries of a class, of both ranges of the index.
fn oldest(db: &Database, stream: i64, plan: i64, class: Class, max: usize) -> Result<Vec<i64>, StoreError> {
    if max == 0 {
        return Ok(Vec::new());
    }
    let rank = class.rank();
    let mut seqs: Vec<i64> = db.all(OF_PLAN, params![stream, rank, plan, limit(max)], |row| get(row, 0))?;
    let deletes: Vec<i64> = db.all(DELETES, params![stream, rank, limit(max)], |row| get(row, 0))?;
    if !deletes.is_empty() {
        seqs.extend(deletes);
        seqs.sort_unstable();
        seqs.truncate(max);
    }
    Ok(seqs)
}
