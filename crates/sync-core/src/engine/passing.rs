//! What is to be seen of a stream's passes and of its waits for room.

use tracing::Span;

use super::Board;
use super::reader::{PassNote, ReaderAction};
use crate::StreamId;
use crate::telemetry::spans;
use crate::traits::SyncEvent;

/// The pass under way, as far as it was told of.
#[derive(Debug)]
pub(super) struct Passing {
    number: Option<u64>,
    span: Span,
}

impl Default for Passing {
    fn default() -> Self {
        Self { number: None, span: Span::none() }
    }
}

impl Passing {
    /// Looks at an action before it is performed; answers the span that it belongs to.
    pub(super) fn before(&mut self, board: &Board, stream: &StreamId, action: &ReaderAction) -> Span {
        match action {
            ReaderAction::NotePass(note) => {
                let ending = self.span.clone();
                self.follow(board, stream, note, false);
                // The note of its end belongs to the pass as well.
                if note.running.is_some() { self.span.clone() } else { ending }
            }
            ReaderAction::Scan { .. }
            | ReaderAction::KnownVersions(_)
            | ReaderAction::MarkSeen { .. }
            | ReaderAction::UnsettledBefore(_)
            | ReaderAction::CountBound
            | ReaderAction::Unseen { .. } => self.span.clone(),
            // Reading waits for nothing but room when it sets no end to the wait.
            ReaderAction::WaitBacklog(_, None) => {
                let backlog = board.place(stream).map_or(0, |place| board.depth(place));
                board.emit(&SyncEvent::BacklogFull { stream: stream.clone(), backlog });
                Span::none()
            }
            _ => Span::none(),
        }
    }

    /// Tells of a pass that was not told of yet.
    pub(super) fn follow(&mut self, board: &Board, stream: &StreamId, note: &PassNote, resumed: bool) {
        let number = note.running.as_ref().map(|running| running.number);
        if number == self.number {
            return;
        }
        self.number = number;
        self.span = Span::none();
        if let Some(running) = &note.running {
            self.span = spans::pass(stream, running.kind, running.number);
            board.emit(&SyncEvent::PassStarted { stream: stream.clone(), kind: running.kind, resumed });
        }
    }
}
