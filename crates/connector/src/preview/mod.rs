//! What a run would send for one record now, and why. Nothing is written: not to a service, and not to the store.
//!
//! The parts are those of a run: the source reads the record, the mapping decides, the store's knowledge decides about that,
//! and the writer's machine drives the destination. Only the wires are others: they keep what would be written.

mod course;
mod view;

use std::sync::Arc;

use record::{ChangeBody, Key};
use sync_core::EngineOptions;
use sync_core::engine::draft;
use sync_core::engine::writer::{EntryMachine, History, Moment, WriterAction, WriterInput};
use sync_core::traits::{
    Action, Attempt, Destination, Draft, DraftBody, Effect, Entry, Outcome, RecordIndex, RecordLife, Rejection, Report,
    Store, Verdict, WriteOp,
};
use sync_core::{EndpointError, EndpointErrorKind, Seq};
use sync_store_sqlite::SqliteStore;
use timing::{Clock as _, SystemClock};

pub use view::{FieldView, OutcomeView, Preview, RequestView, RuleView};

use self::course::{Course, entry, forget_outdated};
use self::view::Findings;
use crate::config::Config;
use crate::connect::{self, Services};
use crate::control::{configured, open, store_error};
use crate::error::{Error, ErrorKind, Problem};
use crate::explain::{EntryView, RecordRef, key_of};
use crate::wire::Wire;

/// Takes one record through the mapping, and answers the requests that a run would send for it now. It asks both services,
/// with GET alone, and reads the store where there is one, also beside a process that runs on it.
///
/// **The answer contains the record's values**: it is for the person who asked for this record.
///
/// # Errors
/// When the table is not configured, the id is none, the store cannot be read, a service refuses or cannot be reached, or
/// nothing is known of the record on either side.
pub async fn preview(config: &Config, table: &str, id: &str) -> Result<Preview, Error> {
    let spec = configured(config, table)?;
    let key = key_of(id)?;
    let prepared = connect::prepare(config)?.rehearsing();
    let store = if config.store.sqlite.exists() { Some(Arc::new(open(config)?)) } else { None };
    let pauses = store.clone().map(|store| -> Arc<dyn Store> { store });
    let services = connect::services(config, prepared, pauses.as_ref(), &SystemClock::shared()).await?;
    let Services { dataverse, campaign, campaign_wire, tables, retention, .. } = services;
    // The services' tables are in the order of the configuration, each once.
    let mapped = config.tables.iter().zip(tables).find(|(other, _)| other.table == spec.table);
    let Some((_, mapped)) = mapped else { return Err(gone(table, &key)) };
    let plan = mapped.plan().clone();
    let parts = mapped
        .stream(config, &dataverse, retention, &campaign, None, None)
        .map_err(|error| refused("table", &error.to_string(), error.remedy()))?;

    let mut changes = parts.source.fetch(std::slice::from_ref(&key)).await.map_err(|error| asked(&error))?;
    let Some(change) = changes.pop() else { return Err(gone(table, &key)) };
    let failed = |error| store_error(config, error);
    let mut life = match &store {
        Some(store) => store.record_life(&parts.id, &key).await.map_err(failed)?,
        None => RecordLife::default(),
    };
    if matches!(change.body, ChangeBody::Delete) && life.is_unknown() {
        return Err(gone(table, &key));
    }
    forget_outdated(&mut life, parts.transform.version());
    let explanation = plan.explain(&change);
    let found = !matches!(change.body, ChangeBody::Delete);
    let draft = draft(parts.transform.as_ref(), change);
    let waits_for = absent(store.as_deref(), &draft).await.map_err(failed)?;
    let course = Course::of(&life, &draft);

    campaign_wire.rehearsed();
    let played = match course.body {
        None => Played::Nothing,
        Some(body) => {
            let entry = Entry {
                body,
                appended_ms: now_ms(),
                ..entry(&life, &draft, &course.before, parts.transform.version())
            };
            play(parts.destination.as_ref(), entry).await?
        }
    };
    let outcome = match (played, &draft.body) {
        (_, DraftBody::Rejected(rejection)) => OutcomeView::dead(rejection),
        (Played::Dead(rejection), _) => OutcomeView::dead(&rejection),
        (Played::Done(effect), _) => OutcomeView::written(effect),
        (Played::Nothing, body) => OutcomeView::nothing(body, course.acceptance, &life),
    };
    let requests = sent(&campaign_wire);
    let before = course.before.iter().map(EntryView::of).collect();
    let version = draft.version;
    Ok(Preview::of(spec, &key, Findings { found, version, explanation, outcome, before, waits_for, requests }))
}

/// The parents that are not in Campaign yet.
async fn absent(store: Option<&SqliteStore>, draft: &Draft) -> Result<Vec<RecordRef>, sync_core::StoreError> {
    let mut absent = Vec::new();
    for parent in &draft.parents {
        let known = match store {
            Some(store) => store.get_many(&parent.stream, std::slice::from_ref(&parent.key)).await?,
            None => Vec::new(),
        };
        if !known.into_iter().flatten().any(|row| row.bound) {
            absent.push(RecordRef::of(parent));
        }
    }
    Ok(absent)
}

/// How writing it ended, had every write been accepted.
enum Played {
    Nothing,
    Done(Effect),
    Dead(Rejection),
}

/// Lets the writer's machine drive the destination, whose writes are kept by the wire.
async fn play(destination: &dyn Destination, entry: Entry) -> Result<Played, Error> {
    let policy = EngineOptions::default().write_policy(destination.capabilities());
    let at = Attempt { number: 1, in_doubt: entry.unknown, class: entry.class, appended_ms: entry.appended_ms };
    let key = entry.key.clone();
    let op = |action: &Action| [WriteOp { seq: Seq(0), key: key.clone(), action: action.clone() }];
    let now_ms = now_ms();
    let (mut machine, mut next) = EntryMachine::start(entry, History::default(), &policy);
    loop {
        let mut report = Report::new(1);
        let done = match &next {
            WriterAction::Apply(action) => destination.apply(&at, &op(action), &mut report).await,
            WriterAction::Resolve(action) => destination.resolve(&at, &op(action), &mut report).await,
            WriterAction::Settle(ending) => {
                return match &ending.verdict {
                    Some(Verdict::Done { effect, .. }) => Ok(Played::Done(*effect)),
                    Some(Verdict::Dead { rejection, .. }) => Ok(Played::Dead(rejection.clone())),
                    Some(Verdict::Retry { code, .. } | Verdict::Unknown { code, .. }) => Err(unclear(code)),
                    _ => Err(unclear("not-dispatched")),
                };
            }
        };
        // What a service says is worth more than that nothing was dispatched.
        done.map_err(|error| asked(&error))?;
        let outcome = report.into_outcomes().pop().unwrap_or(Outcome::Missing);
        next = machine.step(Moment { now_ms, unit: 0.0 }, &policy, WriterInput::Outcome(outcome));
    }
}

fn now_ms() -> i64 {
    SystemClock::new().now().timestamp_millis()
}

/// The requests that the destination made, and would have made.
fn sent(wire: &Wire) -> Vec<RequestView> {
    let views = wire.rehearsed().into_iter().map(|request| {
        let query = request.url.query().map(|query| format!("?{query}")).unwrap_or_default();
        RequestView {
            method: request.method.to_string(),
            path: format!("{}{query}", request.url.path()),
            body: (!request.body.is_empty()).then(|| String::from_utf8_lossy(&request.body).into_owned()),
        }
    });
    views.collect()
}

fn gone(table: &str, key: &Key) -> Error {
    refused(
        "--id",
        &format!("Dynamics 365 shows no record {} in the table {table}, and nothing is recorded of one", key.to_text()),
        "Check the id and the table, and that the application user may read the record.",
    )
}

fn refused(place: &str, message: &str, remedy: &str) -> Error {
    Error::one(ErrorKind::Refused, Problem::new(place, format!("{message}."), remedy))
}

/// What a side said instead of an answer.
fn asked(error: &EndpointError) -> Error {
    let kind = match error.kind() {
        EndpointErrorKind::Unavailable => ErrorKind::Unavailable,
        _ => ErrorKind::Refused,
    };
    Error::one(kind, Problem::new("preview", error.to_string(), error.remedy()))
}

fn unclear(code: &str) -> Error {
    let message = format!("Campaign could not be asked for the record ({code}).");
    Error::one(ErrorKind::Unavailable, Problem::new("preview", message, "Ask again; if it repeats, run preflight."))
}
