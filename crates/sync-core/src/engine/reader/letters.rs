//! The last step of a pass: dead letters whose records are gone. A record that was never written is not in the index, so the search
//! for vanished records passes it over, and its letter would outlive it.

use record::Key;

use super::{Absent, ReaderAction};
use crate::traits::{Draft, DraftBody, LetterFilter};

/// How far the look at the letters is.
#[derive(Debug, Default)]
pub(super) struct LetterCheck {
    after: Option<u64>,
    letters: Vec<(u64, Key)>,
    complete: bool,
    /// Records that the search before it looked for.
    pub(super) missing: u64,
}

impl LetterCheck {
    pub(super) fn new(missing: u64) -> Self {
        Self { missing, ..Self::default() }
    }

    /// The next action; `None` when all letters were looked at.
    pub(super) fn next(&self, chunk: usize) -> Option<ReaderAction> {
        if !self.letters.is_empty() {
            let keys = self.letters.iter().map(|(_, key)| key.clone()).collect();
            return Some(ReaderAction::Fetch { keys, absent: Absent::Deleted });
        }
        let filter = LetterFilter::default();
        (!self.complete).then_some(ReaderAction::Letters { filter, after: self.after, limit: chunk })
    }

    pub(super) fn listed(&mut self, letters: Vec<(u64, Key)>, chunk: usize) {
        self.complete = letters.len() < chunk;
        self.letters = letters;
    }

    /// What is to be appended of the records that were asked for: those that are gone. The others are known to be refused.
    pub(super) fn gone(mut drafts: Vec<Draft>) -> Vec<Draft> {
        drafts.retain(|draft| matches!(draft.body, DraftBody::Delete));
        drafts
    }

    pub(super) fn appended(&mut self) {
        self.after = self.letters.last().map(|(id, _)| *id);
        self.letters.clear();
    }

    /// Whether nothing is in hand, so that the feed may be read first.
    pub(super) fn at_border(&self) -> bool {
        self.letters.is_empty()
    }
}
