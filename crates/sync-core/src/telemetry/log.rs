//! A log line for each event. Texts that a service sent are left out, and codes are taken only for codes.

use super::code_label;
use super::names::event;
use crate::traits::SyncEvent;
use crate::{StoreError, StoreErrorKind};

/// Writes the line of an event.
pub(crate) fn log(event: &SyncEvent) {
    match event {
        SyncEvent::PageRead { .. }
        | SyncEvent::SnapshotComplete { .. }
        | SyncEvent::Resnapshot { .. }
        | SyncEvent::PassStarted { .. }
        | SyncEvent::PassComplete { .. }
        | SyncEvent::PositionAge { .. }
        | SyncEvent::BacklogFull { .. } => of_reading(event),
        SyncEvent::Settled { .. }
        | SyncEvent::UnknownOutcome { .. }
        | SyncEvent::DeadLettered { .. }
        | SyncEvent::Released { .. }
        | SyncEvent::WaitingForParents { .. }
        | SyncEvent::DeletesHeld { .. }
        | SyncEvent::PauseBegun { .. }
        | SyncEvent::PauseEnded { .. } => of_writing(event),
        _ => of_running(event),
    }
}

fn of_reading(event: &SyncEvent) {
    match event {
        SyncEvent::PageRead { stream, tally, snapshot, backlog } => tracing::debug!(
            name: event::PAGE_READ.name,
            stream = %stream, read = tally.read, snapshot, backlog,
            "a page was read"
        ),
        SyncEvent::SnapshotComplete { stream } => tracing::info!(
            name: event::SNAPSHOT_COMPLETE.name,
            stream = %stream,
            "the snapshot is complete"
        ),
        SyncEvent::Resnapshot { stream, generation } => tracing::warn!(
            name: event::RESNAPSHOT.name,
            stream = %stream, generation,
            "the position is no longer served, and a new snapshot starts"
        ),
        SyncEvent::PassStarted { stream, kind, resumed } => tracing::info!(
            name: event::PASS_STARTED.name,
            stream = %stream, kind = kind.as_str(), resumed,
            "a pass over the whole table starts"
        ),
        SyncEvent::PassComplete { stream, kind, scanned, reread, missing } => tracing::info!(
            name: event::PASS_COMPLETE.name,
            stream = %stream, kind = kind.as_str(), scanned, reread, missing,
            "the pass over the whole table is complete"
        ),
        SyncEvent::PositionAge { stream, state } => tracing::warn!(
            name: event::POSITION_AGE.name,
            stream = %stream, state = state.as_str(),
            "the read position has another age"
        ),
        SyncEvent::BacklogFull { stream, backlog } => tracing::debug!(
            name: event::BACKLOG_FULL.name,
            stream = %stream, backlog,
            "reading waits until the backlog is smaller"
        ),
        _ => {}
    }
}

fn of_writing(event: &SyncEvent) {
    match event {
        SyncEvent::Settled { stream, tally, backlog } => tracing::debug!(
            name: event::SETTLED.name,
            stream = %stream,
            inserted = tally.inserted, updated = tally.updated, deleted = tally.deleted,
            unchanged = tally.unchanged, dead = tally.dead, backlog,
            "entries were settled"
        ),
        SyncEvent::UnknownOutcome { stream, count, code } => tracing::debug!(
            name: event::UNKNOWN_OUTCOME.name,
            stream = %stream, count, code = code_label(code),
            "the outcome of a write is unknown"
        ),
        SyncEvent::DeadLettered { stream, rejection } => tracing::debug!(
            name: event::DEAD_LETTERED.name,
            stream = %stream, code = code_label(&rejection.code),
            "a record became a dead letter"
        ),
        SyncEvent::Released { stream } => tracing::debug!(
            name: event::RELEASED.name,
            stream = %stream,
            "entries wait for their parent no more"
        ),
        SyncEvent::DeletesHeld { stream, count } => tracing::debug!(
            name: event::DELETES_HELD.name,
            stream = %stream, count,
            "deletes wait until those of children are done"
        ),
        SyncEvent::WaitingForParents { stream, count } => tracing::info!(
            name: event::WAITING_FOR_PARENTS.name,
            stream = %stream, count,
            "all that is left waits for parents"
        ),
        SyncEvent::PauseBegun { stream, code, pause_ms } => tracing::info!(
            name: event::PAUSE_BEGUN.name,
            stream = %stream, code = code_label(code), pause_ms,
            "writing pauses"
        ),
        SyncEvent::PauseEnded { stream, lasted_ms } => tracing::info!(
            name: event::PAUSE_ENDED.name,
            stream = %stream, lasted_ms,
            "writing goes on"
        ),
        _ => {}
    }
}

fn of_running(event: &SyncEvent) {
    match event {
        SyncEvent::Status(status) => tracing::info!(
            name: event::STATUS.name,
            state = status.state.as_str(), code = status.reason.as_ref().map(|reason| code_label(&reason.code)),
            "the status changed"
        ),
        SyncEvent::DeadLettersDropped { stream, count } => tracing::info!(
            name: event::DEAD_LETTERS_DROPPED.name,
            stream = %stream, count,
            "dead letters were dropped"
        ),
        SyncEvent::DeadLettersForgotten { stream, count } => tracing::warn!(
            name: event::DEAD_LETTERS_FORGOTTEN.name,
            stream = %stream, count,
            "dead letters were kept for their time and are forgotten"
        ),
        SyncEvent::DeadLettersRequeued { stream, count } => tracing::info!(
            name: event::DEAD_LETTERS_REQUEUED.name,
            stream = %stream, count,
            "the records of dead letters were read again and queued"
        ),
        SyncEvent::Retrying { stream, code, delay_ms, .. } => tracing::warn!(
            name: event::RETRYING.name,
            stream = %stream, code = code_label(code), delay_ms,
            "a service has trouble and is asked again"
        ),
        SyncEvent::DeleteBrake { stream, candidates, allowed } => tracing::warn!(
            name: event::DELETE_BRAKE.name,
            stream = %stream, candidates, allowed,
            "more would be deleted than the brake allows"
        ),
        SyncEvent::RequestBegun { id, kind } => tracing::info!(
            name: event::REQUEST_BEGUN.name,
            id, kind,
            "a request is taken up"
        ),
        SyncEvent::RequestDone { id } => tracing::info!(
            name: event::REQUEST_DONE.name,
            id,
            "a request was carried out"
        ),
        SyncEvent::RequestRefused { id, code } => tracing::warn!(
            name: event::REQUEST_REFUSED.name,
            id, code = code_label(code),
            "a request cannot be carried out"
        ),
        SyncEvent::LeaseRenewedLate { late_ms } => tracing::warn!(
            name: event::LEASE_RENEWED_LATE.name,
            late_ms,
            "the lease was renewed late, and writing waited for it"
        ),
        SyncEvent::LeaseLost => tracing::error!(
            name: event::LEASE_LOST.name,
            "the lease is lost, and the run ends"
        ),
        SyncEvent::StopBegun { deadline_ms } => tracing::info!(
            name: event::STOP_BEGUN.name,
            deadline_ms,
            "a graceful stop begins"
        ),
        _ => {}
    }
}

pub(crate) fn lease_not_released(error: &StoreError) {
    tracing::debug!(name: event::LEASE_NOT_RELEASED.name, code = kind(error), "the lease could not be given back");
}

pub(crate) fn status_not_kept(error: &StoreError) {
    tracing::debug!(name: event::STATUS_NOT_KEPT.name, code = kind(error), "the status could not be kept");
}

fn kind(error: &StoreError) -> &'static str {
    match error.kind() {
        StoreErrorKind::Fenced => "fenced",
        StoreErrorKind::Conflict => "conflict",
        StoreErrorKind::InUse => "in-use",
        StoreErrorKind::Full => "full",
        StoreErrorKind::TooNew => "too-new",
        StoreErrorKind::Corrupt => "corrupt",
        StoreErrorKind::Unavailable => "unavailable",
    }
}
