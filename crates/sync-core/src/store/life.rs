//! Everything the store in memory knows of one record.

use record::Key;

use super::ledger::Ledger;
use super::row::{Dead, Row};
use super::stream::Stream;
use crate::traits::{ChildLife, EntryLife, EntryState, LetterLife, Parent, RecordLife, VerificationLife};
use crate::{Seq, StreamId};

impl Ledger {
    pub(super) fn record_life(&self, id: &StreamId, key: &Key) -> RecordLife {
        let mut life = self.stream(id).map(|stream| stream.life(id, key)).unwrap_or_default();
        let parent = Parent { stream: id.clone(), key: key.clone() };
        let children = self.streams.iter().flat_map(|(id, stream)| stream.children(id, &parent));
        let mut children: Vec<(u64, ChildLife)> = children.collect();
        children.sort_unstable_by_key(|(number, _)| *number);
        life.children_count = children.len() as u64;
        life.children = children.into_iter().take(RecordLife::CHILDREN).map(|(_, child)| child).collect();
        life
    }
}

impl Stream {
    fn life(&self, id: &StreamId, key: &Key) -> RecordLife {
        RecordLife {
            index: self.index.get(key).copied(),
            entries: self.queue.of(key).map(|(seq, row)| row.life(seq)).collect(),
            verification: self
                .verifications
                .get(key)
                .map(|waiting| VerificationLife { due_ms: waiting.due_ms, digest: waiting.content.digest() }),
            dead_letter: self.dead.get(key).map(|dead| dead.life(id, key)),
            ..RecordLife::default()
        }
    }

    /// Entries and dead letters that wait for a record, by their numbers.
    fn children(&self, id: &StreamId, parent: &Parent) -> Vec<(u64, ChildLife)> {
        let child = |key: &Key, given_up| ChildLife { stream: id.clone(), key: key.clone(), given_up };
        let waiting = self.queue.waiting_for(parent).into_iter();
        let entries = waiting.filter_map(|seq| self.queue.get(seq).map(|row| (seq.0, child(&row.key, false))));
        let orphan = |dead: &Dead| dead.orphan.as_ref().is_some_and(|(_, parents)| parents.contains(parent));
        let letters = self.dead.iter().filter(|(_, dead)| orphan(dead));
        entries.chain(letters.map(|(key, dead)| (dead.id, child(key, true)))).collect()
    }
}

impl Row {
    fn life(&self, seq: Seq) -> EntryLife {
        let state = match (self.holder, self.unknown) {
            (Some(_), _) => EntryState::InFlight,
            (None, true) => EntryState::Unknown,
            (None, false) => EntryState::Queued,
        };
        EntryLife {
            seq,
            state,
            digest: self.content.digest(),
            version: self.content.version,
            plan: self.content.plan,
            class: self.content.class,
            replay: self.content.replay,
            verification: self.verification,
            attempts: self.attempt,
            appended_ms: self.appended_ms,
            due_ms: self.due_ms,
            waiting_for: self.waiting.iter().cloned().collect(),
            held: self.held.is_some(),
        }
    }
}

impl Dead {
    fn life(&self, stream: &StreamId, key: &Key) -> LetterLife {
        let parents = self.orphan.iter().flat_map(|(_, parents)| parents);
        LetterLife {
            letter: self.view(stream, key),
            version: self.version,
            closed_by: self.closed_by,
            waiting_for: parents.cloned().collect(),
        }
    }
}
