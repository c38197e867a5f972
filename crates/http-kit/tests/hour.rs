//! Whole hours against servers with limits, in virtual time: counts of a deterministic run, no timing.

use std::time::Duration;

use http_kit::pace::{Pace, Quota};
use http_kit::testing::{Hour, HourReport};

const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

const QUOTA: Quota = Quota::new(6_000, seconds(1_200));

fn hour(seed: u64, servers: u32) -> Hour {
    let pace = Pace::adaptive(41).quota(QUOTA.times(servers));
    Hour { servers: servers as usize, ..Hour::new(seed, pace) }
}

fn say(what: &str, report: &HourReport) {
    println!(
        "{what}: share {:.4} throttled {:.5} ({}) pause {:?} fullest {:.3} {:.3} in flight {} opt-out p99 {:?} max {:?} starts {:?}",
        report.share(),
        report.throttled(),
        report.refused.iter().sum::<u64>(),
        report.longest_pause,
        report.fullest.0,
        report.fullest.1,
        report.most_in_flight,
        report.opt_out_p99(),
        report.opt_out_waits.iter().max(),
        report.starts
    );
}

#[test]
fn explore() {
    for length in [10, 100, 300] {
        let report = Hour { length: seconds(length), ..hour(1, 1) }.run();
        eprintln!("{length} {}", report.accepted.iter().sum::<u64>());
    }
    for servers in 1..=4 {
        say(&format!("{servers} servers"), &hour(1, servers).run());
    }
    for servers in [1, 4] {
        let long = Hour { work: Duration::from_millis(600), network: Duration::ZERO, ..hour(1, servers) };
        say("long", &long.run());
    }
    let spike = Hour { spike: Some((seconds(1_500), seconds(1_560))), ..hour(1, 1) };
    say("spike", &spike.run());
    let unknown = Hour { servers: 1, ..hour(1, 4) };
    say("believes in four", &unknown.run());
    for servers in [1, 4] {
        let changed = Hour { changes: vec![(seconds(1_200), 0.5), (seconds(2_400), 1.0)], ..hour(1, servers) };
        let report = changed.run();
        say("changed", &report);
        println!("recovery {:?} {:?}", report.recovery(seconds(1_200)), report.recovery(seconds(2_400)));
        println!(
            "between {:?}",
            (0..12)
                .map(|w| (report.share_between(seconds(w * 300), seconds(w * 300 + 300)) * 100.0).round())
                .collect::<Vec<_>>()
        );
    }
    let outage = Hour { outage: Some((seconds(1_200), seconds(1_800))), ..hour(1, 1) };
    let report = outage.run();
    say("outage", &report);
    println!("failed {} recovery {:?}", report.failed, report.recovery(seconds(1_800)));
    for pace in [Pace::fixed(52), Pace::fixed(4), Pace::adaptive(41)] {
        for servers in [1, 4] {
            say(&format!("{} {}", pace.in_flight, pace.adaptive), &Hour { servers, ..Hour::new(1, pace) }.run());
        }
    }
}
