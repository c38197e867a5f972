//! Check sums of rows: what a failing disk or a foreign hand changed in the file is noticed before it is written anywhere.
//! SQLite itself notices damage of a page's structure only.

use sync_core::StoreError;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::error::damaged;
use crate::seal::BodyOf;

/// One part after the other, each with its length.
struct Sum(u64);

impl Sum {
    fn part(self, bytes: &[u8]) -> Self {
        Self(xxh3_64_with_seed(bytes, self.0 ^ (bytes.len() as u64).rotate_left(32)))
    }

    fn number(self, number: i64) -> Self {
        self.part(&number.to_le_bytes())
    }

    fn maybe(self, number: Option<i64>) -> Self {
        match number {
            Some(number) => self.number(number),
            None => self.part(&[]),
        }
    }

    /// 31 bits: SQLite stores them in 4 bytes, and an index has many rows.
    fn end(self) -> i64 {
        i64::from((self.0 >> 33) as u32)
    }
}

/// The sum of what an entry is to write. Columns that change while it waits are not part of it.
pub(crate) fn of_body(
    of: BodyOf<'_>,
    plan: i64,
    version: Option<i64>,
    insert: Option<&[u8]>,
    update: Option<&[u8]>,
) -> i64 {
    let sum = Sum(1).number(of.stream).number(of.kind).number(of.born).number(plan).part(of.key).part(of.digest);
    let sum = sum.maybe(version);
    sum.part(insert.unwrap_or_default()).part(update.unwrap_or_default()).end()
}

/// The sum of what the index knows of a record. `seen` is not part of it: nothing is deleted without asking the source.
pub(crate) fn of_index(stream: i64, key: &[u8], bound: bool, digest: Option<&[u8]>, version: Option<i64>) -> i64 {
    let sum = Sum(2).number(stream).number(bound.into()).part(key);
    sum.part(digest.unwrap_or_default()).maybe(version).end()
}

/// The sum of a read position.
pub(crate) fn of_position(stream: i64, generation: i64, phase: i64, version: i64, position: Option<&[u8]>) -> i64 {
    let sum = Sum(3).number(stream).number(generation).number(phase).number(version);
    sum.number(position.is_some().into()).part(position.unwrap_or_default()).end()
}

/// The sum of a small value.
pub(crate) fn of_value(name: &str, value: &[u8]) -> i64 {
    Sum(5).part(name.as_bytes()).part(value).end()
}

/// Refuses a row whose sum is another.
pub(crate) fn check(found: i64, stored: i64) -> Result<(), StoreError> {
    if found == stored { Ok(()) } else { Err(damaged()) }
}
