//! What the reader does beside reading: it looks for vanished records after a repeated snapshot, and brings up to date what
//! another plan made.

use std::time::Duration;

use super::refresh::{self, Refresh};
use super::{ReaderAction, ReaderInput, ReaderMachine, Storing, sweep};
use crate::traits::{Advance, Checkpoint, Draft, SyncEvent};

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
                self.append_rechecked(drafts, Storing::RefreshPage, out);
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

    pub(super) fn sweep_input(&mut self, input: ReaderInput, out: &mut Vec<ReaderAction>) {
        self.busy = false;
        let Some(sweep) = self.sweep.take() else { return };
        self.over(out);
        match input {
            ReaderInput::Bound(bound) => self.sweep = Some(sweep.bound(self.config.brake.allowed(bound))),
            ReaderInput::Unseen(keys) => self.sweep = Some(sweep.unseen(keys, self.config.chunk)),
            ReaderInput::Fetched(drafts) => {
                self.sweep = Some(sweep);
                self.append_rechecked(drafts, Storing::SweepPage, out);
            }
            _ => self.sweep = Some(sweep),
        }
    }

    pub(super) fn sweep_step(&mut self, out: &mut Vec<ReaderAction>) {
        let Some(sweep) = self.sweep.as_ref() else { return };
        self.busy = true;
        match sweep.next(self.config.chunk) {
            sweep::Next::Do(action) => out.push(action),
            sweep::Next::Done => {
                self.sweep = None;
                self.sweep_due = false;
                out.push(ReaderAction::MarkSweep(None));
            }
            sweep::Next::Brake { candidates, allowed } => {
                self.sweep = None;
                self.braked = true;
                out.push(ReaderAction::Emit(SyncEvent::DeleteBrake {
                    stream: self.config.stream.clone(),
                    candidates,
                    allowed,
                }));
                out.push(ReaderAction::Brake(sweep::brake_reason(&self.config.stream, candidates, allowed)));
                // Nothing is to be waited for: the run goes on at once.
                out.push(ReaderAction::Wait(Duration::ZERO));
            }
        }
    }

    /// Appends the present states of single records; the position stays where it is.
    fn append_rechecked(&mut self, drafts: Vec<Draft>, storing: Storing, out: &mut Vec<ReaderAction>) {
        let Some(Checkpoint { version, generation, phase, position: Some(position), .. }) = &self.checkpoint else {
            self.stale = true;
            return;
        };
        let advance =
            Advance { expected_version: *version, generation: *generation, phase: *phase, position: position.clone() };
        let mark_seen = (storing == Storing::SweepPage).then_some(*generation);
        let refresh = self.outdated;
        self.storing = storing;
        out.push(ReaderAction::Append { drafts, mark_seen, advance, snapshot: true, refresh });
    }

    /// The source answered: what trouble there was is over.
    fn over(&mut self, out: &mut Vec<ReaderAction>) {
        if self.failures > 0 {
            self.failures = 0;
            out.push(ReaderAction::Trouble(None));
        }
    }
}
