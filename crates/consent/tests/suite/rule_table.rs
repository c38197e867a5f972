//! The rule beside a table that was written by hand from the documented sentences, and mutants of the rule that the table finds.
//!
//! The sentences: "Campaign newer: Campaign's value wins"; "Dynamics 365 newer or equal: TRUE wins if either side is TRUE"; "the result
//! is written to both systems where different"; the directions disabled, one way and the other; polarity is the same on both sides.
//! Ours: times are floored to the coarser precision first; a TRUE without a time is a tie, a FALSE without a time is older than
//! everything; an empty column is no opt-out and clears none.

use consent::{Agreed, Direction, Level, Policy, Precision, Reason, Rule, Side, Stamp, Verdict, decide};

pub(crate) type RuleFn = fn(Policy, Direction, Side, Side, Option<Agreed>) -> Verdict;

const ADOBE: Policy = Policy { rule: Rule::Adobe, tolerance_ms: 0 };
const LAST: Policy = Policy { rule: Rule::LastWriter, tolerance_ms: 0 };

type Instant = (i64, i64, i64);

/// The order of the times of Dynamics 365 (D) and Campaign (C) by pairs of instants that have it. Midnight is 0; each instant as
/// minutes, seconds, milliseconds. Written by hand: what is left of both after the finer part is cut off.
const INSTANTS: &[(Precision, Instant, &str, Precision, Instant)] = &[
    // Both to the millisecond.
    (MS, (7, 5, 100), "D<C", MS, (7, 5, 101)),
    (MS, (7, 5, 100), "D=C", MS, (7, 5, 100)),
    (MS, (7, 5, 101), "D>C", MS, (7, 5, 100)),
    // Dynamics 365 to the second, Campaign to the millisecond: the usual pair.
    (S, (7, 5, 0), "D=C", MS, (7, 5, 0)),
    (S, (7, 5, 0), "D=C", MS, (7, 5, 999)),
    (S, (7, 5, 0), "D<C", MS, (7, 6, 0)),
    (S, (7, 5, 0), "D>C", MS, (7, 4, 999)),
    // A source that tells more than it knows.
    (S, (7, 5, 900), "D=C", MS, (7, 5, 100)),
    (S, (7, 5, 900), "D<C", MS, (7, 6, 100)),
    // A file to the second, a file to the minute.
    (S, (7, 5, 0), "D=C", S, (7, 5, 0)),
    (S, (7, 5, 0), "D<C", S, (7, 6, 0)),
    (S, (7, 5, 0), "D>C", S, (7, 4, 0)),
    (S, (7, 59, 0), "D=C", M, (7, 0, 0)),
    (S, (7, 59, 0), "D<C", M, (8, 0, 0)),
    (S, (7, 0, 0), "D>C", M, (6, 0, 0)),
    (MS, (7, 59, 999), "D=C", M, (7, 0, 0)),
    (MS, (7, 59, 999), "D<C", M, (8, 0, 0)),
    (MS, (8, 0, 0), "D>C", M, (7, 0, 0)),
    // The other way round, and both to the minute.
    (MS, (7, 5, 999), "D=C", S, (7, 5, 0)),
    (MS, (7, 5, 999), "D<C", S, (7, 6, 0)),
    (MS, (7, 6, 0), "D>C", S, (7, 5, 0)),
    (M, (7, 0, 0), "D=C", MS, (7, 59, 999)),
    (M, (7, 0, 0), "D<C", MS, (8, 0, 0)),
    (M, (7, 0, 0), "D>C", MS, (6, 59, 999)),
    (M, (7, 0, 0), "D=C", S, (7, 59, 0)),
    (M, (7, 0, 0), "D<C", S, (8, 0, 0)),
    (M, (7, 0, 0), "D>C", S, (6, 59, 0)),
    (M, (7, 0, 0), "D=C", M, (7, 0, 0)),
    (M, (7, 0, 0), "D<C", M, (8, 0, 0)),
    (M, (8, 0, 0), "D>C", M, (7, 0, 0)),
    // Before 1970 the floor is still the earlier one.
    (S, (-1, 59, 0), "D=C", MS, (-1, 59, 999)),
    (S, (-1, 59, 0), "D<C", MS, (0, 0, 0)),
];
const MS: Precision = Precision::Millisecond;
const S: Precision = Precision::Second;
const M: Precision = Precision::Minute;

/// What stands and which sides are written, by the value of Dynamics 365, the value of Campaign, and the order of the times; `D?`
/// that of Dynamics 365 is missing, `C?` that of Campaign, `??` both. T: TRUE, F: FALSE, -: empty.
const BIDIRECTIONAL: &str = "
    D C   D<C    D=C    D>C    D?     C?     ??
    T T   T      T      T      T      T      T
    T F   F:d    T:c    T:c    T:c    T:c    T:c
    T -   T:c    T:c    T:c    T:c    T:c    T:c
    F T   T:d    T:d    T:d    T:d    T:d    T:d
    F F   F      F      F      F      F      F
    F -   F      F      F      F      F      F
    - T   T:d    T:d    T:d    T:d    T:d    T:d
    - F   F      F      F      F      F      F
    - -   F      F      F      F      F      F";

/// The last writer by the times of the attribute on both sides.
const LAST_WRITER: &str = "
    D C   D<C    D=C    D>C    D?     C?     ??
    T T   T      T      T      T      T      T
    T F   F:d    T:c    T:c    T:c    T:c    T:c
    T -   T:c    T:c    T:c    T:c    T:c    T:c
    F T   T:d    T:d    F:c    T:d    T:d    T:d
    F F   F      F      F      F      F      F
    F -   F      F      F      F      F      F
    - T   T:d    T:d    T:d    T:d    T:d    T:d
    - F   F      F      F      F      F      F
    - -   F      F      F      F      F      F";

/// Times do not count where one side leads or nothing moves.
const WITHOUT_TIMES: &str = "
    D C   disabled  d-to-c  c-to-d
    T T   T         T       T
    T F   T         T:c     F:d
    T -   T         T:c     T
    F T   T         F:c     T:d
    F F   F         F       F
    F -   F         F       F
    - T   T         T       T:d
    - F   F         F       F
    - -   F         F       F";

fn value(letter: &str) -> Option<bool> {
    match letter {
        "T" => Some(true),
        "F" => Some(false),
        "-" => None,
        other => panic!("{other} is no value"),
    }
}

type Row = (Option<bool>, Option<bool>, Vec<(String, String)>);

/// The rows of a table: both values, and each cell with its column's name.
fn rows(table: &str) -> Vec<Row> {
    let mut lines = table.lines().filter(|line| !line.trim().is_empty());
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let head = words(lines.next().unwrap());
    let row = |line: &str| {
        let cells = words(line);
        assert_eq!(cells.len(), head.len(), "{line}");
        let named = head[2..].iter().cloned().zip(cells[2..].iter().cloned()).collect();
        (value(&cells[0]), value(&cells[1]), named)
    };
    lines.map(row).collect()
}

/// The stamps of both sides in every way that has the order.
fn stamps(order: &str, d365: Level) -> Vec<(Option<Stamp>, Option<Stamp>)> {
    let ms = |(minutes, seconds, ms): (i64, i64, i64)| (minutes * 60 + seconds) * 1000 + ms;
    let of_d365 = |at, precision| Some(Stamp { at_ms: ms(at), precision, level: d365 });
    let of_campaign = |at, precision| Some(Stamp::attribute(ms(at), precision));
    let instants = INSTANTS.iter();
    match order {
        "D?" => instants.map(|(_, _, _, p, at)| (None, of_campaign(*at, *p))).collect(),
        "C?" => instants.map(|(p, at, ..)| (of_d365(*at, *p), None)).collect(),
        "??" => vec![(None, None)],
        order => instants
            .filter(|(_, _, known, ..)| *known == order)
            .map(|(dp, d, _, cp, c)| (of_d365(*d, *dp), of_campaign(*c, *cp)))
            .collect(),
    }
}

fn expect(cell: &str, verdict: Verdict, what: &str) -> Result<(), String> {
    let (value, writes) = cell.split_once(':').unwrap_or((cell, ""));
    let wanted = (value == "T", writes.contains('d'), writes.contains('c'));
    let found = (verdict.value, verdict.write_d365, verdict.write_campaign);
    if wanted == found { Ok(()) } else { Err(format!("{what}: {verdict:?}, the table says {cell}")) }
}

fn check_times(rule: RuleFn, policy: Policy, table: &str, level: Level) -> Result<usize, String> {
    let mut cases = 0;
    for (d, c, cells) in rows(table) {
        for (order, cell) in cells {
            for (of_d365, of_campaign) in stamps(&order, level) {
                let (d365, campaign) = (Side { value: d, time: of_d365 }, Side { value: c, time: of_campaign });
                let verdict = rule(policy, Direction::Bidirectional, d365, campaign, None);
                expect(&cell, verdict, &format!("{d365:?} {campaign:?} {order}"))?;
                cases += 1;
            }
        }
    }
    Ok(cases)
}

fn adobe(rule: RuleFn) -> Result<(), String> {
    let cases = check_times(rule, ADOBE, BIDIRECTIONAL, Level::Record)?;
    assert_eq!(cases, 9 * (3 * INSTANTS.len() + 1), "every cell with every pair of instants");
    // Adobe's rule does not ask of what the time of Dynamics 365 is.
    check_times(rule, ADOBE, BIDIRECTIONAL, Level::Attribute).map(drop)
}

fn last_writer(rule: RuleFn) -> Result<(), String> {
    check_times(rule, LAST, LAST_WRITER, Level::Attribute)?;
    // Without the time of the attribute, it is Adobe's rule.
    check_times(rule, LAST, BIDIRECTIONAL, Level::Record).map(drop)
}

/// A time of the whole profile says nothing of the attribute, so a FALSE has no time to win by.
fn campaign_record_time(rule: RuleFn) -> Result<(), String> {
    for policy in [ADOBE, LAST] {
        for level in [Level::Record, Level::Attribute] {
            for (of_d365, of_campaign) in stamps("D<C", level) {
                let campaign = Side::new(false, of_campaign.map(|stamp| Stamp { level: Level::Record, ..stamp }));
                let verdict = rule(policy, Direction::Bidirectional, Side::new(true, of_d365), campaign, None);
                expect("T:c", verdict, "a FALSE with the time of its profile")?;
            }
        }
    }
    Ok(())
}

fn one_way(rule: RuleFn) -> Result<(), String> {
    let mut cases = 0;
    for (d, c, cells) in rows(WITHOUT_TIMES) {
        for (direction, cell) in cells {
            let direction = match direction.as_str() {
                "disabled" => Direction::Disabled,
                "d-to-c" => Direction::D365ToCampaign,
                "c-to-d" => Direction::CampaignToD365,
                other => panic!("{other} is no direction"),
            };
            for policy in [ADOBE, LAST] {
                for order in ["D<C", "D=C", "D>C", "D?", "C?", "??"] {
                    for (of_d365, of_campaign) in stamps(order, Level::Attribute) {
                        let (d365, campaign) = (Side { value: d, time: of_d365 }, Side { value: c, time: of_campaign });
                        let verdict = rule(policy, direction, d365, campaign, None);
                        expect(&cell, verdict, &format!("{direction:?} {d365:?} {campaign:?}"))?;
                        cases += 1;
                    }
                }
            }
        }
    }
    assert_eq!(cases, 9 * 3 * 2 * (3 * INSTANTS.len() + 1));
    Ok(())
}

/// What it shows, what the rule is asked, and what it answers.
type Case = (&'static str, Policy, Side, Side, Option<Agreed>, &'static str);

/// What both sides agreed on says who changed since, whatever the clocks say.
fn agreed(rule: RuleFn) -> Result<(), String> {
    let (then, later) = (Some(Stamp::attribute(1_000, MS)), Some(Stamp::attribute(9_000, MS)));
    let row = |at_ms| Some(Stamp::record(at_ms, S));
    let both = |value| Some(Agreed { value, campaign_time: then });
    let nameless = Some(Agreed { value: true, campaign_time: None });
    let profile = Some(Stamp::record(1_000, MS));
    let cases: [Case; 9] = [
        ("taken back in D", LAST, Side::new(false, row(5_000)), Side::new(true, then), both(true), "F:c"),
        ("its clock is behind", LAST, Side::new(false, row(0)), Side::new(true, then), both(true), "F:c"),
        ("opted out in D, its clock behind", LAST, Side::new(true, row(0)), Side::new(false, then), both(false), "T:c"),
        ("said again in C", LAST, Side::new(false, row(5_000)), Side::new(true, later), both(true), "T:d"),
        ("opted out in C alone", LAST, Side::new(false, row(0)), Side::new(true, later), both(false), "T:d"),
        ("C tells no time", LAST, Side::new(false, row(5_000)), Side::new(true, None), nameless, "T:d"),
        (
            "C tells the profile's time",
            LAST,
            Side::new(false, row(5_000)),
            Side::new(true, profile),
            Some(Agreed { value: true, campaign_time: profile }),
            "T:d",
        ),
        ("an emptied column", LAST, Side { value: None, time: row(5_000) }, Side::new(true, then), both(true), "T:d"),
        ("under Adobe's rule", ADOBE, Side::new(false, row(5_000)), Side::new(true, then), both(true), "T:d"),
    ];
    for (what, policy, d365, campaign, agreed, cell) in cases {
        expect(cell, rule(policy, Direction::Bidirectional, d365, campaign, agreed), what)?;
    }
    Ok(())
}

/// Clocks that differ: what is within the tolerance is a tie.
fn tolerance(rule: RuleFn) -> Result<(), String> {
    let policy = Policy { tolerance_ms: 2_000, ..ADOBE };
    for (campaign_ms, cell) in [(7_999, "T:c"), (8_000, "F:d"), (5_000, "T:c")] {
        let (d365, campaign) =
            (Side::new(true, Some(Stamp::record(5_000, S))), Side::new(false, Some(Stamp::attribute(campaign_ms, MS))));
        expect(cell, rule(policy, Direction::Bidirectional, d365, campaign, None), "a tolerance of two seconds")?;
    }
    Ok(())
}

type Check = (&'static str, fn(RuleFn) -> Result<(), String>);

const CHECKS: [Check; 6] = [
    ("adobe", adobe),
    ("last_writer", last_writer),
    ("campaign_record_time", campaign_record_time),
    ("one_way", one_way),
    ("agreed", agreed),
    ("tolerance", tolerance),
];

#[test]
fn the_rule_is_the_table() {
    for (name, check) in CHECKS {
        assert_eq!(check(decide), Ok(()), "{name}");
    }
}

#[test]
fn the_reason_says_which_sentence_applied() {
    let at = |at_ms| Some(Stamp::attribute(at_ms, MS));
    let reason = |policy, direction, d, c| decide(policy, direction, d, c, None).reason;
    let both = Direction::Bidirectional;
    let (t, f) = (Side::new(true, at(5)), Side::new(false, at(5)));
    assert_eq!(reason(ADOBE, Direction::Disabled, t, f), Reason::Disabled);
    assert_eq!(reason(ADOBE, both, t, t), Reason::Equal);
    assert_eq!(reason(ADOBE, Direction::D365ToCampaign, t, f), Reason::D365Leads);
    assert_eq!(reason(ADOBE, Direction::CampaignToD365, t, f), Reason::CampaignLeads);
    assert_eq!(reason(ADOBE, Direction::D365ToCampaign, Side::default(), t), Reason::EmptyKeeps);
    assert_eq!(reason(ADOBE, both, t, Side::new(false, at(6))), Reason::CampaignNewer);
    assert_eq!(reason(ADOBE, both, t, f), Reason::OptOutStands);
    assert_eq!(reason(LAST, both, Side::new(false, at(6)), t), Reason::D365Newer);
    let agreed = Some(Agreed { value: true, campaign_time: at(5) });
    assert_eq!(decide(LAST, both, Side::new(false, at(6)), t, agreed).reason, Reason::D365ChangedAlone);
}

// Mutants: the rule with one mistake each, made by changing what the true rule is asked or what it answers.

fn stamp(side: Side, change: impl Fn(Stamp) -> Stamp) -> Side {
    Side { time: side.time.map(change), ..side }
}

fn grain(precision: Precision) -> i64 {
    match precision {
        Precision::Millisecond => 1,
        Precision::Second => 1_000,
        Precision::Minute => 60_000,
    }
}

/// A verdict with another value, written where it differs.
fn forced(value: bool, direction: Direction, d: Side, c: Side) -> Verdict {
    let differs = |side: Side| side.is_opted_out() != value;
    Verdict {
        value,
        reason: Reason::OptOutStands,
        write_d365: differs(d) && direction != Direction::D365ToCampaign,
        write_campaign: differs(c) && direction != Direction::CampaignToD365,
    }
}

fn a_tie_counts_as_newer(p: Policy, way: Direction, d: Side, c: Side, a: Option<Agreed>) -> Verdict {
    let coarse = [d, c].iter().filter_map(|side| side.time).map(|stamp| grain(stamp.precision)).max().unwrap_or(1);
    decide(p, way, d, stamp(c, |stamp| Stamp { at_ms: stamp.at_ms + coarse, ..stamp }), a)
}

fn times_are_not_floored(p: Policy, way: Direction, d: Side, c: Side, a: Option<Agreed>) -> Verdict {
    let exact = |stamp: Stamp| Stamp { precision: Precision::Millisecond, ..stamp };
    decide(
        p,
        way,
        stamp(d, exact),
        stamp(c, exact),
        a.map(|a| Agreed { campaign_time: a.campaign_time.map(exact), ..a }),
    )
}

fn times_are_rounded_towards_zero(p: Policy, way: Direction, d: Side, c: Side, a: Option<Agreed>) -> Verdict {
    let coarse = [d, c].iter().filter_map(|side| side.time).map(|stamp| grain(stamp.precision)).max().unwrap_or(1);
    let cut = |stamp: Stamp| Stamp { at_ms: stamp.at_ms / coarse * coarse, ..stamp };
    decide(p, way, stamp(d, cut), stamp(c, cut), a)
}

fn false_of_a_newer_row_wins(p: Policy, way: Direction, d: Side, c: Side, a: Option<Agreed>) -> Verdict {
    match (d.time, c.time) {
        (Some(of_d), Some(of_c))
            if way == Direction::Bidirectional && d.value == Some(false) && of_d.at_ms > of_c.at_ms =>
        {
            forced(false, way, d, c)
        }
        _ => decide(p, way, d, c, a),
    }
}

fn a_missing_time_is_the_newest(p: Policy, way: Direction, d: Side, c: Side, a: Option<Agreed>) -> Verdict {
    let newest =
        |side: Side| Side { time: side.time.or(Some(Stamp::attribute(1 << 50, Precision::Millisecond))), ..side };
    decide(p, way, newest(d), newest(c), a)
}

fn a_missing_time_is_the_oldest(p: Policy, way: Direction, d: Side, c: Side, a: Option<Agreed>) -> Verdict {
    let oldest =
        |side: Side| Side { time: side.time.or(Some(Stamp::attribute(-1 << 50, Precision::Millisecond))), ..side };
    decide(p, way, oldest(d), oldest(c), a)
}

fn the_time_of_the_profile_counts(p: Policy, way: Direction, d: Side, c: Side, a: Option<Agreed>) -> Verdict {
    decide(p, way, d, stamp(c, |stamp| Stamp { level: Level::Attribute, ..stamp }), a)
}

fn the_time_of_the_row_counts_as_the_attributes(
    p: Policy,
    way: Direction,
    d: Side,
    c: Side,
    a: Option<Agreed>,
) -> Verdict {
    decide(p, way, stamp(d, |stamp| Stamp { level: Level::Attribute, ..stamp }), c, a)
}

fn an_empty_column_is_false(p: Policy, way: Direction, d: Side, c: Side, a: Option<Agreed>) -> Verdict {
    let plain = |side: Side| Side { value: Some(side.is_opted_out()), ..side };
    decide(p, way, plain(d), plain(c), a)
}

fn disabled_is_bidirectional(p: Policy, way: Direction, d: Side, c: Side, a: Option<Agreed>) -> Verdict {
    decide(p, if way == Direction::Disabled { Direction::Bidirectional } else { way }, d, c, a)
}

fn the_directions_are_swapped(p: Policy, way: Direction, d: Side, c: Side, a: Option<Agreed>) -> Verdict {
    let way = match way {
        Direction::D365ToCampaign => Direction::CampaignToD365,
        Direction::CampaignToD365 => Direction::D365ToCampaign,
        way => way,
    };
    decide(p, way, d, c, a)
}

fn the_leading_side_is_written_too(p: Policy, way: Direction, d: Side, c: Side, a: Option<Agreed>) -> Verdict {
    let verdict = decide(p, way, d, c, a);
    let differs = |side: Side| way != Direction::Disabled && side.value != Some(verdict.value);
    Verdict { write_d365: differs(d), write_campaign: differs(c), ..verdict }
}

fn only_campaign_is_written(p: Policy, way: Direction, d: Side, c: Side, a: Option<Agreed>) -> Verdict {
    Verdict { write_d365: false, ..decide(p, way, d, c, a) }
}

fn the_polarity_is_inverted(p: Policy, way: Direction, d: Side, c: Side, a: Option<Agreed>) -> Verdict {
    decide(p, way, d, Side { value: c.value.map(|value| !value), ..c }, a)
}

fn whoever_said_true_wins_for_ever(p: Policy, way: Direction, d: Side, c: Side, a: Option<Agreed>) -> Verdict {
    match way {
        Direction::Bidirectional => forced(d.is_opted_out() || c.is_opted_out(), way, d, c),
        way => decide(p, way, d, c, a),
    }
}

fn the_last_writer_always_wins(p: Policy, way: Direction, d: Side, c: Side, a: Option<Agreed>) -> Verdict {
    let _ = p;
    the_time_of_the_row_counts_as_the_attributes(LAST, way, d, c, a)
}

fn what_was_agreed_is_forgotten(p: Policy, way: Direction, d: Side, c: Side, _: Option<Agreed>) -> Verdict {
    decide(p, way, d, c, None)
}

fn what_was_agreed_holds_without_campaigns_time(
    p: Policy,
    way: Direction,
    d: Side,
    c: Side,
    a: Option<Agreed>,
) -> Verdict {
    match a {
        Some(agreed) if agreed.campaign_time == c.time => {
            let now = Some(Stamp::attribute(0, Precision::Millisecond));
            decide(p, way, d, Side { time: now, ..c }, Some(Agreed { campaign_time: now, ..agreed }))
        }
        a => decide(p, way, d, c, a),
    }
}

fn the_tolerance_is_ignored(p: Policy, way: Direction, d: Side, c: Side, a: Option<Agreed>) -> Verdict {
    decide(Policy { tolerance_ms: 0, ..p }, way, d, c, a)
}

macro_rules! mutants {
    ($($mutant:ident is found by $($check:ident)*;)*) => {
        /// Each mutant is found by the checks it names, and by no other.
        mod finds {
            $(#[test]
            fn $mutant() {
                super::found_by(super::$mutant, &[$(stringify!($check)),*]);
            })*
        }
    };
}

fn found_by(mutant: RuleFn, wanted: &[&str]) {
    let finds = |(name, check): &Check| check(mutant).is_err().then_some(*name);
    assert_eq!(CHECKS.iter().filter_map(finds).collect::<Vec<_>>(), wanted);
}

mutants! {
    a_tie_counts_as_newer is found by adobe last_writer agreed tolerance;
    times_are_not_floored is found by adobe last_writer tolerance;
    times_are_rounded_towards_zero is found by adobe last_writer;
    false_of_a_newer_row_wins is found by adobe last_writer agreed;
    a_missing_time_is_the_newest is found by adobe last_writer;
    a_missing_time_is_the_oldest is found by adobe last_writer;
    the_time_of_the_profile_counts is found by campaign_record_time;
    the_time_of_the_row_counts_as_the_attributes is found by last_writer;
    an_empty_column_is_false is found by adobe last_writer one_way agreed;
    disabled_is_bidirectional is found by one_way;
    the_directions_are_swapped is found by one_way;
    the_leading_side_is_written_too is found by adobe last_writer one_way;
    only_campaign_is_written is found by adobe last_writer one_way agreed tolerance;
    the_polarity_is_inverted is found by adobe last_writer campaign_record_time one_way agreed tolerance;
    whoever_said_true_wins_for_ever is found by adobe last_writer agreed tolerance;
    the_last_writer_always_wins is found by adobe last_writer agreed tolerance;
    what_was_agreed_is_forgotten is found by agreed;
    what_was_agreed_holds_without_campaigns_time is found by agreed;
    the_tolerance_is_ignored is found by tolerance;
}
