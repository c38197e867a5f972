//! The guardian of a read position: how near it is to being served no more.

use std::time::Duration;

use crate::traits::PositionState;
use crate::{StatusReason, StreamId};

/// What an operator is told, where something is to be done.
pub(crate) fn reason(stream: &StreamId, state: PositionState, age: Duration) -> Option<StatusReason> {
    let hours = age.as_secs() / 3600;
    let (code, message) = match state {
        PositionState::Fresh | PositionState::Aging => return None,
        PositionState::AtRisk => (
            "position-at-risk",
            format!("The changes of {stream} were last read {hours} h ago; the source will soon serve them no more."),
        ),
        PositionState::Expired => (
            "position-expired",
            format!("The changes of {stream} were last read {hours} h ago; the source may have dropped some."),
        ),
    };
    Some(StatusReason {
        code: code.to_owned(),
        message,
        remedy: "Mend what keeps the source from being read. If its changes are gone by then, the whole table is read again by \
                 itself."
            .to_owned(),
    })
}
