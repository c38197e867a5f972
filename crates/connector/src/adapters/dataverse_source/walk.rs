//! What is remembered of a walk over pages, so that no mistake of the service is followed for ever and no record is lost to the
//! order in which it tells of changes.

use std::collections::HashSet;

use d365_client::{Error, ErrorKind, Link};
use http_kit::LinkTrail;
use record::{Change, ChangeBody, Key};
use sync_core::{EndpointError, EndpointErrorKind};

use super::{described, endpoint_error};

/// So many keys of one walk are remembered; beyond that, every deletion is asked about.
const REMEMBERED: usize = 100_000;

/// The present walk or poll.
#[derive(Debug, Default)]
pub(super) struct Walk {
    trail: LinkTrail,
    /// A link was refused, and no delta link has been accepted since.
    link_refused: bool,
    /// Records that the walk showed.
    shown: HashSet<Key>,
    /// Whether these are all: the walk was seen from its beginning.
    whole: bool,
}

impl Walk {
    /// Notes that the page behind `from` (or a new walk) leads to `to`.
    pub(super) fn step(&mut self, from: Option<&Link>, to: &Link) -> Result<(), EndpointError> {
        match from {
            Some(from @ Link::Next(_)) if !to.is_delta() => {
                return self.trail.lead(from.as_str(), to.as_str()).map_err(|error| endpoint_error(error.into()));
            }
            Some(Link::Delta(_)) => {
                self.link_refused = false;
                self.shown.clear();
                self.whole = true;
            }
            _ => {}
        }
        self.trail.clear();
        Ok(())
    }

    /// A refused link costs one new walk over the table, and so does a walk that ended without a link to go on from. When it
    /// comes to that again in the new walk, walking once more would go on for ever: that one is for the operator.
    pub(super) fn failed(&mut self, error: Error) -> EndpointError {
        if !matches!(error.kind(), ErrorKind::LinkRefused | ErrorKind::MissingLink) {
            return endpoint_error(error);
        }
        if std::mem::replace(&mut self.link_refused, true) {
            return described(EndpointErrorKind::Refused, &error).with_source(error);
        }
        described(EndpointErrorKind::Expired, &error).with_source(error)
    }

    /// The deletions of a page, by their place in it, whose records the same walk showed, or may have shown.
    pub(super) fn doubted(&mut self, changes: &[Change]) -> Vec<usize> {
        for change in changes.iter().filter(|change| !is_deletion(change)) {
            if self.shown.len() >= REMEMBERED {
                self.whole = false;
                break;
            }
            self.shown.insert(change.key.clone());
        }
        let doubted = |change: &Change| is_deletion(change) && (!self.whole || self.shown.contains(&change.key));
        changes.iter().enumerate().filter(|(_, change)| doubted(change)).map(|(at, _)| at).collect()
    }
}

fn is_deletion(change: &Change) -> bool {
    matches!(change.body, ChangeBody::Delete)
}
