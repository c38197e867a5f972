//! What the reader does beside reading: it brings up to date what another plan made, and looks for records that a pass did not
//! meet.

use std::time::Duration;

use super::letters::LetterCheck;
use super::refresh::{self, Refresh};
use super::{Context, ReaderAction, ReaderInput, ReaderMachine, Storing, vanished};
use crate::traits::{Advance, Checkpoint, Class, Draft, SyncEvent};

impl ReaderMachine {
    /// Begins to bring the backlog up to the plan in force; `false` when a page has to be read first.
    pub(super) fn refresh_outdated(&mut self, out: &mut Vec<ReaderAction>) -> bool {
        if self.noted {
            // Before the first entry of this plan: whoever comes back to the other plan is to find out.
            self.busy = true;
            out.push(ReaderAction::MarkPlan(None));
            return true;
        }
        match &self.checkpoint {
            Some(Checkpoint { position: Some(_), .. }) => {
                self.refresh = Some(Refresh::new());
                self.refresh_step(out);
                true
            }
            // A page is appended together with a position: the first one of the repeated snapshot brings it.
            Some(_) => false,
            None => {
                self.busy = true;
                out.push(ReaderAction::MarkPlan(Some(self.config.plan)));
                true
            }
        }
    }

    pub(super) fn refresh_input(&mut self, input: ReaderInput, out: &mut Vec<ReaderAction>) {
        self.busy = false;
        self.over(out);
        match (self.refresh.take(), input) {
            (Some(refresh), ReaderInput::Outdated(keys)) => self.refresh = Some(refresh.listed(keys)),
            (Some(refresh), ReaderInput::Fetched(drafts)) => {
                self.refresh = Some(refresh);
                let class = self.config.class;
                self.append_beside(drafts, Storing::RefreshPage, class, out);
            }
            (refresh, _) => self.refresh = refresh,
        }
    }

    pub(super) fn refresh_step(&mut self, out: &mut Vec<ReaderAction>) {
        let Some(refresh) = self.refresh.as_ref() else { return };
        self.busy = true;
        match refresh.next(self.config.chunk) {
            refresh::Next::Do(action) => out.push(action),
            refresh::Next::Done => {
                self.refresh = None;
                out.push(ReaderAction::MarkPlan(Some(self.config.plan)));
            }
        }
    }

    pub(super) fn vanished_input(&mut self, input: ReaderInput, out: &mut Vec<ReaderAction>) {
        self.busy = false;
        let Some(search) = self.vanished.take() else { return };
        self.over(out);
        match input {
            ReaderInput::Bound(bound) => self.vanished = Some(search.bound(self.config.brake.allowed(bound))),
            ReaderInput::Unseen(keys) => self.vanished = Some(search.unseen(keys, self.config.chunk)),
            ReaderInput::Fetched(drafts) => {
                self.vanished = Some(search);
                self.append_beside(drafts, Storing::VanishedPage, Class::Backfill, out);
            }
            _ => self.vanished = Some(search),
        }
    }

    pub(super) fn vanished_step(&mut self, now: Context, out: &mut Vec<ReaderAction>) {
        let Some(search) = self.vanished.as_ref() else { return };
        self.busy = true;
        match search.next(self.config.chunk) {
            vanished::Next::Do(action) => out.push(action),
            vanished::Next::Done => {
                self.letter_check = Some(LetterCheck::new(search.confirmed()));
                self.vanished = None;
                self.letter_step(now, out);
            }
            vanished::Next::Brake { candidates, allowed } => {
                self.vanished = None;
                self.braked = true;
                out.push(ReaderAction::Emit(SyncEvent::DeleteBrake {
                    stream: self.config.stream.clone(),
                    candidates,
                    allowed,
                }));
                let reason = vanished::brake_reason(&self.config.stream, candidates, allowed);
                out.push(ReaderAction::Brake(Some(reason)));
                // Nothing is to be waited for: the run goes on at once.
                out.push(ReaderAction::Wait(Duration::ZERO));
            }
        }
    }

    pub(super) fn letter_step(&mut self, now: Context, out: &mut Vec<ReaderAction>) {
        let Some(check) = self.letter_check.as_ref() else { return };
        match check.next(self.config.chunk) {
            Some(action) => {
                self.busy = true;
                out.push(action);
            }
            None => {
                let missing = check.missing;
                self.letter_check = None;
                self.end_pass(now, missing, out);
            }
        }
    }

    pub(super) fn letter_input(&mut self, input: ReaderInput, out: &mut Vec<ReaderAction>) {
        self.busy = false;
        self.over(out);
        let chunk = self.config.chunk;
        match (self.letter_check.as_mut(), input) {
            (Some(check), ReaderInput::Letters(letters)) => check.listed(letters, chunk),
            (Some(check), ReaderInput::Fetched(drafts)) => {
                let gone = LetterCheck::gone(drafts);
                if gone.is_empty() {
                    check.appended();
                } else {
                    self.append_beside(gone, Storing::LetterPage, Class::Backfill, out);
                }
            }
            _ => {}
        }
    }

    /// Appends states that did not come from the change feed; the position stays where it is.
    pub(super) fn append_beside(
        &mut self,
        drafts: Vec<Draft>,
        storing: Storing,
        class: Class,
        out: &mut Vec<ReaderAction>,
    ) {
        let Some(Checkpoint { version, generation, phase, position: Some(position), .. }) = &self.checkpoint else {
            self.stale = true;
            return;
        };
        let advance =
            Advance { expected_version: *version, generation: *generation, phase: *phase, position: position.clone() };
        let mark_seen = match storing {
            Storing::VanishedPage | Storing::ScanPage { .. } => self.pass_number(),
            _ => None,
        };
        let replay = matches!(storing, Storing::ScanPage { replay: true, .. });
        let refresh = self.outdated;
        self.storing = storing;
        out.push(ReaderAction::Append { drafts, mark_seen, advance, class, replay, snapshot: true, refresh });
    }

    /// The source answered: what trouble there was is over.
    pub(super) fn over(&mut self, out: &mut Vec<ReaderAction>) {
        if self.failures > 0 {
            self.failures = 0;
            out.push(ReaderAction::Trouble(None));
        }
    }
}
