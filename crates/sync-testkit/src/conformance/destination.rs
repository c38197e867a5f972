//! What every destination owes the engine: an honest outcome for every operation.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::join_all;
use record::Key;
use sync_core::traits::{Action, Attempt, Class, Destination, Outcome, Report, WriteOp};
use sync_core::{EndpointError, Seq};

use super::Ending;
use crate::DestinationGround;

const FIRST: Attempt = Attempt { number: 1, in_doubt: false, class: Class::Live, appended_ms: 0 };
const DOUBTED: Attempt = Attempt { number: 2, in_doubt: true, class: Class::Live, appended_ms: 0 };

fn key(number: u32) -> Key {
    Key::text(format!("k{number}"))
}

fn op(key: &Key, action: Action) -> WriteOp {
    WriteOp { seq: Seq(1), key: key.clone(), action }
}

fn create(ground: &dyn DestinationGround, number: u32, text: &str) -> WriteOp {
    op(&key(number), Action::Create(ground.create(&key(number), text)))
}

fn update(ground: &dyn DestinationGround, number: u32, text: &str) -> WriteOp {
    op(&key(number), Action::Update(ground.update(&key(number), text)))
}

fn delete(number: u32) -> WriteOp {
    op(&key(number), Action::Delete)
}

async fn try_apply(destination: &dyn Destination, ops: &[WriteOp]) -> Result<Vec<Outcome>, EndpointError> {
    let mut report = Report::new(ops.len());
    destination.apply(&FIRST, ops, &mut report).await?;
    Ok(report.into_outcomes())
}

async fn apply(destination: &dyn Destination, op: WriteOp) -> Outcome {
    try_apply(destination, &[op]).await.unwrap().remove(0)
}

async fn resolve(destination: &dyn Destination, ops: &[WriteOp]) -> Vec<Outcome> {
    let mut report = Report::new(ops.len());
    destination.resolve(&DOUBTED, ops, &mut report).await.unwrap();
    report.into_outcomes()
}

fn holding<const N: usize>(records: [(u32, &str); N]) -> BTreeMap<Key, Vec<String>> {
    records.into_iter().map(|(number, text)| (key(number), vec![text.to_owned()])).collect()
}

/// With what its body says.
pub async fn a_create_makes_a_record(ground: &dyn DestinationGround) {
    let destination = ground.open();
    for (number, text) in [(1, "one"), (2, "two"), (3, "")] {
        assert_eq!(apply(&*destination, create(ground, number, text)).await, Outcome::Applied);
    }
    assert_eq!(ground.records(), holding([(1, "one"), (2, "two"), (3, "")]));
}

/// And changes nothing.
pub async fn a_second_create_finds_it(ground: &dyn DestinationGround) -> Ending {
    let destination = ground.open();
    if !destination.capabilities().unique_key {
        return Ending::Skipped("the destination does not refuse a second record of a key");
    }
    apply(&*destination, create(ground, 1, "one")).await;
    assert_eq!(apply(&*destination, create(ground, 1, "two")).await, Outcome::Exists);
    assert_eq!(ground.records(), holding([(1, "one")]));
    let mut report = Report::new(1);
    destination.apply(&DOUBTED, &[create(ground, 1, "two")], &mut report).await.unwrap();
    assert_eq!(report.into_outcomes(), [Outcome::Exists], "an attempt in doubt is answered as honestly");
    assert_eq!(ground.records(), holding([(1, "one")]));
    Ending::Passed
}

/// That one alone.
pub async fn an_update_changes_the_record(ground: &dyn DestinationGround) {
    let destination = ground.open();
    apply(&*destination, create(ground, 1, "one")).await;
    apply(&*destination, create(ground, 2, "two")).await;
    assert_eq!(apply(&*destination, update(ground, 1, "newer")).await, Outcome::Applied);
    assert_eq!(ground.records(), holding([(1, "newer"), (2, "two")]));
}

/// And makes none.
pub async fn an_update_of_nothing_finds_nothing(ground: &dyn DestinationGround) {
    let destination = ground.open();
    apply(&*destination, create(ground, 2, "two")).await;
    assert_eq!(apply(&*destination, update(ground, 1, "one")).await, Outcome::Missing);
    assert_eq!(ground.records(), holding([(2, "two")]));
}

/// That one alone; it may be created again.
pub async fn a_delete_removes_the_record(ground: &dyn DestinationGround) {
    let destination = ground.open();
    for number in [1, 2] {
        apply(&*destination, create(ground, number, "old")).await;
    }
    assert_eq!(apply(&*destination, delete(1)).await, Outcome::Applied);
    assert_eq!(ground.records(), holding([(2, "old")]));
    assert_eq!(apply(&*destination, update(ground, 1, "ghost")).await, Outcome::Missing);
    assert_eq!(apply(&*destination, create(ground, 1, "again")).await, Outcome::Applied);
    assert_eq!(ground.records(), holding([(1, "again"), (2, "old")]));
}

/// Which is no failure.
pub async fn a_delete_of_nothing_finds_nothing(ground: &dyn DestinationGround) {
    let destination = ground.open();
    apply(&*destination, create(ground, 2, "two")).await;
    assert_eq!(apply(&*destination, delete(1)).await, Outcome::Missing);
    assert_eq!(ground.records(), holding([(2, "two")]));
}

/// The engine repeats what it does not know the end of.
pub async fn a_repeated_write_ends_in_the_same_state(ground: &dyn DestinationGround) {
    let destination = ground.open();
    apply(&*destination, create(ground, 1, "one")).await;
    for _ in 0..3 {
        assert_eq!(apply(&*destination, update(ground, 1, "newer")).await, Outcome::Applied);
        assert_eq!(ground.records(), holding([(1, "newer")]));
    }
    let ends = [apply(&*destination, delete(1)).await, apply(&*destination, delete(1)).await];
    assert_eq!(ends, [Outcome::Applied, Outcome::Missing]);
    assert_eq!(ground.records(), holding([]));
}

/// Operations of one call, each with an outcome of its own.
pub async fn every_operation_is_answered_in_its_place(ground: &dyn DestinationGround) {
    let destination = ground.open();
    apply(&*destination, create(ground, 1, "one")).await;
    let ops = [
        delete(9),
        create(ground, 2, "two"),
        update(ground, 8, "ghost"),
        update(ground, 1, "newer"),
        create(ground, 3, "three"),
    ];
    let outcomes = try_apply(&*destination, &ops).await.unwrap();
    use Outcome::{Applied, Missing};
    assert_eq!(outcomes, [Missing, Applied, Missing, Applied, Applied]);
    assert_eq!(ground.records(), holding([(1, "newer"), (2, "two"), (3, "three")]));
    let found = resolve(&*destination, &ops).await;
    assert_eq!(found, [Missing, Outcome::Exists, Missing, Outcome::Exists, Outcome::Exists]);
}

const REFUSES_NOTHING: Ending = Ending::Skipped("the ground has no body that is refused");

/// The operations after it are performed all the same.
pub async fn one_refusal_stops_no_other(ground: &dyn DestinationGround) -> Ending {
    let destination = ground.open();
    let Some(body) = ground.refused(&key(2)) else { return REFUSES_NOTHING };
    let refused = op(&key(2), Action::Create(body));
    let ops = [create(ground, 1, "one"), refused, create(ground, 3, "three")];
    let outcomes = try_apply(&*destination, &ops).await.unwrap();
    assert_eq!((&outcomes[0], &outcomes[2]), (&Outcome::Applied, &Outcome::Applied));
    assert!(matches!(outcomes[1], Outcome::Rejected(_)), "{outcomes:?}");
    assert_eq!(ground.records(), holding([(1, "one"), (3, "three")]));
    Ending::Passed
}

/// Neither a record nor half a change; the reason has a code.
pub async fn a_refusal_leaves_no_trace(ground: &dyn DestinationGround) -> Ending {
    let destination = ground.open();
    let Some(body) = ground.refused(&key(1)) else { return REFUSES_NOTHING };
    for action in [Action::Create(body.clone()), Action::Update(body)] {
        let outcome = apply(&*destination, op(&key(1), action)).await;
        let Outcome::Rejected(rejection) = outcome else { panic!("{outcome:?} is no refusal") };
        assert!(!rejection.code.is_empty() && !rejection.code.contains(' '), "{rejection:?}");
        let expected = if ground.records().is_empty() { holding([]) } else { holding([(1, "one")]) };
        assert_eq!(ground.records(), expected);
        apply(&*destination, create(ground, 1, "one")).await;
    }
    assert_eq!(ground.records(), holding([(1, "one")]));
    Ending::Passed
}

/// Whatever characters they have.
pub async fn keys_of_any_form_are_kept_apart(ground: &dyn DestinationGround) {
    let destination = ground.open();
    let keys = ground.odd_keys();
    for (number, key) in keys.iter().enumerate() {
        let body = ground.create(key, &format!("text {number}"));
        assert_eq!(apply(&*destination, op(key, Action::Create(body))).await, Outcome::Applied, "{number}");
    }
    let wanted = keys.iter().enumerate().map(|(number, key)| (key.clone(), vec![format!("text {number}")]));
    assert_eq!(ground.records(), wanted.collect());
    for (number, key) in keys.iter().enumerate() {
        let body = ground.update(key, "newer");
        assert_eq!(apply(&*destination, op(key, Action::Update(body))).await, Outcome::Applied, "{number}");
        assert_eq!(apply(&*destination, op(key, Action::Delete)).await, Outcome::Applied, "{number}");
        assert_eq!(ground.records().len(), keys.len() - number - 1);
    }
}

/// By the key, whatever the operation was.
pub async fn resolve_tells_what_is_there(ground: &dyn DestinationGround) {
    let destination = ground.open();
    apply(&*destination, create(ground, 1, "one")).await;
    for number in [1, 2] {
        let ops = [create(ground, number, "other"), update(ground, number, "other"), delete(number)];
        let wanted = if number == 1 { Outcome::Exists } else { Outcome::Missing };
        assert_eq!(resolve(&*destination, &ops).await, [wanted.clone(), wanted.clone(), wanted]);
    }
}

/// It only looks.
pub async fn resolve_never_writes(ground: &dyn DestinationGround) {
    let destination = ground.open();
    apply(&*destination, create(ground, 1, "one")).await;
    for _ in 0..2 {
        for number in [1, 2] {
            let ops = [create(ground, number, "other"), update(ground, number, "other"), delete(number)];
            resolve(&*destination, &ops).await;
        }
    }
    assert_eq!(ground.records(), holding([(1, "one")]));
}

/// While the service is away: whatever was certainly not dispatched is not there afterwards, and nothing is claimed to be.
pub async fn an_error_means_nothing_was_dispatched(ground: &dyn DestinationGround) -> Ending {
    let destination = ground.open();
    apply(&*destination, create(ground, 1, "one")).await;
    if !ground.break_down(true) {
        return Ending::Skipped("the ground cannot take the service away");
    }
    let ops = [create(ground, 2, "two"), update(ground, 1, "newer"), delete(1)];
    for op in ops {
        match try_apply(&*destination, std::slice::from_ref(&op)).await {
            Err(_) => {}
            Ok(outcomes) => {
                assert!(matches!(outcomes[0], Outcome::Retry { .. } | Outcome::Unknown { .. }), "{outcomes:?}");
            }
        }
        let mut report = Report::new(1);
        let looked = destination.resolve(&FIRST, &[op], &mut report).await;
        let outcomes = report.into_outcomes();
        assert!(looked.is_err() || matches!(outcomes[0], Outcome::Unknown { .. }), "nobody looked: {outcomes:?}");
    }
    ground.break_down(false);
    assert_eq!(ground.records(), holding([(1, "one")]));
    Ending::Passed
}

/// A write whose answer is lost may have taken effect: it is neither missing nor to be tried again blindly.
pub async fn a_lost_answer_is_unknown(ground: &dyn DestinationGround) -> Ending {
    let destination = ground.open();
    if !ground.lose_answer() {
        return Ending::Skipped("the ground loses no answer");
    }
    let lost = create(ground, 1, "one");
    let outcome = apply(&*destination, lost.clone()).await;
    assert!(matches!(outcome, Outcome::Unknown { .. } | Outcome::Applied), "{outcome:?}");
    assert_eq!(ground.records(), holding([(1, "one")]), "the answer is lost, not the write");
    assert_eq!(resolve(&*destination, &[lost]).await, [Outcome::Exists]);
    ground.lose_answer();
    let outcome = apply(&*destination, delete(1)).await;
    assert!(matches!(outcome, Outcome::Unknown { .. } | Outcome::Applied), "{outcome:?}");
    assert_eq!(resolve(&*destination, &[delete(1)]).await, [Outcome::Missing]);
    Ending::Passed
}

/// A call whose future is dropped leaves outcomes that are unknown, or true.
pub async fn a_dropped_call_tells_no_success(ground: &dyn DestinationGround) {
    let destination = ground.open();
    let ops: Vec<WriteOp> = (0..5).map(|number| create(ground, number, "text")).collect();
    let mut report = Report::new(ops.len());
    let ended = destination.apply(&FIRST, &ops, &mut report).now_or_never();
    assert!(ended.is_none_or(|ended| ended.is_ok()));
    let outcomes = report.into_outcomes();
    let found = resolve(&*destination, &ops).await;
    for (outcome, found) in outcomes.iter().zip(found) {
        match outcome {
            Outcome::Applied => assert_eq!(found, Outcome::Exists),
            other => assert!(matches!(other, Outcome::Unknown { .. }), "{other:?}"),
        }
    }
}

/// An empty call does nothing.
pub async fn no_operation_is_no_trouble(ground: &dyn DestinationGround) {
    let destination = ground.open();
    assert_eq!(try_apply(&*destination, &[]).await.unwrap(), []);
    assert_eq!(resolve(&*destination, &[]).await, []);
    assert_eq!(ground.records(), holding([]));
}

/// As many as the destination says it bears.
pub async fn operations_of_many_keys_go_side_by_side(ground: &dyn DestinationGround) {
    let destination = ground.open();
    let at_once = destination.capabilities().in_flight;
    assert!(at_once > 0, "a destination that bears no operation is none");
    let at_once = u32::try_from(at_once.min(32)).unwrap();
    let writes = (0..at_once).map(|number| {
        let (destination, op) = (Arc::clone(&destination), create(ground, number, &format!("text {number}")));
        tokio::spawn(async move { apply(&*destination, op).await })
    });
    for outcome in join_all(writes).await {
        assert_eq!(outcome.unwrap(), Outcome::Applied);
    }
    let wanted = (0..at_once).map(|number| (key(number), vec![format!("text {number}")]));
    assert_eq!(ground.records(), wanted.collect());
}
