//! What every source owes the engine: no change is skipped, and absence is never guessed.

use std::collections::BTreeMap;

use futures::FutureExt;
use record::{Change, ChangeBody, Key};
use sync_core::traits::{BatchLimit, Class, Phase, ScanDepth, ScannedRow, Source};
use sync_core::{EndpointErrorKind, Position};

use super::Ending;
use crate::SourceGround;

/// No table of a case takes so many reads.
const MOST: usize = 200;

fn limit(rows: u32) -> BatchLimit {
    BatchLimit { rows, class: Class::Live }
}

/// Reads on until nothing more is ready: the changes and where to go on.
async fn read_on(source: &dyn Source, from: Option<&Position>, rows: u32) -> (Vec<Change>, Position) {
    let (mut changes, mut at) = (Vec::new(), from.cloned());
    for _ in 0..MOST {
        let batch = source.read(at.as_ref(), limit(rows)).await.unwrap();
        assert_eq!(batch.phase == Phase::Snapshot, at.is_none() || batch.phase == Phase::Snapshot);
        changes.extend(batch.changes);
        if !batch.more {
            return (changes, batch.next);
        }
        at = Some(batch.next);
    }
    panic!("reading never comes to an end");
}

/// The last state told of each record; `None` for one that was told to be gone.
fn told(ground: &dyn SourceGround, changes: &[Change]) -> BTreeMap<Key, Option<String>> {
    let mut told = BTreeMap::new();
    for change in changes {
        let text = match change.body {
            ChangeBody::Delete => None,
            _ => Some(ground.text(change).unwrap_or_else(|| panic!("{:?} has no text", change.key))),
        };
        told.insert(change.key.clone(), text);
    }
    told
}

/// The records that are there by what was told.
fn standing(told: &BTreeMap<Key, Option<String>>) -> BTreeMap<Key, String> {
    told.iter().filter_map(|(key, text)| Some((key.clone(), text.clone()?))).collect()
}

fn put_many(ground: &dyn SourceGround, many: u32) {
    for number in 0..many {
        ground.put(number, &format!("first {number}"));
    }
}

async fn snapshot_in_pages(ground: &dyn SourceGround, rows: u32) {
    let source = ground.open();
    let (changes, _) = read_on(&*source, None, rows).await;
    assert!(changes.is_empty(), "an empty table has no rows");
    put_many(ground, 11);
    let (changes, _) = read_on(&*source, None, rows).await;
    assert_eq!(standing(&told(ground, &changes)), ground.rows());
}

/// In one page.
pub async fn a_snapshot_meets_every_row(ground: &dyn SourceGround) {
    snapshot_in_pages(ground, 1_000).await;
}

/// In pages of two; a page may be smaller than asked for.
pub async fn a_snapshot_in_small_pages_meets_every_row(ground: &dyn SourceGround) {
    snapshot_in_pages(ground, 2).await;
}

/// Rows before and after the place reached are changed, deleted and made.
pub async fn a_change_while_a_snapshot_is_read_is_not_lost(ground: &dyn SourceGround) {
    let source = ground.open();
    put_many(ground, 12);
    let first = source.read(None, limit(4)).await.unwrap();
    for number in [0, 3, 11] {
        ground.put(number, "second");
    }
    ground.put(20, "new");
    let deletes = source.capabilities().deletes;
    if deletes {
        ground.delete(1);
        ground.delete(10);
    }
    let mut changes = first.changes;
    let at = match first.more {
        true => {
            let (more, at) = read_on(&*source, Some(&first.next), 4).await;
            changes.extend(more);
            at
        }
        false => first.next,
    };
    let (after, _) = read_on(&*source, Some(&at), 4).await;
    changes.extend(after);
    let mut told = told(ground, &changes);
    if !ground.feed_covers_snapshot() {
        for row in scan(&*source, ScanDepth::Rows, 100).await {
            let change = row.change.unwrap();
            told.insert(row.key, ground.text(&change));
        }
        told.retain(|key, _| ground.rows().contains_key(key));
    }
    assert_eq!(standing(&told), ground.rows());
}

/// Reading a position again tells at least what it told before.
pub async fn a_position_is_read_again(ground: &dyn SourceGround) {
    let source = ground.open();
    put_many(ground, 6);
    let first = source.read(None, limit(2)).await.unwrap();
    let (once, end) = read_on(&*source, Some(&first.next), 2).await;
    let (again, _) = read_on(&*source, Some(&first.next), 3).await;
    assert_eq!(told(ground, &again), told(ground, &once));
    ground.put(2, "second");
    let (once, _) = read_on(&*source, Some(&end), 2).await;
    ground.put(3, "third");
    let (again, _) = read_on(&*source, Some(&end), 2).await;
    assert_eq!(told(ground, &once).len(), 1);
    assert_eq!(told(ground, &again).len(), 2, "what was told is told again, with what came since");
}

/// Where nothing changed nothing is told, and the position that is answered then is as good as the one before.
pub async fn an_end_stays_an_end(ground: &dyn SourceGround) {
    let source = ground.open();
    put_many(ground, 3);
    let (_, mut at) = read_on(&*source, None, 10).await;
    let mut positions = vec![at.clone()];
    for _ in 0..3 {
        let batch = source.read(Some(&at), limit(10)).await.unwrap();
        assert!(batch.changes.is_empty() && !batch.more, "nothing changed");
        assert_eq!(batch.phase, Phase::Incremental);
        at = batch.next;
        positions.push(at.clone());
    }
    ground.put(1, "second");
    for at in positions {
        let (changes, _) = read_on(&*source, Some(&at), 10).await;
        assert_eq!(standing(&told(ground, &changes)).into_values().collect::<Vec<_>>(), ["second"]);
    }
}

/// Changed and made, in small pages.
pub async fn changes_after_the_snapshot_are_met(ground: &dyn SourceGround) {
    let source = ground.open();
    put_many(ground, 5);
    let (changes, at) = read_on(&*source, None, 10).await;
    let mut told = told(ground, &changes);
    for number in [4, 0, 7, 8, 9] {
        ground.put(number, "second");
    }
    let (changes, _) = read_on(&*source, Some(&at), 2).await;
    assert_eq!(self::told(ground, &changes).len(), 5);
    told.extend(self::told(ground, &changes));
    assert_eq!(standing(&told), ground.rows());
}

/// However often a record changed, the last that is told of it is how it is.
pub async fn the_last_state_is_the_last_one_told(ground: &dyn SourceGround) {
    let source = ground.open();
    put_many(ground, 3);
    let (_, at) = read_on(&*source, None, 10).await;
    for round in 0..3 {
        for number in [1, 0, 2] {
            ground.put(number, &format!("state {round} of {number}"));
        }
    }
    for rows in [1, 2, 100] {
        let (changes, _) = read_on(&*source, Some(&at), rows).await;
        assert_eq!(standing(&told(ground, &changes)), ground.rows(), "in pages of {rows}");
    }
}

/// Deleted is told as deleted; deleted and made again is told as it is now.
pub async fn deletes_are_told(ground: &dyn SourceGround) -> Ending {
    let source = ground.open();
    if !source.capabilities().deletes {
        return Ending::Skipped("the source does not tell of deletes");
    }
    put_many(ground, 4);
    let (changes, at) = read_on(&*source, None, 10).await;
    let mut all = told(ground, &changes);
    ground.delete(0);
    ground.delete(2);
    ground.put(2, "again");
    for rows in [1, 100] {
        let (changes, _) = read_on(&*source, Some(&at), rows).await;
        let told = told(ground, &changes);
        assert_eq!(told.values().filter(|text| text.is_none()).count(), 1, "one is gone");
        all.extend(told);
        assert_eq!(standing(&all), ground.rows());
    }
    Ending::Passed
}

/// A read whose future is dropped before it ends did not happen.
pub async fn a_dropped_read_loses_nothing(ground: &dyn SourceGround) {
    let source = ground.open();
    put_many(ground, 5);
    drop(source.read(None, limit(2)).now_or_never());
    let (_, at) = read_on(&*source, None, 2).await;
    ground.put(1, "second");
    ground.put(2, "second");
    for _ in 0..3 {
        drop(source.read(Some(&at), limit(1)).now_or_never());
    }
    let (changes, _) = read_on(&*source, Some(&at), 2).await;
    assert_eq!(told(ground, &changes).len(), 2);
}

/// A position is text that outlives the process.
pub async fn a_position_survives_the_source(ground: &dyn SourceGround) {
    let source = ground.open();
    put_many(ground, 6);
    let first = source.read(None, limit(2)).await.unwrap();
    let mut told = told(ground, &first.changes);
    let kept = first.next.as_str().to_owned();
    drop(source);
    let source = ground.open();
    if first.more {
        let (changes, at) = read_on(&*source, Some(&Position::new(kept)), 2).await;
        told.extend(self::told(ground, &changes));
        assert_eq!(standing(&told), ground.rows());
        ground.put(1, "second");
        drop(source);
        let kept = at.as_str().to_owned();
        let (changes, _) = read_on(&*ground.open(), Some(&Position::new(kept)), 2).await;
        assert_eq!(self::told(ground, &changes).len(), 1);
    } else {
        assert_eq!(standing(&told), ground.rows());
    }
}

/// An old position is refused as expired, not answered with what is left; a new snapshot begins.
pub async fn what_was_expired_is_refused(ground: &dyn SourceGround) -> Ending {
    let source = ground.open();
    put_many(ground, 3);
    let (_, at) = read_on(&*source, None, 10).await;
    ground.put(1, "second");
    ground.delete(2);
    if !ground.expire() {
        return Ending::Skipped("the ground cannot let positions expire");
    }
    let refused = source.read(Some(&at), limit(10)).await;
    assert_eq!(refused.map(|batch| batch.changes.len()).unwrap_err().kind(), EndpointErrorKind::Expired);
    let (changes, at) = read_on(&*source, None, 10).await;
    assert_eq!(standing(&told(ground, &changes)), ground.rows());
    ground.put(0, "third");
    assert_eq!(read_on(&*source, Some(&at), 10).await.0.len(), 1);
    Ending::Passed
}

/// One answer for each key, in their order, as it is now.
pub async fn fetch_answers_every_key_in_order(ground: &dyn SourceGround) {
    let source = ground.open();
    put_many(ground, 5);
    ground.put(3, "second");
    let mut keys: Vec<Key> = ground.rows().into_keys().collect();
    keys.reverse();
    keys.insert(2, ground.absent());
    let changes = source.fetch(&keys).await.unwrap();
    assert_eq!(changes.iter().map(|change| change.key.clone()).collect::<Vec<_>>(), keys);
    assert_eq!(standing(&told(ground, &changes)), ground.rows());
    assert!(source.fetch(&[]).await.unwrap().is_empty());
}

/// Gone and never there are the same.
pub async fn an_absent_record_is_a_delete(ground: &dyn SourceGround) {
    let source = ground.open();
    put_many(ground, 2);
    let before = ground.rows();
    ground.delete(1);
    let gone: Vec<Key> = before.into_keys().filter(|key| !ground.rows().contains_key(key)).collect();
    let keys = [gone[0].clone(), ground.absent()];
    let changes = source.fetch(&keys).await.unwrap();
    assert!(changes.iter().all(|change| change.body == ChangeBody::Delete) && changes.len() == 2);
}

async fn scan(source: &dyn Source, depth: ScanDepth, rows: u32) -> Vec<ScannedRow> {
    let (mut all, mut at) = (Vec::new(), None);
    for _ in 0..MOST {
        let page = source.scan(at.as_ref(), limit(rows), depth).await.unwrap();
        all.extend(page.rows);
        at = page.next;
        if at.is_none() {
            return all;
        }
    }
    panic!("the scan never comes to an end");
}

const NO_SCAN: Ending = Ending::Skipped("the source cannot be scanned");

async fn scan_in_pages(ground: &dyn SourceGround, rows: u32) -> Ending {
    let source = ground.open();
    if !source.capabilities().scan {
        return NO_SCAN;
    }
    assert!(scan(&*source, ScanDepth::Versions, rows).await.is_empty());
    put_many(ground, 11);
    ground.delete(4);
    let mut keys: Vec<Key> = scan(&*source, ScanDepth::Versions, rows).await.into_iter().map(|row| row.key).collect();
    keys.sort();
    keys.dedup();
    assert_eq!(keys, ground.rows().into_keys().collect::<Vec<_>>());
    Ending::Passed
}

/// In one page.
pub async fn a_scan_meets_every_row(ground: &dyn SourceGround) -> Ending {
    scan_in_pages(ground, 1_000).await
}

/// In pages of three.
pub async fn a_scan_in_small_pages_meets_every_row(ground: &dyn SourceGround) -> Ending {
    scan_in_pages(ground, 3).await
}

/// The rows when they are wanted, and the version that the row has.
pub async fn a_scan_is_as_deep_as_asked(ground: &dyn SourceGround) -> Ending {
    let source = ground.open();
    if !source.capabilities().scan {
        return NO_SCAN;
    }
    put_many(ground, 5);
    ground.put(2, "second");
    let rows = scan(&*source, ScanDepth::Rows, 2).await;
    let changes: Vec<Change> = rows.iter().map(|row| row.change.clone().unwrap()).collect();
    assert_eq!(standing(&told(ground, &changes)), ground.rows());
    let keys: Vec<Key> = rows.iter().map(|row| row.key.clone()).collect();
    let versions: Vec<_> = source.fetch(&keys).await.unwrap().into_iter().map(|change| change.version).collect();
    assert_eq!(rows.iter().map(|row| row.version).collect::<Vec<_>>(), versions);
    let short = scan(&*source, ScanDepth::Versions, 2).await;
    assert_eq!(short.iter().map(|row| row.version).collect::<Vec<_>>(), versions);
    Ending::Passed
}

/// With the right kind: nobody waits for what never comes.
pub async fn a_source_that_cannot_scan_says_so(ground: &dyn SourceGround) -> Ending {
    let source = ground.open();
    if source.capabilities().scan {
        return Ending::Skipped("the source can be scanned");
    }
    let refused = source.scan(None, limit(1), ScanDepth::Versions).await;
    assert_eq!(refused.unwrap_err().kind(), EndpointErrorKind::Refused);
    Ending::Passed
}

/// Within one record a later state has a larger version, wherever it is read.
pub async fn versions_grow(ground: &dyn SourceGround) -> Ending {
    let source = ground.open();
    ground.put(0, "state 0");
    let (changes, mut at) = read_on(&*source, None, 10).await;
    let Some(mut version) = changes[0].version else { return Ending::Skipped("the source has no row versions") };
    let key = changes[0].key.clone();
    for round in 1..12 {
        ground.put(0, &format!("state {round}"));
        let (changes, next) = read_on(&*source, Some(&at), 10).await;
        let newer = changes.last().and_then(|change| change.version).unwrap();
        assert!(newer > version, "{newer} after {version}");
        let fetched = source.fetch(std::slice::from_ref(&key)).await.unwrap().remove(0);
        assert_eq!(fetched.version, Some(newer));
        (version, at) = (newer, next);
    }
    Ending::Passed
}

/// A service that cannot be reached says nothing about records, and takes nothing with it.
pub async fn trouble_is_an_error_and_never_an_absence(ground: &dyn SourceGround) -> Ending {
    let source = ground.open();
    put_many(ground, 3);
    let keys: Vec<Key> = ground.rows().into_keys().collect();
    let (_, at) = read_on(&*source, None, 10).await;
    ground.put(1, "second");
    if !ground.break_down(true) {
        return Ending::Skipped("the ground cannot take the service away");
    }
    let kinds = [
        source.read(Some(&at), limit(10)).await.map(drop),
        source.read(None, limit(10)).await.map(drop),
        source.fetch(&keys).await.map(drop),
    ];
    let kinds = kinds.map(|answer| answer.map_err(|error| error.kind()));
    assert_eq!(kinds, [Err(EndpointErrorKind::Unavailable); 3]);
    if source.capabilities().scan {
        assert!(source.scan(None, limit(10), ScanDepth::Versions).await.is_err());
    }
    ground.break_down(false);
    assert_eq!(read_on(&*source, Some(&at), 10).await.0.len(), 1);
    Ending::Passed
}
