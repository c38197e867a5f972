//! The defects of sources and destinations by name, and the cases that have to find them.

use super::list::defects;

defects! {
    /// Every defect of a source, its name, and the cases that must fail because of it: these and no others.
    SourceDefect, SOURCE_ALL;

    /// Of a large page, eight rows are read.
    LargePagesCut "large-pages-cut" => ["source::a_snapshot_meets_every_row"];
    /// The row at the border of two pages is read in neither.
    BorderRowSkipped "border-row-skipped" => [
        "source::a_snapshot_in_small_pages_meets_every_row",
        "source::a_change_while_a_snapshot_is_read_is_not_lost",
        "source::a_position_is_read_again",
        "source::a_position_survives_the_source",
    ];
    /// The last row of a table of one page is left out.
    LastRowSkipped "last-row-skipped" => [
        "source::a_snapshot_meets_every_row",
        "source::deletes_are_told",
        "source::what_was_expired_is_refused",
        "source::versions_grow",
    ];
    /// Changes are told from the end of the snapshot on.
    SnapshotEndsNow "snapshot-ends-now" => ["source::a_change_while_a_snapshot_is_read_is_not_lost"];
    /// Changes are told once.
    PositionReadOnce "position-read-once" => [
        "source::a_position_is_read_again",
        "source::an_end_stays_an_end",
        "source::a_dropped_read_loses_nothing",
    ];
    /// Where nothing changed, the next change is passed over.
    EndMovesOn "end-moves-on" => ["source::an_end_stays_an_end"];
    /// The last change is told again.
    LastChangeRepeated "last-change-repeated" => [
        "source::a_position_is_read_again",
        "source::an_end_stays_an_end",
        "source::the_last_state_is_the_last_one_told",
        "source::deletes_are_told",
        "source::a_dropped_read_loses_nothing",
        "source::a_position_survives_the_source",
        "source::trouble_is_an_error_and_never_an_absence",
    ];
    /// The first change of a second page is left out.
    SecondPageSkipped "second-page-skipped" => [
        "source::a_change_while_a_snapshot_is_read_is_not_lost",
        "source::changes_after_the_snapshot_are_met",
        "source::the_last_state_is_the_last_one_told",
    ];
    /// It is not said that more changes are ready.
    MoreForgotten "more-forgotten" => [
        "source::a_change_while_a_snapshot_is_read_is_not_lost",
        "source::changes_after_the_snapshot_are_met",
        "source::the_last_state_is_the_last_one_told",
        "source::deletes_are_told",
    ];
    /// The newest change comes first.
    OldestChangeLast "oldest-change-last" => [
        "source::a_change_while_a_snapshot_is_read_is_not_lost",
        "source::changes_after_the_snapshot_are_met",
        "source::the_last_state_is_the_last_one_told",
        "source::deletes_are_told",
    ];
    /// Deletes are promised and not told.
    DeletesNotTold "deletes-not-told" => [
        "source::a_change_while_a_snapshot_is_read_is_not_lost",
        "source::deletes_are_told",
    ];
    /// A record that was deleted and made again is told to be gone.
    RestoredStaysGone "restored-stays-gone" => ["source::deletes_are_told"];
    /// A read counts when it is asked for, not when it is answered.
    DroppedReadCounts "dropped-read-counts" => ["source::a_dropped_read_loses_nothing"];
    /// Positions are known to the process that gave them.
    PositionsInMemory "positions-in-memory" => ["source::a_position_survives_the_source"];
    /// An expired position is answered with what is left.
    ExpiredServed "expired-served" => ["source::what_was_expired_is_refused"];
    /// Fetched records come in the order of their keys.
    FetchSorted "fetch-sorted" => ["source::fetch_answers_every_key_in_order"];
    /// Absent records are left out.
    FetchOmitsAbsent "fetch-omits-absent" => [
        "source::fetch_answers_every_key_in_order",
        "source::an_absent_record_is_a_delete",
    ];
    /// A scan ends after eight rows of a large page.
    ScanCut "scan-cut" => ["source::a_scan_meets_every_row"];
    /// A scan leaves out a row between two pages.
    ScanSkipsBorder "scan-skips-border" => [
        "source::a_scan_in_small_pages_meets_every_row",
        "source::a_scan_is_as_deep_as_asked",
    ];
    /// A scan for versions has none.
    ScanWithoutVersion "scan-without-version" => ["source::a_scan_is_as_deep_as_asked"];
    /// A scan that is not there is called unavailable.
    ScanUnavailable "scan-unavailable" => ["source::a_source_that_cannot_scan_says_so"];
    /// Fetched versions begin anew from time to time.
    FetchWithOldVersion "fetch-with-old-version" => ["source::versions_grow"];
    /// Records of a service that is away are told to be gone.
    TroubleIsAbsence "trouble-is-absence" => ["source::trouble_is_an_error_and_never_an_absence"];
}

defects! {
    /// Every defect of a destination, its name, and the cases that must fail because of it: these and no others.
    DestinationDefect, DESTINATION_ALL;

    /// A record without text is not created.
    EmptyNotCreated "empty-not-created" => ["destination::a_create_makes_a_record"];
    /// A second create makes a second record.
    SecondCreateDuplicates "second-create-duplicates" => [
        "destination::a_second_create_finds_it",
        "destination::a_refusal_leaves_no_trace",
    ];
    /// A second create changes the record and says that it exists.
    SecondCreateOverwrites "second-create-overwrites" => ["destination::a_second_create_finds_it"];
    /// A create in doubt that finds its key taken is called applied.
    DoubtIsSuccess "doubt-is-success" => ["destination::a_second_create_finds_it"];
    /// An update changes every record.
    UpdateHitsAll "update-hits-all" => [
        "destination::an_update_changes_the_record",
        "destination::every_operation_is_answered_in_its_place",
    ];
    /// An update of nothing creates.
    UpdateCreates "update-creates" => [
        "destination::an_update_of_nothing_finds_nothing",
        "destination::a_delete_removes_the_record",
        "destination::every_operation_is_answered_in_its_place",
    ];
    /// What was deleted once is not created again.
    DeletedNeverCreated "deleted-never-created" => [
        "destination::a_delete_removes_the_record",
        "destination::a_refusal_leaves_no_trace",
    ];
    /// A delete of what was never there is called applied.
    DeleteOfNothingApplied "delete-of-nothing-applied" => [
        "destination::a_delete_of_nothing_finds_nothing",
        "destination::every_operation_is_answered_in_its_place",
    ];
    /// A delete that comes again is refused.
    SecondDeleteRefused "second-delete-refused" => ["destination::a_repeated_write_ends_in_the_same_state"];
    /// An update that comes again adds to the first.
    UpdateAppends "update-appends" => ["destination::a_repeated_write_ends_in_the_same_state"];
    /// Outcomes come in the wrong order.
    AnswersReversed "answers-reversed" => ["destination::every_operation_is_answered_in_its_place"];
    /// After a refusal nothing is performed.
    RefusalStopsTheRest "refusal-stops-the-rest" => ["destination::one_refusal_stops_no_other"];
    /// A refused create leaves an empty record.
    RefusedCreateLeavesRecord "refused-create-leaves-record" => [
        "destination::one_refusal_stops_no_other",
        "destination::a_refusal_leaves_no_trace",
    ];
    /// A refusal has no code.
    RefusalWithoutCode "refusal-without-code" => ["destination::a_refusal_leaves_no_trace"];
    /// Keys are compared without their case.
    KeysFolded "keys-folded" => ["destination::keys_of_any_form_are_kept_apart"];
    /// Keys are decoded once too often.
    KeysDecoded "keys-decoded" => ["destination::keys_of_any_form_are_kept_apart"];
    /// A delete is resolved by what was wished.
    DeleteResolvedByWish "delete-resolved-by-wish" => ["destination::resolve_tells_what_is_there"];
    /// A look repairs what it finds.
    ResolveWrites "resolve-writes" => ["destination::resolve_never_writes"];
    /// What is answered with an error was sent all the same.
    WritesWhileDown "writes-while-down" => ["destination::an_error_means_nothing_was_dispatched"];
    /// Silence is taken for success.
    SilenceIsSuccess "silence-is-success" => ["destination::an_error_means_nothing_was_dispatched"];
    /// Where nobody can look, nothing is said to be there.
    LooksAtNothing "looks-at-nothing" => ["destination::an_error_means_nothing_was_dispatched"];
    /// A write whose answer is lost is called without effect.
    LostAnswerRetried "lost-answer-retried" => ["destination::a_lost_answer_is_unknown"];
    /// Success is reported before it is there.
    SuccessAhead "success-ahead" => ["destination::a_dropped_call_tells_no_success"];
    /// A call without operations is refused.
    EmptyCallRefused "empty-call-refused" => ["destination::no_operation_is_no_trouble"];
    /// More operations at once are promised than are borne.
    PromisesTooMuch "promises-too-much" => [
        "destination::keys_of_any_form_are_kept_apart",
        "destination::operations_of_many_keys_go_side_by_side",
    ];
}
