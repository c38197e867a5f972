//! Whole hours against servers with limits, in virtual time: counts of deterministic runs, no timing.

use std::time::Duration;

use http_kit::pace::{Pace, Quota};
use http_kit::testing::{Hour, HourReport};

const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

const QUOTA: Quota = Quota::new(6_000, seconds(1_200));
const TWO_WINDOWS: Duration = seconds(600);
const SEEDS: [u64; 2] = [1, 2];

fn hour(seed: u64, servers: u32) -> Hour {
    let pace = Pace::adaptive(41).quota(QUOTA.times(servers));
    Hour { servers: servers as usize, ..Hour::new(seed, pace) }
}

fn check_share(what: &str, report: &HourReport) {
    assert!(report.share() >= 0.95, "{what}: {:.4} of what is granted was used", report.share());
    assert!(report.throttled() < 0.01, "{what}: {:.5} of the requests were refused", report.throttled());
    assert!(report.accepted.iter().sum::<u64>() > 10_000, "{what}: hardly anything was sent");
}

#[test]
fn one_server_is_used_to_95_percent_and_never_refuses() {
    for seed in SEEDS {
        let report = hour(seed, 1).run();
        check_share("one server", &report);
        assert_eq!((report.refused.iter().sum::<u64>(), report.longest_pause), (0, Duration::ZERO));
        assert!(report.fullest.0 <= 0.97 && report.fullest.1 <= 0.97, "{:?}", report.fullest);
        assert!(report.most_in_flight <= 41);
        assert!(report.opt_out_waits.len() > 60);
        assert_eq!(report.opt_out_p99(), Duration::ZERO, "an opt-out waits for nobody");
    }
}

fn several_servers_with_a_budget_each_are_used_to_95_percent(servers: u32) {
    let report = hour(1, servers).run();
    check_share(&format!("{servers} servers"), &report);
    assert!(report.longest_pause < seconds(10), "{:?}", report.longest_pause);
    assert_eq!(report.opt_out_p99(), Duration::ZERO);
}

#[test]
fn two_servers_are_used_to_95_percent() {
    several_servers_with_a_budget_each_are_used_to_95_percent(2);
}

#[test]
fn three_servers_are_used_to_95_percent() {
    several_servers_with_a_budget_each_are_used_to_95_percent(3);
}

#[test]
fn four_servers_are_used_to_95_percent() {
    several_servers_with_a_budget_each_are_used_to_95_percent(4);
}

#[test]
fn long_requests_use_the_time_that_is_granted() {
    for seed in SEEDS {
        let report = Hour { work: Duration::from_millis(600), network: Duration::ZERO, ..hour(seed, 1) }.run();
        check_share("long requests", &report);
        assert!(report.fullest.1 <= 1.0 && report.refused.iter().all(|refused| *refused == 0));
        let way = Duration::from_millis(40);
        let pace = Pace::adaptive(41).quota(QUOTA.network(way));
        let report = Hour { work: Duration::from_millis(600), network: way, pace, ..hour(seed, 1) }.run();
        check_share("long requests over a long way", &report);
    }
}

#[test]
fn a_spike_of_slow_answers_costs_its_own_time_only() {
    let report = Hour { spike: Some((seconds(1_500), seconds(1_560))), ..hour(1, 1) }.run();
    check_share("spike", &report);
    assert!(report.fullest.1 <= 1.0, "{:?}", report.fullest);
}

fn a_limit_that_is_halved_and_doubled_is_used_again_within_two_windows(servers: u32) {
    let (halved, doubled) = (seconds(1_200), seconds(2_400));
    let changes = vec![(halved, 0.5), (doubled, 1.0)];
    let report = Hour { changes, ..hour(1, servers) }.run();
    assert!(report.throttled() < 0.01, "{:.5}", report.throttled());
    for change in [halved, doubled] {
        let recovery = report.recovery(change);
        assert!(recovery.is_some_and(|recovery| recovery <= TWO_WINDOWS), "{change:?}: {recovery:?}");
    }
    // The server itself grants nothing for half a window, until what was spent before has left it.
    let refused_at = report.accepted[1_200..1_320].iter().sum::<u64>();
    assert!(refused_at < 100, "{refused_at}");
    assert!(report.share_between(seconds(3_000), seconds(3_600)) >= 0.95);
}

#[test]
fn one_server_is_used_again_within_two_windows_of_each_change_of_its_limit() {
    a_limit_that_is_halved_and_doubled_is_used_again_within_two_windows(1);
}

#[test]
fn three_servers_are_used_again_within_two_windows_of_each_change_of_their_limit() {
    a_limit_that_is_halved_and_doubled_is_used_again_within_two_windows(3);
}

#[test]
fn a_budget_that_is_configured_too_large_is_found_out() {
    let report = Hour { servers: 1, ..hour(1, 4) }.run();
    check_share("four believed, one there", &report);
    let later = report.refused[600..].iter().sum::<u64>();
    assert!(report.refused.iter().sum::<u64>() > 0, "it cannot be known without being refused");
    assert!(later < 60, "{later} refused after two windows");
}

#[test]
fn an_outage_costs_few_requests_and_is_over_at_once() {
    let (from, to) = (seconds(1_200), seconds(1_800));
    let report = Hour { outage: Some((from, to)), ..hour(1, 1) }.run();
    // It opens once more than half of those of the last 30 s have failed, and then one a minute tries.
    assert!(report.failed < 350, "{} requests were sent to nobody", report.failed);
    let recovery = report.recovery(to);
    assert!(recovery.is_some_and(|recovery| recovery <= seconds(180)), "{recovery:?}");
}

#[test]
fn live_work_goes_before_backfill_and_backfill_goes_on() {
    let live_and_backfill = |live_rate| {
        let report = Hour { live_rate, ..hour(1, 1) }.run();
        check_share("live beside backfill", &report);
        let [_, live, _, backfill] = report.starts;
        (live, backfill, http_kit::testing::percentile(&report.live_waits, 0.99))
    };
    // Most of what is granted.
    let (live, backfill, waits) = live_and_backfill(14.0);
    assert!((49_000..52_000).contains(&live) && backfill > 15_000, "{live} {backfill}");
    assert!(waits < seconds(2), "{waits:?}");
    // More than is granted: backfill keeps its part.
    let (live, backfill, _) = live_and_backfill(30.0);
    let part = backfill as f64 / (live + backfill) as f64;
    assert!((0.05..0.07).contains(&part), "{part}");
}

#[test]
fn the_same_seed_is_the_same_hour() {
    let short = || Hour { length: seconds(400), live_rate: 3.0, ..hour(7, 2) }.run();
    let (first, second) = (short(), short());
    assert_eq!(
        (first.accepted, first.opt_out_waits, first.live_waits),
        (second.accepted, second.opt_out_waits, second.live_waits)
    );
    assert_ne!(short().accepted, Hour { length: seconds(400), live_rate: 3.0, ..hour(8, 2) }.run().accepted);
}
