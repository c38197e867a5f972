//! The ledger: what it records, what survives, and that every change of the file shows.

use std::path::Path;
use std::time::Duration;

use consent::{
    Broken, Decided, Direction, Ending, Event, Head, HostKey, Ledger, LedgerErrorKind, Look, Policy, Precision,
    Reading, Side, Source, Stamp,
};
use record::Key;
use rusqlite::{Connection, params};
use timing::ManualClock;

pub(crate) const BOTH: Direction = Direction::Bidirectional;

pub(crate) fn key() -> Option<HostKey> {
    Some(HostKey::new(Box::new([7; 32])))
}

pub(crate) fn open(path: &Path, clock: &ManualClock) -> Ledger {
    Ledger::open(path, key(), clock.shared()).unwrap()
}

pub(crate) fn contact(number: u8) -> Key {
    Key::Guid(uuid::Uuid::from_bytes([number; 16]))
}

pub(crate) fn side(value: bool, seconds: i64) -> Option<Side> {
    Some(Side::new(value, Some(Stamp::attribute(seconds * 1000, Precision::Second))))
}

pub(crate) fn look(began_ms: i64, readings: &[(&str, Option<Side>, Option<Side>)]) -> Look {
    let readings = readings.iter().map(|(attribute, d365, campaign)| Reading {
        attribute: (*attribute).to_owned(),
        d365: *d365,
        campaign: *campaign,
    });
    Look { began_ms, source: Source::D365Change, readings: readings.collect() }
}

async fn looked(ledger: &Ledger, number: u8, d365: Option<Side>, campaign: Option<Side>) -> Vec<Decided> {
    let look = look(1_000, &[("blackListEmail", d365, campaign)]);
    ledger.decide(&contact(number), Policy::default(), BOTH, look).await.unwrap()
}

/// Eight entries of three contacts, of every kind.
async fn filled(ledger: &Ledger) {
    let decided = looked(ledger, 1, side(true, 5), side(false, 1)).await;
    ledger.conclude(&contact(1), vec![(decided[0].clone(), Ending::Written)]).await.unwrap();
    let decided = looked(ledger, 2, side(true, 5), side(false, 9)).await;
    ledger.conclude(&contact(2), vec![(decided[0].clone(), Ending::Conflict)]).await.unwrap();
    looked(ledger, 2, side(false, 10), side(false, 9)).await;
    ledger.erase(&contact(3)).await.unwrap();
    ledger.unerase(&contact(3)).await.unwrap();
    ledger.followed(consent::Party::D365, 0, 500).await.unwrap();
}

fn events(ledger: &Ledger, number: u8) -> Vec<String> {
    let entries = ledger.entries(&contact(number), 0, 100).unwrap();
    let name = |event: &Event| match event {
        Event::Decided { verdict, .. } => format!("decided {:?}", verdict.reason),
        Event::Concluded { decision, ending, .. } => format!("{decision} {ending:?}"),
        Event::Seen { d365, campaign, .. } => format!("seen {} {}", d365.is_some(), campaign.is_some()),
        Event::Erased => "erased".to_owned(),
        Event::Unerased => "unerased".to_owned(),
        other => panic!("{other:?}"),
    };
    entries.iter().map(|entry| format!("{}: {}", entry.seq, name(&entry.event))).collect()
}

#[tokio::test]
async fn a_decision_is_recorded_with_its_end_and_a_later_look_overtakes_it() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), ManualClock::new());
    let path = folder.path().join("store.consent");
    let ledger = open(&path, &clock);
    filled(&ledger).await;
    let first = ["1: decided OptOutStands", "2: 1 Written"];
    let second = ["3: decided CampaignNewer", "4: 3 Conflict", "5: 3 Overtaken", "6: decided Equal"];
    assert_eq!(events(&ledger, 1), first);
    assert_eq!(events(&ledger, 2), second);
    assert_eq!(events(&ledger, 3), ["7: erased", "8: unerased"]);
    // A look that finds what was known leaves no entry.
    looked(&ledger, 2, side(false, 10), side(false, 9)).await;
    looked(&ledger, 1, side(true, 5), side(true, 6)).await;
    assert_eq!(events(&ledger, 2), second);
    assert_eq!(events(&ledger, 1), first);
    drop(ledger);
    // All of it is there when the file is opened again.
    let again = open(&path, &clock);
    assert_eq!(events(&again, 1), first);
    assert_eq!(again.verify(None).unwrap().unwrap().entries, 8);
    assert!(!folder.path().join("store.consent-wal").exists() || again.verify(None).unwrap().is_ok());
}

#[tokio::test]
async fn what_is_under_way_or_said_by_either_side_goes_into_a_new_row() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), ManualClock::new());
    let ledger = open(&folder.path().join("c"), &clock);
    let decided = looked(&ledger, 1, side(true, 5), side(false, 1)).await;
    assert_eq!(ledger.opted_out(&contact(1)).unwrap(), ["blackListEmail"]);
    ledger.conclude(&contact(1), vec![(decided[0].clone(), Ending::Written)]).await.unwrap();
    // The profile is gone: what Campaign held stays known.
    looked(&ledger, 1, side(true, 5), None).await;
    let known = ledger.known(&contact(1)).unwrap();
    assert_eq!(known[0].1.campaign.unwrap().side.value, Some(true));
    assert_eq!(ledger.opted_out(&contact(1)).unwrap(), ["blackListEmail"]);
    assert_eq!(ledger.opted_out(&contact(2)).unwrap(), [""; 0]);
    // A FALSE under way opens nothing before it is written.
    let decided = looked(&ledger, 1, side(true, 5), side(false, 9)).await;
    assert!(!decided[0].verdict.value);
    assert_eq!(ledger.opted_out(&contact(1)).unwrap(), ["blackListEmail"]);
    ledger.conclude(&contact(1), vec![(decided[0].clone(), Ending::Unknown)]).await.unwrap();
    assert_eq!(ledger.opted_out(&contact(1)).unwrap(), ["blackListEmail"]);
    ledger.conclude(&contact(1), vec![(decided[0].clone(), Ending::Written)]).await.unwrap();
    assert_eq!(ledger.opted_out(&contact(1)).unwrap(), [""; 0]);
    // An end that comes twice, or after a later look, changes nothing.
    let before = ledger.known(&contact(1)).unwrap();
    ledger.conclude(&contact(1), vec![(decided[0].clone(), Ending::Written)]).await.unwrap();
    assert_eq!(ledger.known(&contact(1)).unwrap(), before);
}

#[tokio::test]
async fn an_erased_contact_is_known_by_its_mark_alone() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), ManualClock::new());
    let path = folder.path().join("c");
    let ledger = open(&path, &clock);
    let decided = looked(&ledger, 1, side(true, 5), side(false, 1)).await;
    ledger.erase(&contact(1)).await.unwrap();
    ledger.erase(&contact(1)).await.unwrap();
    ledger.conclude(&contact(1), vec![(decided[0].clone(), Ending::Written)]).await.unwrap();
    assert!(looked(&ledger, 1, side(true, 5), side(false, 1)).await.is_empty());
    assert_eq!(ledger.known(&contact(1)).unwrap(), []);
    drop(ledger);
    let ledger = open(&path, &clock);
    assert!(ledger.is_erased(&contact(1)).unwrap() && !ledger.is_erased(&contact(2)).unwrap());
    assert_eq!(events(&ledger, 1), ["1: decided OptOutStands", "2: erased"]);
    assert_eq!(ledger.verify(None).unwrap().unwrap().entries, 2);
    ledger.unerase(&contact(1)).await.unwrap();
    assert!(!ledger.is_erased(&contact(1)).unwrap());
    looked(&ledger, 1, side(true, 5), side(false, 1)).await;
    assert_eq!(events(&ledger, 1).len(), 4);
    assert_eq!(ledger.verify(None).unwrap().unwrap().entries, 4);
}

#[tokio::test]
async fn the_file_holds_no_key_of_a_contact() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), ManualClock::new());
    let path = folder.path().join("c");
    let ledger = open(&path, &clock);
    let person = Key::text("ada.lovelace@example.org");
    for key in [person.clone(), contact(0xA5)] {
        let look = look(1, &[("blackListEmail", side(true, 5), side(false, 1))]);
        ledger.decide(&key, Policy::default(), BOTH, look).await.unwrap();
        ledger.erase(&key).await.unwrap();
    }
    for name in ["c", "c-wal"] {
        let bytes = std::fs::read(folder.path().join(name)).unwrap();
        for secret in [&b"lovelace"[..], &[0xA5; 8], &[7; 32], b"a5a5a5a5"] {
            assert!(!bytes.windows(secret.len()).any(|part| part == secret), "{name}");
        }
    }
}

#[tokio::test]
async fn another_key_opens_nothing() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), ManualClock::new());
    let (keyed, plain) = (folder.path().join("keyed"), folder.path().join("plain"));
    drop(open(&keyed, &clock));
    drop(Ledger::open(&plain, None, clock.shared()).unwrap());
    let other = Some(HostKey::new(Box::new([8; 32])));
    let kind = |path: &Path, key| Ledger::open(path, key, clock.shared()).unwrap_err().kind();
    assert_eq!(kind(&keyed, other), LedgerErrorKind::WrongKey);
    assert_eq!(kind(&keyed, None), LedgerErrorKind::WrongKey);
    assert_eq!(kind(&plain, key()), LedgerErrorKind::WrongKey);
    assert!(Ledger::open(&plain, None, clock.shared()).is_ok());
    Connection::open(&plain).unwrap().pragma_update(None, "user_version", 2).unwrap();
    assert_eq!(kind(&plain, None), LedgerErrorKind::TooNew);
    let reader = Ledger::open_read_only(&keyed, key(), clock.shared()).unwrap();
    assert_eq!(reader.erase(&contact(1)).await.unwrap_err().kind(), LedgerErrorKind::Unavailable);
}

/// A copy of a filled file after a statement of a stranger.
async fn after(statement: &str) -> (Result<Head, Broken>, Head) {
    let (folder, clock) = (tempfile::tempdir().unwrap(), ManualClock::new());
    let path = folder.path().join("c");
    let ledger = open(&path, &clock);
    filled(&ledger).await;
    let head = ledger.verify(None).unwrap().unwrap();
    let changed = Connection::open(&path).unwrap().execute_batch(statement);
    changed.unwrap_or_else(|error| panic!("{statement}: {error}"));
    (ledger.verify(None).unwrap(), head)
}

#[tokio::test]
async fn every_change_shows_and_is_named() {
    let cases = [
        ("UPDATE entry SET at_ms = at_ms + 1 WHERE seq = 3", Broken::Changed(3)),
        ("UPDATE entry SET kind = 4 WHERE seq = 7", Broken::Changed(7)),
        (
            "UPDATE entry SET body = CAST(replace(CAST(body AS TEXT), 'true', 'false') AS BLOB) WHERE seq = 1",
            Broken::Changed(1),
        ),
        ("UPDATE entry SET contact = (SELECT contact FROM entry WHERE seq = 3) WHERE seq = 1", Broken::Changed(1)),
        ("UPDATE entry SET link = zeroblob(32) WHERE seq = 2", Broken::Changed(2)),
        ("DELETE FROM entry WHERE seq = 1", Broken::Missing(1)),
        ("DELETE FROM entry WHERE seq = 4", Broken::Missing(4)),
        ("DELETE FROM entry WHERE seq = 8", Broken::CutOff(7)),
        ("DELETE FROM entry", Broken::CutOff(0)),
        ("DELETE FROM entry WHERE seq = 4; UPDATE entry SET seq = seq - 1 WHERE seq > 4", Broken::Changed(4)),
        (
            "UPDATE entry SET seq = 100 WHERE seq = 3; UPDATE entry SET seq = 3 WHERE seq = 4;
             UPDATE entry SET seq = 4 WHERE seq = 100",
            Broken::Changed(3),
        ),
        (
            "INSERT INTO entry SELECT seq + 1, kind, contact, at_ms, body, link FROM entry WHERE seq = 8",
            Broken::Changed(9),
        ),
        ("DELETE FROM head", Broken::End),
        ("UPDATE head SET seal = zeroblob(32)", Broken::End),
        ("UPDATE head SET last = 9", Broken::CutOff(8)),
        ("UPDATE head SET last = 7; DELETE FROM entry WHERE seq = 8", Broken::End),
        ("DELETE FROM known WHERE last = 2", Broken::Known(1)),
        ("UPDATE known SET last = 9 WHERE last = 2", Broken::Known(9)),
        (
            "UPDATE known SET state = CAST(replace(CAST(state AS TEXT), 'true', 'false') AS BLOB) WHERE last = 2",
            Broken::Known(2),
        ),
        ("UPDATE known SET attribute = 'blackListFax' WHERE last = 6", Broken::Known(3)),
        ("UPDATE feed SET until_ms = until_ms + 1", Broken::Followed),
    ];
    for (statement, wanted) in cases {
        assert_eq!(after(statement).await.0, Err(wanted), "{statement}");
    }
    let (untouched, head) = after("SELECT 1").await;
    assert_eq!(untouched, Ok(head));
}

#[tokio::test]
async fn a_flipped_byte_shows_in_every_column() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), ManualClock::new());
    let path = folder.path().join("c");
    let ledger = open(&path, &clock);
    filled(&ledger).await;
    let stranger = Connection::open(&path).unwrap();
    let columns = [
        ("entry", "contact"),
        ("entry", "body"),
        ("entry", "link"),
        ("head", "seal"),
        ("known", "state"),
        ("known", "seal"),
        ("known", "contact"),
    ];
    let mut flips = 0;
    for (table, column) in columns {
        let read = format!("SELECT last, {column} FROM {table}")
            .replace("last, ", if table == "entry" { "seq, " } else { "last, " });
        let rows: Vec<(i64, Vec<u8>)> = {
            let mut select = stranger.prepare(&read).unwrap();
            select.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().collect::<Result<_, _>>().unwrap()
        };
        let number = if table == "entry" { "seq" } else { "last" };
        let write = format!("UPDATE {table} SET {column} = ?1 WHERE {number} = ?2");
        for (place, bytes) in rows {
            for at in (0..bytes.len()).step_by(5) {
                let mut flipped = bytes.clone();
                flipped[at] ^= 1;
                assert_eq!(stranger.execute(&write, params![flipped, place]).unwrap(), 1);
                assert!(ledger.verify(None).unwrap().is_err(), "{table}.{column} of {place}, byte {at}");
                flips += 1;
                stranger.execute(&write, params![bytes, place]).unwrap();
            }
        }
    }
    assert!(flips > 400, "{flips}");
    assert!(ledger.verify(None).unwrap().is_ok());
}

#[tokio::test]
async fn a_file_set_back_as_a_whole_shows_beside_an_end_noted_elsewhere() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), ManualClock::new());
    let (path, copy) = (folder.path().join("c"), folder.path().join("copy"));
    let ledger = open(&path, &clock);
    looked(&ledger, 1, side(true, 5), side(false, 1)).await;
    let early = ledger.verify(None).unwrap().unwrap();
    Connection::open(&path).unwrap().execute("VACUUM INTO ?1", [copy.to_str().unwrap()]).unwrap();
    filled(&ledger).await;
    let late = ledger.verify(None).unwrap().unwrap();
    assert_eq!(ledger.verify(Some(&early)).unwrap(), Ok(late), "an earlier end leads to this one");
    let restored = open(&copy, &clock);
    assert!(restored.verify(None).unwrap().is_ok(), "it is whole in itself");
    assert_eq!(restored.verify(Some(&late)).unwrap(), Err(Broken::NotTheHead(late.entries)));
    // Another history of the same length is not this one either.
    for number in 10..20 {
        looked(&restored, number, side(true, 5), side(false, 1)).await;
    }
    assert_eq!(restored.verify(Some(&late)).unwrap(), Err(Broken::NotTheHead(late.entries)));
    assert_eq!(restored.verify(Some(&early)).unwrap().map(|head| head.entries), Ok(11));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_at_once_and_two_writers_make_one_chain() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), ManualClock::new());
    let path = folder.path().join("c");
    let ledgers = [std::sync::Arc::new(open(&path, &clock)), std::sync::Arc::new(open(&path, &clock))];
    let mut tasks = Vec::new();
    for number in 0..100 {
        let ledger = ledgers[usize::from(number % 2)].clone();
        tasks.push(tokio::spawn(async move {
            let decided = looked(&ledger, number, side(true, 5), side(false, 1)).await;
            ledger.conclude(&contact(number), vec![(decided[0].clone(), Ending::Written)]).await.unwrap();
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(ledgers[0].verify(None).unwrap().unwrap().entries, 200);
    clock.advance(Duration::from_secs(1));
}

/// Each value that a side holds is in the chain, so no last known state can be set back to another value.
#[tokio::test]
async fn a_side_that_was_read_alone_is_recorded_when_its_value_is_new() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), ManualClock::new());
    let path = folder.path().join("c");
    let ledger = open(&path, &clock);
    looked(&ledger, 1, None, side(false, 1)).await;
    looked(&ledger, 1, None, side(false, 1)).await;
    let stranger = Connection::open(&path).unwrap();
    let row: (i64, Vec<u8>, Vec<u8>) = stranger
        .query_row("SELECT last, state, seal FROM known", [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .unwrap();
    looked(&ledger, 1, None, side(true, 2)).await;
    looked(&ledger, 1, side(true, 2), None).await;
    assert_eq!(events(&ledger, 1), ["1: seen false true", "2: seen false true", "3: seen true false"]);
    stranger.execute("UPDATE known SET last = ?1, state = ?2, seal = ?3", row).unwrap();
    assert_eq!(ledger.verify(None).unwrap(), Err(Broken::Known(2)));
}

/// The log is cut anywhere, as a crash in the middle of a write leaves it: what is found is a whole beginning of the chain.
#[tokio::test]
async fn a_torn_log_leaves_a_whole_ledger() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), ManualClock::new());
    let path = folder.path().join("c");
    let ledger = open(&path, &clock);
    filled(&ledger).await;
    let log = std::fs::read(folder.path().join("c-wal")).unwrap();
    let mut found = std::collections::BTreeSet::new();
    for cut in (0..=log.len()).rev().step_by(2_903) {
        let crashed = tempfile::tempdir().unwrap();
        std::fs::copy(&path, crashed.path().join("c")).unwrap();
        std::fs::write(crashed.path().join("c-wal"), &log[..cut]).unwrap();
        let again = open(&crashed.path().join("c"), &clock);
        found.insert(again.verify(None).unwrap().unwrap().entries);
    }
    // The decision that overtakes another is one step with its entry, so nothing ends with 5.
    assert_eq!(found, [0, 1, 2, 3, 4, 6, 7, 8].into(), "every beginning was met");
}

/// A copy of the file and its log at any time is what a crash at that time leaves; what was acknowledged is in it.
#[tokio::test]
async fn a_crash_at_any_point_keeps_what_was_acknowledged() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), ManualClock::new());
    let path = folder.path().join("c");
    let ledger = open(&path, &clock);
    for step in 1..=12u8 {
        let decided = looked(&ledger, step, side(true, 5), side(false, 1)).await;
        if step % 3 == 0 {
            ledger.conclude(&contact(step), vec![(decided[0].clone(), Ending::Written)]).await.unwrap();
        }
        let crashed = tempfile::tempdir().unwrap();
        std::fs::copy(&path, crashed.path().join("c")).unwrap();
        let log = std::fs::read(folder.path().join("c-wal")).unwrap();
        // The log ends anywhere after what was acknowledged, with rubbish of a write that was torn.
        let torn = [&log[..], &vec![0xEE; usize::from(step) * 500]].concat();
        std::fs::write(crashed.path().join("c-wal"), torn).unwrap();
        let again = open(&crashed.path().join("c"), &clock);
        let expected = u64::from(step) + u64::from(step / 3);
        assert_eq!(again.verify(None).unwrap().unwrap().entries, expected);
        let pending = again.known(&contact(step)).unwrap()[0].1.pending;
        assert_eq!(pending.is_none(), step % 3 == 0);
        looked(&again, 99, side(true, 5), side(false, 1)).await;
        assert_eq!(again.verify(None).unwrap().unwrap().entries, expected + 1);
    }
}

#[tokio::test]
async fn what_cannot_be_recorded_leaves_nothing_and_the_next_is_recorded() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), ManualClock::new());
    let path = folder.path().join("c");
    let ledger = open(&path, &clock);
    looked(&ledger, 1, side(true, 5), side(false, 1)).await;
    let stranger = Connection::open(&path).unwrap();
    stranger.execute_batch("ALTER TABLE known RENAME TO elsewhere").unwrap();
    let look_anew = || look(1_000, &[("blackListFax", side(true, 5), side(false, 1))]);
    assert!(ledger.decide(&contact(2), Policy::default(), BOTH, look_anew()).await.is_err());
    stranger.execute_batch("ALTER TABLE elsewhere RENAME TO known").unwrap();
    assert_eq!(events(&ledger, 2), [""; 0]);
    assert!(ledger.decide(&contact(2), Policy::default(), BOTH, look_anew()).await.is_ok());
    assert_eq!(events(&ledger, 2), ["2: decided OptOutStands"]);
    assert_eq!(ledger.verify(None).unwrap().unwrap().entries, 2);
}

/// What is stored for ever, and what configurations say, keeps its words.
#[tokio::test]
async fn the_words_of_the_file_are_kept() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), ManualClock::new());
    let path = folder.path().join("c");
    let ledger = open(&path, &clock);
    let decided = looked(&ledger, 1, side(true, 5), None).await;
    assert!(decided.is_empty());
    let decided = looked(&ledger, 1, side(true, 5), side(false, 9)).await;
    ledger.conclude(&contact(1), vec![(decided[0].clone(), Ending::Unknown)]).await.unwrap();
    ledger.erase(&contact(1)).await.unwrap();
    let stranger = Connection::open(&path).unwrap();
    let mut select = stranger.prepare("SELECT CAST(body AS TEXT) FROM entry ORDER BY seq").unwrap();
    let bodies: Vec<String> = select.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap();
    let row = r#"{"value":true,"time":{"at_ms":5000,"precision":"second","level":"attribute"}}"#;
    let campaign = r#"{"value":false,"time":{"at_ms":9000,"precision":"second","level":"attribute"}}"#;
    assert_eq!(
        bodies,
        [
            format!(
                r#"{{"entry":"seen","attribute":"blackListEmail","source":"d365-change","d365":{row},"campaign":null}}"#
            ),
            format!(
                r#"{{"entry":"decided","attribute":"blackListEmail","source":"d365-change","direction":"bidirectional","policy":{{"rule":"adobe","tolerance_ms":0}},"d365":{row},"campaign":{campaign},"verdict":{{"value":false,"reason":"campaign-newer","write_d365":true,"write_campaign":false}}}}"#
            ),
            r#"{"entry":"concluded","attribute":"blackListEmail","decision":2,"ending":"unknown"}"#.to_owned(),
            r#"{"entry":"erased"}"#.to_owned(),
        ]
    );
    let word = |direction: Direction| serde_json::to_string(&direction).unwrap();
    let words = [Direction::Disabled, Direction::D365ToCampaign, Direction::CampaignToD365, BOTH].map(word);
    assert_eq!(words, [r#""disabled""#, r#""d365_to_campaign""#, r#""campaign_to_d365""#, r#""bidirectional""#]);
}
