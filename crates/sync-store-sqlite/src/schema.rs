//! Tables, versions and settings of the file.

use rusqlite::{Connection, OptionalExtension};
use sync_core::{StoreError, StoreErrorKind};

use crate::error::store_error;
use crate::seal::Seal;
use crate::{EncryptionKey, SqliteOptions};

/// "SYNC": marks the file as ours.
const APPLICATION_ID: i64 = 0x5359_4E43;
/// The newest layout that this program knows.
const VERSION: i64 = 5;

pub(crate) const LAYOUT: &str = "
-- How a store with a key knows that key.
CREATE TABLE seal(mark BLOB NOT NULL) STRICT;
-- opening: which opening of the file holds it; 0 once it was given back.
CREATE TABLE lease(
  res TEXT PRIMARY KEY, owner TEXT NOT NULL, fence INTEGER NOT NULL, nonce INTEGER NOT NULL, opening INTEGER NOT NULL) STRICT;
CREATE TABLE stream(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE checkpoint(
  stream INTEGER PRIMARY KEY, generation INTEGER NOT NULL, phase INTEGER NOT NULL, position BLOB, sum INTEGER NOT NULL,
  version INTEGER NOT NULL, at_ms INTEGER NOT NULL, n_read INTEGER NOT NULL, n_inserted INTEGER NOT NULL,
  n_updated INTEGER NOT NULL, n_deleted INTEGER NOT NULL, n_unchanged INTEGER NOT NULL, n_filtered INTEGER NOT NULL,
  n_superseded INTEGER NOT NULL, n_ignored INTEGER NOT NULL, n_dead INTEGER NOT NULL) STRICT;
-- The last number given to an entry, a dead letter or a request. Not AUTOINCREMENT, which would write its own table at every
-- row.
CREATE TABLE number(last INTEGER NOT NULL) STRICT;
INSERT INTO number(last) VALUES (0);
-- sum: see `sum`, here as in the other tables.
-- state: 0 ready, 1 in flight, 2 unknown; kind: 0 upsert, 1 delete, 2 upsert that only creates (update_body: the reason).
-- due_ms is 0 once the time has come; blocked: an older entry of the key is unsettled; waiting: how many parents are missing,
-- and of a delete the number under which it is held; holder: the nonce of the lease that claimed it; born: the number of the entry that the bodies were made for.
CREATE TABLE entry(
  seq INTEGER PRIMARY KEY, stream INTEGER NOT NULL, key BLOB NOT NULL, kind INTEGER NOT NULL, state INTEGER NOT NULL,
  due_ms INTEGER NOT NULL, blocked INTEGER NOT NULL, waiting INTEGER NOT NULL, attempt INTEGER NOT NULL,
  holder INTEGER NOT NULL, was_unknown INTEGER NOT NULL, verification INTEGER NOT NULL, class INTEGER NOT NULL,
  replay INTEGER NOT NULL, version INTEGER, plan INTEGER NOT NULL, generation INTEGER NOT NULL, at_ms INTEGER NOT NULL,
  born INTEGER NOT NULL, sum INTEGER NOT NULL, digest BLOB, insert_body BLOB, update_body BLOB,
  CHECK (state BETWEEN 0 AND 2 AND kind BETWEEN 0 AND 2 AND class BETWEEN 0 AND 3
    AND (blocked | was_unknown | verification | replay) BETWEEN 0 AND 1)) STRICT;
CREATE INDEX entry_key ON entry(stream, key, seq);
-- What a claim takes, in its order. Deletes are the same under every plan, so they have none here.
CREATE INDEX entry_ready ON entry(stream, class, iif(kind = 1, NULL, plan), seq)
  WHERE state <> 1 AND due_ms = 0 AND blocked = 0 AND waiting = 0;
CREATE INDEX entry_due ON entry(stream, due_ms) WHERE state <> 1 AND due_ms > 0;
CREATE INDEX entry_age ON entry(stream, seq) WHERE verification = 0;
CREATE UNIQUE INDEX entry_one_in_flight ON entry(stream, key) WHERE state = 1;
CREATE INDEX entry_unknown ON entry(stream, seq) WHERE state = 2;
CREATE INDEX entry_held ON entry(stream, waiting) WHERE kind = 1 AND waiting > 0;
CREATE INDEX entry_blocked ON entry(stream, seq) WHERE blocked = 1;
CREATE INDEX entry_waiting ON entry(stream, at_ms, seq) WHERE waiting > 0;
CREATE INDEX entry_verification ON entry(stream, seq) WHERE verification = 1;
-- child: the entry that waits for the parent, or the dead letter that waited in vain.
CREATE TABLE waits(
  pstream INTEGER NOT NULL, pkey BLOB NOT NULL, child INTEGER NOT NULL, PRIMARY KEY(pstream, pkey, child)) STRICT,
  WITHOUT ROWID;
CREATE INDEX waits_child ON waits(child);
-- bound 0: an attempt that may have taken effect ended so; digest NULL: nobody knows what the destination holds.
CREATE TABLE idx(
  stream INTEGER NOT NULL, key BLOB NOT NULL, bound INTEGER NOT NULL, digest BLOB, version INTEGER,
  seen INTEGER NOT NULL, sum INTEGER NOT NULL, PRIMARY KEY(stream, key)) STRICT, WITHOUT ROWID;
CREATE TABLE verification(
  stream INTEGER NOT NULL, key BLOB NOT NULL, due_ms INTEGER NOT NULL, kind INTEGER NOT NULL, class INTEGER NOT NULL,
  replay INTEGER NOT NULL, version INTEGER, plan INTEGER NOT NULL, generation INTEGER NOT NULL, born INTEGER NOT NULL,
  sum INTEGER NOT NULL, digest BLOB, insert_body BLOB, update_body BLOB, PRIMARY KEY(stream, key)) STRICT;
CREATE INDEX verification_due ON verification(stream, due_ms, key);
-- closed_by: the entry of a newer state of the record, whose end closes the letter. The columns from kind on are those of
-- an entry that waited in vain, which is queued again when the last of its parents comes; waiting: how many are missing.
CREATE TABLE dead(
  id INTEGER PRIMARY KEY, stream INTEGER NOT NULL, key BLOB NOT NULL, code TEXT NOT NULL, field TEXT,
  explanation TEXT NOT NULL, attempts INTEGER NOT NULL, at_ms INTEGER NOT NULL, closed_by INTEGER,
  waiting INTEGER NOT NULL DEFAULT 0, version INTEGER, kind INTEGER, class INTEGER, replay INTEGER, plan INTEGER,
  generation INTEGER, born INTEGER, sum INTEGER, digest BLOB, insert_body BLOB, update_body BLOB, UNIQUE(stream, key)) STRICT;
CREATE TABLE request(id INTEGER PRIMARY KEY, what TEXT NOT NULL, at_ms INTEGER NOT NULL) STRICT;
CREATE TABLE kv(name TEXT PRIMARY KEY, value BLOB NOT NULL, sum INTEGER NOT NULL) STRICT;
";

/// Prepares a connection that writes, and lays out a new file.
pub(crate) fn prepare(connection: &Connection, options: &SqliteOptions) -> Result<Seal, StoreError> {
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(store_error)?;
    if tables > 0 {
        check(connection)?;
    } else {
        connection.pragma_update(None, "page_size", 8192).map_err(store_error)?;
        connection.pragma_update(None, "auto_vacuum", "INCREMENTAL").map_err(store_error)?;
    }
    if let Some(pages) = options.max_page_count {
        connection.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(())).map_err(store_error)?;
    }
    let settings = format!(
        "PRAGMA fullfsync = ON; PRAGMA checkpoint_fullfsync = ON; PRAGMA synchronous = FULL; PRAGMA busy_timeout = 5000; PRAGMA mmap_size = 0;
         PRAGMA cache_size = -{}; PRAGMA wal_autocheckpoint = 4000; PRAGMA journal_size_limit = 268435456;
         PRAGMA temp_store = MEMORY; PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON;
         PRAGMA secure_delete = FAST; PRAGMA foreign_keys = ON;",
        u64::from(options.cache_mib) * 1024
    );
    let journal: String =
        connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0)).map_err(store_error)?;
    if !journal.eq_ignore_ascii_case("wal") {
        return Err(StoreError::new(
            StoreErrorKind::Unavailable,
            "The store's file system does not allow a write-ahead log.",
            "Put the store on a local disk: store.sqlite.",
        ));
    }
    connection.execute_batch(&settings).map_err(store_error)?;
    if tables > 0 {
        return seal(connection, options.encryption_key.as_ref());
    }
    let (seal, mark) = Seal::make(options.encryption_key.as_ref())?;
    let layout = format!("PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {VERSION}; {LAYOUT}");
    let make = || -> Result<(), rusqlite::Error> {
        connection.execute_batch("BEGIN IMMEDIATE")?;
        connection.execute_batch(&layout)?;
        if let Some(mark) = mark {
            connection.execute("INSERT INTO seal(mark) VALUES (?1)", [mark])?;
        }
        connection.execute_batch("COMMIT")
    };
    make().map_err(|error| {
        // The error that matters is the first; a rollback of what was not begun fails without harm.
        let _ = connection.execute_batch("ROLLBACK");
        store_error(error)
    })?;
    Ok(seal)
}

/// The seal of an existing store.
pub(crate) fn seal(connection: &Connection, key: Option<&EncryptionKey>) -> Result<Seal, StoreError> {
    let mark: Option<Vec<u8>> =
        connection.query_row("SELECT mark FROM seal", [], |row| row.get(0)).optional().map_err(store_error)?;
    Seal::of(key, mark.as_deref())
}

/// Refuses files of other programs and of newer versions.
pub(crate) fn check(connection: &Connection) -> Result<(), StoreError> {
    let number = |name: &str| -> Result<i64, StoreError> {
        connection.pragma_query_value(None, name, |row| row.get(0)).map_err(store_error)
    };
    if number("application_id")? != APPLICATION_ID {
        return Err(StoreError::new(
            StoreErrorKind::Corrupt,
            "The file is a database of another program.",
            "Name another file in store.sqlite.",
        ));
    }
    let version = number("user_version")?;
    if version < VERSION {
        return Err(StoreError::new(
            StoreErrorKind::Corrupt,
            format!("The store was made before the first release (layout {version}, this program needs {VERSION})."),
            "Name another file in store.sqlite: everything is then read again.",
        ));
    }
    if version > VERSION {
        return Err(StoreError::new(
            StoreErrorKind::TooNew,
            format!(
                "The store was made by a newer version of this program (layout {version}, this one knows {VERSION})."
            ),
            "Run the newer program, or name another file in store.sqlite.",
        ));
    }
    Ok(())
}
