//! The gate: open only when every side that has a say was known lately to say no opt-out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use consent::{
    Answer, Channel, ConsentGate, Direction, Ending, GateOptions, Ground, Ledger, LedgerErrorKind, Party, Policy, Side,
};
use rusqlite::Connection;
use timing::{Clock, ManualClock};

use super::ledger::{BOTH, contact, look, open, side};

struct Scene {
    _folder: tempfile::TempDir,
    path: std::path::PathBuf,
    clock: ManualClock,
    ledger: Arc<Ledger>,
    gate: ConsentGate,
}

const GENERAL: &str = "blackList";
const EMAIL: &str = "blackListEmail";

impl Scene {
    fn new() -> Self {
        let (folder, clock) = (tempfile::tempdir().unwrap(), ManualClock::new());
        let path = folder.path().join("c");
        let ledger = Arc::new(open(&path, &clock));
        let options = GateOptions {
            max_age_d365: Duration::from_secs(60),
            max_age_campaign: Duration::from_secs(600),
            pairs: BTreeMap::from([(EMAIL.to_owned(), "donotemail".to_owned())]),
        };
        let gate = ConsentGate::new(ledger.clone(), options);
        Self { _folder: folder, path, clock, ledger, gate }
    }

    fn now(&self) -> i64 {
        self.clock.now().timestamp_millis()
    }

    async fn read(&self, readings: &[(&str, Option<Side>, Option<Side>)]) -> Vec<consent::Decided> {
        let look = look(self.now(), readings);
        self.ledger.decide(&contact(1), Policy::default(), BOTH, look).await.unwrap()
    }

    fn ask(&self, channel: Channel) -> Ground {
        let Answer { allowed, ground } = self.gate.may_contact(&contact(1), channel);
        assert_eq!(allowed, ground == Ground::NoOptOut);
        ground
    }
}

const NO: fn() -> Option<Side> = || side(false, 1);
const YES: fn() -> Option<Side> = || side(true, 1);

#[tokio::test]
async fn nothing_known_is_closed_and_everything_known_is_open() {
    let scene = Scene::new();
    assert_eq!(scene.ask(Channel::Email), Ground::NeverRead(Party::Campaign, GENERAL));
    scene.read(&[(GENERAL, None, NO())]).await;
    assert_eq!(scene.ask(Channel::Email), Ground::NeverRead(Party::D365, EMAIL));
    scene.read(&[(EMAIL, None, NO())]).await;
    assert_eq!(scene.ask(Channel::Email), Ground::NeverRead(Party::D365, EMAIL));
    scene.read(&[(EMAIL, NO(), NO())]).await;
    assert_eq!(scene.ask(Channel::Email), Ground::NoOptOut);
    // No column of Dynamics 365 is paired with the fax: Campaign alone has a say, and was not asked.
    assert_eq!(scene.ask(Channel::Fax), Ground::NeverRead(Party::Campaign, "blackListFax"));
}

#[tokio::test]
async fn an_opt_out_of_either_side_closes_its_channel_and_the_general_one_all() {
    let scene = Scene::new();
    let all: Vec<_> = Channel::ALL.iter().map(|channel| (channel.attribute(), NO(), NO())).collect();
    scene.read(&all).await;
    scene.read(&[(GENERAL, None, NO())]).await;
    for channel in Channel::ALL {
        assert_eq!(scene.ask(channel), Ground::NoOptOut, "{channel:?}");
    }
    let cases = [
        (Channel::Email, "blackListEmail"),
        (Channel::Phone, "blackListPhone"),
        (Channel::Sms, "blackListMobile"),
        (Channel::Fax, "blackListFax"),
        (Channel::PostalMail, "blackListPostalMail"),
        (Channel::Push, "blackListPushnotification"),
        (Channel::Sale, "ccpaOptOut"),
    ];
    for (channel, name) in cases {
        scene.read(&[(name, NO(), YES())]).await;
        assert_eq!(scene.ask(channel), Ground::OptedOut(Party::Campaign, name));
        let others = Channel::ALL.into_iter().filter(|other| *other != channel);
        assert!(others.into_iter().all(|other| scene.ask(other) == Ground::NoOptOut), "{channel:?} alone");
        scene.read(&[(name, YES(), NO())]).await;
        assert_eq!(scene.ask(channel), Ground::OptedOut(Party::D365, name));
        scene.read(&[(name, NO(), NO())]).await;
    }
    scene.read(&[(GENERAL, None, YES())]).await;
    for channel in Channel::ALL {
        assert_eq!(scene.ask(channel), Ground::OptedOut(Party::Campaign, GENERAL));
    }
}

#[tokio::test]
async fn a_decision_under_way_is_closed_until_it_is_written() {
    let scene = Scene::new();
    scene.read(&[(GENERAL, None, NO()), (EMAIL, NO(), NO())]).await;
    // Campaign newer: FALSE goes to Dynamics 365.
    let decided = scene.read(&[(EMAIL, YES(), side(false, 9))]).await;
    assert_eq!(scene.ask(Channel::Email), Ground::OptedOut(Party::D365, EMAIL));
    scene.ledger.conclude(&contact(1), vec![(decided[0].clone(), Ending::Unknown)]).await.unwrap();
    assert_eq!(scene.ask(Channel::Email), Ground::OptedOut(Party::D365, EMAIL));
    scene.ledger.conclude(&contact(1), vec![(decided[0].clone(), Ending::Written)]).await.unwrap();
    assert_eq!(scene.ask(Channel::Email), Ground::NoOptOut);
    // A side was read alone meanwhile and says FALSE: the decision is still without an end.
    scene.read(&[(EMAIL, YES(), side(false, 9))]).await;
    scene.read(&[(EMAIL, NO(), None)]).await;
    assert_eq!(scene.ask(Channel::Email), Ground::Undecided(EMAIL));
}

#[tokio::test]
async fn what_is_too_old_is_closed_unless_the_changes_were_followed() {
    let scene = Scene::new();
    let start = scene.now();
    scene.read(&[(GENERAL, None, NO()), (EMAIL, NO(), NO())]).await;
    scene.clock.advance(Duration::from_secs(60));
    assert_eq!(scene.ask(Channel::Email), Ground::NoOptOut);
    scene.clock.advance(Duration::from_millis(1));
    assert_eq!(scene.ask(Channel::Email), Ground::Stale(Party::D365, EMAIL));
    scene.ledger.followed(Party::D365, start - 5, start + 10_000).await.unwrap();
    assert_eq!(scene.ask(Channel::Email), Ground::NoOptOut);
    scene.clock.advance(Duration::from_secs(100));
    assert_eq!(scene.ask(Channel::Email), Ground::Stale(Party::D365, EMAIL));
    // The next part begins where the last one ended.
    scene.ledger.followed(Party::D365, start + 10_000, start + 150_000).await.unwrap();
    assert_eq!(scene.ask(Channel::Email), Ground::NoOptOut);
    scene.clock.advance(Duration::from_secs(440));
    scene.ledger.followed(Party::D365, start + 150_000, scene.now()).await.unwrap();
    assert_eq!(scene.ask(Channel::Email), Ground::Stale(Party::Campaign, GENERAL));
    scene.ledger.followed(Party::Campaign, start, scene.now()).await.unwrap();
    assert_eq!(scene.ask(Channel::Email), Ground::NoOptOut);
    // After a gap, what was read before it is as old as its read.
    scene.ledger.followed(Party::D365, scene.now() + 1, scene.now() + 2).await.unwrap();
    assert_eq!(scene.ask(Channel::Email), Ground::Stale(Party::D365, EMAIL));
}

#[tokio::test]
async fn a_clock_that_was_set_back_is_closed() {
    let scene = Scene::new();
    scene.read(&[(GENERAL, None, NO()), (EMAIL, NO(), NO())]).await;
    scene.clock.set_now(scene.clock.now() - chrono::TimeDelta::seconds(1));
    assert_eq!(scene.ask(Channel::Email), Ground::Stale(Party::Campaign, GENERAL));
}

#[tokio::test]
async fn an_erased_person_and_a_file_that_was_tampered_with_are_closed() {
    let scene = Scene::new();
    scene.read(&[(GENERAL, None, NO()), (EMAIL, NO(), YES())]).await;
    let forged = "UPDATE known SET state = CAST(replace(CAST(state AS TEXT), 'true', 'false') AS BLOB)";
    Connection::open(&scene.path).unwrap().execute_batch(forged).unwrap();
    assert_eq!(scene.ask(Channel::Email), Ground::Unreadable(LedgerErrorKind::Corrupt));
    scene.ledger.erase(&contact(1)).await.unwrap();
    assert_eq!(scene.ask(Channel::Email), Ground::Erased);
    scene.ledger.unerase(&contact(1)).await.unwrap();
    assert_eq!(scene.ask(Channel::Email), Ground::NeverRead(Party::Campaign, GENERAL));
}

#[tokio::test]
async fn the_gate_opens_beside_another_process_and_its_answers_are_sentences() {
    let scene = Scene::new();
    scene.read(&[(GENERAL, None, NO()), (EMAIL, NO(), NO())]).await;
    let reader = Ledger::open_read_only(&scene.path, super::ledger::key(), scene.clock.shared()).unwrap();
    let options =
        GateOptions { max_age_d365: Duration::ZERO, max_age_campaign: Duration::ZERO, pairs: BTreeMap::new() };
    let gate = ConsentGate::new(Arc::new(reader), options);
    assert!(gate.may_contact(&contact(1), Channel::Email).allowed);
    scene
        .ledger
        .decide(&contact(1), Policy::default(), Direction::Bidirectional, look(0, &[(EMAIL, NO(), YES())]))
        .await
        .unwrap();
    let answer = gate.may_contact(&contact(1), Channel::Email);
    assert_eq!(answer.to_string(), "closed: Campaign says that the person opted out (blackListEmail)");
}

/// Whoever could not be read again may have changed, however well all others are followed.
#[tokio::test]
async fn a_contact_that_could_not_be_read_again_is_closed_until_it_is() {
    let scene = Scene::new();
    scene.read(&[(GENERAL, None, NO()), (EMAIL, NO(), YES())]).await;
    scene.read(&[(GENERAL, None, NO()), (EMAIL, NO(), NO())]).await;
    scene.ledger.unread(&contact(1)).await.unwrap();
    scene.ledger.followed(Party::Campaign, scene.now(), scene.now()).await.unwrap();
    assert_eq!(scene.ask(Channel::Email), Ground::Unread(GENERAL));
    assert!(scene.ledger.verify(None).unwrap().is_ok());
    scene.read(&[(GENERAL, None, NO()), (EMAIL, NO(), NO())]).await;
    assert_eq!(scene.ask(Channel::Email), Ground::NoOptOut);
    assert_eq!(scene.ledger.followed_until(Party::Campaign).unwrap(), Some(scene.now()));
    assert_eq!(scene.ledger.followed_until(Party::D365).unwrap(), None);
}
