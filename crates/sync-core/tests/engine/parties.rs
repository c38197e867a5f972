//! A source, a transform and a destination in memory, with scripted trouble.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use record::{Change, ChangeBody, FieldName, Key, Record, Value};
use sync_core::traits::{
    Action, Attempt, BatchLimit, ChangeBatch, Decision, Destination, DestinationCaps, Outcome, Parent, Phase,
    Rejection, Report, ScanDepth, ScanPage, ScannedRow, Source, SourceCaps, Transform, Update, WriteOp,
};
use sync_core::{Digest, EndpointError, EndpointErrorKind, Payload, PlanVersion, Position, StatusReason, StreamId};
use timing::{Clock, ManualClock};

use crate::tripwire::Tripwire;

pub(crate) fn key(name: &str) -> Key {
    Key::text(name)
}

fn error(kind: EndpointErrorKind, retry_after: Option<Duration>) -> EndpointError {
    EndpointError::new(kind, "service-trouble", "The service has trouble.", "Mend the service.")
        .with_retry_after(retry_after)
}

/// What happens to a row of the source.
#[derive(Debug, Clone)]
pub(crate) enum Edit {
    Put(&'static str, &'static str),
    Delete(&'static str),
    /// The feed tells once more of a state that it told of long ago.
    Resend(&'static str, i64, &'static str),
}

#[derive(Debug, Default)]
pub(crate) struct SourceState {
    rows: BTreeMap<Key, (i64, String)>,
    deletes: Vec<(i64, Key)>,
    version: i64,
    /// Older positions are expired.
    oldest: i64,
    pub(crate) troubles: VecDeque<(EndpointErrorKind, Option<Duration>)>,
    pub(crate) reads: usize,
    pub(crate) rows_read: usize,
    pub(crate) fetched: usize,
    /// Snapshots stop before this key until it is lifted.
    pub(crate) gate: bool,
    /// The source can be scanned.
    pub(crate) scan: bool,
    /// The token at the end of a snapshot does not cover changes made while it was read.
    pub(crate) late_token: bool,
    pub(crate) retention: Option<Duration>,
    /// What happens right after the answer to the read, or scan, of this number.
    pub(crate) after_read: HashMap<usize, Vec<Edit>>,
    pub(crate) after_scan: HashMap<usize, Vec<Edit>>,
    pub(crate) scan_troubles: VecDeque<(EndpointErrorKind, Option<Duration>)>,
    /// Scans, with the depth of each.
    pub(crate) scans: Vec<ScanDepth>,
    /// What it has to say although it reads.
    pub(crate) notice: Option<StatusReason>,
    /// Every question in order.
    pub(crate) asked: Vec<&'static str>,
    /// So many scans are answered; the next waits until this is lifted.
    pub(crate) scan_gate: Option<usize>,
    resent: Vec<Change>,
    /// The feed tells of no change up to this version.
    silent: i64,
}

impl SourceState {
    fn edit(&mut self, edit: Edit) {
        match edit {
            Edit::Put(name, text) => self.put(name, text),
            Edit::Delete(name) => self.delete(name),
            Edit::Resend(name, version, text) => self.resent.push(upsert(&key(name), version, text)),
        }
    }

    fn put(&mut self, name: &str, text: &str) {
        self.version += 1;
        let version = self.version;
        self.rows.insert(key(name), (version, text.to_owned()));
        self.deletes.retain(|(_, deleted)| *deleted != key(name));
    }

    fn delete(&mut self, name: &str) {
        self.version += 1;
        let version = self.version;
        self.rows.remove(&key(name));
        self.deletes.push((version, key(name)));
    }

    fn gated(&self) -> bool {
        self.scan_gate.is_some_and(|answered| self.scans.len() >= answered)
    }

    pub(crate) fn version_of(&self, name: &str) -> i64 {
        self.rows[&key(name)].0
    }
}

#[derive(Debug)]
pub(crate) struct FakeSource {
    pub(crate) state: Mutex<SourceState>,
    wire: Arc<Tripwire>,
}

impl FakeSource {
    pub(crate) fn new() -> Self {
        Self { state: Mutex::default(), wire: Tripwire::never() }
    }

    /// The same table, behind another wire.
    pub(crate) fn rewired(&self, wire: Arc<Tripwire>) -> Self {
        Self { state: Mutex::new(std::mem::take(&mut *self.state())), wire }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, SourceState> {
        self.state.lock().unwrap()
    }

    pub(crate) fn put(&self, name: &str, text: &str) {
        self.state().put(name, text);
    }

    pub(crate) fn delete(&self, name: &str) {
        self.state().delete(name);
    }

    pub(crate) fn edit(&self, edit: Edit) {
        self.state().edit(edit);
    }

    /// The feed never tells of what happened so far.
    pub(crate) fn forget_changes(&self) {
        let mut state = self.state();
        state.silent = state.version;
    }

    /// Every position given so far is no longer served, and deletes are forgotten with them.
    pub(crate) fn expire(&self) {
        let mut state = self.state();
        state.version += 1;
        state.oldest = state.version;
        state.deletes.clear();
    }

    /// What the destination is to hold.
    pub(crate) fn expected(&self) -> BTreeMap<Key, Vec<String>> {
        let written = |text: &str| !["skip", "bad", "panic"].iter().any(|odd| text.starts_with(odd));
        let rows = &self.state().rows;
        rows.iter()
            .filter(|(_, (_, text))| written(text))
            .map(|(key, (_, text))| (key.clone(), vec![text.clone()]))
            .collect()
    }
}

fn upsert(key: &Key, version: i64, text: &str) -> Change {
    let mut record = Record::with_capacity(1);
    record.set(FieldName::from("text"), Value::Text(text.into()));
    Change { key: key.clone(), version: Some(version), body: ChangeBody::Upsert(record) }
}

#[async_trait]
impl Source for FakeSource {
    fn capabilities(&self) -> SourceCaps {
        let state = self.state();
        SourceCaps { deletes: true, scan: state.scan, retention: state.retention }
    }

    fn notice(&self) -> Option<StatusReason> {
        self.state().notice.clone()
    }

    async fn read(&self, after: Option<&Position>, limit: BatchLimit) -> Result<ChangeBatch, EndpointError> {
        self.wire.pass().await;
        while after.is_none() && self.state().gate {
            tokio::task::yield_now().await;
        }
        let batch = {
            let mut state = self.state();
            state.reads += 1;
            state.asked.push("read");
            if let Some((kind, retry_after)) = state.troubles.pop_front() {
                return Err(error(kind, retry_after));
            }
            let rows = limit.rows as usize;
            let parts: Vec<&str> = after.map_or_else(Vec::new, |at| at.as_str().split(':').collect());
            let since = parts.last().map_or(state.version, |text| text.parse().unwrap());
            if since < state.oldest {
                return Err(error(EndpointErrorKind::Expired, None));
            }
            let (phase, changes, more, next) = if after.is_none() || parts[0] == "s" {
                let from = parts.get(1).map(|text| key(text));
                let mut left = state.rows.iter().filter(|(key, _)| from.as_ref().is_none_or(|from| *key > from));
                let page: Vec<_> = left.by_ref().take(rows).map(|(key, (at, text))| upsert(key, *at, text)).collect();
                let more = left.next().is_some();
                let last = page.last().map(|change| change.key.to_text()).unwrap_or_default();
                let covered = if state.late_token { state.version } else { since };
                let next = if more { format!("s:{last}:{since}") } else { format!("d:{covered}") };
                (Phase::Snapshot, page, more, next)
            } else {
                let mut changed: Vec<(i64, Change)> =
                    state.rows.iter().map(|(key, (at, text))| (*at, upsert(key, *at, text))).collect();
                changed.extend(
                    state
                        .deletes
                        .iter()
                        .map(|(at, key)| (*at, Change { key: key.clone(), version: None, body: ChangeBody::Delete })),
                );
                changed.retain(|(at, _)| *at > since.max(state.silent));
                changed.sort_by_key(|(at, _)| *at);
                let more = changed.len() > rows;
                changed.truncate(rows);
                let next = changed.last().map_or(since, |(at, _)| *at);
                let mut changes: Vec<Change> = changed.into_iter().map(|(_, change)| change).collect();
                changes.append(&mut state.resent);
                (Phase::Incremental, changes, more, format!("d:{next}"))
            };
            state.rows_read += changes.len();
            let number = state.reads;
            for edit in state.after_read.remove(&number).unwrap_or_default() {
                state.edit(edit);
            }
            ChangeBatch { changes, next: Position::new(next), phase, more }
        };
        self.wire.pass().await;
        Ok(batch)
    }

    async fn scan(
        &self,
        after: Option<&Position>,
        limit: BatchLimit,
        depth: ScanDepth,
    ) -> Result<ScanPage, EndpointError> {
        self.wire.pass().await;
        while self.state().gated() {
            tokio::task::yield_now().await;
        }
        let page = {
            let mut state = self.state();
            assert!(state.scan, "it said that it cannot");
            state.scans.push(depth);
            state.asked.push("scan");
            if let Some((kind, retry_after)) = state.scan_troubles.pop_front() {
                return Err(error(kind, retry_after));
            }
            let from = after.map(|at| key(at.as_str()));
            let mut left = state.rows.iter().filter(|(key, _)| from.as_ref().is_none_or(|from| *key > from));
            let row = |(key, (version, text)): (&Key, &(i64, String))| ScannedRow {
                key: key.clone(),
                version: Some(*version),
                change: (depth == ScanDepth::Rows).then(|| upsert(key, *version, text)),
            };
            let rows: Vec<_> = left.by_ref().take(limit.rows as usize).map(row).collect();
            let more = left.next().is_some();
            let next = rows.last().filter(|_| more).map(|row| Position::new(row.key.to_text()));
            let number = state.scans.len();
            for edit in state.after_scan.remove(&number).unwrap_or_default() {
                state.edit(edit);
            }
            ScanPage { rows, next }
        };
        self.wire.pass().await;
        Ok(page)
    }

    async fn fetch(&self, keys: &[Key]) -> Result<Vec<Change>, EndpointError> {
        self.wire.pass().await;
        let mut state = self.state();
        state.asked.push("fetch");
        state.fetched += keys.len();
        Ok(keys
            .iter()
            .map(|key| match state.rows.get(key) {
                Some((version, text)) => upsert(key, *version, text),
                None => Change { key: key.clone(), version: None, body: ChangeBody::Delete },
            })
            .collect())
    }
}

/// Writes the text, and the plan where it is marked. The words after ` < ` name parents as `stream#key`.
#[derive(Debug)]
pub(crate) struct TextTransform {
    pub(crate) plan: u64,
    pub(crate) marked: bool,
    /// A replay writes one thing more.
    pub(crate) again: bool,
}

impl Transform for TextTransform {
    fn decide(&self, change: &Change) -> Result<Decision, Rejection> {
        let ChangeBody::Upsert(record) = &change.body else { return Ok(Decision::Delete) };
        let Some(Value::Text(text)) = record.get("text") else { return Ok(Decision::Ignore) };
        if text.starts_with("skip") {
            return Ok(Decision::FilteredOut { delete: true });
        }
        if text.starts_with("bad") {
            return Err(Rejection { code: "bad-text".into(), field: None, explanation: "Mend the text.".into() });
        }
        assert!(!text.starts_with("panic"), "the mapping breaks on purpose");
        let text = if self.marked { format!("{text} by plan {}", self.plan) } else { text.to_string() };
        let body = Payload(text.as_bytes().to_vec().into());
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        let mut digest = [0; 16];
        digest[..8].copy_from_slice(&hasher.finish().to_be_bytes());
        Ok(Decision::Upsert { insert: body.clone(), update: body.into(), digest: Digest(digest) })
    }

    fn decide_replay(&self, change: &Change) -> Result<Decision, Rejection> {
        let mut decision = self.decide(change)?;
        if let Decision::Upsert { update: Update::Body(body), .. } = &mut decision
            && self.again
        {
            *body = Payload([&body.0[..], b" again"].concat().into());
        }
        Ok(decision)
    }

    fn parents(&self, change: &Change) -> Vec<Parent> {
        let ChangeBody::Upsert(record) = &change.body else { return Vec::new() };
        let Some(Value::Text(text)) = record.get("text") else { return Vec::new() };
        let named = text.split_once(" < ").map_or("", |(_, named)| named);
        let parent = |name: &str| {
            let (stream, name) = name.split_once('#').unwrap();
            Parent { stream: StreamId::new(stream), key: key(name) }
        };
        named.split_whitespace().map(parent).collect()
    }

    fn version(&self) -> PlanVersion {
        PlanVersion(self.plan)
    }
}

/// What happens to one operation of a key.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// It is answered so, without effect.
    Say(Outcome),
    /// It takes effect, and the answer is lost.
    AnswerLost,
    /// It is lost on the way, and nobody knows.
    RequestLost,
    /// Nothing is dispatched.
    Down(EndpointErrorKind, Option<Duration>),
}

#[derive(Debug, Default)]
pub(crate) struct DestinationState {
    /// More than one text is a duplicate.
    pub(crate) records: BTreeMap<Key, Vec<String>>,
    /// Every call in order.
    pub(crate) calls: Vec<String>,
    pub(crate) faults: HashMap<Key, VecDeque<Fault>>,
    busy: HashMap<Key, usize>,
    pub(crate) in_flight: usize,
    pub(crate) in_flight_max: usize,
    /// Two operations of one key were in flight together.
    pub(crate) overlapped: bool,
}

#[derive(Debug)]
pub(crate) struct FakeDestination {
    pub(crate) state: Mutex<DestinationState>,
    pub(crate) caps: DestinationCaps,
    pub(crate) latency: Duration,
    clock: ManualClock,
    wire: Arc<Tripwire>,
}

impl FakeDestination {
    pub(crate) fn new(clock: ManualClock) -> Self {
        let caps = DestinationCaps { unique_key: true, settle: Duration::from_secs(60), in_flight: 4 };
        Self { state: Mutex::default(), caps, latency: Duration::ZERO, clock, wire: Tripwire::never() }
    }

    /// The same records, behind another wire.
    pub(crate) fn rewired(&self, wire: Arc<Tripwire>) -> Self {
        let state = std::mem::take(&mut *self.state());
        let state = DestinationState { busy: HashMap::new(), in_flight: 0, ..state };
        Self { state: Mutex::new(state), caps: self.caps, latency: self.latency, clock: self.clock.clone(), wire }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, DestinationState> {
        self.state.lock().unwrap()
    }

    pub(crate) fn fault(&self, name: &str, fault: Fault) {
        self.state().faults.entry(key(name)).or_default().push_back(fault);
    }

    /// The calls since the last time this was asked.
    pub(crate) fn take_calls(&self) -> Vec<String> {
        std::mem::take(&mut self.state().calls)
    }

    fn perform(&self, op: &WriteOp) -> Outcome {
        let mut state = self.state();
        match &op.action {
            Action::Create(body) => {
                let held = state.records.entry(op.key.clone()).or_default();
                if self.caps.unique_key && !held.is_empty() {
                    return Outcome::Exists;
                }
                held.push(String::from_utf8(body.0.to_vec()).unwrap());
                Outcome::Applied
            }
            Action::Update(body) => match state.records.get_mut(&op.key) {
                Some(held) => {
                    held.fill(String::from_utf8(body.0.to_vec()).unwrap());
                    Outcome::Applied
                }
                None => Outcome::Missing,
            },
            Action::Delete => match state.records.remove(&op.key) {
                Some(_) => Outcome::Applied,
                None => Outcome::Missing,
            },
        }
    }

    async fn one(&self, op: &WriteOp) -> Result<Outcome, EndpointError> {
        let verb = match &op.action {
            Action::Create(_) => "create",
            Action::Update(_) => "update",
            Action::Delete => "delete",
        };
        let fault = {
            let mut state = self.state();
            state.calls.push(format!("{verb} {}", op.key.to_text()));
            let busy = state.busy.entry(op.key.clone()).or_default();
            *busy += 1;
            let twice = *busy > 1;
            state.overlapped |= twice;
            state.in_flight += 1;
            state.in_flight_max = state.in_flight_max.max(state.in_flight);
            state.faults.get_mut(&op.key).and_then(VecDeque::pop_front)
        };
        if !self.latency.is_zero() {
            self.clock.sleep(self.latency).await;
        }
        self.wire.pass().await;
        let outcome = match fault {
            None => Ok(self.perform(op)),
            Some(Fault::Say(outcome)) => Ok(outcome),
            Some(Fault::AnswerLost) => {
                self.perform(op);
                Ok(Outcome::Unknown { code: "reset".to_owned() })
            }
            Some(Fault::RequestLost) => Ok(Outcome::Unknown { code: "reset".to_owned() }),
            Some(Fault::Down(kind, retry_after)) => Err(error(kind, retry_after)),
        };
        self.wire.pass().await;
        let mut state = self.state();
        state.in_flight -= 1;
        *state.busy.entry(op.key.clone()).or_default() -= 1;
        outcome
    }
}

#[async_trait]
impl Destination for FakeDestination {
    fn capabilities(&self) -> DestinationCaps {
        self.caps
    }

    async fn apply(&self, _at: &Attempt, ops: &[WriteOp], report: &mut Report) -> Result<(), EndpointError> {
        for (index, op) in ops.iter().enumerate() {
            report.set(index, self.one(op).await?);
        }
        Ok(())
    }

    async fn resolve(&self, _at: &Attempt, ops: &[WriteOp], report: &mut Report) -> Result<(), EndpointError> {
        self.wire.pass().await;
        for (index, op) in ops.iter().enumerate() {
            let mut state = self.state();
            state.calls.push(format!("look {}", op.key.to_text()));
            let there = state.records.contains_key(&op.key);
            report.set(index, if there { Outcome::Exists } else { Outcome::Missing });
        }
        Ok(())
    }
}
