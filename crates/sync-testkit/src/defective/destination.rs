//! A shelf of records with a destination on it, whole or with one defect.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use record::Key;
use sync_core::traits::{Action, Attempt, Destination, DestinationCaps, Outcome, Rejection, Report, WriteOp};
use sync_core::{EndpointError, EndpointErrorKind, Payload};

use super::endpoint_list::DestinationDefect as Defect;
use crate::DestinationGround;

const REFUSED: &str = "refuse me";

#[derive(Debug, Default)]
struct Shelf {
    records: BTreeMap<Key, Vec<String>>,
    /// Keys that were ever there.
    ever: BTreeSet<Key>,
    down: bool,
    lose_answer: bool,
    busy: usize,
}

/// Records in memory, and the destination that writes them: the reference for
/// [`destination_suite!`](crate::destination_suite).
#[derive(Clone, Default)]
pub struct ShelfGround {
    shelf: Arc<Mutex<Shelf>>,
    defect: Option<Defect>,
}

impl ShelfGround {
    /// With a defect.
    pub fn with(defect: Defect) -> Self {
        Self { defect: Some(defect), ..Self::default() }
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has(&self, defect: Defect) -> bool {
        self.defect == Some(defect)
    }
}

impl fmt::Debug for ShelfGround {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShelfGround").field("defect", &self.defect).finish_non_exhaustive()
    }
}

fn body(text: &str) -> Payload {
    Payload(text.as_bytes().to_vec().into())
}

impl DestinationGround for ShelfGround {
    fn open(&self) -> Arc<dyn Destination> {
        Arc::new(self.clone())
    }

    fn records(&self) -> BTreeMap<Key, Vec<String>> {
        self.shelf().records.clone()
    }

    fn create(&self, _key: &Key, text: &str) -> Payload {
        body(text)
    }

    fn update(&self, _key: &Key, text: &str) -> Payload {
        body(text)
    }

    fn refused(&self, _key: &Key) -> Option<Payload> {
        Some(body(REFUSED))
    }

    fn break_down(&self, down: bool) -> bool {
        self.shelf().down = down;
        true
    }

    fn lose_answer(&self) -> bool {
        self.shelf().lose_answer = true;
        true
    }
}

impl ShelfGround {
    fn up(&self) -> Result<MutexGuard<'_, Shelf>, EndpointError> {
        let shelf = self.shelf();
        if shelf.down {
            let kind = EndpointErrorKind::Unavailable;
            return Err(EndpointError::new(kind, "service-away", "The shelf was told to fail.", "Let it be."));
        }
        Ok(shelf)
    }

    fn refuse(&self, shelf: &mut Shelf, op: &WriteOp) -> Outcome {
        if self.has(Defect::RefusedCreateLeavesRecord) {
            shelf.records.entry(op.key.clone()).or_insert_with(|| vec![String::new()]);
        }
        let code = if self.has(Defect::RefusalWithoutCode) { "" } else { "text-refused" };
        let explanation = "The text asks for it.".to_owned();
        Outcome::Rejected(Rejection { code: code.to_owned(), field: None, explanation })
    }

    fn perform(&self, at: &Attempt, op: &WriteOp) -> Outcome {
        let mut shelf = self.shelf();
        let key = self.key(op);
        let ever = !shelf.ever.insert(key.clone());
        let there = shelf.records.contains_key(&key);
        match &op.action {
            Action::Create(text) | Action::Update(text) if text.0 == REFUSED.as_bytes() => self.refuse(&mut shelf, op),
            Action::Create(_) if there && self.has(Defect::DoubtIsSuccess) && at.in_doubt => Outcome::Applied,
            Action::Create(text) if there && self.has(Defect::SecondCreateDuplicates) => {
                shelf.records.entry(key).or_default().push(read(text));
                Outcome::Applied
            }
            Action::Create(text) if there && self.has(Defect::SecondCreateOverwrites) => {
                shelf.records.insert(key, vec![read(text)]);
                Outcome::Exists
            }
            Action::Create(_) if there => Outcome::Exists,
            Action::Create(_) if ever && self.has(Defect::DeletedNeverCreated) => Outcome::Exists,
            Action::Create(text) if text.0.is_empty() && self.has(Defect::EmptyNotCreated) => Outcome::Applied,
            Action::Create(text) => {
                shelf.records.insert(key, vec![read(text)]);
                Outcome::Applied
            }
            Action::Update(text) if there => {
                if self.has(Defect::UpdateAppends) {
                    let before = shelf.records.get(&key).map_or(String::new(), |texts| texts.concat());
                    let text = if before == read(text) { format!("{before}!") } else { read(text) };
                    shelf.records.insert(key, vec![text]);
                } else if self.has(Defect::UpdateHitsAll) {
                    shelf.records.values_mut().for_each(|texts| *texts = vec![read(text)]);
                } else {
                    shelf.records.insert(key, vec![read(text)]);
                }
                Outcome::Applied
            }
            Action::Update(text) if self.has(Defect::UpdateCreates) => {
                shelf.records.insert(key, vec![read(text)]);
                Outcome::Applied
            }
            Action::Delete if there => {
                shelf.records.remove(&key);
                Outcome::Applied
            }
            Action::Delete if self.has(Defect::DeleteOfNothingApplied) && !ever => Outcome::Applied,
            Action::Delete if self.has(Defect::SecondDeleteRefused) && ever => self.refuse(&mut shelf, op),
            Action::Update(_) | Action::Delete => Outcome::Missing,
        }
    }

    fn key(&self, op: &WriteOp) -> Key {
        let text = op.key.to_text();
        if self.has(Defect::KeysFolded) {
            Key::text(text.to_lowercase())
        } else if self.has(Defect::KeysDecoded) {
            Key::text(text.replace("%2F", "/"))
        } else {
            op.key.clone()
        }
    }

    fn after(&self, outcome: Outcome) -> Outcome {
        let lost = std::mem::take(&mut self.shelf().lose_answer);
        let code = "answer-lost".to_owned();
        match outcome {
            Outcome::Applied if lost && self.has(Defect::LostAnswerRetried) => Outcome::Retry { after: None, code },
            Outcome::Applied if lost => Outcome::Unknown { code },
            outcome => outcome,
        }
    }
}

fn read(body: &Payload) -> String {
    String::from_utf8_lossy(&body.0).into_owned()
}

#[async_trait]
impl Destination for ShelfGround {
    fn capabilities(&self) -> DestinationCaps {
        let in_flight = if self.has(Defect::PromisesTooMuch) { 32 } else { 4 };
        DestinationCaps { unique_key: true, settle: Duration::ZERO, in_flight }
    }

    async fn apply(&self, at: &Attempt, ops: &[WriteOp], report: &mut Report) -> Result<(), EndpointError> {
        if self.has(Defect::WritesWhileDown) && self.up().is_err() {
            // It is sent before it is known whether anybody listens.
            for op in ops {
                self.perform(at, op);
            }
        }
        if self.up().is_err() && self.has(Defect::SilenceIsSuccess) {
            (0..ops.len()).for_each(|index| report.set(index, Outcome::Applied));
            return Ok(());
        }
        drop(self.up()?);
        if ops.is_empty() && self.has(Defect::EmptyCallRefused) {
            let kind = EndpointErrorKind::Refused;
            return Err(EndpointError::new(kind, "nothing-to-do", "There is nothing to do.", "Ask for something."));
        }
        if self.has(Defect::SuccessAhead) {
            (0..ops.len()).for_each(|index| report.set(index, Outcome::Applied));
        }
        {
            let mut shelf = self.shelf();
            shelf.busy += 1;
        }
        let mut refused = false;
        for (index, op) in ops.iter().enumerate() {
            tokio::task::yield_now().await;
            let crowded = self.has(Defect::PromisesTooMuch) && index == 0 && op.key.to_text().len() > 2;
            let outcome = match refused && self.has(Defect::RefusalStopsTheRest) {
                _ if crowded => Outcome::Retry { after: None, code: "too-many".to_owned() },
                true => Outcome::Retry { after: None, code: "not-reached".to_owned() },
                false => self.after(self.perform(at, op)),
            };
            refused |= matches!(outcome, Outcome::Rejected(_));
            let place = if self.has(Defect::AnswersReversed) { ops.len() - 1 - index } else { index };
            report.set(place, outcome);
        }
        self.shelf().busy -= 1;
        Ok(())
    }

    async fn resolve(&self, _at: &Attempt, ops: &[WriteOp], report: &mut Report) -> Result<(), EndpointError> {
        if self.up().is_err() && self.has(Defect::LooksAtNothing) {
            (0..ops.len()).for_each(|index| report.set(index, Outcome::Missing));
            return Ok(());
        }
        drop(self.up()?);
        for (index, op) in ops.iter().enumerate() {
            let there = self.shelf().records.contains_key(&self.key(op));
            let by_action = self.has(Defect::DeleteResolvedByWish) && matches!(op.action, Action::Delete);
            report.set(index, if there && !by_action { Outcome::Exists } else { Outcome::Missing });
            if let (Action::Update(text), true) = (&op.action, there && self.has(Defect::ResolveWrites)) {
                self.shelf().records.insert(op.key.clone(), vec![read(text)]);
            }
        }
        Ok(())
    }
}
