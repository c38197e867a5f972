//! Random histories over parents and children of two streams, classes, versions and replays: the store answers and holds
//! what the model does after every step.

#![expect(clippy::unwrap_used, reason = "the helpers of a test may panic")]

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use record::Key;
use sync_core::store::MemoryStore;
use sync_core::traits::{
    Advance, ClaimRequest, Class, DeadLetterQuery, DeleteRelease, Draft, DraftBody, Effect, Lease, LetterFilter,
    OwnerId, Page, Parent, Phase, Rejection, Request, Settlement, Store, Verdict,
};
use sync_core::{Digest, Payload, PlanVersion, Position, Seq, StreamId};
use sync_store_sqlite::{SqliteOptions, SqliteStore};

const KEYS: [&str; 5] = ["a", "b", "c", "d", "e"];
const STREAMS: [&str; 2] = ["w/parents", "w/children"];

#[derive(Debug, Clone)]
struct PageOf {
    stream: usize,
    class: u8,
    replay: bool,
    refresh: bool,
    hold_deletes: bool,
    mark_seen: bool,
    drafts: Vec<(usize, u8, i8, u8)>,
}

#[derive(Debug, Clone)]
enum Step {
    Append(PageOf),
    Claim(usize, usize),
    Settle(Vec<(usize, u8)>),
    GiveUp(usize, i64),
    /// Deletes of the stream held up to so many numbers ago, and the other stream's entries up to so many.
    Release(usize, u64, Option<u64>),
    Pass(i64),
    TakeOver,
    Replan,
    Ask,
    Finish(usize),
    Drop(u8),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let draft = (0..5_usize, any::<u8>(), -3..3_i8, any::<u8>());
    let page = (0..2_usize, 0..4_u8, 0..8_u8, any::<bool>(), vec(draft, 0..6));
    let step = prop_oneof![
        8 => page.prop_map(|(stream, class, flags, mark_seen, drafts)| {
            Step::Append(PageOf { stream, class, replay: flags == 0, refresh: flags == 1, hold_deletes: flags > 3, mark_seen, drafts })
        }),
        6 => (0..2_usize, 0..10_usize).prop_map(|(stream, max)| Step::Claim(stream, max)),
        9 => vec((any::<usize>(), any::<u8>()), 1..4).prop_map(Step::Settle),
        2 => (0..2_usize, -50..300_i64).prop_map(|(stream, ago)| Step::GiveUp(stream, ago)),
        3 => (0..2_usize, 0..20_u64, proptest::option::of(0..20_u64)).prop_map(|(at, held, of)| Step::Release(at, held, of)),
        3 => (-300..2_000_i64).prop_map(Step::Pass),
        1 => Just(Step::TakeOver),
        1 => Just(Step::Replan),
        1 => Just(Step::Ask),
        1 => (0..3_usize).prop_map(Step::Finish),
        1 => any::<u8>().prop_map(Step::Drop),
    ];
    vec(step, 20..160)
}

struct Run {
    store: Arc<dyn Store>,
    lease: Lease,
    versions: [u64; 2],
    plan: PlanVersion,
    generation: u64,
    now_ms: i64,
    claimed: Vec<(usize, Seq)>,
    /// How often the rare paths were met: released, requeued, given up, deletes let go.
    met: [u64; 4],
}

fn stream(at: usize) -> StreamId {
    StreamId::new(STREAMS[at])
}

fn rejection(code: &str) -> Rejection {
    Rejection { code: code.into(), field: None, explanation: "Mend it.".into() }
}

fn body(what: u8) -> DraftBody {
    let state = |text: &str| {
        let mut digest = Digest([0; 16]);
        digest.0[0] = text.as_bytes()[0];
        let update = Payload(text.as_bytes().to_vec().into());
        DraftBody::Upsert { insert: Payload(format!("new {what}").into_bytes().into()), update: update.into(), digest }
    };
    match what % 16 {
        0..=9 => state(["1", "2", "3"][usize::from(what / 16) % 3]),
        10 | 11 => DraftBody::Delete,
        12 => DraftBody::DeleteFiltered,
        13 => DraftBody::Filtered,
        14 => DraftBody::Ignored,
        _ => DraftBody::Rejected(rejection("bad")),
    }
}

/// Children wait for a parent of the other stream or two, and now and then for one of their own.
fn parents(of: usize, bits: u8) -> Vec<Parent> {
    let from = if bits % 16 == 1 { of } else { 0 };
    let parent = |at: u8| Parent { stream: stream(from), key: Key::text(KEYS[usize::from(at) % KEYS.len()]) };
    match bits % 8 {
        _ if of == 0 && bits % 16 != 1 => Vec::new(),
        0 => Vec::new(),
        7 => vec![parent(bits / 16), parent(bits / 8), parent(bits / 16)],
        _ => vec![parent(bits / 16)],
    }
}

fn verdict(way: u8, now_ms: i64) -> Verdict {
    let later = now_ms + i64::from(way) * 5;
    match way % 16 {
        0..=4 => Verdict::Done { effect: Effect::Inserted, verify_at_ms: None },
        5 => Verdict::Done { effect: Effect::Unchanged, verify_at_ms: None },
        6 | 7 => Verdict::Done { effect: Effect::Updated, verify_at_ms: Some(later) },
        8 | 9 => Verdict::Retry { due_ms: later, code: "again".into() },
        10 | 11 => Verdict::Unknown { due_ms: later, code: "open".into() },
        12 if way % 32 < 16 => Verdict::Released,
        12 => Verdict::NotYet { due_ms: later, code: "absent".into(), in_doubt: way % 64 < 32 },
        13 => Verdict::Dead { rejection: rejection("open"), in_doubt: true },
        _ => Verdict::Dead { rejection: rejection("no"), in_doubt: false },
    }
}

impl Run {
    async fn new(store: Arc<dyn Store>) -> Self {
        let lease = store.acquire("w", &OwnerId("one".into()), Duration::from_secs(3_600)).await.unwrap().unwrap();
        let (versions, plan) = ([0; 2], PlanVersion(1));
        Self { store, lease, versions, plan, generation: 1, now_ms: 1_000, claimed: Vec::new(), met: [0; 4] }
    }

    async fn append(&mut self, of: &PageOf) -> String {
        let drafts = of.drafts.iter().map(|(key, what, version, bits)| Draft {
            key: Key::text(KEYS[*key]),
            version: (*version > -3).then(|| self.now_ms / 100 + i64::from(*version)),
            parents: parents(of.stream, *bits),
            body: body(*what),
        });
        let page = Page {
            stream: stream(of.stream),
            plan: self.plan,
            class: Class::of_rank(of.class).unwrap(),
            replay: of.replay,
            drafts: drafts.collect(),
            mark_seen: of.mark_seen.then_some(self.generation),
            refresh: of.refresh,
            hold_deletes: of.hold_deletes,
            now_ms: self.now_ms,
        };
        let expected_version = self.versions[of.stream];
        let (generation, position) = (self.generation, Position::new(format!("p{expected_version}")));
        let advance = Advance { expected_version, generation, phase: Phase::Incremental, position };
        let report = self.store.append(&self.lease, page, advance).await.unwrap();
        self.versions[of.stream] = report.checkpoint.version;
        format!("{report:?}")
    }

    async fn settle(&mut self, ends: &[(usize, u8)]) -> String {
        let mut of_stream: [Vec<Settlement>; 2] = [Vec::new(), Vec::new()];
        for (place, way) in ends {
            if let Some(at) = place.checked_rem(self.claimed.len()) {
                let (stream, seq) = self.claimed.remove(at);
                of_stream[stream].push(Settlement { seq, verdict: verdict(*way, self.now_ms) });
            }
        }
        let mut shown = String::new();
        for (at, settlements) in of_stream.into_iter().enumerate() {
            let report = self.store.settle(&self.lease, &stream(at), settlements, self.now_ms).await.unwrap();
            self.met[0] += u64::from(!report.released.is_empty());
            self.met[1] += report.released.values().map(|tally| tally.read).sum::<u64>();
            write!(shown, "{report:?}").unwrap();
        }
        shown
    }

    async fn step(&mut self, step: &Step) -> String {
        let mut shown = match step {
            Step::Append(page) => self.append(page).await,
            Step::Claim(at, max) => {
                let want = ClaimRequest { stream: stream(*at), max: *max, plan: self.plan, now_ms: self.now_ms };
                let entries = self.store.claim(&self.lease, want).await.unwrap();
                self.claimed.extend(entries.iter().map(|entry| (*at, entry.seq)));
                // What a body says is not shown; its bytes are.
                format!("{entries:?} {:?}", entries.iter().map(|entry| bytes(&entry.body)).collect::<Vec<_>>())
            }
            Step::Settle(ends) => self.settle(ends).await,
            Step::GiveUp(at, ago) => {
                let (before, why) = (self.now_ms - ago, rejection("parent-missing"));
                let (store, lease) = (&self.store, &self.lease);
                let count = store.give_up_waiting(lease, &stream(*at), before, &why, self.now_ms).await.unwrap();
                self.met[2] += count;
                format!("gave up {count}")
            }
            Step::Release(at, held, of) => {
                let last = self.store.stats(&stream(*at)).await.unwrap().last.0;
                let ago = |ago: u64| Seq(last.saturating_sub(ago));
                let want = DeleteRelease {
                    stream: stream(*at),
                    held_to: ago(*held),
                    children: of.iter().map(|_| stream(1 - at)).collect(),
                    children_to: ago(of.unwrap_or(0)),
                };
                let released = self.store.release_deletes(&self.lease, &want).await.unwrap();
                self.met[3] += released.unwrap_or(0);
                format!("released {released:?}")
            }
            Step::Pass(time) => {
                self.now_ms = (self.now_ms + time).max(1);
                String::new()
            }
            Step::TakeOver => {
                self.lease = Self::new(self.store.clone()).await.lease;
                self.claimed.clear();
                let mut shown = String::new();
                for at in 0..2 {
                    let due_ms = self.now_ms + 300;
                    let count = self.store.inherit(&self.lease, &stream(at), due_ms).await.unwrap();
                    write!(shown, "inherited {count}").unwrap();
                }
                shown
            }
            Step::Replan => {
                self.plan = PlanVersion(self.plan.0 % 3 + 1);
                self.generation += 1;
                String::new()
            }
            Step::Ask => {
                let filter = LetterFilter { stream: Some(stream(0)), ..LetterFilter::default() };
                format!("{}", self.store.leave_request(&Request::Requeue(filter), self.now_ms).await.unwrap())
            }
            Step::Finish(at) => {
                if let Some(request) = self.store.requests().await.unwrap().get(*at) {
                    self.store.finish_request(&self.lease, request.id).await.unwrap();
                }
                String::new()
            }
            Step::Drop(which) => {
                let ids = self.letters().await;
                let filter = LetterFilter {
                    stream: (which % 2 == 0).then(|| stream(usize::from(*which) / 2 % 2)),
                    code: (which % 3 == 0).then(|| "no".to_owned()),
                    ids: ids.into_iter().filter(|id| (id + u64::from(*which)) % 3 == 0).collect(),
                    before_ms: (which % 5 == 0).then_some(self.now_ms - 200),
                };
                format!("dropped {}", self.store.drop_dead_letters(&self.lease, &filter).await.unwrap())
            }
        };
        self.show(&mut shown).await;
        shown
    }

    async fn letters(&self) -> Vec<u64> {
        let query = DeadLetterQuery { limit: 100, ..DeadLetterQuery::default() };
        self.store.dead_letters(&query).await.unwrap().iter().map(|letter| letter.id).collect()
    }

    async fn show(&self, shown: &mut String) {
        let store = &self.store;
        let keys = KEYS.map(Key::text);
        for at in 0..2 {
            let stream = stream(at);
            let checkpoint = store.load(&stream).await.unwrap();
            let stats = store.stats(&stream).await.unwrap();
            let rows = store.get_many(&stream, &keys).await.unwrap();
            let versions = store.known_versions(&stream, &keys).await.unwrap();
            let outdated = store.outdated(&stream, self.plan, None, 10).await.unwrap();
            let waits = store.unsettled_before(&stream, self.generation).await.unwrap();
            let unseen = store.unseen(&stream, self.generation, None, 10).await.unwrap();
            write!(shown, "\n{checkpoint:?}\n{stats:?}\n{rows:?}\n{versions:?} {outdated:?} {waits} {unseen:?}")
                .unwrap();
            for key in &keys {
                write!(shown, "\n{:?}", store.record_life(&stream, key).await.unwrap()).unwrap();
            }
        }
        let query = DeadLetterQuery { limit: 100, ..DeadLetterQuery::default() };
        let letters = store.dead_letters(&query).await.unwrap();
        write!(shown, "\n{letters:?}\n{:?}", store.requests().await.unwrap()).unwrap();
    }
}

fn bytes(body: &sync_core::traits::EntryBody) -> Option<Vec<u8>> {
    match body {
        sync_core::traits::EntryBody::Upsert { insert, .. } => Some(insert.0.to_vec()),
        sync_core::traits::EntryBody::Delete => None,
    }
}

/// In memory, where there is such a folder: many short histories are compared here, and none of them loses its power.
fn quick_folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// Answers how often the rare paths were met.
fn compare(history: &[Step]) -> [u64; 4] {
    let folder = quick_folder();
    let path = folder.path().join("store.db");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut theirs = Run::new(SqliteStore::open(&path, SqliteOptions::default()).unwrap()).await;
        let mut model = Run::new(Arc::new(MemoryStore::new())).await;
        for (number, step) in history.iter().enumerate() {
            let wanted = model.step(step).await;
            let found = theirs.step(step).await;
            assert_eq!(found, wanted, "step {number}: {step:?}");
        }
        model.met
    })
}

#[test]
fn parents_classes_and_versions_are_as_in_the_model() {
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 256,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let met = std::cell::Cell::new([0; 4]);
    let run = runner.run(&steps(), |history| {
        let [released, requeued, given_up, let_go] = compare(&history);
        let [a, b, c, d] = met.get();
        met.set([a + released, b + requeued, c + given_up, d + let_go]);
        Ok(())
    });
    run.unwrap();
    assert!(met.get().iter().all(|met| *met > 5), "rare paths were met: {:?}", met.get());
}
