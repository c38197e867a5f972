use std::collections::BTreeMap;
use std::time::Duration;

use sync_core::{DeleteBrake, EngineOptions};
use timing::Backoff;

use super::Shape;
use crate::faults::Fault;
use crate::parties::{Chance, TargetShape, TokenMode};

/// What a seed decides before anything runs.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What the world is like.
    pub shape: Shape,
    /// How often each fault fires on its occasions.
    pub rates: BTreeMap<Fault, f64>,
    /// Keys of each table.
    pub keys: u64,
    /// Rows at the beginning.
    pub rows: u64,
    /// Steps under faults.
    pub steps: u64,
}

/// Faults whose rate is drawn. The others are brought about by the run itself.
const DRAWN: [Fault; 27] = [
    Fault::ConnectRefused,
    Fault::ResetBeforeEffect,
    Fault::ResetAfterEffect,
    Fault::NoAnswer,
    Fault::DeliveredTwice,
    Fault::Throttled,
    Fault::ThrottledRecord,
    Fault::FailedNotApplied,
    Fault::FailedApplied,
    Fault::RefusedOnce,
    Fault::Conflict,
    Fault::LateExecution,
    Fault::ReadLag,
    Fault::DeletedBehind,
    Fault::PageLeadsToItself,
    Fault::EmptyPage,
    Fault::TokenExpired,
    Fault::UnknownDelete,
    Fault::RowsAgain,
    Fault::StaleRows,
    Fault::LinkExpired,
    Fault::SourceDown,
    Fault::SourceThrottled,
    Fault::LateParent,
    Fault::LateCommit,
    Fault::StoreCallFails,
    Fault::CommitUnknown,
];

impl Plan {
    /// The plan of a seed.
    pub fn draw(chance: &Chance) -> Self {
        let mut rates = BTreeMap::new();
        // Some seeds have no faults at all: they show what the engine does by itself.
        if !chance.hits(0.08) {
            for fault in DRAWN {
                if chance.hits(0.5) {
                    let most = match fault {
                        // Each of these ends a run, or a snapshot.
                        Fault::StoreCallFails | Fault::CommitUnknown => 0.02,
                        Fault::TokenExpired | Fault::LinkExpired => 0.08,
                        _ => 0.25,
                    };
                    rates.insert(fault, *chance.pick(&[most, most / 3.0, most / 10.0]));
                }
            }
        }
        let shape = Self::shape(chance);
        Self { shape, rates, keys: chance.between(2, 9), rows: chance.between(0, 14), steps: chance.between(8, 40) }
    }

    fn shape(chance: &Chance) -> Shape {
        let seconds = Duration::from_secs;
        let settle = *chance.pick(&[seconds(0), seconds(30), seconds(120)]);
        let unique_key = chance.hits(0.5);
        // Without a unique key, a settle time has to cover at least what a request takes whose process has ended.
        let settle = if unique_key { settle } else { settle.max(seconds(5)) };
        // A request is on its way for so long at most, also when its process has ended: the settle time covers that, what comes
        // late, and what lookups lag behind, together.
        let on_its_way = seconds(2);
        // Where a second record is refused, nothing rests on what a lookup sees.
        let read_lag = *chance.pick(&[seconds(0), seconds(5), seconds(if unique_key { 600 } else { 10 })]);
        let target = TargetShape {
            unique_key,
            settle,
            late: settle.saturating_sub(read_lag).saturating_sub(on_its_way),
            read_lag: if unique_key { read_lag } else { read_lag.min(settle.saturating_sub(on_its_way)) },
            latency: *chance.pick(&[Duration::ZERO, Duration::from_millis(30), seconds(2)]),
            timeout: *chance.pick(&[seconds(1), seconds(10)]),
            in_flight: usize::try_from(chance.between(1, 4)).unwrap_or(1),
        };
        let small = |chance: &Chance, most: u64| usize::try_from(chance.between(1, most)).unwrap_or(1);
        let options = EngineOptions {
            high_water: *chance.pick(&[1, 3, 1000]),
            claim_batch: small(chance, 8),
            settle_batch: small(chance, 8),
            settle_linger: *chance.pick(&[Duration::ZERO, Duration::from_millis(20), seconds(1)]),
            sweep_chunk: small(chance, 4),
            brake: DeleteBrake { rows: *chance.pick(&[0, 1, 1000]), share: *chance.pick(&[0.0, 0.5]) },
            poison_threshold: u32::try_from(chance.between(1, 4)).unwrap_or(1),
            unknown_rounds: u32::try_from(chance.between(1, 3)).unwrap_or(1),
            unknown_streak: u32::try_from(chance.between(1, 6)).unwrap_or(1),
            audit_every: *chance.pick(&[None, Some(seconds(300)), Some(seconds(3600))]),
            parent_wait: *chance.pick(&[seconds(60), seconds(3600)]),
            record_backoff: Backoff::new(seconds(5), 3.0, seconds(120)),
            service_backoff: Backoff::new(seconds(1), 2.0, seconds(60)),
            dead_letter_retention: None,
            // A request may take a third of it.
            lease_ttl: *chance.pick(&[seconds(30), seconds(90)]),
            stop_deadline: *chance.pick(&[Duration::ZERO, seconds(1), seconds(30)]),
        };
        Shape {
            tables: usize::try_from(chance.between(1, 3)).unwrap_or(1),
            target,
            tokens: *chance.pick(&[TokenMode::CoversPaging, TokenMode::AfterPaging]),
            retention: *chance.pick(&[None, Some(seconds(1800))]),
            source_latency: *chance.pick(&[Duration::ZERO, Duration::from_millis(50), seconds(3)]),
            options,
            page_rows: u32::try_from(chance.between(1, 7)).unwrap_or(1),
            poll_every: *chance.pick(&[seconds(5), seconds(60), seconds(600)]),
        }
    }
}
