//! Random histories, run on a store and on its model: after every step both must answer and hold the same.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use record::Key;
use sync_core::store::MemoryStore;
use sync_core::traits::{Class, Draft, DraftBody, Effect, Entry, LetterFilter, Parent, Store, Verdict};
use sync_core::{PlanVersion, Seq, StreamId};
use timing::ManualClock;

use crate::Ground;
use crate::book::{Book, TTL, dead, done, key, not_yet, rejected, rejection, retry, state, unknown};

/// Few keys, so that histories meet.
const KEYS: [&str; 4] = ["a", "b", "c", "d"];
/// Parents are of the first, children of both.
const STREAMS: [&str; 2] = ["workflow/records", "workflow/children"];

/// One thing that an engine or an operator does.
#[derive(Debug, Clone)]
pub enum Step {
    /// Appends a page.
    Append(AppendStep),
    /// Claims at most so many, of a stream.
    Claim(u8, u8),
    /// Settles a claimed entry: the one at this place, in this way.
    Settle(u8, u8),
    /// Settles an entry that is not claimed, or not any more.
    SettleAgain(u8),
    /// Time passes; the calendar may jump back.
    Pass(i16),
    /// The run ends, and another takes over.
    TakeOver,
    /// The lease is renewed; or it ends before, and another run takes over.
    Renew(bool),
    /// A new snapshot of a stream begins.
    Reset(u8),
    /// The plan changes, and the keys made by another one are read again.
    Replan(bool),
    /// Gives up on children of a stream that have waited for so long.
    GiveUp(u8, i16),
    /// Forgets dead letters: which, is in the number.
    Drop(u8),
}

/// A page of a history.
#[derive(Debug, Clone)]
pub struct AppendStep {
    /// Of which stream.
    pub stream: u8,
    /// How urgent.
    pub class: u8,
    /// Whether an operator asked for it.
    pub replay: bool,
    /// Which record, what becomes of it, how much older or newer its version is than the time, and which parents it has.
    pub drafts: Vec<(u8, u8, i8, u8)>,
}

/// Histories of up to `most` steps.
pub fn histories(most: usize) -> impl Strategy<Value = Vec<Step>> {
    let draft = (any::<u8>(), any::<u8>(), -2..2_i8, any::<u8>());
    let page = (0..2_u8, 0..4_u8, proptest::bool::weighted(0.15), vec(draft, 0..5));
    let step = prop_oneof![
        6 => page.prop_map(|(stream, class, replay, drafts)| Step::Append(AppendStep { stream, class, replay, drafts })),
        4 => (0..2_u8, 0..9_u8).prop_map(|(stream, max)| Step::Claim(stream, max)),
        8 => (any::<u8>(), any::<u8>()).prop_map(|(place, way)| Step::Settle(place, way)),
        1 => any::<u8>().prop_map(Step::SettleAgain),
        3 => (-500..3_000_i16).prop_map(Step::Pass),
        1 => Just(Step::TakeOver),
        1 => any::<bool>().prop_map(Step::Renew),
        1 => (0..2_u8).prop_map(Step::Reset),
        2 => any::<bool>().prop_map(Step::Replan),
        1 => (0..2_u8, prop_oneof![Just(0_i16), -200..2_000_i16]).prop_map(|(stream, ago)| Step::GiveUp(stream, ago)),
        1 => any::<u8>().prop_map(Step::Drop),
    ];
    vec(step, 1..most)
}

/// Leaves out what a failing history does not need to fail: single steps and pairs, until each of those left is needed.
pub fn shorten(mut history: Vec<Step>, fails: impl Fn(&[Step]) -> bool) -> Vec<Step> {
    let without = |history: &[Step], one: usize, other: usize| -> Vec<Step> {
        let kept = history.iter().enumerate().filter(|(at, _)| *at != one && *at != other);
        kept.map(|(_, step)| step.clone()).collect()
    };
    'shorter: loop {
        for distance in 0..history.len() {
            for one in 0..history.len() - distance {
                let shorter = without(&history, one, one + distance);
                if fails(&shorter) {
                    history = shorter;
                    continue 'shorter;
                }
            }
        }
        return history;
    }
}

/// Compares a store with the model over one history. Its leases do not end, because nobody moves its clock.
///
/// # Panics
/// When they differ.
pub fn compare(store: Arc<dyn Store>, history: &[Step]) {
    compare_with(store, &|_| false, history);
}

/// Compares the store of a ground with the model over one history, in which leases end where the ground lets time pass.
///
/// # Panics
/// When they differ.
pub fn compare_on(ground: &dyn Ground, history: &[Step]) {
    compare_with(ground.open(), &|time| ground.pass(time), history);
}

fn compare_with(store: Arc<dyn Store>, pass: &dyn Fn(Duration) -> bool, history: &[Step]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let clock = ManualClock::new();
        let mut theirs = Run::new(store).await;
        let mut model = Run::new(Arc::new(MemoryStore::with_clock(clock.shared()))).await;
        for (number, step) in history.iter().enumerate() {
            let mut ended = false;
            if let Step::Renew(true) = step
                && theirs.book.lease.ttl.is_some()
                && pass(TTL)
            {
                clock.advance(TTL);
                ended = true;
            }
            let wanted = model.step(step, ended).await;
            let found = theirs.step(step, ended).await;
            assert_eq!(found, wanted, "step {number}: {step:?}");
        }
    });
}

/// A history on one store.
struct Run {
    book: Book,
    /// What is in flight, with its stream.
    claimed: Vec<(StreamId, Entry)>,
    settled: Vec<(StreamId, Seq)>,
}

impl Run {
    async fn new(store: Arc<dyn Store>) -> Self {
        Self { book: Book::of(store).await, claimed: Vec::new(), settled: Vec::new() }
    }

    fn on(&self, stream: u8) -> Book {
        self.book.on(STREAMS[usize::from(stream) % STREAMS.len()])
    }

    fn of(&self, stream: &StreamId) -> Book {
        self.book.on(stream.as_str())
    }

    /// Does it, and shows what was answered and what is held afterwards.
    async fn step(&mut self, step: &Step, ended: bool) -> String {
        let mut shown = String::new();
        match step {
            Step::Append(page) => {
                let class = Class::ALL[usize::from(page.class) % Class::ALL.len()];
                let book = Book { class, replay: page.replay, ..self.on(page.stream) };
                let drafts = page.drafts.iter().map(|what| draft(&book, *what)).collect();
                let report = book.append_drafts(drafts).await;
                writeln!(shown, "{:?}", report.tally).unwrap();
            }
            Step::Claim(stream, max) => {
                let book = self.on(*stream);
                let entries = book.claim(usize::from(*max)).await;
                writeln!(shown, "{entries:?}").unwrap();
                self.claimed.extend(entries.into_iter().map(|entry| (book.stream.clone(), entry)));
            }
            Step::Settle(place, way) => {
                if let Some(at) = usize::from(*place).checked_rem(self.claimed.len()) {
                    let (stream, entry) = self.claimed.remove(at);
                    let report = self.of(&stream).settle(entry.seq, verdict(*way, self.book.now_ms)).await;
                    writeln!(shown, "{report:?}").unwrap();
                    self.settled.push((stream, entry.seq));
                }
            }
            Step::SettleAgain(place) => {
                if let Some(at) = usize::from(*place).checked_rem(self.settled.len()) {
                    // An entry that was put back may be in flight again: then this is an end like any other.
                    let (stream, seq) = self.settled[at].clone();
                    if self.claimed.iter().all(|(_, entry)| entry.seq != seq) {
                        let report = self.of(&stream).settle(seq, done(Effect::Updated)).await;
                        writeln!(shown, "{report:?}").unwrap();
                    }
                }
            }
            Step::Pass(time) => self.book.now_ms = (self.book.now_ms + i64::from(*time)).max(1),
            Step::TakeOver => self.take_over(&mut shown).await,
            Step::Renew(_) => {
                let renewed = self.book.store.renew(&self.book.lease, TTL).await;
                let kind = renewed.as_ref().map(|lease| lease.fence).map_err(|error| error.kind());
                writeln!(shown, "{kind:?}").unwrap();
                match renewed {
                    Ok(lease) => self.book.lease = lease,
                    Err(_) => self.take_over(&mut shown).await,
                }
                assert_eq!(kind.is_err(), ended, "a lease is renewed until it has ended");
            }
            Step::Reset(stream) => {
                self.book.generation += 1;
                self.book.mark_seen = Some(self.book.generation);
                let book = self.on(*stream);
                let version = book.version().await;
                book.store.reset(&book.lease, &book.stream, version, book.generation).await.unwrap();
            }
            Step::Replan(refresh) => {
                self.book.plan = PlanVersion(self.book.plan.0 % 3 + 1);
                self.book.refresh = *refresh;
            }
            Step::GiveUp(stream, ago) => {
                let (book, now_ms) = (self.on(*stream), self.book.now_ms);
                let (before_ms, reason) = (now_ms - i64::from(*ago), rejection("no-parent"));
                let given_up = book.store.give_up_waiting(&book.lease, &book.stream, before_ms, &reason, now_ms).await;
                writeln!(shown, "given up {}", given_up.unwrap()).unwrap();
            }
            Step::Drop(which) => {
                let dropped = self.book.store.drop_dead_letters(&self.book.lease, &self.filter(*which)).await.unwrap();
                writeln!(shown, "dropped {dropped}").unwrap();
            }
        }
        self.show(&mut shown).await;
        shown
    }

    async fn take_over(&mut self, shown: &mut String) {
        let fresh = Book::of(self.book.store.clone()).await;
        self.book.lease = fresh.lease;
        self.claimed.clear();
        let due_ms = self.book.now_ms + 500;
        for stream in STREAMS.map(StreamId::new) {
            let inherited = self.book.store.inherit(&self.book.lease, &stream, due_ms).await.unwrap();
            writeln!(shown, "inherited {inherited}").unwrap();
        }
    }

    fn filter(&self, which: u8) -> LetterFilter {
        let any = LetterFilter::default();
        match which % 5 {
            0 => LetterFilter { stream: Some(StreamId::new(STREAMS[usize::from(which / 5) % 2])), ..any },
            1 => LetterFilter { code: Some("bad".into()), ..any },
            2 => LetterFilter { before_ms: Some(self.book.now_ms - i64::from(which / 5 % 4) * 100), ..any },
            3 => LetterFilter { ids: (1..20).map(|id| id + u64::from(which / 5)).collect(), ..any },
            _ => LetterFilter { code: Some("no".into()), before_ms: Some(self.book.now_ms), ..any },
        }
    }

    async fn show(&self, shown: &mut String) {
        for stream in STREAMS {
            let book = self.book.on(stream);
            let Book { store, stream, plan, generation, .. } = &book;
            let keys: Vec<Key> = KEYS.map(key).into_iter().collect();
            let checkpoint = store.load(stream).await.unwrap();
            let rows = store.get_many(stream, &keys).await.unwrap();
            let versions = store.known_versions(stream, &keys).await.unwrap();
            let outdated = store.outdated(stream, *plan, None, 10).await.unwrap();
            let waits = store.unsettled_before(stream, *generation).await.unwrap();
            let unseen = book.unseen(*generation).await;
            let bound = store.bound_count(stream).await.unwrap();
            for key in &keys {
                writeln!(shown, "{:?}", store.record_life(stream, key).await.unwrap()).unwrap();
            }
            write!(shown, "{checkpoint:?}\n{:?}\n{rows:?} {versions:?}\n", book.stats().await).unwrap();
            writeln!(shown, "{outdated:?} {waits} {unseen:?} {bound}").unwrap();
        }
        write!(shown, "{:?}", self.book.letters().await).unwrap();
    }
}

fn draft(book: &Book, (at, what, older, links): (u8, u8, i8, u8)) -> Draft {
    let body = body(what);
    let parent = |number: u8| Parent { stream: StreamId::new(STREAMS[0]), key: key(KEYS[usize::from(number) % 4]) };
    let parents = match links % 8 {
        0 => vec![parent(links / 8)],
        1 => vec![parent(links / 8), parent(links / 8 + 1)],
        _ => Vec::new(),
    };
    let version = Some(book.now_ms + i64::from(older)).filter(|_| links % 5 != 4);
    let draft = book.draft(key(KEYS[usize::from(at) % KEYS.len()]), body);
    // A record is no parent of its own.
    let parents = parents.into_iter().filter(|parent| parent.stream != book.stream || parent.key < draft.key).collect();
    Draft { version, parents, ..draft }
}

fn body(what: u8) -> DraftBody {
    match what % 12 {
        0..=5 => state(["1", "2", "3"][usize::from(what) % 3]),
        6 | 7 => DraftBody::Delete,
        8 => DraftBody::DeleteFiltered,
        9 => DraftBody::Filtered,
        10 => DraftBody::Ignored,
        _ => rejected("bad"),
    }
}

fn verdict(way: u8, now_ms: i64) -> Verdict {
    let later = now_ms + i64::from(way) * 10;
    match way % 13 {
        0 | 1 => done(Effect::Inserted),
        2 => done(Effect::Updated),
        3 => done(Effect::Deleted),
        4 | 5 => Verdict::Done { effect: Effect::Updated, verify_at_ms: Some(later) },
        6 | 7 => retry(later),
        8 => unknown(later),
        9 => Verdict::Released,
        12 => not_yet(later, way.is_multiple_of(2)),
        10 => dead("no", false),
        _ => dead("open", true),
    }
}
