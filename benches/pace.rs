//! A simulated hour of a lane against servers with limits, beside fixed concurrency on the same seeds. Virtual time: the
//! figures are the same on every machine.
//!
//! `cargo bench -p benches --bench pace -- [--seeds N]`

#![expect(clippy::print_stdout, reason = "a measurement prints its figures")]

use std::error::Error;
use std::time::Duration;

use http_kit::pace::{Pace, Quota};
use http_kit::testing::{Hour, HourReport, percentile};

type Outcome<T> = Result<T, Box<dyn Error>>;
type Scene = (&'static str, u32, fn(Hour) -> Hour);

const QUOTA: Quota = Quota::new(6_000, Duration::from_secs(1_200));
const HALVED: Duration = Duration::from_secs(1_200);
const DOUBLED: Duration = Duration::from_secs(2_400);
const OUTAGE: (Duration, Duration) = (Duration::from_secs(1_200), Duration::from_secs(1_800));

const SCENES: [Scene; 10] = [
    ("short requests (150 ms)", 1, |hour| hour),
    ("short requests", 2, |hour| hour),
    ("short requests", 3, |hour| hour),
    ("short requests", 4, |hour| hour),
    ("long requests (600 ms)", 1, long),
    ("long requests", 4, long),
    ("all five times as slow for a minute", 1, |hour| Hour {
        spike: Some((Duration::from_secs(1_500), Duration::from_secs(1_560))),
        ..hour
    }),
    ("limit halved after 20 min, restored after 40", 1, changed),
    ("limit halved after 20 min, restored after 40", 4, changed),
    ("no server for 10 min", 1, |hour| Hour { outage: Some(OUTAGE), ..hour }),
];

fn long(hour: Hour) -> Hour {
    Hour { work: Duration::from_millis(600), network: Duration::ZERO, ..hour }
}

fn changed(hour: Hour) -> Hour {
    Hour { changes: vec![(HALVED, 0.5), (DOUBLED, 1.0)], ..hour }
}

fn main() -> Outcome<()> {
    let seeds = seeds()?;
    println!("| run | servers | pace | used | throttled | longest pause | opt-out p99 | recovery |");
    println!("|---|---|---|---|---|---|---|---|");
    for (name, servers, set_up) in SCENES {
        let ours = Pace::adaptive(41).quota(QUOTA.times(servers));
        let paces = [("lane", ours), ("fixed 52", Pace::fixed(52)), ("fixed 4", Pace::fixed(4))];
        for (pace_name, pace) in paces {
            let run = |seed| {
                let hour = Hour { servers: servers as usize, ..Hour::new(seed, pace) };
                set_up(hour).run()
            };
            let reports: Vec<HourReport> = (1..=seeds).map(run).collect();
            println!("| {name} | {servers} | {pace_name} | {} |", figures(&reports, name));
        }
    }
    let believed = |seed| Hour::new(seed, Pace::adaptive(41).quota(QUOTA.times(4))).run();
    let reports: Vec<HourReport> = (1..=seeds).map(believed).collect();
    let name = "four servers configured, one there";
    println!("| {name} | 1 | lane | {} |", figures(&reports, name));
    Ok(())
}

/// The worst of all seeds.
fn figures(reports: &[HourReport], name: &str) -> String {
    let used = reports.iter().map(HourReport::share).fold(f64::INFINITY, f64::min);
    let throttled = reports.iter().map(HourReport::throttled).fold(0.0, f64::max);
    let pause = reports.iter().map(|report| report.longest_pause).max().unwrap_or_default();
    let waits: Vec<Duration> = reports.iter().flat_map(|report| report.opt_out_waits.iter().copied()).collect();
    let recovery = |change| match reports.iter().map(|report| report.recovery(change)).collect::<Option<Vec<_>>>() {
        Some(all) => format!("{} s", all.into_iter().max().unwrap_or_default().as_secs()),
        None => "none".to_owned(),
    };
    let recovery = if name.starts_with("limit") {
        format!("{}, {}", recovery(HALVED), recovery(DOUBLED))
    } else if name.starts_with("no server") {
        recovery(OUTAGE.1)
    } else {
        String::new()
    };
    format!(
        "{:.1} % | {:.3} % | {:.1} s | {:.1} s | {recovery}",
        used * 100.0,
        throttled * 100.0,
        pause.as_secs_f64(),
        percentile(&waits, 0.99).as_secs_f64()
    )
}

fn seeds() -> Outcome<u64> {
    // Cargo itself adds `--bench`.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => Ok(3),
        ["--seeds", count] => Ok(count.parse()?),
        _ => Err("usage: cargo bench -p benches --bench pace -- [--seeds N]".into()),
    }
}
