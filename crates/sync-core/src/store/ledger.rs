//! Everything the store in memory holds, and the checks that come before every change.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use record::Key;
use uuid::Uuid;

use super::settle::Claim;
use super::stream::{Numbers, PageFacts, Stream};
use crate::traits::{
    Advance, AppendReport, BacklogStats, Checkpoint, ClaimRequest, DeadLetter, DeadLetterQuery, DeleteRelease, Entry,
    Lease, LetterFilter, OwnerId, Page, Parent, PendingRequest, Phase, Rejection, Request, SettleReport, Settlement,
};
use crate::{StoreError, StoreErrorKind, StreamId, Tally};

#[derive(Debug, Default)]
pub(super) struct Ledger {
    leases: BTreeMap<Arc<str>, Held>,
    values: BTreeMap<String, Vec<u8>>,
    requests: BTreeMap<u64, PendingRequest>,
    pub(super) streams: BTreeMap<StreamId, Stream>,
    numbers: Numbers,
}

#[derive(Debug)]
struct Held {
    fence: u64,
    owner: OwnerId,
    /// `None` once it was given back; the fence stays, so that it only ever grows.
    nonce: Option<u64>,
    /// On the store's clock.
    until: Duration,
}

impl Held {
    fn is(&self, lease: &Lease, now: Duration) -> bool {
        self.fence == lease.fence && self.nonce == Some(lease.nonce) && now < self.until
    }
}

impl Ledger {
    pub(super) fn acquire(&mut self, resource: &str, owner: &OwnerId, ttl: Duration, now: Duration) -> Option<Lease> {
        let resource: Arc<str> = resource.into();
        let (_, nonce) = Uuid::new_v4().as_u64_pair();
        let until = now.saturating_add(ttl);
        let held = self.leases.entry(resource.clone()).or_insert_with(|| Held {
            fence: 0,
            owner: owner.clone(),
            nonce: None,
            until,
        });
        if held.nonce.is_some() && now < held.until && held.owner != *owner {
            return None;
        }
        *held = Held { fence: held.fence + 1, owner: owner.clone(), nonce: Some(nonce), until };
        Some(Lease { resource, fence: held.fence, nonce, ttl: Some(ttl) })
    }

    pub(super) fn renew(&mut self, lease: &Lease, ttl: Duration, now: Duration) -> Result<Lease, StoreError> {
        self.check(lease, now)?;
        if let Some(held) = self.leases.get_mut(&lease.resource) {
            held.until = now.saturating_add(ttl);
        }
        Ok(Lease { ttl: Some(ttl), ..lease.clone() })
    }

    pub(super) fn release(&mut self, lease: &Lease) {
        let held = self.leases.get_mut(&lease.resource);
        if let Some(held) = held.filter(|held| held.fence == lease.fence && held.nonce == Some(lease.nonce)) {
            held.nonce = None;
        }
    }

    pub(super) fn check(&self, lease: &Lease, now: Duration) -> Result<(), StoreError> {
        match self.leases.get(&lease.resource) {
            Some(held) if held.is(lease, now) => Ok(()),
            _ => Err(StoreError::new(
                StoreErrorKind::Fenced,
                format!("The lease of {} has ended, was taken over or given back.", lease.resource),
                "Another run owns this workflow now; this one has to stop.",
            )),
        }
    }

    pub(super) fn stream(&self, stream: &StreamId) -> Option<&Stream> {
        self.streams.get(stream)
    }

    pub(super) fn stream_mut(&mut self, stream: &StreamId) -> Option<&mut Stream> {
        self.streams.get_mut(stream)
    }

    fn check_version(&self, stream: &StreamId, expected: u64) -> Result<(), StoreError> {
        let stored = self.stream(stream).and_then(|stream| stream.checkpoint.as_ref()).map_or(0, |at| at.version);
        if stored == expected {
            return Ok(());
        }
        Err(StoreError::new(
            StoreErrorKind::Conflict,
            format!("The checkpoint of {stream} is at version {stored}, not {expected}."),
            "Load the checkpoint again and go on from there.",
        ))
    }

    pub(super) fn reset(
        &mut self,
        stream: &StreamId,
        expected_version: u64,
        generation: u64,
    ) -> Result<Checkpoint, StoreError> {
        self.check_version(stream, expected_version)?;
        let at = &mut self.streams.entry(stream.clone()).or_default().checkpoint;
        let (totals, at_ms) = at.as_ref().map_or((Tally::default(), 0), |at| (at.totals, at.at_ms));
        let version = expected_version + 1;
        let fresh = Checkpoint { generation, phase: Phase::Snapshot, position: None, version, totals, at_ms };
        *at = Some(fresh.clone());
        Ok(fresh)
    }

    pub(super) fn get(&self, name: &str) -> Option<Vec<u8>> {
        self.values.get(name).cloned()
    }

    pub(super) fn put(&mut self, name: &str, value: &[u8]) {
        self.values.insert(name.to_owned(), value.to_vec());
    }

    pub(super) fn leave_request(&mut self, request: &Request, at_ms: i64) -> u64 {
        let id = self.numbers.next();
        self.requests.insert(id, PendingRequest { id, request: request.clone(), at_ms });
        id
    }

    pub(super) fn requests(&self) -> Vec<PendingRequest> {
        self.requests.values().cloned().collect()
    }

    pub(super) fn finish_request(&mut self, id: u64) {
        self.requests.remove(&id);
    }

    fn is_bound(&self, parent: &Parent) -> bool {
        self.stream(&parent.stream).and_then(|stream| stream.index.get(&parent.key)).is_some_and(|row| row.bound)
    }

    /// Whether a record is the other one, or waits for it, at first hand or through others. Whoever would wait for a record
    /// that waits for it closes a circle, and does not wait: what waits never does so in a circle.
    fn waits_for(&self, record: &Parent, other: &Parent) -> bool {
        let (mut open, mut seen) = (vec![record.clone()], BTreeSet::new());
        while let Some(record) = open.pop() {
            if record == *other {
                return true;
            }
            if let Some(stream) = self.stream(&record.stream) {
                open.extend(stream.awaited_by(&record.key).filter(|next| !seen.contains(*next)).cloned());
            }
            seen.insert(record);
        }
        false
    }

    pub(super) fn append(&mut self, page: Page, advance: Advance) -> Result<AppendReport, StoreError> {
        self.check_version(&page.stream, advance.expected_version)?;
        let facts = PageFacts {
            plan: page.plan,
            class: page.class,
            replay: page.replay,
            generation: advance.generation,
            mark_seen: page.mark_seen,
            refresh: page.refresh,
            hold_deletes: page.hold_deletes,
            now_ms: page.now_ms,
        };
        let mut tally = Tally::default();
        for draft in page.drafts {
            let child = Parent { stream: page.stream.clone(), key: draft.key.clone() };
            let absent =
                draft.parents.iter().filter(|parent| !self.is_bound(parent) && !self.waits_for(parent, &child));
            let waiting = absent.cloned().collect();
            let stream = self.streams.entry(page.stream.clone()).or_default();
            tally += stream.accept(draft, waiting, facts, &mut self.numbers);
        }
        let stream = self.streams.entry(page.stream.clone()).or_default();
        let mut totals = stream.checkpoint.as_ref().map_or_else(Tally::default, |at| at.totals);
        totals += tally;
        let checkpoint = Checkpoint {
            generation: advance.generation,
            phase: advance.phase,
            position: Some(advance.position),
            version: advance.expected_version + 1,
            totals,
            at_ms: page.now_ms,
        };
        stream.checkpoint = Some(checkpoint.clone());
        Ok(AppendReport { checkpoint, tally })
    }

    pub(super) fn claim(&mut self, lease: &Lease, want: &ClaimRequest) -> Vec<Entry> {
        let claim = Claim { holder: lease.nonce, max: want.max, plan: want.plan, now_ms: want.now_ms };
        let stream = self.streams.get_mut(&want.stream);
        stream.map(|stream| stream.claim(claim, &mut self.numbers)).unwrap_or_default()
    }

    pub(super) fn settle(
        &mut self,
        lease: &Lease,
        id: &StreamId,
        settlements: Vec<Settlement>,
        now_ms: i64,
    ) -> SettleReport {
        let mut report = SettleReport::default();
        let Some(stream) = self.streams.get_mut(id) else {
            report.passed_over = settlements.len() as u64;
            return report;
        };
        let mut arrived = Vec::new();
        for settlement in settlements {
            match stream.settle(settlement, lease.nonce, now_ms, &mut self.numbers) {
                Some(settled) => {
                    report.tally += settled.tally;
                    arrived.extend(settled.bound);
                }
                None => report.passed_over += 1,
            }
        }
        if let Some(at) = &mut stream.checkpoint {
            at.totals += report.tally;
        }
        for key in arrived {
            self.release_children(id, key, now_ms, &mut report.released);
        }
        report
    }

    /// Whoever waited for this record may go on, in whatever stream it is.
    fn release_children(&mut self, id: &StreamId, key: Key, now_ms: i64, released: &mut BTreeMap<StreamId, Tally>) {
        let parent = Parent { stream: id.clone(), key };
        for (id, stream) in &mut self.streams {
            if let Some(tally) = stream.parent_arrived(&parent, now_ms, &mut self.numbers) {
                *released.entry(id.clone()).or_default() += tally;
                if let Some(at) = &mut stream.checkpoint {
                    at.totals += tally;
                }
            }
        }
    }

    pub(super) fn release_deletes(&mut self, want: &DeleteRelease) -> Option<u64> {
        let waits = |child: &StreamId| self.stream(child).is_some_and(|child| child.unsettled_to(want.children_to));
        if want.children.iter().any(waits) {
            return None;
        }
        Some(self.stream_mut(&want.stream).map_or(0, |stream| stream.release_deletes(want.held_to)))
    }

    pub(super) fn stats(&self, stream: &StreamId) -> BacklogStats {
        let stats = self.stream(stream).map(Stream::stats).unwrap_or_default();
        BacklogStats { last: self.numbers.last(), ..stats }
    }

    pub(super) fn give_up_waiting(
        &mut self,
        stream: &StreamId,
        before_ms: i64,
        rejection: &Rejection,
        now_ms: i64,
    ) -> u64 {
        let Some(stream) = self.streams.get_mut(stream) else { return 0 };
        let dead = stream.give_up_waiting(before_ms, rejection, now_ms, &mut self.numbers);
        if let Some(at) = &mut stream.checkpoint {
            at.totals += Tally { dead, ..Tally::default() };
        }
        dead
    }

    pub(super) fn dead_letters(&self, query: &DeadLetterQuery) -> Vec<DeadLetter> {
        let filter = &query.filter;
        let mut letters: Vec<DeadLetter> = self
            .streams
            .iter()
            .filter(|(id, _)| filter.stream.as_ref().is_none_or(|wanted| wanted == *id))
            .flat_map(|(id, stream)| {
                let hits = stream.dead.iter().filter(|(_, dead)| dead.matches(filter));
                hits.map(move |(key, dead)| dead.view(id, key))
            })
            .filter(|letter| query.after.is_none_or(|after| letter.id > after))
            .collect();
        letters.sort_by_key(|letter| letter.id);
        letters.truncate(query.limit);
        letters
    }

    pub(super) fn drop_letters(&mut self, filter: &LetterFilter) -> u64 {
        let wanted = |id: &StreamId| filter.stream.as_ref().is_none_or(|wanted| wanted == id);
        let mut dropped = 0;
        for (_, stream) in self.streams.iter_mut().filter(|(id, _)| wanted(id)) {
            let before = stream.dead.len();
            stream.dead.retain(|_, dead| !dead.matches(filter));
            dropped += (before - stream.dead.len()) as u64;
        }
        dropped
    }
}
