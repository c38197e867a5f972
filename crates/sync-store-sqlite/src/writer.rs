//! One thread owns the only connection that writes. It takes all requests that wait, runs each in a savepoint of one
//! transaction, commits once, and only then answers: a group commit. A request that is alone needs no savepoint.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use rusqlite::Connection;
use sync_core::{StoreError, StoreErrorKind};
use tokio::sync::oneshot;

use crate::database::Database;
use crate::error::store_error;

/// Requests committed together at most.
const GROUP: usize = 256;
/// Requests that may wait; a full queue makes callers wait, which is the back-pressure.
const QUEUE: usize = 1024;

/// Something to do in a transaction, and somebody to tell.
trait Job: Send {
    fn run(&mut self, db: &Database) -> bool;
    /// Why [`run`](Self::run) failed.
    fn error(&self) -> Option<&StoreError>;
    fn answer(self: Box<Self>, failure: Option<StoreError>);
}

struct Request<T, F> {
    work: Option<F>,
    result: Option<Result<T, StoreError>>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<T: Send, F: FnOnce(&Database) -> Result<T, StoreError> + Send> Job for Request<T, F> {
    fn run(&mut self, db: &Database) -> bool {
        let result = self.work.take().map(|work| work(db));
        let done = matches!(result, Some(Ok(_)));
        self.result = result;
        done
    }

    fn error(&self) -> Option<&StoreError> {
        self.result.as_ref().and_then(|result| result.as_ref().err())
    }

    fn answer(self: Box<Self>, failure: Option<StoreError>) {
        let result = match (failure, self.result) {
            (_, Some(Err(error))) => Err(error),
            (Some(failure), _) => Err(failure),
            (None, Some(result)) => result,
            (None, None) => Err(gone()),
        };
        // Whoever asked may have gone; the work is done all the same.
        let _ = self.reply.send(result);
    }
}

/// The way to the writing thread.
#[derive(Debug)]
pub(crate) struct Writer {
    jobs: Option<SyncSender<Box<dyn Job>>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    pub(crate) fn start(db: Database) -> Result<Self, StoreError> {
        let (jobs, queue) = sync_channel(QUEUE);
        let thread = std::thread::Builder::new()
            .name("sync-store-writer".to_owned())
            .spawn(move || serve(&db, &queue))
            .map_err(|error| gone().with_source(error))?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread) })
    }

    /// Runs `work` in the next transaction and answers once it is durable.
    ///
    /// Dropping the future does not undo the work.
    pub(crate) async fn call<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Database) -> Result<T, StoreError> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let job: Box<dyn Job> = Box::new(Request { work: Some(work), result: None, reply });
        let jobs = self.jobs.as_ref().ok_or_else(gone)?;
        if let Err(refused) = jobs.try_send(job) {
            match refused {
                std::sync::mpsc::TrySendError::Full(job) => {
                    let jobs = jobs.clone();
                    let sent = tokio::task::spawn_blocking(move || jobs.send(job).is_ok()).await;
                    if !matches!(sent, Ok(true)) {
                        return Err(gone());
                    }
                }
                std::sync::mpsc::TrySendError::Disconnected(_) => return Err(gone()),
            }
        }
        answer.await.map_err(|_| gone())?
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Closing the queue ends the thread, which finishes what was asked and closes the file.
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // A panic there was reported to whoever waited.
            let _ = thread.join();
        }
    }
}

fn gone() -> StoreError {
    StoreError::new(
        StoreErrorKind::Unavailable,
        "The store's writer has ended.",
        "Start again; what was acknowledged is durable. If it repeats, check the disk.",
    )
}

fn serve(db: &Database, queue: &Receiver<Box<dyn Job>>) {
    while let Ok(first) = queue.recv() {
        let mut group = vec![first];
        while group.len() < GROUP {
            match queue.try_recv() {
                Ok(job) => group.push(job),
                Err(_) => break,
            }
        }
        let failure = transact(db, &mut group);
        let fatal = failure.as_ref().is_some_and(|(_, fatal)| *fatal);
        for job in group {
            job.answer(failure.as_ref().map(|(error, _)| copy(error)));
        }
        if fatal {
            // After a failed commit nobody knows what the disk holds; a new process finds out by opening the file.
            return;
        }
    }
}

/// Runs a group in one transaction; a failure concerns every job that had succeeded so far. The flag says whether the file may
/// be used any further.
fn transact(db: &Database, group: &mut [Box<dyn Job>]) -> Option<(StoreError, bool)> {
    let connection = &db.connection;
    if let Err(error) = say(connection, "BEGIN IMMEDIATE") {
        return Some((store_error(error), false));
    }
    // A job that is alone has the transaction for itself. A savepoint would copy every page that it changes.
    let alone = group.len() == 1;
    for job in group.iter_mut() {
        if !alone && let Err(error) = say(connection, "SAVEPOINT job") {
            return Some(give_up(connection, error));
        }
        let kept = job.run(db);
        if connection.is_autocommit() {
            // SQLite undid the whole transaction by itself, as it does when the disk is full: the others are told the same.
            return Some((job.error().map_or_else(undone, copy), false));
        }
        if alone && !kept {
            return say(connection, "ROLLBACK").err().map(|error| give_up(connection, error));
        }
        if alone {
            break;
        }
        let end = if kept { Ok(()) } else { say(connection, "ROLLBACK TO job") };
        if let Err(error) = end.and_then(|()| say(connection, "RELEASE job")) {
            return Some(give_up(connection, error));
        }
    }
    match say(connection, "COMMIT") {
        Ok(()) => None,
        Err(error) => {
            let full = error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull);
            let (failure, _) = give_up(connection, error);
            Some((failure, !full))
        }
    }
}

fn give_up(connection: &Connection, error: rusqlite::Error) -> (StoreError, bool) {
    if !connection.is_autocommit() {
        // The first error is the one to report.
        let _ = connection.execute_batch("ROLLBACK");
    }
    (store_error(error), false)
}

/// Runs a statement without parameters, parsed once in the connection's life.
fn say(connection: &Connection, statement: &str) -> Result<(), rusqlite::Error> {
    connection.prepare_cached(statement)?.execute([]).map(drop)
}

/// What the others of a group are told when the failure of one undid them all.
fn undone() -> StoreError {
    StoreError::new(
        StoreErrorKind::Unavailable,
        "A write to the store failed, and took others with it.",
        "See that the store's disk has room and works, and start again; nothing was lost.",
    )
}

fn copy(error: &StoreError) -> StoreError {
    StoreError::new(error.kind(), error.to_string(), error.remedy().to_owned())
}
