//! Every defect by name, and the cases that have to find it.

/// Names the defects once.
macro_rules! defects {
    ($(#[$list:meta])* $type:ident, $all:ident; $($(#[$doc:meta])* $defect:ident $name:literal => [$($case:literal),+ $(,)?];)+) => {
        /// A defect that can be planted.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $type {
            $($(#[$doc])* $defect,)+
        }

        $(#[$list])*
        pub const $all: &[($type, &str, &[&str])] = &[$(($type::$defect, $name, &[$($case),+])),+];
    };
}
pub(super) use defects;

defects! {
    /// Every defect of a store, its name, and the cases that must fail because of it: these and no others.
    Defect, ALL;

    /// After a lease was given back, numbers begin anew.
    FenceStartsOver "fence-starts-over" => ["lease::the_fence_only_grows"];
    /// Giving back does nothing.
    ReleaseDoesNothing "release-does-nothing" => [
        "lease::a_released_lease_is_refused_everywhere",
        "lease::one_owner_at_a_time",
        "life::two_openers_see_the_same",
    ];
    /// Giving back an old lease ends the present one.
    ReleaseTakesFromSuccessor "release-takes-from-successor" => ["lease::giving_back_twice_is_harmless"];
    /// A page is stored under an old lease.
    AppendForgetsFence "append-forgets-fence" => [
        "lease::an_older_lease_is_refused_everywhere",
        "lease::the_check_and_the_write_are_one_step",
        "life::two_openers_see_the_same",
        "life::a_restored_copy_revives_no_lease",
    ];
    /// Entries are claimed under an old lease.
    ClaimForgetsFence "claim-forgets-fence" => ["lease::an_older_lease_is_refused_everywhere"];
    /// Entries are settled under an old lease.
    SettleForgetsFence "settle-forgets-fence" => ["lease::an_older_lease_is_refused_everywhere"];
    /// Entries are inherited under an old lease.
    InheritForgetsFence "inherit-forgets-fence" => ["lease::an_older_lease_is_refused_everywhere"];
    /// Entries are given up under an old lease.
    GiveUpForgetsFence "give-up-forgets-fence" => ["lease::an_older_lease_is_refused_everywhere"];
    /// Deletes are let go under an old lease.
    ReleaseForgetsFence "release-forgets-fence" => ["lease::an_older_lease_is_refused_everywhere"];
    /// The position is forgotten under an old lease.
    ResetForgetsFence "reset-forgets-fence" => ["lease::an_older_lease_is_refused_everywhere"];
    /// A value is put under an old lease.
    PutForgetsFence "put-forgets-fence" => ["lease::an_older_lease_is_refused_everywhere"];
    /// Keys are marked under an old lease.
    MarkSeenForgetsFence "mark-seen-forgets-fence" => ["lease::an_older_lease_is_refused_everywhere"];
    /// Letters are dropped under an old lease.
    DropForgetsFence "drop-forgets-fence" => ["lease::an_older_lease_is_refused_everywhere"];
    /// A request is removed under an old lease.
    FinishForgetsFence "finish-forgets-fence" => ["lease::an_older_lease_is_refused_everywhere"];
    /// A lease that was taken over is renewed.
    RenewForgetsFence "renew-forgets-fence" => ["lease::an_older_lease_is_refused_everywhere"];
    /// Whoever asks gets the lease.
    SecondOwnerTakesOver "second-owner-takes-over" => [
        "lease::one_owner_at_a_time",
        "lease::of_two_racers_one_wins",
        "expiry::a_lease_ends_by_the_stores_clock",
        "life::two_openers_see_the_same",
    ];
    /// Between the look whether a lease is free and its taking, another one takes it.
    LookThenTake "look-then-take" => ["lease::of_two_racers_one_wins"];
    /// The fence is compared, and the write made afterwards.
    CheckThenWrite "check-then-write" => ["lease::the_check_and_the_write_are_one_step"];
    /// Leases end by the time that callers tell.
    EndsByTheCalendar "ends-by-the-calendar" => ["expiry::a_lease_ends_by_the_stores_clock"];
    /// A lease holds an instant longer than it says.
    EndsAnInstantLate "ends-an-instant-late" => [
        "expiry::a_lease_ends_by_the_stores_clock",
        "expiry::an_ended_lease_is_not_renewed",
        "expiry::an_ended_lease_is_refused_everywhere",
    ];
    /// A renewal is answered and not made.
    RenewalForgotten "renewal-forgotten" => ["expiry::a_renewal_prolongs_it"];
    /// A renewal never shortens.
    RenewalNeverShortens "renewal-never-shortens" => ["expiry::a_renewal_prolongs_it"];
    /// A lease that has ended is renewed if nobody has taken over.
    EndedLeaseRenewed "ended-lease-renewed" => [
        "expiry::an_ended_lease_is_not_renewed",
        "expiry::an_ended_lease_is_refused_everywhere",
    ];
    /// Under a lease that has ended, entries are settled if nobody has taken over.
    EndedLeaseSettles "ended-lease-settles" => ["expiry::an_ended_lease_is_refused_everywhere"];

    /// A position that is behind the one expected is taken for it.
    VersionAheadAccepted "version-ahead-accepted" => ["append::nothing_is_stored_on_a_conflict"];
    /// The letters of a refused page are kept.
    LettersOfRefusedPage "letters-of-refused-page" => ["append::nothing_is_stored_on_a_conflict"];
    /// A page that comes again is stored again, if its position is the present one.
    SamePageAgain "same-page-again" => ["append::the_same_page_is_stored_once"];
    /// A page without a change is answered and not stored.
    EmptyPageSkipped "empty-page-skipped" => [
        "lease::the_check_and_the_write_are_one_step",
        "append::an_empty_page_moves_the_position",
    ];
    /// The last page before the end of the process is lost, if nothing of it was claimed.
    LastPageLost "last-page-lost" => [
        "append::a_page_is_visible_with_its_position",
        "life::what_was_acknowledged_is_there_again",
        "life::no_crash_loses_or_repeats",
        "life::a_restored_copy_revives_no_lease",
    ];
    /// A key ends at its first zero.
    KeysEndAtZero "keys-end-at-zero" => ["append::keys_of_any_form_are_kept_apart"];
    /// A key ends after 1,023 bytes.
    LongKeysCut "long-keys-cut" => ["append::keys_of_any_form_are_kept_apart"];
    /// A GUID is the same as its text.
    GuidsAsText "guids-as-text" => ["append::keys_of_any_form_are_kept_apart"];
    /// Of a page, 2,048 drafts are stored.
    LargePageCut "large-page-cut" => ["append::a_large_page_is_stored_whole"];
    /// Rejected drafts are not counted as read.
    RejectedNotRead "rejected-not-read" => [
        "append::a_page_is_visible_with_its_position",
        "append::totals_add_up",
        "append::a_reset_keeps_everything_but_the_position",
    ];
    /// A reset keeps the position.
    ResetKeepsPosition "reset-keeps-position" => ["append::a_reset_keeps_everything_but_the_position"];
    /// A reset begins the totals anew.
    ResetForgetsTotals "reset-forgets-totals" => ["append::a_reset_keeps_everything_but_the_position"];

    /// The state that came first is kept.
    OldestStateKept "oldest-state-kept" => [
        "append::totals_add_up",
        "coalescing::a_newer_state_takes_the_place_of_a_waiting_one",
        "versions::an_older_state_changes_nothing",
        "versions::an_unchanged_state_brings_its_version",
        "claim::an_unknown_entry_blocks_its_key_alone",
        "claim::a_replaced_entry_has_no_past",
        "parents::a_newer_state_waits_for_its_own_parents",
        "settle::the_index_follows_what_was_written",
        "dead_letters::a_newer_end_closes_it",
        "parents::the_record_that_closes_a_circle_does_not_wait",
    ];
    /// An equal state brings nothing, not even its insert.
    InsertNotRefreshed "insert-not-refreshed" => ["coalescing::an_equal_state_brings_its_insert_up_to_date"];
    /// A state that follows a waiting delete makes the delete superfluous.
    CoalescesAcrossDelete "coalesces-across-delete" => [
        "coalescing::an_upsert_after_a_delete_waits_for_it",
        "parents::deletes_are_held_until_those_of_children_are_done",
    ];
    /// A delete of a record whose create is in flight is ignored.
    DeleteOfFlyingIgnored "delete-of-flying-ignored" => [
        "coalescing::a_delete_of_what_may_exist_makes_an_entry",
        "parents::every_delete_of_such_a_page_is_held",
    ];
    /// A record that is ignored now is created all the same.
    IgnoredStillCreated "ignored-still-created" => ["coalescing::what_was_never_written_is_not_created_when_it_leaves"];
    /// What was filtered out is counted as ignored.
    FilteredCountedAsIgnored "filtered-counted-as-ignored" => [
        "append::totals_add_up",
        "coalescing::what_was_never_written_is_not_created_when_it_leaves",
        "plan::a_refresh_takes_their_place",
    ];
    /// A replay writes what differs.
    ReplayCompares "replay-compares" => [
        "coalescing::a_replay_writes_what_is_equal",
        "coalescing::a_replay_survives_a_newer_state",
        "dead_letters::a_record_read_again_twice_is_queued_once",
        "life::what_was_acknowledged_is_there_again",
    ];
    /// A change that takes the place of a replayed state is no replay.
    ReplayForgotten "replay-forgotten" => ["coalescing::a_replay_survives_a_newer_state"];
    /// Versions are not compared.
    StaleAccepted "stale-accepted" => [
        "versions::an_older_state_changes_nothing",
        "versions::an_older_state_takes_no_letters_place",
    ];
    /// The version of a dead letter is not compared.
    LetterVersionIgnored "letter-version-ignored" => ["versions::an_older_state_takes_no_letters_place"];
    /// An equally old state is stale.
    EqualVersionStale "equal-version-stale" => [
        "coalescing::a_newer_state_takes_the_place_of_a_waiting_one",
        "versions::an_older_state_changes_nothing",
        "claim::an_unknown_entry_blocks_its_key_alone",
        "claim::a_replaced_entry_has_no_past",
        "classes::a_newer_state_is_as_urgent_as_the_older",
        "parents::a_newer_state_waits_for_its_own_parents",
        "settle::the_index_follows_what_was_written",
        "dead_letters::a_newer_end_closes_it",
        "plan::a_refresh_takes_their_place",
        "parents::the_record_that_closes_a_circle_does_not_wait",
    ];
    /// An unchanged state leaves the version as it was.
    UnchangedKeepsVersion "unchanged-keeps-version" => ["versions::an_unchanged_state_brings_its_version"];
    /// The version of what waits is not known.
    VersionOfWaitingUnknown "version-of-waiting-unknown" => ["versions::the_newest_version_is_known_wherever_it_is"];
    /// The version of a dead letter is not known.
    VersionOfLetterUnknown "version-of-letter-unknown" => ["versions::the_newest_version_is_known_wherever_it_is"];

    /// What was tried before comes after what was not.
    RetriedGoLast "retried-go-last" => [
        "claim::the_oldest_come_first",
        "plan::a_refresh_of_what_may_have_been_written_leaves_a_doubt",
    ];
    /// Due times are whole seconds.
    DueInSeconds "due-in-seconds" => [
        "claim::a_due_time_is_met_to_the_millisecond",
        "claim::what_was_unknown_before_waits_anew",
        "verification::it_waits_and_comes_first",
        "plan::a_refresh_forgets_no_settle_time",
        "life::what_was_acknowledged_is_there_again",
    ];
    /// A calendar that jumps back makes due entries wait again.
    DueFollowsTheCalendar "due-follows-the-calendar" => ["claim::what_was_due_stays_due"];
    /// A state that comes while an older one is in flight is claimed beside it.
    ClaimsBesideFlying "claims-beside-flying" => [
        "versions::an_older_state_changes_nothing",
        "versions::the_newest_version_is_known_wherever_it_is",
        "claim::only_the_oldest_of_a_key_is_claimed",
        "claim::one_of_a_key_among_many_claimers",
        "dead_letters::a_state_given_up_survives_the_end_of_an_older_one",
        "index::an_entry_met_while_it_waits_is_seen",
        "record_life::it_shows_where_a_record_stands",
    ];
    /// An unknown entry holds up nothing.
    UnknownFreesItsKey "unknown-frees-its-key" => [
        "coalescing::a_delete_of_what_may_exist_makes_an_entry",
        "claim::an_unknown_entry_blocks_its_key_alone",
        "plan::a_refresh_forgets_no_settle_time",
        "plan::a_refresh_of_what_may_have_been_written_leaves_a_doubt",
    ];
    /// An equal state ends the wait for another attempt.
    EqualStateEndsTheWait "equal-state-ends-the-wait" => [
        "claim::a_retried_entry_keeps_the_order_of_its_key",
        "claim::what_misses_something_comes_again_without_a_past",
    ];
    /// A newer state waits as long as the older one.
    ReplacedStillWaits "replaced-still-waits" => ["claim::a_replaced_entry_has_no_past"];
    /// A released claim counts as an attempt.
    ReleaseCounts "release-counts" => ["claim::a_release_undoes_the_claim"];
    /// An attempt that found something missing counts.
    NotYetCounts "not-yet-counts" => ["claim::what_misses_something_comes_again_without_a_past"];
    /// An attempt that found something missing ends the doubt of an earlier one.
    NotYetForgetsDoubt "not-yet-forgets-doubt" => ["claim::what_misses_something_comes_again_without_a_past"];
    /// An entry is as young as its last claim.
    AgeForgotten "age-forgotten" => ["claim::what_misses_something_comes_again_without_a_past"];
    /// An inherited entry is like new.
    InheritedNotInDoubt "inherited-not-in-doubt" => [
        "claim::what_another_lease_claimed_is_inherited_once",
        "life::what_was_acknowledged_is_there_again",
    ];
    /// An inherited entry is due at once.
    InheritedAtOnce "inherited-at-once" => [
        "claim::what_another_lease_claimed_is_inherited_once",
        "claim::what_was_unknown_before_waits_anew",
        "life::what_was_acknowledged_is_there_again",
    ];
    /// What was unknown before a takeover is due when it was.
    UnknownKeepsItsTime "unknown-keeps-its-time" => ["claim::what_was_unknown_before_waits_anew"];
    /// What the new lease claimed is inherited too.
    InheritsItsOwn "inherits-its-own" => ["claim::what_another_lease_claimed_is_inherited_once"];
    /// An entry that failed three times holds up everybody.
    PoisonHoldsUpAll "poison-holds-up-all" => ["claim::a_key_that_always_fails_holds_up_no_other"];

    /// A backfill is as urgent as a change.
    BackfillIsLive "backfill-is-live" => [
        "classes::the_more_urgent_go_first",
        "classes::a_quarter_goes_to_what_is_left_behind",
        "classes::nothing_holds_up_an_opt_out",
        "classes::a_newer_state_is_as_urgent_as_the_older",
    ];
    /// Nothing is kept for what is left behind.
    NoQuarter "no-quarter" => [
        "classes::a_quarter_goes_to_what_is_left_behind",
        "classes::nothing_holds_up_an_opt_out",
    ];
    /// What is left behind gets a half.
    HalfNotQuarter "half-not-quarter" => ["classes::a_quarter_goes_to_what_is_left_behind"];
    /// The quarter is taken from opt-outs too.
    OptOutsGiveWay "opt-outs-give-way" => ["classes::nothing_holds_up_an_opt_out"];
    /// An entry is of the class of its newest state.
    ClassOfTheNewest "class-of-the-newest" => ["classes::a_newer_state_is_as_urgent_as_the_older"];
    /// A stream with nothing to do claims from another one.
    ClaimsFromOthers "claims-from-others" => [
        "classes::streams_do_not_mix",
        "parents::children_in_every_stream_are_released_at_once",
        "parents::deletes_are_held_until_those_of_children_are_done",
    ];

    /// Waits are not shown.
    WaitingNotCounted "waiting-not-counted" => [
        "parents::a_child_waits_for_its_parent",
        "parents::the_last_parent_releases",
        "parents::a_parent_in_doubt_is_waited_for",
        "parents::children_in_every_stream_are_released_at_once",
        "parents::a_newer_state_waits_for_its_own_parents",
        "parents::the_record_that_closes_a_circle_does_not_wait",
        "parents::deletes_are_held_until_those_of_children_are_done",
        "parents::those_who_waited_too_long_are_given_up",
        "parents::a_held_delete_goes_by_its_own_number",
    ];
    /// What waits for a parent is due.
    WaitingIsDue "waiting-is-due" => [
        "parents::a_child_waits_for_its_parent",
        "parents::deletes_are_held_until_those_of_children_are_done",
        "parents::a_held_delete_goes_by_its_own_number",
    ];
    /// Of several parents, the first is waited for.
    FirstParentOnly "first-parent-only" => [
        "parents::the_last_parent_releases",
        "parents::an_orphan_is_queued_again_when_its_parent_comes",
        "record_life::parents_and_children_show_each_other",
    ];
    /// A parent that may be there is not waited for.
    DoubtfulParentEnough "doubtful-parent-enough" => ["parents::a_parent_in_doubt_is_waited_for"];
    /// Parents of other streams are not waited for.
    ForeignParentsForgotten "foreign-parents-forgotten" => [
        "parents::children_in_every_stream_are_released_at_once",
        "parents::the_record_that_closes_a_circle_does_not_wait",
        "parents::deletes_are_held_until_those_of_children_are_done",
        "parents::an_orphan_is_queued_again_when_its_parent_comes",
        "record_life::parents_and_children_show_each_other",
    ];
    /// Deletes that are to be held are not.
    DeletesNotHeld "deletes-not-held" => [
        "parents::deletes_are_held_until_those_of_children_are_done",
        "parents::a_held_delete_goes_by_its_own_number",
        "parents::every_delete_of_such_a_page_is_held",
    ];
    /// Deletes are held whether they are to be or not.
    AllDeletesHeld "all-deletes-held" => [
        "coalescing::an_upsert_after_a_delete_waits_for_it",
        "parents::a_parent_in_doubt_is_waited_for",
        "parents::every_delete_of_such_a_page_is_held",
        "settle::the_index_follows_what_was_written",
        "plan::entries_of_another_plan_are_left_and_listed",
    ];
    /// A release lets all deletes go.
    AllDeletesReleased "all-deletes-released" => ["parents::a_held_delete_goes_by_its_own_number"];
    /// A release asks for no children.
    ChildrenNotAsked "children-not-asked" => ["parents::deletes_are_held_until_those_of_children_are_done"];
    /// Children that came later count, too.
    LaterChildrenCount "later-children-count" => ["parents::deletes_are_held_until_those_of_children_are_done"];
    /// Children that wait for a parent do not count, be they written or not.
    WaitingChildrenForgotten "waiting-children-forgotten" => ["parents::deletes_are_held_until_those_of_children_are_done"];
    /// Children that wait for a parent count, be they written or not.
    WaitingChildrenCount "waiting-children-count" => ["parents::deletes_are_held_until_those_of_children_are_done"];
    /// Deletes that are held are not counted.
    HeldNotCounted "held-not-counted" => [
        "parents::deletes_are_held_until_those_of_children_are_done",
        "parents::a_held_delete_goes_by_its_own_number",
        "parents::every_delete_of_such_a_page_is_held",
    ];
    /// Giving up what waits for parents lets deletes go.
    GivingUpReleases "giving-up-releases" => ["parents::deletes_are_held_until_those_of_children_are_done"];
    /// Nobody is told in which streams something is ready.
    ReleasedNotTold "released-not-told" => [
        "parents::a_child_waits_for_its_parent",
        "parents::children_in_every_stream_are_released_at_once",
        "parents::an_orphan_is_queued_again_when_its_parent_comes",
        "life::what_was_acknowledged_is_there_again",
        "whole::an_end_is_stored_whole_or_not_at_all",
    ];
    /// A record that refers to itself waits for itself.
    WaitsForItself "waits-for-itself" => ["parents::the_record_that_closes_a_circle_does_not_wait"];
    /// A newer state waits for the parents of the older one too.
    OldParentsKept "old-parents-kept" => [
        "parents::a_newer_state_waits_for_its_own_parents",
        "parents::the_record_that_closes_a_circle_does_not_wait",
    ];
    /// What was appended at the very time is given up too.
    GivesUpTooEarly "gives-up-too-early" => ["parents::those_who_waited_too_long_are_given_up"];
    /// What was given up is not counted.
    GivenUpNotCounted "given-up-not-counted" => [
        "parents::those_who_waited_too_long_are_given_up",
        "parents::an_orphan_is_queued_again_when_its_parent_comes",
        "dead_letters::a_state_given_up_survives_the_end_of_an_older_one",
        "record_life::parents_and_children_show_each_other",
        "parents::the_record_that_closes_a_circle_does_not_wait",
    ];
    /// What was given up stays so when its parent comes.
    OrphansForgotten "orphans-forgotten" => [
        "parents::an_orphan_is_queued_again_when_its_parent_comes",
        "record_life::parents_and_children_show_each_other",
        "parents::the_record_that_closes_a_circle_does_not_wait",
    ];

    /// An end that comes again is counted again.
    EndCountedAgain "end-counted-again" => ["settle::twice_is_once"];
    /// An end is taken for an entry of whatever stream.
    SettlesAnyStream "settles-any-stream" => ["settle::an_entry_of_another_stream_is_passed_over"];
    /// An end is taken for an entry of whatever lease.
    SettlesAnyClaim "settles-any-claim" => ["settle::what_another_lease_claimed_is_passed_over"];
    /// Deleted records are counted as bound.
    DeletedStillBound "deleted-still-bound" => ["settle::the_index_follows_what_was_written"];
    /// The field of an update that cannot be said is lost.
    FieldOfReasonLost "field-of-reason-lost" => ["settle::an_update_that_cannot_be_said_is_kept"];
    /// A doubt that a dead end leaves is forgotten.
    DoubtForgotten "doubt-forgotten" => [
        "coalescing::a_delete_of_what_may_exist_makes_an_entry",
        "parents::every_delete_of_such_a_page_is_held",
        "settle::a_dead_end_in_doubt_is_remembered",
        "dead_letters::what_is_known_outlives_them",
        "record_life::it_shows_where_a_record_stands",
    ];
    /// An entry does not tell of the doubts about its key.
    DoubtNotTold "doubt-not-told" => [
        "settle::a_dead_end_in_doubt_is_remembered",
        "dead_letters::what_is_known_outlives_them",
        "plan::a_refresh_of_what_may_have_been_written_leaves_a_doubt",
    ];

    /// Verifications come when there is nothing else to do.
    VerificationsGoLast "verifications-go-last" => [
        "verification::it_waits_and_comes_first",
        "plan::entries_of_another_plan_are_left_and_listed",
    ];
    /// A verification repeats the state it was made for.
    VerifiesOldState "verifies-old-state" => ["verification::a_newer_end_brings_it_up_to_date"];
    /// Verifications are counted as backlog.
    VerificationsAreBacklog "verifications-are-backlog" => [
        "verification::it_is_no_backlog",
        "verification::it_is_not_replaced_when_it_waits_again",
    ];
    /// The end of a verification is counted.
    VerificationCounted "verification-counted" => ["verification::it_is_no_backlog"];
    /// A newer state takes the place of a verification that waits again.
    VerificationReplaced "verification-replaced" => ["verification::it_is_not_replaced_when_it_waits_again"];

    /// Whatever entry of a key is written closes its letter.
    AnyEndClosesLetters "any-end-closes-letters" => [
        "dead_letters::a_rejection_survives_the_end_of_an_older_state",
        "dead_letters::a_state_given_up_survives_the_end_of_an_older_one",
    ];
    /// A state that took the place of another one closes no letter.
    ReplacedClosesNoLetter "replaced-closes-no-letter" => ["dead_letters::a_newer_end_closes_it"];
    /// A state that is ignored closes no letter.
    IgnoredClosesNoLetter "ignored-closes-no-letter" => ["dead_letters::a_state_that_needs_no_write_closes_it"];
    /// A verification closes the letter of its key.
    VerificationClosesLetter "verification-closes-letter" => ["dead_letters::a_verification_leaves_it"];
    /// The newest letter comes first.
    LettersNewestFirst "letters-newest-first" => [
        "versions::an_older_state_takes_no_letters_place",
        "dead_letters::they_are_found_by_filter",
        "dead_letters::only_the_newest_of_a_key_is_kept",
        "dead_letters::they_are_dropped_by_filter",
    ];
    /// A letter is dated by the last page.
    LettersDatedByPage "letters-dated-by-page" => ["dead_letters::they_are_found_by_filter"];
    /// A page of letters repeats the last one of the page before.
    LettersRepeated "letters-repeated" => ["dead_letters::they_are_found_by_filter"];
    /// The last reason is shown, whichever state it was about.
    LateReasonShown "late-reason-shown" => [
        "dead_letters::a_state_given_up_survives_the_end_of_an_older_one",
        "dead_letters::only_the_newest_of_a_key_is_kept",
    ];
    /// Letters of the very time are dropped too.
    DropsTooYoung "drops-too-young" => ["dead_letters::they_are_dropped_by_filter"];
    /// Letters of every stream are dropped.
    DropsEveryStream "drops-every-stream" => ["dead_letters::they_are_dropped_by_filter"];
    /// Codes that begin so are dropped too.
    DropsByPrefix "drops-by-prefix" => ["dead_letters::they_are_dropped_by_filter"];
    /// With a letter goes the doubt about its record.
    DropForgetsDoubt "drop-forgets-doubt" => ["dead_letters::what_is_known_outlives_them"];
    /// What is read again on request is queued beside what waits.
    RequeuedTwice "requeued-twice" => [
        "coalescing::a_replay_writes_what_is_equal",
        "coalescing::a_replay_survives_a_newer_state",
        "dead_letters::a_record_read_again_twice_is_queued_once",
    ];

    /// A record is met by being written.
    WrittenIsSeen "written-is-seen" => ["index::a_snapshot_leaves_the_vanished_unseen"];
    /// What waits is not marked as met.
    WaitingNotSeen "waiting-not-seen" => ["index::an_entry_met_while_it_waits_is_seen"];
    /// What is filtered out is not marked as met.
    FilteredNotSeen "filtered-not-seen" => ["index::what_is_filtered_out_is_met_too"];
    /// A page of vanished records leaves out one.
    UnseenSkipsOne "unseen-skips-one" => ["index::unseen_keys_come_in_pages"];
    /// What was met waits as if it was not.
    UnsettledCountsMet "unsettled-counts-met" => ["index::an_older_entry_is_known_to_wait"];

    /// What another plan made is claimed.
    OtherPlansClaimed "other-plans-claimed" => ["plan::entries_of_another_plan_are_left_and_listed"];
    /// Verifications of another plan are not listed.
    OldVerificationsUnlisted "old-verifications-unlisted" => ["plan::entries_of_another_plan_are_left_and_listed"];
    /// Children that were given up are not listed with what another plan made.
    OldOrphansUnlisted "old-orphans-unlisted" => ["plan::a_refresh_takes_the_place_of_an_orphan"];
    /// A refresh is a page like any other.
    RefreshIsAPage "refresh-is-a-page" => [
        "plan::a_refresh_takes_their_place",
        "plan::a_refresh_forgets_no_settle_time",
        "plan::a_refresh_of_what_may_have_been_written_leaves_a_doubt",
    ];
    /// A refreshed state is due at once.
    RefreshForgetsTheWait "refresh-forgets-the-wait" => ["plan::a_refresh_forgets_no_settle_time"];
    /// A refreshed state tells of no doubt.
    RefreshForgetsDoubt "refresh-forgets-doubt" => [
        "plan::a_refresh_forgets_no_settle_time",
        "plan::a_refresh_of_what_may_have_been_written_leaves_a_doubt",
    ];

    /// What is claimed is not shown of a record.
    LifeForgetsFlying "life-forgets-flying" => ["record_life::it_shows_where_a_record_stands"];
    /// Dead letters are not shown of a record.
    LifeHidesLetters "life-hides-letters" => [
        "record_life::it_shows_where_a_record_stands",
        "record_life::parents_and_children_show_each_other",
    ];
    /// Children of other streams are not shown of a record.
    LifeStaysInItsStream "life-stays-in-its-stream" => ["record_life::parents_and_children_show_each_other"];
    /// Of several parents that an entry waits for, one is shown.
    LifeNamesFirstParent "life-names-first-parent" => ["record_life::parents_and_children_show_each_other"];

    /// A value ends after 65,536 bytes.
    ValuesCut "values-cut" => ["values::a_value_is_kept"];
    /// Names are compared without their case.
    NamesFolded "names-folded" => ["values::a_value_is_kept"];
    /// An empty value is none.
    EmptyValueAbsent "empty-value-absent" => ["values::a_value_is_kept"];
    /// The newest request comes first.
    RequestsNewestFirst "requests-newest-first" => ["values::requests_wait_in_order"];
    /// What was asked twice is asked once.
    EqualRequestsMerged "equal-requests-merged" => [
        "values::requests_wait_in_order",
        "values::a_request_is_carried_out_once",
    ];
    /// Finishing a request that is gone removes the oldest.
    FinishTakesTheNext "finish-takes-the-next" => ["values::a_request_is_carried_out_once"];

    /// The last put before the end of the process is lost.
    ValuesLost "values-lost" => ["life::what_was_acknowledged_is_there_again"];
    /// The last request before the end of the process is lost.
    RequestsLost "requests-lost" => ["life::what_was_acknowledged_is_there_again"];
    /// A claim is no log of its intent: after the end of the process it never was.
    LastClaimLost "last-claim-lost" => [
        "claim::what_another_lease_claimed_is_inherited_once",
        "life::no_crash_loses_or_repeats",
    ];
    /// The last end before the end of the process is lost.
    LastEndLost "last-end-lost" => ["life::what_was_acknowledged_is_there_again", "life::no_crash_loses_or_repeats"];
    /// A store of one process admits a second.
    SecondOpenerAdmitted "second-opener-admitted" => ["life::a_second_opener_is_refused"];
    /// A second opener sees what was there a step ago.
    SecondOpenerLags "second-opener-lags" => ["life::two_openers_see_the_same"];
    /// A store of a newer format is opened.
    NewerFormatOpened "newer-format-opened" => ["life::a_newer_format_is_refused"];
    /// Leases are compared by their number alone.
    NonceIgnored "nonce-ignored" => ["life::a_restored_copy_revives_no_lease"];
    /// What orphans say is legible.
    OrphansLegible "orphans-legible" => ["life::nothing_is_legible_at_rest"];

    /// The position is stored before the page.
    PositionFirst "position-first" => ["whole::a_page_is_stored_whole_or_not_at_all"];
    /// Ends are stored one by one.
    EndsOneByOne "ends-one-by-one" => ["whole::an_end_is_stored_whole_or_not_at_all"];
    /// What there is space for is stored.
    FullStoresHalf "full-stores-half" => ["whole::nothing_is_stored_without_space"];
    /// A full disk is called unavailable.
    FullNotNamed "full-not-named" => ["whole::nothing_is_stored_without_space"];
}

impl Defect {
    /// Whether it is a defect of a store that one process owns; the others are of stores that several may share.
    pub fn is_of_exclusive(self) -> bool {
        matches!(self, Self::SecondOpenerAdmitted)
    }
}
