//! The embedded store of `sync-core`: SQLite on one writer thread with group commit.
//!
//! Every acknowledged step is on the disk (`journal_mode=WAL`, `synchronous=FULL`). One process owns the store through an
//! operating-system lock on `<file>.lock`, which dies with the process, so that a restart waits for nothing;
//! [`SqliteStore::open_read_only`] looks at it from beside, and [`SqliteStore::leave_request_at`] leaves a request in it.

mod append;
mod backlog;
mod claim;
mod database;
mod dead_letters;
mod error;
mod examine;
mod held;
mod lease;
mod life;
mod number;
mod outdated;
mod ready;
mod record_index;
mod request;
mod row;
mod schema;
mod seal;
mod settle;
mod state;
mod stats;
mod sum;
mod waits;
mod writer;

#[cfg(test)]
mod query_plans;
#[cfg(test)]
mod swapped;

use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use sync_core::traits::{Request, Store, StoreCaps};
use sync_core::{StoreError, StoreErrorKind};
use uuid::Uuid;

use crate::database::Database;
use crate::error::store_error;
use crate::row::signed;
pub use crate::seal::EncryptionKey;
use crate::seal::Seal;
use crate::writer::Writer;

/// How to open a store.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SqliteOptions {
    /// Memory for the page cache of the writing connection, in MiB.
    pub cache_mib: u32,
    /// The largest size of the file, in pages of 8 KiB; unlimited when absent.
    pub max_page_count: Option<u32>,
    /// The key that what records say and read positions are encrypted with. A store is made with a key or without, and
    /// stays so.
    pub encryption_key: Option<EncryptionKey>,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self { cache_mib: 16, max_page_count: None, encryption_key: None }
    }
}

impl SqliteOptions {
    /// The same with another size of the page cache, in MiB.
    #[must_use]
    pub fn cache_mib(mut self, mib: u32) -> Self {
        self.cache_mib = mib;
        self
    }

    /// The same with a limit of the file's size, in pages of 8 KiB.
    #[must_use]
    pub fn max_page_count(mut self, pages: Option<u32>) -> Self {
        self.max_page_count = pages;
        self
    }

    /// The same with another key, or without one.
    #[must_use]
    pub fn encryption_key(mut self, key: Option<EncryptionKey>) -> Self {
        self.encryption_key = key;
        self
    }
}

/// A store in one file.
#[derive(Debug)]
pub struct SqliteStore {
    // Fields are dropped in this order. The connection that only reads goes first, so that the writer's is the last one and
    // brings the whole log into the file; the writer finishes before the lock is released.
    reader: Arc<Mutex<Database>>,
    writer: Option<Writer>,
    /// Tells the leases of this opening of the file from those of earlier ones; never 0.
    opening: i64,
    _lock: Option<File>,
}

impl SqliteStore {
    /// Opens or makes the store and locks it for this process.
    ///
    /// # Errors
    /// `InUse` while another process has it; `TooNew`, `Corrupt` for a file that cannot be used; `Full`; `Unavailable`, also when
    /// the store has another key, or a key where none was given, or the other way round.
    pub fn open(path: &Path, options: SqliteOptions) -> Result<Arc<Self>, StoreError> {
        refuse_faulty_library()?;
        let lock = own_file(&lock_path(path)).map_err(|error| unavailable(path).with_source(error))?;
        take(&lock, path)?;
        refuse_emptied(&lock, path)?;
        own_file(path).map_err(|error| unavailable(path).with_source(error))?;
        // The last connection that closes the file removes the log.
        let (size, left) = (length(path), length(&beside(path, "-wal")));
        let connection = Connection::open(path).map_err(store_error)?;
        let seal = schema::prepare(&connection, &options)?;
        let reader = Arc::new(Mutex::new(Database::new(read_connection(path)?, seal.clone())));
        let db = Database::new(connection, seal);
        examine::examine(&db, size + left, left == 0)?;
        mark(&lock).map_err(|error| unavailable(path).with_source(error))?;
        let writer = Some(Writer::start(db)?);
        let (opening, _) = Uuid::new_v4().as_u64_pair();
        Ok(Arc::new(Self { writer, reader, opening: signed(opening | 1), _lock: Some(lock) }))
    }

    /// Opens an existing store to look at, also while another process runs on it. Every write is refused. Of the options, the
    /// key counts alone.
    ///
    /// # Errors
    /// `Unavailable` when the file is not there; `TooNew`, `Corrupt`.
    pub fn open_read_only(path: &Path, options: &SqliteOptions) -> Result<Self, StoreError> {
        is_there(path)?;
        let connection = read_connection(path)?;
        schema::check(&connection)?;
        let seal = schema::seal(&connection, options.encryption_key.as_ref())?;
        let reader = Arc::new(Mutex::new(Database::new(connection, seal)));
        Ok(Self { writer: None, reader, opening: 0, _lock: None })
    }

    /// Leaves a request of an operator in an existing store, also while another process runs on it: that one, or the next to
    /// start, carries it out. Answers the request's number.
    ///
    /// It waits up to 5 seconds for the transaction of another process, and its own is one small row.
    ///
    /// # Errors
    /// `Unavailable` when the file is not there; `InUse` when its turn did not come; `TooNew`, `Corrupt`, `Full`.
    pub fn leave_request_at(path: &Path, request: &Request, now_ms: i64) -> Result<u64, StoreError> {
        refuse_faulty_library()?;
        is_there(path)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(store_error)?;
        connection.execute_batch("PRAGMA busy_timeout = 5000;").map_err(store_error)?;
        schema::check(&connection)?;
        // Bringing the log into the file is left to the process that runs, which would have to wait for it.
        connection
            .execute_batch(
                "PRAGMA fullfsync = ON; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0;
                 PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON; BEGIN IMMEDIATE;",
            )
            .map_err(store_error)?;
        // Without its commit, the transaction ends with the connection.
        let db = Database::new(connection, Seal::none());
        let id = request::leave(&db, request, now_ms)?;
        db.connection.execute_batch("COMMIT").map_err(store_error)?;
        Ok(id)
    }

    /// Whether a process has the store open for writing.
    pub fn is_locked(path: &Path) -> bool {
        // Reading is enough to ask, so that another user is told the truth too.
        let Ok(lock) = OpenOptions::new().read(true).open(lock_path(path)) else { return false };
        matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock))
    }

    async fn write<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Database) -> Result<T, StoreError> + Send + 'static,
    {
        match &self.writer {
            Some(writer) => writer.call(work).await,
            None => Err(StoreError::new(
                StoreErrorKind::Unavailable,
                "The store was opened for reading.",
                "Open it with SqliteStore::open to write.",
            )),
        }
    }

    async fn read<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Database) -> Result<T, StoreError> + Send + 'static,
    {
        let reader = Arc::clone(&self.reader);
        let read = move || {
            let db = reader.lock().unwrap_or_else(PoisonError::into_inner);
            // All statements of one answer see the same state of the file.
            let snapshot = db.connection.unchecked_transaction().map_err(store_error)?;
            let answer = work(&db);
            drop(snapshot);
            answer
        };
        tokio::task::spawn_blocking(read).await.map_err(|error| {
            StoreError::new(StoreErrorKind::Unavailable, "Reading the store was broken off.", "Start again.")
                .with_source(error)
        })?
    }
}

impl Store for SqliteStore {
    fn capabilities(&self) -> StoreCaps {
        StoreCaps::new(true, false)
    }
}

/// Opens or makes a file for this user alone: the store holds what the records say. SQLite gives its other files the same mode.
fn own_file(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Takes the lock. Somebody who only asks whether it is held has it for an instant; one that stays taken is another process.
fn take(lock: &File, path: &Path) -> Result<(), StoreError> {
    for _ in 0..10 {
        match lock.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) => std::thread::park_timeout(Duration::from_millis(20)),
            Err(TryLockError::Error(error)) => return Err(unavailable(path).with_source(error)),
        }
    }
    Err(in_use(path))
}

/// The bytes of a database's header.
const HEADER: u64 = 100;

/// SQLite takes an empty file for a new database. Beside a lock that was marked, it is one that was emptied: what it knew is lost,
/// and a new store would not know what to delete. (A file that was removed on purpose is no file.)
fn refuse_emptied(lock: &File, path: &Path) -> Result<(), StoreError> {
    let marked = lock.metadata().is_ok_and(|lock| lock.len() > 0);
    if !marked || !path.exists() || length(path) >= HEADER {
        return Ok(());
    }
    Err(StoreError::new(
        StoreErrorKind::Corrupt,
        "The store was emptied.",
        "Restore it from a backup, or remove it and its .lock to begin anew: everything is then read again.",
    ))
}

/// Remembers in the lock that the store beside it was laid out.
fn mark(mut lock: &File) -> std::io::Result<()> {
    if lock.metadata()?.len() == 0 {
        lock.write_all(b"laid out\n")?;
        lock.sync_all()?;
    }
    Ok(())
}

fn lock_path(path: &Path) -> PathBuf {
    beside(path, ".lock")
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// The bytes of a file; 0 where there is none.
fn length(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |file| file.len())
}

fn is_there(path: &Path) -> Result<(), StoreError> {
    if path.is_file() {
        return Ok(());
    }
    Err(StoreError::new(
        StoreErrorKind::Unavailable,
        format!("There is no store at {}.", path.display()),
        "Start the connector once, or correct store.sqlite.",
    ))
}

fn read_connection(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(store_error)?;
    connection
        .execute_batch("PRAGMA busy_timeout = 5000; PRAGMA cache_size = -2048; PRAGMA trusted_schema = OFF;")
        .map_err(store_error)?;
    Ok(connection)
}

/// SQLite 3.7.0 to 3.51.2 can corrupt a WAL file that two connections use (sqlite.org/wal.html, "The WAL-Reset Bug"); two
/// older lines got the correction too.
fn refuse_faulty_library() -> Result<(), StoreError> {
    let version = rusqlite::version_number();
    if version >= 3_051_003 || version == 3_050_007 || version == 3_044_006 {
        return Ok(());
    }
    Err(StoreError::new(
        StoreErrorKind::Unavailable,
        format!("The linked SQLite {} has a known fault that can damage the store.", rusqlite::version()),
        "Build with the bundled SQLite, or with 3.51.3 or newer.",
    ))
}

fn in_use(path: &Path) -> StoreError {
    StoreError::new(
        StoreErrorKind::InUse,
        format!("The store {} is in use by another process.", path.display()),
        "Stop the other process, or give this one a store of its own.",
    )
}

fn unavailable(path: &Path) -> StoreError {
    StoreError::new(
        StoreErrorKind::Unavailable,
        format!("The store {} cannot be opened.", path.display()),
        "See that its folder exists and may be written by this user.",
    )
}
