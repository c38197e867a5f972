//! The look at one contact: read both sides, decide, record, write, conclude.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use consent::{Decided, Direction, Ending, Look, Policy, SharedLedger, Source};
use record::Key;
use sync_core::EndpointError;
use sync_core::traits::{Attempt, Class, Destination, DestinationCaps, Outcome, Report, WriteOp};
use timing::SharedClock;

use super::ledger_error;
use super::sides::{Failed, Row, Sides};
use super::turns::Turns;
use crate::adapters::unsent;

/// How often a contact is looked at in a row because it changes under our hands.
const ROUNDS: usize = 5;

/// Looks at contacts.
#[derive(Debug)]
pub(crate) struct ConsentDestination {
    pub(crate) sides: Arc<Sides>,
    pub(crate) ledger: SharedLedger,
    pub(crate) turns: Arc<Turns>,
    pub(crate) policy: Policy,
    pub(crate) direction: Direction,
    /// What leads to a look here.
    pub(crate) source: Source,
    /// Whether Campaign's changes are read long after they were made: then its own writes are looked at here.
    pub(crate) slow_campaign: bool,
    pub(crate) clock: SharedClock,
    pub(crate) in_flight: usize,
    /// How long a write may still take effect after it was sent.
    pub(crate) settle: Duration,
}

/// How a round ended.
enum Round {
    Done(Outcome),
    Again,
}

impl ConsentDestination {
    pub(super) async fn look(&self, at: &Attempt, key: &Key) -> Result<Outcome, EndpointError> {
        let _turn = self.turns.take(key).await;
        let mut source = if at.in_doubt || at.number > 1 { Source::Again } else { self.source };
        for _ in 0..ROUNDS {
            match self.round(at.class, key, source).await? {
                Round::Done(outcome) => return Ok(outcome),
                Round::Again => source = Source::Again,
            }
        }
        Ok(Outcome::Retry { after: None, code: "contact-keeps-changing".to_owned() })
    }

    /// `Err` means that nothing was written.
    async fn round(&self, class: Class, key: &Key, source: Source) -> Result<Round, EndpointError> {
        if self.ledger.is_erased(key).map_err(ledger_error)? {
            return Ok(Round::Done(Outcome::Applied));
        }
        let began_ms = self.clock.now().timestamp_millis();
        // Dynamics 365 first: its version makes sure of it at the write, and Campaign has no such thing.
        let row = match self.sides.contact(class, key).await {
            Ok(row) => row,
            Err(failed) => return self.unread(key, failed).await,
        };
        let profile = match self.sides.profile(class, key).await {
            Ok(profile) => profile,
            Err(failed) => return self.unread(key, failed).await,
        };
        let readings = match self.sides.readings(row.as_ref(), profile.as_ref()) {
            Ok(readings) => readings,
            Err(failed) => return self.unread(key, failed).await,
        };
        let look = Look { began_ms, source, readings };
        let decided = self.ledger.decide(key, self.policy, self.direction, look).await.map_err(ledger_error)?;
        self.write(class, key, row.as_ref(), &decided).await
    }

    /// A read that failed: nothing was decided, and nothing written. The entry may be given up in the end: so the gate is told at once.
    async fn unread(&self, key: &Key, failed: Failed) -> Result<Round, EndpointError> {
        let outcome = match failed {
            Failed::Service(error) => return Err(error),
            Failed::Conflict | Failed::Gone => return Ok(Round::Again),
            // A read has no effect, however it ends.
            Failed::Of(Outcome::Unknown { code }) => Outcome::Retry { after: None, code },
            Failed::Of(outcome) => outcome,
        };
        self.ledger.unread(key).await.map_err(ledger_error)?;
        Ok(Round::Done(outcome))
    }

    /// At most one request a side; the one with an opt-out in it first, Campaign's if both have one.
    async fn write(
        &self,
        class: Class,
        key: &Key,
        row: Option<&Row>,
        decided: &[Decided],
    ) -> Result<Round, EndpointError> {
        let of = |wanted: fn(&Decided) -> bool| -> Vec<Decided> {
            decided.iter().filter(|one| wanted(one)).cloned().collect()
        };
        let to_d365 = of(|one| one.verdict.write_d365);
        let to_campaign = of(|one| one.verdict.write_campaign);
        let opts_out = |writes: &[Decided]| writes.iter().any(|one| one.verdict.value);
        let campaign_first = opts_out(&to_campaign) || !opts_out(&to_d365);
        let order = if campaign_first { [true, false] } else { [false, true] };
        let mut end = Round::Done(Outcome::Applied);
        let mut wrote = false;
        for campaign in order {
            let writes = if campaign { &to_campaign } else { &to_d365 };
            if writes.is_empty() {
                continue;
            }
            let written = match (campaign, row) {
                (true, _) => self.sides.write_profile(class, key, writes).await,
                (false, Some(row)) => self.sides.write_contact(class, key, row, writes).await,
                (false, None) => continue,
            };
            let ending = ending(&written);
            let concluded = writes.iter().map(|one| (one.clone(), ending)).collect();
            if let Err(error) = self.ledger.conclude(key, concluded).await {
                // It stays open in the ledger, and is looked at again.
                return Ok(Round::Done(Outcome::Unknown { code: ledger_error(error).code().to_owned() }));
            }
            match written {
                Ok(()) => {
                    wrote = true;
                    if campaign && self.slow_campaign && matches!(end, Round::Done(Outcome::Applied)) {
                        end = Round::Again;
                    }
                }
                Err(Failed::Conflict | Failed::Gone) => return Ok(Round::Again),
                // What one side refuses for good does not keep the other from its own.
                Err(Failed::Of(outcome @ Outcome::Rejected(_))) => end = Round::Done(outcome),
                // What was not sent stays open, and is decided anew by the next look.
                Err(Failed::Of(outcome)) => return Ok(Round::Done(outcome)),
                Err(Failed::Service(error)) if wrote => {
                    let code = error.code().to_owned();
                    return Ok(Round::Done(Outcome::Retry { after: error.retry_after(), code }));
                }
                Err(Failed::Service(error)) => return Err(error),
            }
        }
        Ok(end)
    }
}

fn ending(written: &Result<(), Failed>) -> Ending {
    match written {
        Ok(()) => Ending::Written,
        Err(Failed::Conflict) => Ending::Conflict,
        Err(Failed::Of(Outcome::Unknown { .. })) => Ending::Unknown,
        Err(_) => Ending::Refused,
    }
}

#[async_trait]
impl Destination for ConsentDestination {
    fn capabilities(&self) -> DestinationCaps {
        // An unknown write is not repeated: the contact is looked at again once the write cannot take effect any more.
        DestinationCaps { unique_key: false, settle: self.settle, in_flight: self.in_flight }
    }

    async fn apply(&self, at: &Attempt, ops: &[WriteOp], report: &mut Report) -> Result<(), EndpointError> {
        for (index, op) in ops.iter().enumerate() {
            match self.look(at, &op.key).await {
                Ok(outcome) => report.set(index, outcome),
                Err(error) => return unsent(report, index, ops.len(), error),
            }
        }
        Ok(())
    }

    /// There is nothing to find out beforehand: the look reads both sides itself.
    async fn resolve(&self, _: &Attempt, ops: &[WriteOp], report: &mut Report) -> Result<(), EndpointError> {
        for index in 0..ops.len() {
            report.set(index, Outcome::Exists);
        }
        Ok(())
    }
}
