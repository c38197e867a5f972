//! One claimed entry, from claim to settlement: a table of every decision.

use std::time::Duration;

use record::Key;
use sync_core::engine::writer::{
    Ending, EntryMachine, History, Moment, WritePolicy, WriterAction as A, WriterInput as I,
};
use sync_core::traits::{Action, Class, Entry, EntryBody, Outcome, Rejection, Update, Verdict};
use sync_core::{Digest, Payload, PlanVersion, Seq};
use timing::Backoff;

const NEW: Digest = Digest([1; 16]);
const OLD: Digest = Digest([2; 16]);
const AT: Moment = Moment { now_ms: 1_000_000, unit: 0.5 };

fn policy(unique_key: bool) -> WritePolicy {
    WritePolicy {
        unique_key,
        settle: Duration::from_secs(60),
        record_backoff: Backoff::new(Duration::from_secs(10), 1.0, Duration::from_secs(10)),
        service_backoff: Backoff::new(Duration::from_secs(2), 1.0, Duration::from_secs(2)),
        poison_threshold: 8,
        unknown_rounds: 3,
        parent_wait: Duration::from_secs(100),
    }
}

fn payload(text: &'static str) -> Payload {
    Payload(bytes::Bytes::from_static(text.as_bytes()))
}

fn upsert() -> Entry {
    Entry {
        seq: Seq(1),
        key: Key::text("k"),
        body: EntryBody::Upsert { insert: payload("insert"), update: payload("update").into(), digest: NEW },
        version: None,
        attempt: 1,
        appended_ms: AT.now_ms - 1_000,
        unknown: false,
        class: Class::Live,
        replay: false,
        verification: false,
        plan: PlanVersion(1),
        bound: false,
        written: None,
    }
}

fn bound(written: Digest) -> Entry {
    Entry { bound: true, written: Some(written), ..upsert() }
}

fn delete() -> Entry {
    Entry { body: EntryBody::Delete, ..bound(OLD) }
}

fn show(action: &A) -> String {
    let operation = |action: &Action| match action {
        Action::Create(body) => format!("create {}", String::from_utf8_lossy(&body.0)),
        Action::Update(body) => format!("update {}", String::from_utf8_lossy(&body.0)),
        Action::Delete => "delete".to_owned(),
    };
    match action {
        A::Apply(action) => operation(action),
        A::Resolve(_) => "resolve".to_owned(),
        A::Settle(Ending { verdict, pause, .. }) => {
            let verdict = match verdict {
                None => "back".to_owned(),
                Some(Verdict::Done { effect, verify_at_ms }) => match verify_at_ms {
                    None => format!("{effect:?}"),
                    Some(at) => format!("{effect:?} verify +{}s", (at - AT.now_ms) / 1000),
                },
                Some(Verdict::Retry { due_ms, code }) => format!("retry {code} +{}s", (due_ms - AT.now_ms) / 1000),
                Some(Verdict::Unknown { due_ms, code }) => format!("unknown {code} +{}s", (due_ms - AT.now_ms) / 1000),
                Some(Verdict::NotYet { due_ms, code, in_doubt }) => {
                    let doubt = if *in_doubt { " in doubt" } else { "" };
                    format!("not yet {code}{doubt} +{}s", (due_ms - AT.now_ms) / 1000)
                }
                Some(Verdict::Released) => "released".to_owned(),
                Some(Verdict::Dead { rejection, in_doubt: false }) => format!("dead {}", rejection.code),
                Some(Verdict::Dead { rejection, in_doubt: true }) => format!("dead {} in doubt", rejection.code),
            };
            if pause.is_some() { format!("{verdict}, pause") } else { verdict }
        }
    }
}

/// Every action of an entry against these inputs, in order.
fn run_with(entry: Entry, history: History, policy: &WritePolicy, inputs: Vec<I>) -> Vec<String> {
    let (mut machine, first) = EntryMachine::start(entry, history, policy);
    let mut shown = vec![show(&first)];
    for input in inputs {
        shown.push(show(&machine.step(AT, policy, input)));
    }
    shown
}

fn run(entry: Entry, unique_key: bool, outcomes: Vec<Outcome>) -> Vec<String> {
    run_with(entry, History::default(), &policy(unique_key), outcomes.into_iter().map(I::Outcome).collect())
}

fn retry(code: &str) -> Outcome {
    Outcome::Retry { after: None, code: code.to_owned() }
}

fn unknown() -> Outcome {
    Outcome::Unknown { code: "reset".to_owned() }
}

#[test]
fn the_order_of_writes() {
    use Outcome::{Applied, Exists, Missing};
    assert_eq!(run(upsert(), true, vec![Applied]), ["create insert", "Inserted"]);
    assert_eq!(run(upsert(), true, vec![Exists, Applied]), ["create insert", "update update", "Updated"]);
    assert_eq!(run(bound(NEW), true, vec![]), ["Unchanged"]);
    assert_eq!(run(bound(OLD), true, vec![Applied]), ["update update", "Updated"]);
    assert_eq!(run(bound(OLD), true, vec![Missing, Applied]), ["update update", "create insert", "Inserted"]);
    assert_eq!(run(delete(), true, vec![Applied]), ["delete", "Deleted"]);
    assert_eq!(run(delete(), true, vec![Missing]), ["delete", "Ignored"]);
}

#[test]
fn exists_and_missing_in_turn_end_after_three_rounds() {
    use Outcome::{Exists, Missing};
    let shown = run(upsert(), true, vec![Exists, Missing, Exists, Missing]);
    assert_eq!(shown.last().map(String::as_str), Some("unknown hidden-or-conflicting +5s"), "something has our key");
    assert_eq!(shown.len(), 5);
}

#[test]
fn an_unknown_write_with_a_unique_key_is_repeated_at_once_and_verified_later() {
    use Outcome::{Applied, Exists};
    assert_eq!(
        run(upsert(), true, vec![unknown(), Exists, Applied]),
        ["create insert", "create insert", "update update", "Inserted verify +60s"],
        "what is found there after our own open create is that create"
    );
    assert_eq!(
        run(upsert(), true, vec![unknown(), unknown(), unknown()]),
        ["create insert", "create insert", "create insert", "unknown reset +1s"]
    );
    assert_eq!(run(delete(), true, vec![unknown(), Outcome::Missing]), ["delete", "delete", "Deleted verify +60s"]);
    let inherited = Entry { unknown: true, ..upsert() };
    assert_eq!(run(inherited, true, vec![Exists, Applied]), ["create insert", "update update", "Inserted verify +60s"]);
    let inherited = Entry { unknown: true, ..bound(NEW) };
    assert_eq!(
        run(inherited, true, vec![Applied]),
        ["update update", "Updated verify +60s"],
        "an equal digest is no proof while an attempt is open"
    );
}

#[test]
fn without_settle_time_nothing_is_verified() {
    let policy = WritePolicy { settle: Duration::ZERO, ..policy(true) };
    let inputs = vec![I::Outcome(unknown()), I::Outcome(Outcome::Applied)];
    let shown = run_with(upsert(), History::default(), &policy, inputs);
    assert_eq!(shown, ["create insert", "create insert", "Inserted"]);
}

#[test]
fn without_a_unique_key_an_unknown_create_is_never_repeated_blindly() {
    use Outcome::{Applied, Exists, Missing};
    assert_eq!(run(upsert(), false, vec![Missing, unknown()]), ["resolve", "create insert", "unknown reset +60s"]);
    assert_eq!(run(upsert(), false, vec![Exists, Applied]), ["resolve", "update update", "Updated"], "adopted");
    assert_eq!(run(upsert(), false, vec![unknown()]), ["resolve", "retry reset +1s, pause"], "a look writes nothing");
    assert_eq!(run(bound(OLD), false, vec![Applied]), ["update update", "Updated"], "known to be there");
    let open = || Entry { unknown: true, ..upsert() };
    assert_eq!(run(open(), false, vec![Exists, Applied]), ["resolve", "update update", "Updated"]);
    assert_eq!(run(open(), false, vec![Missing, Applied]), ["resolve", "create insert", "Inserted"]);
    assert_eq!(run(open(), false, vec![unknown()]), ["resolve", "unknown reset +60s"]);
    assert_eq!(run(open(), false, vec![retry("throttled")]), ["resolve", "unknown throttled +60s, pause"]);
    assert_eq!(
        run(open(), false, vec![Missing, retry("throttled")]),
        ["resolve", "create insert", "retry throttled +1s, pause"],
        "once resolved, nothing is open any more"
    );
    let often = History { unknown: 4, ..History::default() };
    assert_eq!(run_with(open(), often, &policy(false), vec![]), ["dead unknown-outcome in doubt"]);
    assert_eq!(run_with(open(), often, &policy(true), vec![]), ["dead unknown-outcome in doubt"]);
    let thrice = History { unknown: 3, ..History::default() };
    assert_eq!(run_with(open(), thrice, &policy(false), vec![]), ["resolve"]);
}

#[test]
fn a_record_that_stays_open_is_given_up_only_while_the_destination_answers_otherwise() {
    use Outcome::{Applied, Exists};
    let counted = |history: History, outcomes: Vec<Outcome>| {
        let policy = policy(true);
        let entry = Entry { unknown: true, ..bound(OLD) };
        let (mut machine, mut action) = EntryMachine::start(entry, history, &policy);
        for outcome in outcomes {
            action = machine.step(AT, &policy, I::Outcome(outcome));
        }
        let A::Settle(Ending { history, .. }) = action else { panic!("{action:?}") };
        (history.open, history.unknown)
    };
    let lost = || vec![unknown(), unknown(), unknown()];
    let seen = || vec![Exists, unknown(), unknown(), unknown()];
    let past = |open, others_written, outage| History { open, others_written, outage, ..History::default() };
    assert_eq!(counted(past(0, false, false), lost()), (1, 0), "perhaps nothing answers");
    assert_eq!(counted(past(1, true, false), lost()), (2, 1), "others were written");
    assert_eq!(counted(past(2, false, false), seen()), (3, 1), "it answers a look");
    assert_eq!(counted(past(2, false, true), seen()), (3, 0), "but writes end unknown one after the other");
    let looked = run_with(
        Entry { unknown: true, ..bound(OLD) },
        past(2, false, false),
        &policy(true),
        vec![I::Outcome(Exists), I::Outcome(Applied)],
    );
    assert_eq!(looked, ["resolve", "update update", "Updated verify +60s"], "a look alone settles nothing");
}

#[test]
fn an_open_outcome_stays_open_when_the_service_goes_away() {
    let not_dispatched = || I::NotDispatched { after: Some(Duration::from_secs(9)), code: "down".to_owned() };
    let shown = run_with(upsert(), History::default(), &policy(true), vec![not_dispatched()]);
    assert_eq!(shown, ["create insert", "back, pause"], "nothing was sent: the claim stands");
    let shown = run_with(upsert(), History::default(), &policy(true), vec![I::Outcome(unknown()), not_dispatched()]);
    assert_eq!(shown, ["create insert", "create insert", "unknown down +9s, pause"]);
    let shown = run(upsert(), true, vec![unknown(), retry("throttled")]);
    assert_eq!(shown, ["create insert", "create insert", "unknown throttled +1s, pause"]);
}

#[test]
fn trouble_of_the_service_never_gives_a_record_up() {
    let worn = Entry { attempt: 1000, ..upsert() };
    assert_eq!(
        run(worn, true, vec![retry("campaign-throttled")]),
        ["create insert", "retry campaign-throttled +1s, pause"]
    );
}

#[test]
fn a_wish_of_the_service_is_obeyed() {
    let wish = Outcome::Retry { after: Some(Duration::from_secs(30)), code: "throttled".to_owned() };
    assert_eq!(run(upsert(), true, vec![wish]), ["create insert", "retry throttled +30s, pause"]);
}

#[test]
fn refusals_of_one_record_end_in_a_dead_letter_after_the_threshold() {
    let refused = |refusals, attempt| {
        let entry = Entry { attempt, ..upsert() };
        let inputs = vec![I::Outcome(retry("campaign-conflict"))];
        run_with(entry, History { refusals, ..History::default() }, &policy(true), inputs).pop().unwrap()
    };
    assert_eq!(refused(0, 1), "retry campaign-conflict +5s");
    assert_eq!(refused(6, 7), "retry campaign-conflict +5s");
    assert_eq!(refused(7, 8), "dead campaign-conflict");
    assert_eq!(refused(0, 24), "dead campaign-conflict", "also over many restarts");
}

#[test]
fn what_is_not_there_yet_gives_a_record_up_by_its_age_alone() {
    let not_yet = || Outcome::NotYet { code: "no-contact".to_owned() };
    assert_eq!(run(upsert(), true, vec![not_yet()]), ["create insert", "not yet no-contact +5s"]);
    let worn = Entry { attempt: 1000, ..upsert() };
    assert_eq!(run(worn, true, vec![not_yet()]), ["create insert", "not yet no-contact +5s"]);
    assert_eq!(run(bound(OLD), true, vec![not_yet()]), ["update update", "not yet no-contact +5s"]);
    assert_eq!(
        run(upsert(), true, vec![unknown(), not_yet()]),
        ["create insert", "create insert", "not yet no-contact in doubt +5s"],
        "the first attempt may have taken effect"
    );
    assert_eq!(
        run(upsert(), true, vec![Outcome::Exists, not_yet()]),
        ["create insert", "update update", "not yet no-contact in doubt +5s"],
        "something has our key"
    );
    assert_eq!(run(upsert(), false, vec![not_yet()]), ["resolve", "not yet no-contact +5s"]);
    let aged = |age_ms| Entry { appended_ms: AT.now_ms - age_ms, ..upsert() };
    assert_eq!(run(aged(100_000), true, vec![not_yet()]), ["create insert", "not yet no-contact +5s"]);
    assert_eq!(run(aged(100_001), true, vec![not_yet()]), ["create insert", "dead no-contact"]);
    assert_eq!(
        run(aged(100_001), true, vec![unknown(), not_yet()]),
        ["create insert", "create insert", "dead no-contact in doubt"]
    );
    assert_eq!(run(aged(100_001), true, vec![Outcome::Applied]), ["create insert", "Inserted"]);
}

#[test]
fn what_is_not_there_yet_is_asked_for_ever_more_rarely_and_counts_as_no_refusal() {
    let policy = WritePolicy {
        record_backoff: Backoff::new(Duration::from_secs(2), 3.0, Duration::from_secs(50)),
        ..policy(true)
    };
    let mut history = History { refusals: 7, ..History::default() };
    let mut waits = Vec::new();
    for _ in 0..5 {
        let (mut machine, _) = EntryMachine::start(upsert(), history, &policy);
        let ended = machine.step(AT, &policy, I::Outcome(Outcome::NotYet { code: "no-contact".to_owned() }));
        let A::Settle(Ending { verdict: Some(Verdict::NotYet { due_ms, .. }), history: past, pause: None }) = ended
        else {
            panic!("{ended:?}");
        };
        waits.push((due_ms - AT.now_ms) / 1000);
        history = past;
    }
    assert_eq!((waits, history.refusals), (vec![1, 3, 9, 25, 25], 7));
}

#[test]
fn a_rejection_is_final() {
    let rejection = Rejection { code: "too-long".into(), field: None, explanation: "Shorten it.".into() };
    assert_eq!(run(upsert(), true, vec![Outcome::Rejected(rejection)]), ["create insert", "dead too-long"]);
}

#[test]
fn a_rejection_says_whether_an_earlier_attempt_may_have_taken_effect() {
    let rejection = || Outcome::Rejected(Rejection { code: "no".into(), field: None, explanation: "No.".into() });
    assert_eq!(run(bound(OLD), true, vec![rejection()]), ["update update", "dead no"]);
    let shown = run(bound(OLD), true, vec![unknown(), rejection()]);
    assert_eq!(shown, ["update update", "update update", "dead no in doubt"]);
}

#[test]
fn an_update_that_cannot_be_said_leaves_creation_alone() {
    use Outcome::{Applied, Exists};
    let rejection = Rejection { code: "cannot-clear".into(), field: Some("f".into()), explanation: "Map it.".into() };
    let body = EntryBody::Upsert { insert: payload("insert"), update: Update::Impossible(rejection), digest: NEW };
    let entry = |bound| Entry { body: body.clone(), bound, ..upsert() };
    assert_eq!(run(entry(false), true, vec![Applied]), ["create insert", "Inserted"]);
    assert_eq!(
        run(entry(false), true, vec![Exists]),
        ["create insert", "dead cannot-clear in doubt"],
        "something has our key"
    );
    assert_eq!(run(entry(true), true, vec![]), ["dead cannot-clear"]);
    let repeated = run(entry(false), true, vec![unknown(), Exists]);
    assert_eq!(repeated, ["create insert", "create insert", "Inserted verify +60s"], "it was our own create");
    let inherited = Entry { unknown: true, attempt: 2, ..entry(false) };
    assert_eq!(run(inherited, true, vec![Exists]), ["create insert", "Inserted verify +60s"]);
    let after_another = Entry { unknown: true, ..entry(false) };
    assert_eq!(run(after_another, true, vec![Exists]), ["create insert", "dead cannot-clear in doubt"]);
    let again = Entry { verification: true, written: Some(NEW), ..entry(true) };
    assert_eq!(run(again, true, vec![]), ["Unchanged"], "nothing to write once more");
}

#[test]
fn a_verification_writes_once_more() {
    use Outcome::{Applied, Missing};
    let again = Entry { verification: true, ..bound(NEW) };
    assert_eq!(run(again.clone(), true, vec![Applied]), ["update update", "Updated"]);
    assert_eq!(run(again, true, vec![Missing, Applied]), ["update update", "create insert", "Inserted"]);
    let gone = Entry { verification: true, bound: false, written: None, ..delete() };
    assert_eq!(run(gone, true, vec![Missing]), ["delete", "Ignored"]);
    let rejection = Rejection { code: "no".into(), field: None, explanation: "No.".into() };
    let refused = run(Entry { verification: true, ..bound(NEW) }, true, vec![Outcome::Rejected(rejection)]);
    assert_eq!(
        refused,
        ["update update", "dead no in doubt"],
        "an older state may be there: nothing compares equal any more"
    );
}

#[test]
fn a_delete_is_safe_to_repeat() {
    assert_eq!(run(delete(), false, vec![unknown()]), ["delete", "unknown reset +60s"]);
    let open = Entry { unknown: true, ..delete() };
    assert_eq!(run(open, false, vec![Outcome::Applied]), ["delete", "Deleted verify +60s"]);
}
