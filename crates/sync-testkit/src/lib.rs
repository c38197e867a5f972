//! Suites with which hosts certify their own parts of a sync.
//!
//! [`store_suite!`] runs every case of [`conformance`] as a test of its own against a store; [`model`] compares a store with
//! [`MemoryStore`](sync_core::store::MemoryStore), which is the model, over random sequences of everything an engine does. With the feature
//! `model`, which is a default, `protocol` is the checked model of writes of unknown outcome, and takes a store through its every step.
//! [`fault_proxy`] breaks connections between a program and a service.
//!
//! ```
//! use std::sync::Arc;
//!
//! use sync_core::store::MemoryStore;
//! use sync_core::traits::Store;
//! use sync_testkit::Ground;
//!
//! #[derive(Default)]
//! struct Memory(MemoryStore);
//!
//! impl Ground for Memory {
//!     fn open(&self) -> Arc<dyn Store> {
//!         Arc::new(self.0.clone())
//!     }
//! }
//!
//! sync_testkit::store_suite!(Memory::default());
//! # fn main() {}
//! ```

#![expect(clippy::unwrap_used, clippy::panic, reason = "a suite fails by panicking")]

mod book;
pub mod conformance;
#[cfg(unix)]
pub mod fault_proxy;
pub mod model;
#[cfg(feature = "model")]
pub mod protocol;

use std::sync::Arc;

use sync_core::traits::Store;

/// A place where a store lives, so that a case can close it and open it again.
pub trait Ground {
    /// Opens the store; what an earlier opening acknowledged is there. The earlier one was dropped before.
    ///
    /// # Panics
    /// When it cannot be opened.
    fn open(&self) -> Arc<dyn Store>;
}

/// Runs every case of [`conformance`] as a test of its own. The expression makes a fresh [`Ground`] for each.
#[macro_export]
macro_rules! store_suite {
    ($ground:expr) => {
        $crate::store_cases! { $ground;
            lease: the_fence_only_grows, a_released_lease_is_refused_everywhere, giving_back_twice_is_harmless,
                an_older_lease_is_refused_everywhere;
            append: nothing_is_stored_on_a_conflict, the_same_page_is_stored_once, an_empty_page_moves_the_position,
                a_page_is_visible_with_its_position, keys_of_any_form_are_kept_apart,
                a_newer_state_takes_the_place_of_a_waiting_one, an_equal_state_brings_its_insert_up_to_date,
                an_upsert_after_a_delete_waits_for_it, a_delete_of_what_may_exist_makes_an_entry,
                what_was_never_written_is_not_created_when_it_leaves, totals_add_up,
                a_reset_keeps_everything_but_the_position;
            claim: the_oldest_come_first, a_due_time_is_met_to_the_millisecond, what_was_due_stays_due,
                only_the_oldest_of_a_key_is_claimed, an_unknown_entry_blocks_its_key_alone,
                a_retried_entry_keeps_the_order_of_its_key, a_replaced_entry_has_no_past,
                a_release_undoes_the_claim, what_another_lease_claimed_is_inherited_once;
            settle: twice_is_once, an_entry_of_another_stream_is_passed_over, the_index_follows_what_was_written,
                an_update_that_cannot_be_said_is_kept, a_dead_end_in_doubt_is_remembered;
            verification: it_waits_and_comes_first, a_newer_end_brings_it_up_to_date, it_is_no_backlog,
                it_is_not_replaced_when_it_waits_again;
            dead_letters: a_rejection_survives_the_end_of_an_older_state, a_newer_end_closes_it,
                a_state_that_needs_no_write_closes_it, a_verification_leaves_it, they_are_found_by_filter,
                only_the_newest_of_a_key_is_kept;
            index: a_snapshot_leaves_the_vanished_unseen, an_entry_met_while_it_waits_is_seen,
                unseen_keys_come_in_pages, an_older_entry_is_known_to_wait;
            plan: entries_of_another_plan_are_left_and_listed, a_refresh_takes_their_place, a_refresh_forgets_no_settle_time,
                a_refresh_of_what_may_have_been_written_leaves_a_doubt;
        }
    };
}

/// The tests of [`store_suite!`].
#[doc(hidden)]
#[macro_export]
macro_rules! store_cases {
    ($ground:expr; $($group:ident: $($case:ident),+;)+) => {
        $(mod $group {
            #[allow(unused_imports, reason = "the ground may be named by a path")]
            use super::*;
            $(#[test]
            fn $case() {
                $crate::conformance::run($crate::conformance::$group::$case, &$ground);
            })+
        })+
    };
}
