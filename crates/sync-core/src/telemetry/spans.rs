//! The spans of the engine, each made in one place. What a span does not say at its start is recorded at its end. Nothing is
//! computed for a span that nobody looks at.

use record::Key;
use tracing::Span;
use tracing::field::Empty;

use super::{KeyHash, code_label, names::span};
use crate::StreamId;
use crate::engine::writer::WriterInput;
use crate::traits::{Action, Attempt, Class, Outcome, PassKind, WriteOp};

pub(crate) fn workflow(name: &str) -> Span {
    tracing::info_span!(span::WORKFLOW.name, workflow = name)
}

pub(crate) fn reader(stream: &StreamId) -> Span {
    tracing::info_span!(span::READER.name, stream = %stream)
}

pub(crate) fn writer() -> Span {
    tracing::info_span!(span::WRITER.name)
}

pub(crate) fn pass(stream: &StreamId, kind: PassKind, number: u64) -> Span {
    tracing::info_span!(span::PASS.name, stream = %stream, kind = kind.as_str(), number)
}

pub(crate) fn request(id: u64, kind: &'static str) -> Span {
    tracing::info_span!(span::REQUEST.name, id, kind)
}

pub(crate) fn read(stream: &StreamId, class: Class, rows: u32) -> Span {
    tracing::debug_span!(
        span::READ.name,
        stream = %stream,
        class = class.as_str(),
        rows,
        records = Empty,
        code = Empty
    )
}

pub(crate) fn scan(stream: &StreamId, class: Class, rows: u32) -> Span {
    tracing::debug_span!(
        span::SCAN.name,
        stream = %stream,
        class = class.as_str(),
        rows,
        records = Empty,
        code = Empty
    )
}

pub(crate) fn fetch(stream: &StreamId, keys: &[Key]) -> Span {
    tracing::debug_span!(span::FETCH.name, stream = %stream, keys = keys.len(), code = Empty)
}

pub(crate) fn append(stream: &StreamId, class: Class, records: usize) -> Span {
    tracing::debug_span!(span::APPEND.name, stream = %stream, class = class.as_str(), records)
}

pub(crate) fn claim(stream: &StreamId, most: usize) -> Span {
    tracing::debug_span!(span::CLAIM.name, stream = %stream, most, claimed = Empty)
}

pub(crate) fn settle(stream: &StreamId, records: usize) -> Span {
    tracing::debug_span!(span::SETTLE.name, stream = %stream, records)
}

/// One operation; `looking` when the destination is only asked.
pub(crate) fn write(stream: &StreamId, at: &Attempt, op: &WriteOp, looking: bool) -> Span {
    tracing::trace_span!(
        span::WRITE.name,
        stream = %stream,
        seq = op.seq.0,
        key = %KeyHash::of(&op.key),
        attempt = at.number,
        class = at.class.as_str(),
        action = action(&op.action, looking),
        outcome = Empty,
        code = Empty
    )
}

fn action(action: &Action, looking: bool) -> &'static str {
    match action {
        _ if looking => "look",
        Action::Create(_) => "create",
        Action::Update(_) => "update",
        Action::Delete => "delete",
    }
}

/// Records how an operation ended.
pub(crate) fn written(span: &Span, input: &WriterInput) {
    if span.is_disabled() {
        return;
    }
    let (outcome, code) = match input {
        WriterInput::NotDispatched { code, .. } => ("not-dispatched", Some(code)),
        WriterInput::Outcome(outcome) => match outcome {
            Outcome::Applied => ("applied", None),
            Outcome::Exists => ("exists", None),
            Outcome::Missing => ("missing", None),
            Outcome::Retry { code, .. } => ("retry", Some(code)),
            Outcome::NotYet { code } => ("not-yet", Some(code)),
            Outcome::Rejected(rejection) => ("rejected", Some(&rejection.code)),
            Outcome::Unknown { code } => ("unknown", Some(code)),
        },
    };
    span.record("outcome", outcome);
    if let Some(code) = code {
        span.record("code", code_label(code));
    }
}
