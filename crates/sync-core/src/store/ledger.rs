//! Everything the store in memory holds, and the checks that come before every change.

use std::collections::BTreeMap;
use std::sync::Arc;

use record::Key;
use uuid::Uuid;

use super::stream::{Claim, Numbers, PageFacts, Stream};
use crate::traits::{
    Advance, AppendReport, Checkpoint, ClaimRequest, DeadLetter, DeadLetterQuery, Entry, Lease, Page, Phase,
    SettleReport, Settlement,
};
use crate::{StoreError, StoreErrorKind, StreamId, Tally};

#[derive(Debug, Default)]
pub(super) struct Ledger {
    leases: BTreeMap<Arc<str>, Held>,
    values: BTreeMap<String, Vec<u8>>,
    streams: BTreeMap<StreamId, Stream>,
    numbers: Numbers,
}

#[derive(Debug)]
struct Held {
    fence: u64,
    /// `None` once it was given back; the fence stays, so that it only ever grows.
    nonce: Option<u64>,
}

impl Ledger {
    pub(super) fn acquire(&mut self, resource: &str) -> Lease {
        let resource: Arc<str> = resource.into();
        let held = self.leases.entry(resource.clone()).or_insert(Held { fence: 0, nonce: None });
        let (_, nonce) = Uuid::new_v4().as_u64_pair();
        held.fence += 1;
        held.nonce = Some(nonce);
        Lease { resource, fence: held.fence, nonce }
    }

    pub(super) fn release(&mut self, lease: &Lease) {
        let held = self.leases.get_mut(&lease.resource);
        if let Some(held) = held.filter(|held| held.fence == lease.fence && held.nonce == Some(lease.nonce)) {
            held.nonce = None;
        }
    }

    fn check(&self, lease: &Lease) -> Result<(), StoreError> {
        match self.leases.get(&lease.resource) {
            Some(held) if held.fence == lease.fence && held.nonce == Some(lease.nonce) => Ok(()),
            _ => Err(StoreError::new(
                StoreErrorKind::Fenced,
                format!("The lease of {} was taken over or given back.", lease.resource),
                "Another run owns this workflow now; this one has to stop.",
            )),
        }
    }

    pub(super) fn stream(&self, stream: &StreamId) -> Option<&Stream> {
        self.streams.get(stream)
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
        lease: &Lease,
        stream: &StreamId,
        expected_version: u64,
        generation: u64,
    ) -> Result<Checkpoint, StoreError> {
        self.check(lease)?;
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

    pub(super) fn put(&mut self, lease: &Lease, name: &str, value: &[u8]) -> Result<(), StoreError> {
        self.check(lease)?;
        self.values.insert(name.to_owned(), value.to_vec());
        Ok(())
    }

    pub(super) fn append(&mut self, lease: &Lease, page: Page, advance: Advance) -> Result<AppendReport, StoreError> {
        self.check(lease)?;
        self.check_version(&page.stream, advance.expected_version)?;
        let stream = self.streams.entry(page.stream.clone()).or_default();
        let facts = PageFacts {
            plan: page.plan,
            generation: advance.generation,
            mark_seen: page.mark_seen,
            refresh: page.refresh,
            now_ms: page.now_ms,
        };
        let tally = stream.accept_page(page.drafts, facts, &mut self.numbers);
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

    pub(super) fn claim(&mut self, lease: &Lease, want: &ClaimRequest) -> Result<Vec<Entry>, StoreError> {
        self.check(lease)?;
        let claim = Claim { holder: lease.nonce, max: want.max, plan: want.plan, now_ms: want.now_ms };
        let stream = self.streams.get_mut(&want.stream);
        Ok(stream.map(|stream| stream.claim(claim, &mut self.numbers)).unwrap_or_default())
    }

    pub(super) fn settle(
        &mut self,
        lease: &Lease,
        stream: &StreamId,
        settlements: Vec<Settlement>,
        now_ms: i64,
    ) -> Result<SettleReport, StoreError> {
        self.check(lease)?;
        let mut report = SettleReport::default();
        let Some(stream) = self.streams.get_mut(stream) else {
            report.passed_over = settlements.len() as u64;
            return Ok(report);
        };
        for settlement in settlements {
            match stream.settle(settlement, lease.nonce, now_ms, &mut self.numbers) {
                Some(tally) => report.tally += tally,
                None => report.passed_over += 1,
            }
        }
        if let Some(at) = &mut stream.checkpoint {
            at.totals += report.tally;
        }
        Ok(report)
    }

    pub(super) fn inherit(&mut self, lease: &Lease, stream: &StreamId, due_ms: i64) -> Result<u64, StoreError> {
        self.check(lease)?;
        Ok(self.streams.get_mut(stream).map_or(0, |stream| stream.inherit(lease.nonce, due_ms)))
    }

    pub(super) fn mark_seen(
        &mut self,
        lease: &Lease,
        stream: &StreamId,
        keys: &[Key],
        generation: u64,
    ) -> Result<(), StoreError> {
        self.check(lease)?;
        if let Some(stream) = self.streams.get_mut(stream) {
            for key in keys {
                stream.mark_seen(key, generation);
            }
        }
        Ok(())
    }

    pub(super) fn dead_letters(&self, query: &DeadLetterQuery) -> Vec<DeadLetter> {
        let mut letters: Vec<DeadLetter> = self
            .streams
            .iter()
            .filter(|(id, _)| query.stream.as_ref().is_none_or(|wanted| wanted == *id))
            .flat_map(|(id, stream)| stream.dead.iter().map(move |(key, dead)| dead.view(id, key)))
            .filter(|letter| query.code.as_ref().is_none_or(|code| *code == letter.rejection.code))
            .filter(|letter| query.ids.is_empty() || query.ids.contains(&letter.id))
            .filter(|letter| query.after.is_none_or(|after| letter.id > after))
            .collect();
        letters.sort_by_key(|letter| letter.id);
        letters.truncate(query.limit);
        letters
    }
}
