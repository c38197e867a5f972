//! Every state of a key against every draft: what the destination ends with, and that no needless entry is made.

use sync_core::traits::{DraftBody, Rejection};
use sync_core::{Acceptance, Digest, KeyState, Payload, PendingEntry, Seq, accept};

const SAME: Digest = Digest([1; 16]);
const OTHER: Digest = Digest([2; 16]);
const PENDING: Seq = Seq(7);

fn upsert(digest: Digest) -> DraftBody {
    let payload = Payload(digest.0.to_vec().into());
    DraftBody::Upsert { insert: payload.clone(), update: payload.into(), digest }
}

fn states() -> Vec<KeyState> {
    let mut states = Vec::new();
    let pending = |digest, replaceable| Some(PendingEntry { seq: PENDING, digest, replaceable });
    let mut newest = vec![None];
    for digest in [None, Some(SAME), Some(OTHER)] {
        newest.extend([pending(digest, true), pending(digest, false)]);
    }
    for bound in [false, true] {
        let written: &[Option<Digest>] = if bound { &[None, Some(SAME), Some(OTHER)] } else { &[None] };
        for written in written {
            for in_doubt in [false, true] {
                for newest in &newest {
                    states.push(KeyState { bound, written: *written, version: None, in_doubt, newest: *newest });
                }
            }
        }
    }
    states
}

/// What the destination holds once everything is settled: the newest entry decides, else what is written.
fn end(state: &KeyState, acceptance: Acceptance, draft: Option<Digest>) -> Option<Digest> {
    let written = if state.bound { state.written.or(Some(Digest([0; 16]))) } else { None };
    match acceptance {
        Acceptance::Append | Acceptance::Replace(_) | Acceptance::Refresh(_) => draft,
        // What the cancelled entry stood on: nothing was ever written.
        Acceptance::Cancel(_) => written,
        Acceptance::Unchanged | Acceptance::Stale | Acceptance::Nothing | Acceptance::AsDrafted => {
            state.newest.map_or(written, |newest| newest.digest)
        }
    }
}

#[test]
fn an_upsert_always_ends_as_the_newest_state() {
    for state in states() {
        let acceptance = accept(&state, &upsert(SAME), None, false);
        assert_eq!(end(&state, acceptance, Some(SAME)), Some(SAME), "{state:?} {acceptance:?}");
    }
}

#[test]
fn a_delete_always_ends_in_absence() {
    for draft in [DraftBody::Delete, DraftBody::DeleteFiltered] {
        for state in states() {
            let acceptance = accept(&state, &draft, None, false);
            assert_eq!(end(&state, acceptance, None), None, "{state:?} {acceptance:?}");
        }
    }
}

#[test]
fn only_an_unclaimed_entry_is_replaced_refreshed_or_cancelled() {
    for state in states() {
        for draft in [upsert(SAME), DraftBody::Delete, DraftBody::DeleteFiltered] {
            if let Acceptance::Replace(seq) | Acceptance::Refresh(seq) | Acceptance::Cancel(seq) =
                accept(&state, &draft, None, false)
            {
                assert_eq!(seq, PENDING);
                assert!(state.newest.is_some_and(|newest| newest.replaceable), "{state:?}");
            }
        }
    }
}

#[test]
fn an_upsert_never_takes_the_place_of_a_delete() {
    for state in states().into_iter().filter(|state| state.newest.is_some_and(|newest| newest.digest.is_none())) {
        assert_eq!(accept(&state, &upsert(SAME), None, false), Acceptance::Append, "{state:?}");
    }
}

#[test]
fn a_delete_is_forgotten_only_when_no_record_can_be_left_behind() {
    for state in states() {
        let left_behind = state.bound || state.in_doubt;
        let acceptance = accept(&state, &DraftBody::Delete, None, false);
        if matches!(acceptance, Acceptance::Cancel(_)) {
            assert!(!left_behind, "{state:?}");
        }
        if acceptance == Acceptance::Nothing {
            let on_its_way = state.newest.is_some_and(|newest| newest.digest.is_none());
            assert!(on_its_way || !left_behind, "{state:?}");
        }
    }
}

#[test]
fn what_is_equal_costs_nothing() {
    for state in states() {
        let reached = match state.newest {
            Some(newest) => newest.digest == Some(SAME),
            None => state.bound && state.written == Some(SAME),
        };
        let acceptance = accept(&state, &upsert(SAME), None, false);
        let costs_nothing = matches!(acceptance, Acceptance::Unchanged | Acceptance::Refresh(_));
        assert_eq!(costs_nothing, reached, "{state:?}");
        // An insert that is not on its way yet takes the newer values of the fields that only an insert carries.
        let waits = state.newest.is_some_and(|newest| newest.replaceable && newest.digest == Some(SAME));
        assert_eq!(acceptance == Acceptance::Refresh(PENDING), waits, "{state:?}");
    }
}

#[test]
fn a_rejected_draft_leaves_everything_as_it_is() {
    let rejection = Rejection { code: "text-too-long".into(), field: None, explanation: "Shorten it.".into() };
    for state in states() {
        assert_eq!(
            accept(&state, &DraftBody::Rejected(rejection.clone()), None, false),
            Acceptance::AsDrafted,
            "{state:?}"
        );
    }
}

#[test]
fn what_no_longer_matches_is_not_created_any_more_and_stays_where_it_is() {
    for draft in [DraftBody::Filtered, DraftBody::Ignored] {
        for state in states() {
            let creation = state.newest.is_some_and(|newest| newest.replaceable && newest.digest.is_some());
            let wanted = if creation && !state.bound && !state.in_doubt {
                Acceptance::Cancel(PENDING)
            } else {
                Acceptance::AsDrafted
            };
            assert_eq!(accept(&state, &draft, None, false), wanted, "{state:?}");
        }
    }
}

#[test]
fn a_state_older_than_what_is_known_changes_nothing_and_an_equal_one_is_judged_by_its_digest() {
    let drafts = [upsert(OTHER), DraftBody::Filtered, DraftBody::DeleteFiltered];
    for (state, draft) in states().into_iter().flat_map(|state| drafts.iter().map(move |draft| (state, draft))) {
        let known = KeyState { version: Some(5), ..state };
        assert_eq!(accept(&known, draft, Some(4), false), Acceptance::Stale, "{known:?}");
        for version in [None, Some(5), Some(6)] {
            assert_eq!(accept(&known, draft, version, false), accept(&state, draft, None, false), "{known:?}");
        }
        assert_eq!(accept(&state, draft, Some(4), false), accept(&state, draft, None, false), "nothing is known");
    }
}

#[test]
fn a_replay_writes_whatever_is_known() {
    for state in states() {
        let known = KeyState { version: Some(5), ..state };
        let acceptance = accept(&known, &upsert(SAME), Some(4), true);
        assert!(matches!(acceptance, Acceptance::Append | Acceptance::Replace(_)), "{known:?} {acceptance:?}");
        assert_eq!(end(&known, acceptance, Some(SAME)), Some(SAME));
    }
}
