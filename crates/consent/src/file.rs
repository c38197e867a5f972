//! The file: its layout, and one thread that writes. The thread takes all requests that wait, runs each in a savepoint of one
//! transaction, commits once and only then answers: a group commit.

use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use rusqlite::{Connection, OpenFlags, OptionalExtension};
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::error::{LedgerError, LedgerErrorKind, damaged, failed, gone, wrong_key};
use crate::keyed::{Hashes, HostKey};

/// "CONS": marks the file as ours.
const APPLICATION_ID: i64 = 0x434F_4E53;
const VERSION: i64 = 1;
/// Requests committed together at most.
const GROUP: usize = 256;
/// Requests that may wait; a full queue makes callers wait.
const QUEUE: usize = 1024;

const LAYOUT: &str = "
CREATE TABLE meta(salt BLOB NOT NULL, keyed INTEGER NOT NULL, mark BLOB NOT NULL) STRICT;
-- The chain. link: the keyed hash of the link before it and of this row. kind: 1 decision, 2 conclusion, 3 erased, 4 unerased,
-- 5 seen.
CREATE TABLE entry(
  seq INTEGER PRIMARY KEY, kind INTEGER NOT NULL, contact BLOB NOT NULL, at_ms INTEGER NOT NULL, body BLOB NOT NULL,
  link BLOB NOT NULL) STRICT;
CREATE INDEX entry_contact ON entry(contact, seq);
CREATE INDEX entry_mark ON entry(contact, seq) WHERE kind IN (3, 4);
-- One row: the number of the last entry and the seal of that, so that an end that was cut off shows.
CREATE TABLE head(last INTEGER NOT NULL, seal BLOB NOT NULL) STRICT;
-- What is known of one opt-out of one contact; last: its newest entry, 0 for none.
CREATE TABLE known(
  contact BLOB NOT NULL, attribute TEXT NOT NULL, last INTEGER NOT NULL, state BLOB NOT NULL, seal BLOB NOT NULL,
  PRIMARY KEY(contact, attribute)) STRICT, WITHOUT ROWID;
-- From when until when every change of a side was looked at, without a gap.
CREATE TABLE feed(party TEXT PRIMARY KEY, from_ms INTEGER NOT NULL, until_ms INTEGER NOT NULL, seal BLOB NOT NULL) STRICT;
";

type Answer = Box<dyn FnOnce(Option<LedgerError>) + Send>;
/// Work in a transaction: whether to keep it, and somebody to tell.
type Job = Box<dyn FnOnce(&Connection) -> (bool, Answer) + Send>;

/// The way to the writing thread.
#[derive(Debug)]
pub(crate) struct Writer {
    jobs: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    pub(crate) fn start(connection: Connection) -> Result<Self, LedgerError> {
        let (jobs, queue) = sync_channel(QUEUE);
        let thread = std::thread::Builder::new()
            .name("consent-writer".to_owned())
            .spawn(move || serve(&connection, &queue))
            .map_err(|_| gone())?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread) })
    }

    /// Runs `work` in the next transaction and answers once it is durable. Dropping the future does not undo the work.
    pub(crate) async fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, LedgerError> + Send + 'static,
    ) -> Result<T, LedgerError> {
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            let result = work(connection);
            let keep = result.is_ok();
            let tell = move |failure: Option<LedgerError>| {
                let result = match failure {
                    Some(failure) if result.is_ok() => Err(failure),
                    _ => result,
                };
                // Whoever asked may have gone; the work is done all the same.
                let _ = reply.send(result);
            };
            (keep, Box::new(tell) as Answer)
        });
        let jobs = self.jobs.clone().ok_or_else(gone)?;
        match jobs.try_send(job) {
            Ok(()) => {}
            Err(std::sync::mpsc::TrySendError::Full(job)) => {
                let sent = tokio::task::spawn_blocking(move || jobs.send(job).is_ok()).await;
                if !matches!(sent, Ok(true)) {
                    return Err(gone());
                }
            }
            Err(std::sync::mpsc::TrySendError::Disconnected(_)) => return Err(gone()),
        }
        answer.await.map_err(|_| gone())?
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Closing the queue ends the thread, which finishes what was asked and closes the file.
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(connection: &Connection, queue: &Receiver<Job>) {
    while let Ok(first) = queue.recv() {
        let mut group = vec![first];
        group.extend(queue.try_iter().take(GROUP - 1));
        let mut answers = Vec::with_capacity(group.len());
        let done = run(connection, group, &mut answers);
        let committed = match &done {
            Ok(()) => {
                connection.prepare_cached("COMMIT").and_then(|mut commit| commit.execute([])).map_err(failed).map(drop)
            }
            Err(_) => Ok(()),
        };
        // After a failed commit nobody knows what the disk holds, unless it is full; opening the file anew finds out.
        let lost = committed.as_ref().is_err_and(|error| error.kind() != LedgerErrorKind::Full);
        let failure = done.and(committed).err();
        if failure.is_some() && !connection.is_autocommit() {
            // The first error is the one to report.
            let _ = connection.execute_batch("ROLLBACK");
        }
        for answer in answers {
            answer(failure.clone());
        }
        if lost {
            return;
        }
    }
}

/// Runs a group, up to its commit; a failure concerns every job of it. Jobs that did not run are dropped, which their callers
/// notice.
fn run(connection: &Connection, group: Vec<Job>, answers: &mut Vec<Answer>) -> Result<(), LedgerError> {
    let say = |sql: &str| connection.prepare_cached(sql)?.execute([]).map(drop);
    say("BEGIN IMMEDIATE").map_err(failed)?;
    for job in group {
        say("SAVEPOINT job").map_err(failed)?;
        let (keep, answer) = job(connection);
        answers.push(answer);
        if !keep && !connection.is_autocommit() {
            say("ROLLBACK TO job").map_err(failed)?;
        }
        say("RELEASE job").map_err(failed)?;
    }
    Ok(())
}

/// Opens or makes the file for writing.
pub(crate) fn open(path: &Path, key: Option<&HostKey>) -> Result<(Connection, Hashes), LedgerError> {
    own_file(path).map_err(|_| unavailable())?;
    let connection = Connection::open(path).map_err(failed)?;
    connection.execute_batch("PRAGMA busy_timeout = 5000; PRAGMA trusted_schema = OFF;").map_err(failed)?;
    let journal: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0)).map_err(failed)?;
    if !journal.eq_ignore_ascii_case("wal") {
        return Err(unavailable());
    }
    connection
        .execute_batch(
            "PRAGMA fullfsync = ON; PRAGMA checkpoint_fullfsync = ON; PRAGMA synchronous = FULL; PRAGMA mmap_size = 0;
             PRAGMA cache_size = -4096; PRAGMA cell_size_check = ON; PRAGMA secure_delete = ON;",
        )
        .map_err(failed)?;
    // Two processes may come first at once; the second finds the layout of the first.
    connection.execute_batch("BEGIN IMMEDIATE").map_err(failed)?;
    let laid_out = lay_out(&connection, key);
    let end = if laid_out.is_ok() { "COMMIT" } else { "ROLLBACK" };
    connection.execute_batch(end).map_err(failed)?;
    laid_out?;
    let hashes = hashes(&connection, key)?;
    Ok((connection, hashes))
}

fn lay_out(connection: &Connection, key: Option<&HostKey>) -> Result<(), LedgerError> {
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(failed)?;
    if tables > 0 {
        return Ok(());
    }
    let mut salt = [0; 32];
    salt[..16].copy_from_slice(Uuid::new_v4().as_bytes());
    salt[16..].copy_from_slice(Uuid::new_v4().as_bytes());
    let hashes = Hashes::of(key, &salt);
    connection
        .execute_batch(&format!("PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {VERSION}; {LAYOUT}"))
        .map_err(failed)?;
    connection
        .execute("INSERT INTO meta(salt, keyed, mark) VALUES (?1, ?2, ?3)", (salt, key.is_some(), hashes.check()))
        .map_err(failed)?;
    crate::chain::save_head(connection, &hashes, 0, &[])
}

/// A connection that only reads, and the file's hashes.
pub(crate) fn open_read_only(path: &Path, key: Option<&HostKey>) -> Result<(Connection, Hashes), LedgerError> {
    if !path.is_file() {
        return Err(unavailable());
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    connection
        .execute_batch("PRAGMA busy_timeout = 5000; PRAGMA cache_size = -2048; PRAGMA trusted_schema = OFF;")
        .map_err(failed)?;
    let hashes = hashes(&connection, key)?;
    Ok((connection, hashes))
}

/// Refuses files of other programs, of newer versions and of other keys.
fn hashes(connection: &Connection, key: Option<&HostKey>) -> Result<Hashes, LedgerError> {
    let number = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).map_err(failed);
    if number("application_id")? != APPLICATION_ID {
        return Err(damaged());
    }
    if number("user_version")? > VERSION {
        return Err(LedgerError::new(
            LedgerErrorKind::TooNew,
            "The consent file was made by a newer version of this program.",
            "Run the newer program.",
        ));
    }
    let meta: Option<([u8; 32], bool, [u8; 32])> = connection
        .query_row("SELECT salt, keyed, mark FROM meta", [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()
        .map_err(failed)?;
    let (salt, keyed, mark) = meta.ok_or_else(damaged)?;
    let hashes = Hashes::of(key, &salt);
    if keyed != key.is_some() || hashes.check() != mark {
        return Err(wrong_key());
    }
    Ok(hashes)
}

/// Makes a file for this user alone. SQLite gives its other files the same mode.
fn own_file(path: &Path) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.create(true).truncate(false).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop)
}

const fn unavailable() -> LedgerError {
    LedgerError::new(
        LedgerErrorKind::Unavailable,
        "The consent file cannot be opened.",
        "See that its folder exists, is on a local disk and may be written by this user.",
    )
}
