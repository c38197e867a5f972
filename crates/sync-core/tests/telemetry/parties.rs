//! A source, a transform and a destination that hold canaries wherever a value may be, and write down how everything that the
//! engine gives them shows itself.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use record::{Change, ChangeBody, FieldName, Key, Record, Value};
use sync_core::traits::{
    Action, Attempt, BatchLimit, ChangeBatch, Decision, Destination, DestinationCaps, Outcome, Parent, Phase,
    Rejection, Report, ScanDepth, ScanPage, ScannedRow, Source, SourceCaps, Transform, WriteOp,
};
use sync_core::{Digest, EndpointError, EndpointErrorKind, Payload, PlanVersion, Position, StreamId};

/// Stands in every planted value, and nowhere else.
pub(crate) const CANARY: &str = "CANARY";

/// An e-mail address for a key.
pub(crate) fn key(name: &str) -> Key {
    Key::text(format!("{CANARY}.{name}@example.com"))
}

/// A position with a token in it.
fn position(place: &str) -> Position {
    Position::new(format!("https://org.example.com/api?$deltatoken={CANARY}token|{place}"))
}

fn place(position: &Position) -> String {
    position.as_str().rsplit('|').next().unwrap().to_owned()
}

/// How everything shows itself that went by.
#[derive(Clone, Default)]
pub(crate) struct Shown(Arc<Mutex<String>>);

/// It is part of parties that are shown themselves.
impl Debug for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shown")
    }
}

impl Shown {
    pub(crate) fn show(&self, value: &impl Debug) {
        let mut shown = self.0.lock().unwrap();
        shown.push_str(&format!("{value:?}\n{value:#?}\n"));
    }

    pub(crate) fn add(&self, text: &str) {
        self.0.lock().unwrap().push_str(text);
    }

    pub(crate) fn take(&self) -> String {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

/// An error whose cause holds what a service sent.
pub(crate) fn error(shown: &Shown, kind: EndpointErrorKind, after: Option<Duration>) -> EndpointError {
    let error = EndpointError::new(kind, "service-trouble", "The service has trouble.", "Mend the service.")
        .with_retry_after(after)
        .with_source(format!("409: duplicate of Ada {CANARY} <ada.{CANARY}@example.com>, Bearer {CANARY}"));
    shown.show(&error);
    shown.add(&format!("{error}"));
    error
}

#[derive(Debug, Default)]
pub(crate) struct SourceState {
    rows: BTreeMap<Key, (i64, String)>,
    deletes: Vec<(i64, Key)>,
    version: i64,
    oldest: i64,
    pub(crate) troubles: VecDeque<(EndpointErrorKind, Option<Duration>)>,
}

#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) scan: bool,
    pub(crate) retention: Option<Duration>,
    state: Mutex<SourceState>,
    shown: Shown,
}

impl Table {
    pub(crate) fn new(shown: &Shown, scan: bool) -> Self {
        Self { scan, retention: None, state: Mutex::default(), shown: shown.clone() }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, SourceState> {
        self.state.lock().unwrap()
    }

    pub(crate) fn put(&self, name: &str, text: &str) {
        let mut state = self.state();
        state.version += 1;
        let version = state.version;
        state.rows.insert(key(name), (version, text.to_owned()));
    }

    pub(crate) fn delete(&self, name: &str) {
        let mut state = self.state();
        state.version += 1;
        let version = state.version;
        state.rows.remove(&key(name));
        state.deletes.push((version, key(name)));
    }

    /// Positions given so far are served no more, and rows go without a trace.
    pub(crate) fn expire(&self, gone: &[&str]) {
        let mut state = self.state();
        state.version += 1;
        state.oldest = state.version;
        state.deletes.clear();
        for name in gone {
            state.rows.remove(&key(name));
        }
    }
}

fn upsert(key: &Key, version: i64, text: &str) -> Change {
    let mut record = Record::with_capacity(3);
    record.set(FieldName::from("text"), Value::Text(text.into()));
    record.set(FieldName::from("email"), Value::Text(format!("ada.{CANARY}@example.com").into()));
    record.set(FieldName::from("phone"), Value::Text(format!("+49 {CANARY} 555").into()));
    Change { key: key.clone(), version: Some(version), body: ChangeBody::Upsert(record) }
}

#[async_trait]
impl Source for Table {
    fn capabilities(&self) -> SourceCaps {
        SourceCaps { deletes: true, scan: self.scan, retention: self.retention }
    }

    async fn read(&self, after: Option<&Position>, limit: BatchLimit) -> Result<ChangeBatch, EndpointError> {
        self.shown.show(&(after, limit));
        let mut state = self.state();
        if let Some((kind, wait)) = state.troubles.pop_front() {
            return Err(error(&self.shown, kind, wait));
        }
        let at = after.map_or_else(|| format!("s::{}", state.version), place);
        let parts: Vec<&str> = at.split(':').collect();
        let since: i64 = parts.last().unwrap().parse().unwrap();
        if since < state.oldest {
            return Err(error(&self.shown, EndpointErrorKind::Expired, None));
        }
        let rows = limit.rows as usize;
        let batch = if parts[0] == "s" {
            let from = parts[1].to_owned();
            let mut left = state.rows.iter().filter(|(key, _)| from.is_empty() || key.to_text() > from);
            let changes: Vec<_> = left.by_ref().take(rows).map(|(key, (at, text))| upsert(key, *at, text)).collect();
            let more = left.next().is_some();
            let last = changes.last().map(|change| change.key.to_text()).unwrap_or_default();
            let next = if more { format!("s:{last}:{since}") } else { format!("d:{since}") };
            ChangeBatch { changes, next: position(&next), phase: Phase::Snapshot, more }
        } else {
            let mut changed: Vec<_> =
                state.rows.iter().map(|(key, (at, text))| (*at, upsert(key, *at, text))).collect();
            let gone = |key: &Key| Change { key: key.clone(), version: None, body: ChangeBody::Delete };
            changed.extend(state.deletes.iter().map(|(at, key)| (*at, gone(key))));
            changed.retain(|(at, _)| *at > since);
            changed.sort_by_key(|(at, _)| *at);
            let more = changed.len() > rows;
            changed.truncate(rows);
            let next = changed.last().map_or(since, |(at, _)| *at);
            let changes = changed.into_iter().map(|(_, change)| change).collect();
            ChangeBatch { changes, next: position(&format!("d:{next}")), phase: Phase::Incremental, more }
        };
        self.shown.show(&batch);
        Ok(batch)
    }

    async fn scan(
        &self,
        after: Option<&Position>,
        limit: BatchLimit,
        depth: ScanDepth,
    ) -> Result<ScanPage, EndpointError> {
        self.shown.show(&(after, limit, depth));
        let state = self.state();
        let from = after.map(place).unwrap_or_default();
        let mut left = state.rows.iter().filter(|(key, _)| from.is_empty() || key.to_text() > from);
        let rows: Vec<_> = left
            .by_ref()
            .take(limit.rows as usize)
            .map(|(key, (at, text))| ScannedRow {
                key: key.clone(),
                version: Some(*at),
                change: (depth == ScanDepth::Rows).then(|| upsert(key, *at, text)),
            })
            .collect();
        let last = rows.last().map(|row| row.key.to_text()).unwrap_or_default();
        let next = left.next().is_some().then(|| position(&last));
        let page = ScanPage { rows, next };
        self.shown.show(&page);
        Ok(page)
    }

    async fn fetch(&self, keys: &[Key]) -> Result<Vec<Change>, EndpointError> {
        let state = self.state();
        let one = |key: &Key| match state.rows.get(key) {
            Some((version, text)) => upsert(key, *version, text),
            None => Change { key: key.clone(), version: None, body: ChangeBody::Delete },
        };
        let changes: Vec<_> = keys.iter().map(one).collect();
        self.shown.show(&changes);
        Ok(changes)
    }
}

/// Writes the text; `bad` ones are refused, `panic` ones break it, `of NAME` ones have a parent.
#[derive(Debug)]
pub(crate) struct Texts {
    pub(crate) parents: StreamId,
    pub(crate) shown: Shown,
}

fn text(change: &Change) -> Option<&str> {
    match &change.body {
        ChangeBody::Upsert(record) => match record.get("text") {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        },
        _ => None,
    }
}

impl Transform for Texts {
    fn decide(&self, change: &Change) -> Result<Decision, Rejection> {
        self.shown.show(change);
        let Some(text) = text(change) else { return Ok(Decision::Delete) };
        if text.starts_with("bad") {
            return Err(Rejection { code: "bad-text".into(), field: None, explanation: "Mend the text.".into() });
        }
        assert!(!text.starts_with("panic"), "cannot map {text} of {}: {CANARY}", change.key.to_text());
        let body = Payload(format!("{text} {CANARY}").into_bytes().into());
        let mut digest = [0; 16];
        digest.iter_mut().zip(text.bytes()).for_each(|(to, from)| *to = from);
        let decision = Decision::Upsert { insert: body.clone(), update: body.into(), digest: Digest(digest) };
        self.shown.show(&decision);
        Ok(decision)
    }

    fn parents(&self, change: &Change) -> Vec<Parent> {
        let name = text(change).and_then(|text| text.strip_prefix("of "));
        let parents = name.map(|name| Parent { stream: self.parents.clone(), key: key(name) }).into_iter().collect();
        self.shown.show(&parents);
        parents
    }

    fn version(&self) -> PlanVersion {
        PlanVersion(1)
    }
}

/// What happens to one operation of a key.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    Say(Outcome),
    Down(EndpointErrorKind, Option<Duration>),
    /// The destination itself breaks.
    Break,
}

#[derive(Debug)]
pub(crate) struct Sink {
    records: Mutex<BTreeMap<Key, Payload>>,
    faults: Mutex<HashMap<Key, VecDeque<Fault>>>,
    shown: Shown,
}

impl Sink {
    pub(crate) fn new(shown: &Shown) -> Self {
        Self { records: Mutex::default(), faults: Mutex::default(), shown: shown.clone() }
    }

    pub(crate) fn fault(&self, name: &str, fault: Fault) {
        self.faults.lock().unwrap().entry(key(name)).or_default().push_back(fault);
    }

    pub(crate) fn holds(&self, name: &str) -> bool {
        self.records.lock().unwrap().contains_key(&key(name))
    }

    fn one(&self, op: &WriteOp) -> Result<Outcome, EndpointError> {
        let fault = self.faults.lock().unwrap().get_mut(&op.key).and_then(VecDeque::pop_front);
        match fault {
            Some(Fault::Say(outcome)) => return Ok(outcome),
            Some(Fault::Down(kind, after)) => return Err(error(&self.shown, kind, after)),
            Some(Fault::Break) => panic!("the client broke over {} {CANARY}", op.key.to_text()),
            None => {}
        }
        let mut records = self.records.lock().unwrap();
        let there = records.contains_key(&op.key);
        Ok(match (&op.action, there) {
            (Action::Create(_), true) => Outcome::Exists,
            (Action::Update(_) | Action::Delete, false) => Outcome::Missing,
            (Action::Create(body) | Action::Update(body), _) => {
                records.insert(op.key.clone(), body.clone());
                Outcome::Applied
            }
            (Action::Delete, true) => {
                records.remove(&op.key);
                Outcome::Applied
            }
        })
    }
}

#[async_trait]
impl Destination for Sink {
    fn capabilities(&self) -> DestinationCaps {
        DestinationCaps { unique_key: true, settle: Duration::from_secs(60), in_flight: 2 }
    }

    async fn apply(&self, at: &Attempt, ops: &[WriteOp], report: &mut Report) -> Result<(), EndpointError> {
        self.shown.show(&(at, ops));
        for (index, op) in ops.iter().enumerate() {
            report.set(index, self.one(op)?);
        }
        self.shown.show(report);
        Ok(())
    }

    async fn resolve(&self, at: &Attempt, ops: &[WriteOp], report: &mut Report) -> Result<(), EndpointError> {
        self.shown.show(&(at, ops));
        let records = self.records.lock().unwrap();
        for (index, op) in ops.iter().enumerate() {
            report.set(index, if records.contains_key(&op.key) { Outcome::Exists } else { Outcome::Missing });
        }
        Ok(())
    }
}
