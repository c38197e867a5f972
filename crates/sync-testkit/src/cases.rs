//! The cases by name, once, and what the macros of the suites make of them.

/// Runs every case for stores ([`conformance::STORE`](crate::conformance::STORE)) as a test of its own. The expression
/// makes a fresh [`Ground`](crate::Ground) for each.
#[macro_export]
macro_rules! store_suite {
    ($ground:expr) => {
        $crate::store_cases! { case_tests [$ground] }
    };
}

/// Runs every case for sources ([`conformance::SOURCE`](crate::conformance::SOURCE)) as a test of its own. The expression
/// makes a fresh [`SourceGround`](crate::SourceGround) for each.
#[macro_export]
macro_rules! source_suite {
    ($ground:expr) => {
        $crate::source_cases! { case_tests [$ground] }
    };
}

/// Runs every case for destinations ([`conformance::DESTINATION`](crate::conformance::DESTINATION)) as a test of its own.
/// The expression makes a fresh [`DestinationGround`](crate::DestinationGround) for each.
#[macro_export]
macro_rules! destination_suite {
    ($ground:expr) => {
        $crate::destination_cases! { case_tests [$ground] }
    };
}

/// Hands the cases for stores to another macro.
#[doc(hidden)]
#[macro_export]
macro_rules! store_cases {
    ($then:ident $with:tt) => {
        $crate::$then! { $with
            lease: the_fence_only_grows, a_released_lease_is_refused_everywhere, giving_back_twice_is_harmless,
                an_older_lease_is_refused_everywhere, one_owner_at_a_time, of_two_racers_one_wins,
                the_check_and_the_write_are_one_step;
            expiry: a_lease_ends_by_the_stores_clock, a_renewal_prolongs_it, an_ended_lease_is_not_renewed,
                an_ended_lease_is_refused_everywhere;
            append: nothing_is_stored_on_a_conflict, the_same_page_is_stored_once, an_empty_page_moves_the_position,
                a_page_is_visible_with_its_position, keys_of_any_form_are_kept_apart, a_large_page_is_stored_whole,
                totals_add_up, a_reset_keeps_everything_but_the_position;
            coalescing: a_newer_state_takes_the_place_of_a_waiting_one, an_equal_state_brings_its_insert_up_to_date,
                an_upsert_after_a_delete_waits_for_it, a_delete_of_what_may_exist_makes_an_entry,
                what_was_never_written_is_not_created_when_it_leaves, a_replay_writes_what_is_equal,
                a_replay_survives_a_newer_state;
            versions: an_older_state_changes_nothing, an_older_state_takes_no_letters_place, an_unchanged_state_brings_its_version,
                the_newest_version_is_known_wherever_it_is;
            claim: the_oldest_come_first, a_due_time_is_met_to_the_millisecond, what_was_due_stays_due,
                only_the_oldest_of_a_key_is_claimed, an_unknown_entry_blocks_its_key_alone,
                a_retried_entry_keeps_the_order_of_its_key, a_replaced_entry_has_no_past,
                a_release_undoes_the_claim, what_misses_something_comes_again_without_a_past, what_another_lease_claimed_is_inherited_once, what_was_unknown_before_waits_anew,
                a_key_that_always_fails_holds_up_no_other, one_of_a_key_among_many_claimers;
            classes: the_more_urgent_go_first, a_quarter_goes_to_what_is_left_behind, nothing_holds_up_an_opt_out,
                a_newer_state_is_as_urgent_as_the_older, streams_do_not_mix;
            parents: a_child_waits_for_its_parent, the_last_parent_releases, a_parent_in_doubt_is_waited_for,
                children_in_every_stream_are_released_at_once, a_newer_state_waits_for_its_own_parents,
                the_record_that_closes_a_circle_does_not_wait,
                deletes_are_held_until_those_of_children_are_done, a_held_delete_goes_by_its_own_number,
                every_delete_of_such_a_page_is_held, those_who_waited_too_long_are_given_up, an_orphan_is_queued_again_when_its_parent_comes;
            settle: twice_is_once, an_entry_of_another_stream_is_passed_over, what_another_lease_claimed_is_passed_over,
                the_index_follows_what_was_written, an_update_that_cannot_be_said_is_kept,
                a_dead_end_in_doubt_is_remembered;
            verification: it_waits_and_comes_first, a_newer_end_brings_it_up_to_date, it_is_no_backlog,
                it_is_not_replaced_when_it_waits_again;
            dead_letters: a_rejection_survives_the_end_of_an_older_state,
                a_state_given_up_survives_the_end_of_an_older_one, a_newer_end_closes_it,
                a_state_that_needs_no_write_closes_it, a_verification_leaves_it, they_are_found_by_filter,
                only_the_newest_of_a_key_is_kept, they_are_dropped_by_filter, what_is_known_outlives_them,
                a_record_read_again_twice_is_queued_once;
            index: a_snapshot_leaves_the_vanished_unseen, an_entry_met_while_it_waits_is_seen,
                what_is_filtered_out_is_met_too, unseen_keys_come_in_pages, an_older_entry_is_known_to_wait;
            record_life: it_shows_where_a_record_stands, parents_and_children_show_each_other;
            plan: entries_of_another_plan_are_left_and_listed, a_refresh_takes_their_place, a_refresh_forgets_no_settle_time,
                a_refresh_of_what_may_have_been_written_leaves_a_doubt, a_refresh_takes_the_place_of_an_orphan;
            values: a_value_is_kept, requests_wait_in_order, a_request_is_carried_out_once;
            life: what_was_acknowledged_is_there_again, no_crash_loses_or_repeats, a_second_opener_is_refused,
                two_openers_see_the_same, a_newer_format_is_refused, a_restored_copy_revives_no_lease,
                nothing_is_legible_at_rest;
            whole: a_page_is_stored_whole_or_not_at_all, an_end_is_stored_whole_or_not_at_all,
                nothing_is_stored_without_space;
        }
    };
}

/// Hands the cases for sources to another macro.
#[doc(hidden)]
#[macro_export]
macro_rules! source_cases {
    ($then:ident $with:tt) => {
        $crate::$then! { $with
            source: a_snapshot_meets_every_row, a_snapshot_in_small_pages_meets_every_row,
                a_change_while_a_snapshot_is_read_is_not_lost, a_position_is_read_again, an_end_stays_an_end,
                changes_after_the_snapshot_are_met, the_last_state_is_the_last_one_told, deletes_are_told,
                a_dropped_read_loses_nothing, a_position_survives_the_source, what_was_expired_is_refused,
                fetch_answers_every_key_in_order, an_absent_record_is_a_delete, a_scan_meets_every_row,
                a_scan_in_small_pages_meets_every_row, a_scan_is_as_deep_as_asked, a_source_that_cannot_scan_says_so,
                versions_grow, trouble_is_an_error_and_never_an_absence;
        }
    };
}

/// Hands the cases for destinations to another macro.
#[doc(hidden)]
#[macro_export]
macro_rules! destination_cases {
    ($then:ident $with:tt) => {
        $crate::$then! { $with
            destination: a_create_makes_a_record, a_second_create_finds_it, an_update_changes_the_record,
                an_update_of_nothing_finds_nothing, a_delete_removes_the_record, a_delete_of_nothing_finds_nothing,
                a_repeated_write_ends_in_the_same_state, every_operation_is_answered_in_its_place,
                one_refusal_stops_no_other, a_refusal_leaves_no_trace, keys_of_any_form_are_kept_apart,
                resolve_tells_what_is_there, resolve_never_writes, an_error_means_nothing_was_dispatched,
                a_lost_answer_is_unknown, a_dropped_call_tells_no_success, no_operation_is_no_trouble,
                operations_of_many_keys_go_side_by_side;
        }
    };
}

/// A test for each case.
#[doc(hidden)]
#[macro_export]
macro_rules! case_tests {
    ([$ground:expr] $($group:ident: $($case:ident),+;)+) => {
        $(mod $group {
            #[allow(unused_imports, reason = "the ground may be named by a path")]
            use super::*;
            $(#[test]
            fn $case() {
                let ending = $crate::conformance::run($crate::conformance::$group::$case(&$ground));
                $crate::conformance::tell(concat!(stringify!($group), "::", stringify!($case)), ending);
            })+
        })+
    };
}

/// A list of the cases.
#[doc(hidden)]
#[macro_export]
macro_rules! case_list {
    ([] $($group:ident: $($case:ident),+;)+) => {
        &[$($($crate::conformance::Case {
            name: concat!(stringify!($group), "::", stringify!($case)),
            run: |ground| $crate::conformance::run($crate::conformance::$group::$case(ground)),
        }),+),+]
    };
}
