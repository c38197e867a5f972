//! One stream of a store with the bookkeeping that an engine does, so that cases read like a story.

use std::sync::Arc;
use std::time::Duration;

use record::Key;
use sync_core::traits::{
    Advance, AppendReport, BacklogStats, ClaimRequest, Class, DeadLetter, DeadLetterQuery, DeleteRelease, Draft,
    DraftBody, Effect, Entry, IndexRow, Lease, OwnerId, Page, Parent, Phase, Rejection, SettleReport, Settlement,
    Store, Verdict,
};
use sync_core::{Digest, Payload, PlanVersion, Position, Seq, StoreError, StreamId};

use crate::Ground;

/// The workflow that owns every stream of a case.
pub(crate) const WORKFLOW: &str = "workflow";
/// No case takes so long.
pub(crate) const TTL: Duration = Duration::from_secs(3600);
pub(crate) const PLAN: PlanVersion = PlanVersion(1);

pub(crate) fn key(name: &str) -> Key {
    Key::text(name)
}

pub(crate) fn digest(text: &str) -> Digest {
    let mut digest = [0; 16];
    digest.iter_mut().zip(text.bytes()).for_each(|(to, from)| *to = from);
    Digest(digest)
}

pub(crate) fn payload(text: &str) -> Payload {
    Payload(text.as_bytes().to_vec().into())
}

/// A state whose update and digest are the text, and whose insert says so.
pub(crate) fn state(text: &str) -> DraftBody {
    DraftBody::Upsert { insert: payload(&format!("new {text}")), update: payload(text).into(), digest: digest(text) }
}

pub(crate) fn rejection(code: &str) -> Rejection {
    Rejection { code: code.into(), field: Some("field".into()), explanation: "Mend it.".into() }
}

pub(crate) fn rejected(code: &str) -> DraftBody {
    DraftBody::Rejected(rejection(code))
}

pub(crate) fn done(effect: Effect) -> Verdict {
    Verdict::Done { effect, verify_at_ms: None }
}

pub(crate) fn retry(due_ms: i64) -> Verdict {
    Verdict::Retry { due_ms, code: "again".into() }
}

pub(crate) fn unknown(due_ms: i64) -> Verdict {
    Verdict::Unknown { due_ms, code: "open".into() }
}

pub(crate) fn not_yet(due_ms: i64, in_doubt: bool) -> Verdict {
    Verdict::NotYet { due_ms, code: "absent".into(), in_doubt }
}

pub(crate) fn dead(code: &str, in_doubt: bool) -> Verdict {
    Verdict::Dead { rejection: rejection(code), in_doubt }
}

#[derive(Clone)]
pub(crate) struct Book {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) lease: Lease,
    pub(crate) stream: StreamId,
    pub(crate) plan: PlanVersion,
    pub(crate) generation: u64,
    pub(crate) mark_seen: Option<u64>,
    pub(crate) refresh: bool,
    pub(crate) hold_deletes: bool,
    pub(crate) class: Class,
    pub(crate) replay: bool,
    pub(crate) now_ms: i64,
}

impl Book {
    pub(crate) async fn open(ground: &dyn Ground) -> Self {
        Self::of(ground.open()).await
    }

    pub(crate) async fn of(store: Arc<dyn Store>) -> Self {
        let lease = store.acquire(WORKFLOW, &OwnerId("suite".into()), TTL).await.unwrap().unwrap();
        Self {
            store,
            lease,
            stream: StreamId::new("workflow/records"),
            plan: PLAN,
            generation: 1,
            mark_seen: None,
            refresh: false,
            hold_deletes: false,
            class: Class::Live,
            replay: false,
            now_ms: 1_000,
        }
    }

    /// The same store after the end of its process: opened again, with a new lease.
    pub(crate) async fn reopen(self, ground: &dyn Ground) -> Self {
        let Self { store, stream, plan, generation, mark_seen, refresh, hold_deletes, class, replay, now_ms, .. } =
            self;
        drop(store);
        let fresh = Self::of(ground.open()).await;
        Self { stream, plan, generation, mark_seen, refresh, hold_deletes, class, replay, now_ms, ..fresh }
    }

    /// The same run on another stream.
    pub(crate) fn on(&self, stream: &str) -> Self {
        Self { stream: StreamId::new(stream), ..self.clone() }
    }

    /// The same run with pages of another class.
    pub(crate) fn of_class(&self, class: Class) -> Self {
        Self { class, ..self.clone() }
    }

    pub(crate) async fn version(&self) -> u64 {
        self.store.load(&self.stream).await.unwrap().map_or(0, |checkpoint| checkpoint.version)
    }

    pub(crate) async fn try_append(
        &self,
        drafts: Vec<(Key, DraftBody)>,
        expected_version: u64,
        position: &str,
    ) -> Result<AppendReport, StoreError> {
        let drafts = drafts.into_iter().map(|(key, body)| self.draft(key, body)).collect();
        self.try_append_drafts(drafts, expected_version, position).await
    }

    /// A draft whose version is the present time.
    pub(crate) fn draft(&self, key: Key, body: DraftBody) -> Draft {
        Draft { key, version: Some(self.now_ms), parents: Vec::new(), body }
    }

    pub(crate) async fn try_append_drafts(
        &self,
        drafts: Vec<Draft>,
        expected_version: u64,
        position: &str,
    ) -> Result<AppendReport, StoreError> {
        let page = Page {
            stream: self.stream.clone(),
            plan: self.plan,
            class: self.class,
            replay: self.replay,
            drafts,
            mark_seen: self.mark_seen,
            refresh: self.refresh,
            hold_deletes: self.hold_deletes,
            now_ms: self.now_ms,
        };
        let position = Position::new(position);
        let advance = Advance { expected_version, generation: self.generation, phase: Phase::Incremental, position };
        self.store.append(&self.lease, page, advance).await
    }

    pub(crate) async fn append_drafts(&self, drafts: Vec<Draft>) -> AppendReport {
        let version = self.version().await;
        self.try_append_drafts(drafts, version, &format!("p{version}")).await.unwrap()
    }

    /// Appends a state that waits for records of streams: pairs of stream and key.
    pub(crate) async fn append_child(&self, name: &str, text: &str, parents: &[(&Self, &str)]) -> AppendReport {
        let parents = parents.iter().map(|(at, name)| Parent { stream: at.stream.clone(), key: key(name) }).collect();
        self.append_drafts(vec![Draft { parents, ..self.draft(key(name), state(text)) }]).await
    }

    pub(crate) async fn append(&self, drafts: Vec<(&str, DraftBody)>) -> AppendReport {
        self.append_drafts(drafts.into_iter().map(|(name, body)| self.draft(key(name), body)).collect()).await
    }

    pub(crate) fn want(&self, max: usize) -> ClaimRequest {
        ClaimRequest { stream: self.stream.clone(), max, plan: self.plan, now_ms: self.now_ms }
    }

    pub(crate) async fn claim(&self, max: usize) -> Vec<Entry> {
        self.store.claim(&self.lease, self.want(max)).await.unwrap()
    }

    /// The names of what a claim finds.
    pub(crate) async fn claimed(&self, max: usize) -> Vec<String> {
        self.claim(max).await.iter().map(|entry| entry.key.to_text()).collect()
    }

    /// The only entry that a claim finds.
    pub(crate) async fn claim_one(&self) -> Entry {
        let mut entries = self.claim(10).await;
        assert_eq!(entries.len(), 1, "one entry is to be claimed");
        entries.remove(0)
    }

    pub(crate) async fn settle(&self, seq: Seq, verdict: Verdict) -> SettleReport {
        let settlements = vec![Settlement { seq, verdict }];
        self.store.settle(&self.lease, &self.stream, settlements, self.now_ms).await.unwrap()
    }

    /// Claims the one entry that there is, and settles it.
    pub(crate) async fn finish(&self, verdict: Verdict) -> Entry {
        let entry = self.claim_one().await;
        let report = self.settle(entry.seq, verdict).await;
        assert_eq!(report.passed_over, 0, "a claimed entry is settled");
        entry
    }

    /// Claims the one entry that there is, and settles it: what the store answers.
    pub(crate) async fn finish_report(&self, verdict: Verdict) -> SettleReport {
        let entry = self.claim_one().await;
        self.settle(entry.seq, verdict).await
    }

    /// Appends a state and settles it as created.
    pub(crate) async fn write(&self, name: &str, text: &str) {
        self.append(vec![(name, state(text))]).await;
        self.finish(done(Effect::Inserted)).await;
    }

    /// Asks to release deletes held up to a number, if what these streams had up to another one is done.
    pub(crate) async fn release(&self, held_to: Seq, children: &[&Self], children_to: Seq) -> Option<u64> {
        let children = children.iter().map(|child| child.stream.clone()).collect();
        let want = DeleteRelease { stream: self.stream.clone(), held_to, children, children_to };
        self.store.release_deletes(&self.lease, &want).await.unwrap()
    }

    /// The last number that the store gave.
    pub(crate) async fn last(&self) -> Seq {
        self.stats().await.last
    }

    pub(crate) async fn stats(&self) -> BacklogStats {
        self.store.stats(&self.stream).await.unwrap()
    }

    pub(crate) async fn row(&self, name: &str) -> Option<IndexRow> {
        self.store.get_many(&self.stream, &[key(name)]).await.unwrap().remove(0)
    }

    pub(crate) async fn letters(&self) -> Vec<DeadLetter> {
        let query = DeadLetterQuery { limit: 100, ..DeadLetterQuery::default() };
        self.store.dead_letters(&query).await.unwrap()
    }

    pub(crate) async fn codes(&self) -> Vec<String> {
        self.letters().await.into_iter().map(|letter| letter.rejection.code).collect()
    }

    pub(crate) async fn unseen(&self, generation: u64) -> Vec<String> {
        let keys = self.store.unseen(&self.stream, generation, None, 100).await.unwrap();
        keys.iter().map(Key::to_text).collect()
    }

    pub(crate) async fn known_version(&self, name: &str) -> Option<i64> {
        self.store.known_versions(&self.stream, &[key(name)]).await.unwrap().remove(0)
    }

    /// What the store holds of this stream, as far as it can be asked without changing it.
    pub(crate) async fn holdings(&self) -> String {
        let (store, stream) = (&self.store, &self.stream);
        let checkpoint = store.load(stream).await.unwrap();
        let position = checkpoint.as_ref().and_then(|at| at.position.as_ref()).map(|at| at.as_str().to_owned());
        let bound = store.bound_count(stream).await.unwrap();
        let unseen = self.unseen(u64::MAX >> 1).await;
        let (stats, letters) = (self.stats().await, self.letters().await);
        format!("{checkpoint:?} at {position:?}\n{stats:?}\n{bound} bound: {unseen:?}\n{letters:?}")
    }
}
