//! What the store's knowledge makes of a record that was read.

use sync_core::traits::{Class, Draft, DraftBody, Entry, EntryBody, EntryLife, EntryState, RecordLife};
use sync_core::{Acceptance, PlanVersion, Seq, accept};

/// What the store makes of the draft, and what is written because of it.
pub(super) struct Course {
    pub(super) acceptance: Acceptance,
    /// What is written, where anything is.
    pub(super) body: Option<EntryBody>,
    /// What is on its way already and goes first.
    pub(super) before: Vec<EntryLife>,
}

impl Course {
    pub(super) fn of(life: &RecordLife, draft: &Draft) -> Self {
        let acceptance = accept(&life.key_state(), &draft.body, draft.version, false);
        let mut before = life.entries.clone();
        let body = match (&draft.body, acceptance) {
            (_, Acceptance::Stale) => None,
            (DraftBody::Upsert { .. }, Acceptance::Unchanged) if before.is_empty() => None,
            (DraftBody::Upsert { insert, update, digest }, _) => {
                Some(EntryBody::Upsert { insert: insert.clone(), update: update.clone(), digest: *digest })
            }
            (DraftBody::Delete | DraftBody::DeleteFiltered, Acceptance::Append | Acceptance::Replace(_)) => {
                Some(EntryBody::Delete)
            }
            // A delete of it is on its way.
            (DraftBody::Delete | DraftBody::DeleteFiltered, Acceptance::Nothing) if !before.is_empty() => {
                Some(EntryBody::Delete)
            }
            _ => None,
        };
        match acceptance {
            // The draft is written in the place of that entry, or that entry is it.
            Acceptance::Replace(seq) | Acceptance::Refresh(seq) | Acceptance::Cancel(seq) => {
                before.retain(|entry| entry.seq != seq);
            }
            Acceptance::Unchanged | Acceptance::Nothing if body.is_some() => {
                before.pop();
            }
            _ => {}
        }
        Self { acceptance, body, before }
    }
}

/// What another plan made is read again when a run starts, and what nobody has claimed of it is forgotten.
pub(super) fn forget_outdated(life: &mut RecordLife, plan: PlanVersion) {
    let outdated =
        |entry: &EntryLife| entry.state != EntryState::InFlight && entry.digest.is_some() && entry.plan != plan;
    let open = life.entries.iter().any(|entry| outdated(entry) && entry.state == EntryState::Unknown);
    life.entries.retain(|entry| !outdated(entry));
    if open && let Some(index) = &mut life.index {
        index.digest = None;
    }
}

/// The entry that the draft becomes, once those before it are done. Its body and its time are set by the caller.
pub(super) fn entry(life: &RecordLife, draft: &Draft, before: &[EntryLife], plan: PlanVersion) -> Entry {
    let index = life.index;
    let last = before.last();
    Entry {
        seq: Seq(0),
        key: draft.key.clone(),
        body: EntryBody::Delete,
        version: draft.version,
        attempt: 1,
        appended_ms: 0,
        unknown: last.is_none() && index.is_some_and(|row| row.digest.is_none()),
        class: Class::Live,
        replay: false,
        verification: false,
        plan,
        bound: last.map_or_else(|| index.is_some_and(|row| row.bound), |entry| entry.digest.is_some()),
        written: last.map_or_else(|| index.and_then(|row| row.digest), |entry| entry.digest),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on ends there")]

    use record::Key;
    use sync_core::traits::IndexRow;
    use sync_core::{Digest, Payload};

    use super::*;

    const PLAN: PlanVersion = PlanVersion(7);

    fn digest(number: u8) -> Digest {
        Digest([number; 16])
    }

    fn upsert(number: u8) -> DraftBody {
        let body = Payload(vec![number].into());
        DraftBody::Upsert { insert: body.clone(), update: body.into(), digest: digest(number) }
    }

    fn draft(body: DraftBody) -> Draft {
        Draft { key: Key::text("k"), version: Some(10), parents: Vec::new(), body }
    }

    fn pending(seq: u64, state: EntryState, digest: Option<Digest>) -> EntryLife {
        EntryLife {
            seq: Seq(seq),
            state,
            digest,
            version: Some(9),
            plan: PLAN,
            class: Class::Live,
            replay: false,
            verification: false,
            attempts: 1,
            appended_ms: 0,
            due_ms: 0,
            waiting_for: Vec::new(),
            held: false,
        }
    }

    fn life(written: Option<u8>, entries: Vec<EntryLife>) -> RecordLife {
        let index =
            written.map(|number| IndexRow { bound: true, digest: Some(digest(number)), version: Some(8), seen: 1 });
        RecordLife { index, entries, ..RecordLife::default() }
    }

    /// Whether something is written, of which kind, what goes first, and whether the record is there by then.
    fn told(life: &RecordLife, body: DraftBody) -> (Option<&'static str>, Vec<u64>, bool) {
        let draft = draft(body);
        let course = Course::of(life, &draft);
        let there = entry(life, &draft, &course.before, PLAN).bound;
        let body = course.body.map(|body| match body {
            EntryBody::Upsert { .. } => "write",
            EntryBody::Delete => "delete",
        });
        (body, course.before.iter().map(|entry| entry.seq.0).collect(), there)
    }

    #[test]
    fn without_a_backlog_it_is_what_was_written_that_counts() {
        assert_eq!(told(&life(None, vec![]), upsert(1)), (Some("write"), vec![], false));
        assert_eq!(told(&life(Some(1), vec![]), upsert(2)), (Some("write"), vec![], true));
        assert_eq!(told(&life(Some(1), vec![]), upsert(1)), (None, vec![], true));
        assert_eq!(told(&life(Some(1), vec![]), DraftBody::Delete), (Some("delete"), vec![], true));
        assert_eq!(told(&life(None, vec![]), DraftBody::Delete), (None, vec![], false));
        assert_eq!(told(&life(Some(1), vec![]), DraftBody::Filtered), (None, vec![], true));
        let newer = RecordLife {
            index: Some(IndexRow { bound: true, digest: None, version: Some(11), seen: 1 }),
            ..RecordLife::default()
        };
        assert_eq!(told(&newer, upsert(1)).0, None, "a newer state is known");
    }

    #[test]
    fn what_nobody_has_claimed_gives_its_place_and_what_is_in_flight_goes_first() {
        let queued = |number| pending(3, EntryState::Queued, Some(digest(number)));
        assert_eq!(told(&life(None, vec![queued(1)]), upsert(2)), (Some("write"), vec![], false));
        assert_eq!(told(&life(None, vec![queued(1)]), upsert(1)), (Some("write"), vec![], false));
        assert_eq!(told(&life(None, vec![queued(1)]), DraftBody::Delete), (None, vec![], false), "never created");
        for state in [EntryState::InFlight, EntryState::Unknown] {
            let flying = vec![pending(3, state, Some(digest(1)))];
            assert_eq!(told(&life(None, flying.clone()), upsert(2)), (Some("write"), vec![3], true));
            assert_eq!(told(&life(None, flying.clone()), upsert(1)), (Some("write"), vec![], false), "it is that one");
            assert_eq!(told(&life(None, flying), DraftBody::Delete), (Some("delete"), vec![3], true));
        }
        let leaving = vec![pending(3, EntryState::Queued, None)];
        assert_eq!(told(&life(Some(1), leaving.clone()), upsert(1)), (Some("write"), vec![3], false), "created anew");
        assert_eq!(told(&life(Some(1), leaving), DraftBody::Delete), (Some("delete"), vec![], true), "it is that one");
    }

    #[test]
    fn what_another_plan_made_is_read_again() {
        let other = EntryLife { plan: PlanVersion(6), ..pending(3, EntryState::Queued, Some(digest(1))) };
        let open = EntryLife { state: EntryState::Unknown, seq: Seq(4), ..other.clone() };
        let flying = EntryLife { state: EntryState::InFlight, seq: Seq(5), ..other.clone() };
        let deletes = EntryLife { digest: None, seq: Seq(6), ..other.clone() };
        let mut old = life(Some(1), vec![other, open, flying, deletes]);
        forget_outdated(&mut old, PLAN);
        assert_eq!(old.entries.iter().map(|entry| entry.seq.0).collect::<Vec<_>>(), [5, 6]);
        assert_eq!(old.index.unwrap().digest, None, "an attempt of the open one may have taken effect");
    }
}
