//! Random histories, run on a store and on its model: after every step both must answer and hold the same.

use std::fmt::Write as _;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use record::Key;
use sync_core::store::MemoryStore;
use sync_core::traits::{DraftBody, Effect, Entry, Store, Verdict};
use sync_core::{PlanVersion, Seq};

use crate::book::{Book, dead, done, key, rejected, retry, state, unknown};

/// Few keys, so that histories meet.
const KEYS: [&str; 3] = ["a", "b", "c"];

/// One thing that an engine does.
#[derive(Debug, Clone)]
pub enum Step {
    /// Appends a page: a key and what becomes of it, each.
    Append(Vec<(u8, u8)>),
    /// Claims at most so many.
    Claim(u8),
    /// Settles a claimed entry: the one at this place, in this way.
    Settle(u8, u8),
    /// Settles an entry that is not claimed, or not any more.
    SettleAgain(u8),
    /// Time passes; the calendar may jump back.
    Pass(i16),
    /// The run ends, and another takes over.
    TakeOver,
    /// A new snapshot begins.
    Reset,
    /// The plan changes, and the keys made by another one are read again.
    Replan(bool),
}

/// Histories of up to `most` steps.
pub fn histories(most: usize) -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => vec((any::<u8>(), any::<u8>()), 0..5).prop_map(Step::Append),
        4 => (0..5_u8).prop_map(Step::Claim),
        8 => (any::<u8>(), any::<u8>()).prop_map(|(place, way)| Step::Settle(place, way)),
        1 => any::<u8>().prop_map(Step::SettleAgain),
        3 => (-500..3_000_i16).prop_map(Step::Pass),
        1 => Just(Step::TakeOver),
        1 => Just(Step::Reset),
        2 => any::<bool>().prop_map(Step::Replan),
    ];
    vec(step, 1..most)
}

/// Compares a store with the model over one history.
///
/// # Panics
/// When they differ.
pub fn compare(store: Arc<dyn Store>, history: &[Step]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut theirs = Run::new(store).await;
        let mut model = Run::new(Arc::new(MemoryStore::new())).await;
        for (number, step) in history.iter().enumerate() {
            let wanted = model.step(step).await;
            let found = theirs.step(step).await;
            assert_eq!(found, wanted, "step {number}: {step:?}");
        }
    });
}

/// A history on one store.
struct Run {
    book: Book,
    claimed: Vec<Entry>,
    settled: Vec<Seq>,
}

impl Run {
    async fn new(store: Arc<dyn Store>) -> Self {
        Self { book: Book::of(store).await, claimed: Vec::new(), settled: Vec::new() }
    }

    /// Does it, and shows what was answered and what is held afterwards.
    async fn step(&mut self, step: &Step) -> String {
        let mut shown = String::new();
        match step {
            Step::Append(page) => {
                let drafts = page.iter().map(|(at, what)| (KEYS[usize::from(*at) % 3], draft(*what))).collect();
                let report = self.book.append(drafts).await;
                writeln!(shown, "{:?}", report.tally).unwrap();
            }
            Step::Claim(max) => {
                let mut entries = self.book.claim(usize::from(*max)).await;
                writeln!(shown, "{entries:?}").unwrap();
                self.claimed.append(&mut entries);
            }
            Step::Settle(place, way) => {
                if let Some(at) = usize::from(*place).checked_rem(self.claimed.len()) {
                    let entry = self.claimed.remove(at);
                    let report = self.book.settle(entry.seq, verdict(*way, self.book.now_ms)).await;
                    writeln!(shown, "{report:?}").unwrap();
                    self.settled.push(entry.seq);
                }
            }
            Step::SettleAgain(place) => {
                if let Some(at) = usize::from(*place).checked_rem(self.settled.len()) {
                    // An entry that was put back may be in flight again: then this is an end like any other.
                    let seq = self.settled[at];
                    if self.claimed.iter().all(|entry| entry.seq != seq) {
                        let report = self.book.settle(seq, done(Effect::Updated)).await;
                        writeln!(shown, "{report:?}").unwrap();
                    }
                }
            }
            Step::Pass(time) => self.book.now_ms = (self.book.now_ms + i64::from(*time)).max(1),
            Step::TakeOver => {
                let fresh = Book::of(self.book.store.clone()).await;
                self.book.lease = fresh.lease;
                self.claimed.clear();
                let due_ms = self.book.now_ms + 500;
                let inherited = self.book.store.inherit(&self.book.lease, &self.book.stream, due_ms).await.unwrap();
                writeln!(shown, "inherited {inherited}").unwrap();
            }
            Step::Reset => {
                let version = self.book.version().await;
                self.book.generation += 1;
                self.book.mark_seen = Some(self.book.generation);
                let (lease, stream) = (&self.book.lease, &self.book.stream);
                self.book.store.reset(lease, stream, version, self.book.generation).await.unwrap();
            }
            Step::Replan(refresh) => {
                self.book.plan = PlanVersion(self.book.plan.0 % 3 + 1);
                self.book.refresh = *refresh;
            }
        }
        self.show(&mut shown).await;
        shown
    }

    async fn show(&self, shown: &mut String) {
        let Book { store, stream, plan, generation, .. } = &self.book;
        let keys: Vec<Key> = KEYS.map(key).into_iter().collect();
        let checkpoint = store.load(stream).await.unwrap();
        let rows = store.get_many(stream, &keys).await.unwrap();
        let outdated = store.outdated(stream, *plan, None, 10).await.unwrap();
        let waits = store.unsettled_before(stream, *generation).await.unwrap();
        let unseen = self.book.unseen(*generation).await;
        let bound = store.bound_count(stream).await.unwrap();
        write!(shown, "{checkpoint:?}\n{:?}\n{rows:?}\n", self.book.stats().await).unwrap();
        write!(shown, "{outdated:?} {waits} {unseen:?} {bound}\n{:?}", self.book.letters().await).unwrap();
    }
}

fn draft(what: u8) -> DraftBody {
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
    match way % 12 {
        0 | 1 => done(Effect::Inserted),
        2 => done(Effect::Updated),
        3 => done(Effect::Deleted),
        4 | 5 => Verdict::Done { effect: Effect::Updated, verify_at_ms: Some(later) },
        6 | 7 => retry(later),
        8 => unknown(later),
        9 => Verdict::Released,
        10 => dead("no", false),
        _ => dead("open", true),
    }
}
