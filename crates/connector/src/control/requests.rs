//! Requests of operators: left in the store, carried out by the process that runs, or by the next one.

use serde::Serialize;
use sync_core::StoreError;
use sync_core::traits::{Backlog, DeadLetterQuery, LetterFilter, RecordIndex, ReplayStart, Request, StateStore};
use sync_store_sqlite::SqliteStore;
use timing::{Clock, SystemClock};

use super::letters::DeadLetterFilter;
use super::{configured, open, store_error};
use crate::config::Config;
use crate::error::{Error, ErrorKind, Problem};
use crate::workflows::{ingress, streams};

/// Who carries out a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CarriedOutBy {
    /// The process that runs on the store now, within seconds.
    RunningProcess,
    /// The next start of the workflow.
    NextStart,
}

/// A request that was left in the store.
#[derive(Debug, Clone, Serialize)]
pub struct LeftRequest {
    /// Its number.
    pub id: u64,
    /// `replay`, `requeue` or `drop`.
    pub request: &'static str,
    /// The Dynamics 365 table.
    pub table: String,
    /// Dead letters that it concerns at present.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dead_letters: Option<u64>,
    /// Who carries it out.
    pub carried_out_by: CarriedOutBy,
    /// Whether it was there already, so that nothing was added.
    pub pending_already: bool,
}

/// A request that nobody has carried out yet.
#[derive(Debug, Clone, Serialize)]
pub struct PendingRequestView {
    /// Its number.
    pub id: u64,
    /// `replay`, `requeue` or `drop`.
    pub request: &'static str,
    /// The Dynamics 365 table; `None` for all.
    pub table: Option<String>,
    /// For a replay, whether it waits for the next start.
    pub at_next_start: bool,
    /// When it was asked (RFC 3339, UTC).
    pub asked_at: String,
}

/// Has every record of a table written again, columns that do not apply updates included: with the next start of the
/// workflow, or `now`, beside the changes. A replay of the same kind that waits already is not asked for twice.
///
/// # Errors
/// When the table is not configured, the store does not exist yet or cannot be written, or, with `guardrails = "adobe"`, when the
/// backlog or the table has 2,000,000 records or more.
pub async fn replay(config: &Config, table: &str, now: bool) -> Result<LeftRequest, Error> {
    let spec = configured(config, table)?;
    let stream = ingress::stream_id(spec);
    let store = open(config)?;
    let failed = |error| store_error(config, error);
    if config.sync.adobe_guardrails {
        let mut backlog = 0;
        for spec in &config.tables {
            backlog += store.stats(&ingress::stream_id(spec)).await.map_err(failed)?.depth();
        }
        let records = store.bound_count(&stream).await.map_err(failed)?;
        if let Some(problem) = too_large(backlog, records) {
            return Err(Error::one(ErrorKind::Configuration, problem));
        }
    }
    let when = if now { ReplayStart::Now } else { ReplayStart::NextStart };
    let request = Request::Replay { stream, when };
    let carried_out_by = if now { by_whom(config) } else { CarriedOutBy::NextStart };
    let pending = store.requests().await.map_err(failed)?.into_iter().find(|pending| pending.request == request);
    let (id, pending_already) = match pending {
        Some(pending) => (pending.id, true),
        None => (leave(config, request).await?, false),
    };
    let table = table.to_owned();
    Ok(LeftRequest { id, request: "replay", table, dead_letters: None, carried_out_by, pending_already })
}

/// Has the records of dead letters read again, and queues what becomes of them. One request per table that has some; none where
/// there are none.
///
/// # Errors
/// When a table is not configured, or the store does not exist yet or cannot be written.
pub async fn requeue(config: &Config, filter: &DeadLetterFilter) -> Result<Vec<LeftRequest>, Error> {
    concerning_letters(config, filter, "requeue", Request::Requeue).await
}

/// Has dead letters forgotten; their records stay as they are in Campaign. One request per table that has some; none where there
/// are none.
///
/// # Errors
/// As [`requeue`].
pub async fn drop_letters(config: &Config, filter: &DeadLetterFilter) -> Result<Vec<LeftRequest>, Error> {
    concerning_letters(config, filter, "drop", Request::Drop).await
}

async fn concerning_letters(
    config: &Config,
    filter: &DeadLetterFilter,
    name: &'static str,
    request: fn(LetterFilter) -> Request,
) -> Result<Vec<LeftRequest>, Error> {
    let named = super::streams(config, filter.table.as_deref())?;
    let store = open(config)?;
    let mut left = Vec::new();
    // Each workflow finishes the requests of its own tables.
    for stream in named {
        let filter = filter.of(Some(stream.id));
        let count = count(&store, filter.clone()).await.map_err(|error| store_error(config, error))?;
        if count > 0 {
            left.push(LeftRequest {
                id: leave(config, request(filter)).await?,
                request: name,
                table: stream.table,
                dead_letters: Some(count),
                carried_out_by: by_whom(config),
                pending_already: false,
            });
        }
    }
    Ok(left)
}

async fn count(store: &SqliteStore, filter: LetterFilter) -> Result<u64, StoreError> {
    let mut query = DeadLetterQuery { filter, after: None, limit: 1000 };
    let mut count = 0;
    loop {
        let letters = store.dead_letters(&query).await?;
        count += letters.len() as u64;
        let Some(last) = letters.last() else { return Ok(count) };
        query.after = Some(last.id);
    }
}

/// What nobody has carried out yet.
pub(super) async fn pending(config: &Config, store: &SqliteStore) -> Result<Vec<PendingRequestView>, StoreError> {
    let requests = store.requests().await?.into_iter().map(|pending| {
        let (request, stream, at_next_start) = match pending.request {
            Request::Replay { stream, when } => ("replay", Some(stream), when == ReplayStart::NextStart),
            Request::Requeue(filter) => ("requeue", filter.stream, false),
            Request::Drop(filter) => ("drop", filter.stream, false),
        };
        PendingRequestView {
            id: pending.id,
            request,
            table: stream.map(|stream| streams::table_of(config, &stream)),
            at_next_start,
            asked_at: chrono::DateTime::from_timestamp_millis(pending.at_ms).unwrap_or_default().to_rfc3339(),
        }
    });
    Ok(requests.collect())
}

async fn leave(config: &Config, request: Request) -> Result<u64, Error> {
    let path = config.store.sqlite.clone();
    let now_ms = SystemClock::new().now().timestamp_millis();
    let left = tokio::task::spawn_blocking(move || SqliteStore::leave_request_at(&path, &request, now_ms)).await;
    match left {
        Ok(left) => left.map_err(|error| store_error(config, error)),
        Err(_) => {
            let problem = Problem::new("store.sqlite", "Writing the request was broken off.", "Ask again.");
            Err(Error::one(ErrorKind::Store, problem))
        }
    }
}

fn by_whom(config: &Config) -> CarriedOutBy {
    if SqliteStore::is_locked(&config.store.sqlite) { CarriedOutBy::RunningProcess } else { CarriedOutBy::NextStart }
}

/// The ceiling that Adobe documents for a replay: of the backlog, and of the table. The store knows those records of a table that
/// are in Campaign.
fn too_large(backlog: u64, records: u64) -> Option<Problem> {
    const CEILING: u64 = 2_000_000;
    let what = if backlog >= CEILING {
        format!("{backlog} records are in the backlog")
    } else if records >= CEILING {
        format!("The table has {records} records in Campaign")
    } else {
        return None;
    };
    let message = format!("{what}; Adobe's connector refuses a replay from {CEILING} on.");
    Some(Problem::new("sync.guardrails", message, "Wait for the backlog, or leave the guardrails at \"none\"."))
}

#[cfg(test)]
mod tests {
    use super::too_large;

    #[test]
    fn a_replay_is_too_large_from_two_millions_on() {
        assert!(too_large(1_999_999, 1_999_999).is_none());
        assert!(too_large(2_000_000, 0).is_some_and(|problem| problem.message.contains("backlog")));
        assert!(too_large(0, 2_000_000).is_some_and(|problem| problem.message.contains("table")));
    }
}
