//! Laws of the rule.

use consent::{Agreed, Direction, Level, Policy, Precision, Rule, Side, Stamp, Verdict, decide};
use proptest::prelude::*;

fn precision() -> impl Strategy<Value = Precision> {
    prop_oneof![Just(Precision::Millisecond), Just(Precision::Second), Just(Precision::Minute)]
}

fn stamp() -> impl Strategy<Value = Stamp> {
    // Few instants, so that ties are frequent at every precision.
    let at =
        prop_oneof![-130_000i64..130_000, (-130i64..130).prop_map(|s| s * 1000), (-2i64..3).prop_map(|m| m * 60_000)];
    let level = prop_oneof![Just(Level::Record), Just(Level::Attribute)];
    (at, precision(), level).prop_map(|(at_ms, precision, level)| Stamp { at_ms, precision, level })
}

fn side() -> impl Strategy<Value = Side> {
    (any::<Option<bool>>(), proptest::option::weighted(0.8, stamp())).prop_map(|(value, time)| Side { value, time })
}

fn direction() -> impl Strategy<Value = Direction> {
    prop_oneof![
        1 => Just(Direction::Disabled),
        1 => Just(Direction::D365ToCampaign),
        1 => Just(Direction::CampaignToD365),
        4 => Just(Direction::Bidirectional)
    ]
}

fn policy() -> impl Strategy<Value = Policy> {
    (prop_oneof![Just(Rule::Adobe), Just(Rule::LastWriter)], prop_oneof![Just(0), 0u32..5_000])
        .prop_map(|(rule, tolerance_ms)| Policy { rule, tolerance_ms })
}

fn agreed() -> impl Strategy<Value = Option<Agreed>> {
    let agreed = (any::<bool>(), proptest::option::of(stamp()));
    proptest::option::of(agreed.prop_map(|(value, campaign_time)| Agreed { value, campaign_time }))
}

/// A side as it is once the verdict was written to it, at a time that is later.
fn written(side: Side, verdict: Verdict, writes: bool) -> Side {
    let time = Some(Stamp::attribute(1_000_000, Precision::Millisecond));
    if writes { Side { value: Some(verdict.value), time } } else { side }
}

/// The last of two writes by the rule: the one whose value stands, and of equal ones the one that stands longer.
fn later(one: Side, other: Side) -> Side {
    let policy = Policy { rule: Rule::LastWriter, tolerance_ms: 0 };
    if one.value == other.value {
        let rank = |side: Side| (side.time.is_none() == side.is_opted_out(), side.time.map(|time| time.at_ms));
        return if rank(one) >= rank(other) { one } else { other };
    }
    let value = decide(policy, Direction::Bidirectional, one, other, None).value;
    if one.value == Some(value) { one } else { other }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn nothing_is_left_to_do_after_one_write_on_each_side(
        policy in policy(), direction in direction(), d in side(), c in side(), a in agreed(),
    ) {
        let first = decide(policy, direction, d, c, a);
        let (d, c) = (written(d, first, first.write_d365), written(c, first, first.write_campaign));
        let second = decide(policy, direction, d, c, a);
        prop_assert!(!second.writes(), "{first:?} {second:?}");
        if direction == Direction::Bidirectional {
            prop_assert_eq!(second.value, first.value);
            prop_assert_eq!(d.is_opted_out(), c.is_opted_out());
        }
    }

    #[test]
    fn a_half_done_verdict_comes_to_the_same_in_any_order(d in side(), c in side()) {
        // Two sides that differ have one write between them, so there is no order to get wrong.
        let verdict = decide(Policy::default(), Direction::Bidirectional, d, c, None);
        prop_assert!(!(verdict.write_d365 && verdict.write_campaign), "{verdict:?}");
    }

    #[test]
    fn a_side_is_written_only_what_it_does_not_hold(
        policy in policy(), direction in direction(), d in side(), c in side(), a in agreed(),
    ) {
        let verdict = decide(policy, direction, d, c, a);
        prop_assert!(!verdict.write_d365 || d.is_opted_out() != verdict.value);
        prop_assert!(!verdict.write_campaign || c.is_opted_out() != verdict.value);
    }

    #[test]
    fn false_is_written_over_true_only_with_a_newer_time_of_the_attribute(
        policy in policy(), d in side(), c in side(), a in agreed(),
    ) {
        let verdict = decide(policy, Direction::Bidirectional, d, c, a);
        if verdict.writes() && !verdict.value {
            let (says, said) = if verdict.write_d365 { (c, d) } else { (d, c) };
            prop_assert_eq!(says.value, Some(false));
            let newer = match (says.time, said.time) {
                (Some(new), Some(old)) => new.level == Level::Attribute && new.at_ms > old.at_ms,
                _ => false,
            };
            let alone = policy.rule == Rule::LastWriter && verdict.write_campaign
                && a.is_some_and(|a| a.value && a.campaign_time == c.time && c.time.is_some());
            prop_assert!(newer || alone, "{verdict:?}");
            // Adobe's rule writes no FALSE to Campaign, ever.
            prop_assert!(policy.rule == Rule::LastWriter || !verdict.write_campaign);
        }
    }

    #[test]
    fn the_last_writer_is_the_same_in_every_order(
        precision in precision(),
        writes in proptest::collection::vec((any::<bool>(), -3i64..3, any::<bool>()), 1..7),
        order in any::<u64>(),
    ) {
        let side = |&(value, at, known): &(bool, i64, bool)| {
            Side::new(value, known.then_some(Stamp::attribute(at * 30_000, precision)))
        };
        let mut writes: Vec<Side> = writes.iter().map(side).collect();
        let fold = |writes: &[Side]| writes.iter().copied().reduce(later).unwrap().value;
        let straight = fold(&writes);
        fastrand::Rng::with_seed(order).shuffle(&mut writes);
        prop_assert_eq!(fold(&writes), straight);
        // Said twice is said once.
        writes.extend(writes.clone());
        prop_assert_eq!(fold(&writes), straight);
    }

    #[test]
    fn no_time_panics(at in any::<i64>(), other in any::<i64>(), precision in precision(), tolerance_ms in any::<u32>()) {
        let policy = Policy { rule: Rule::Adobe, tolerance_ms };
        let (d, c) = (Side::new(true, Some(Stamp::record(at, precision))), Side::new(false, Some(Stamp::attribute(other, precision))));
        let verdict = decide(policy, Direction::Bidirectional, d, c, None);
        prop_assert!(verdict.value || other > at);
    }
}
