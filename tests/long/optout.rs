//! Opt-outs at length: many small scenarios, each from a seed.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use end_to_end_tests::opt_outs::{self, Channel, Direction, Outcome, Plan};
use timing::{Clock, SystemClock};
use tokio::task::JoinSet;

use crate::Verdict;

/// How much of it.
#[derive(Debug, clap::Args)]
pub(crate) struct Size {
    /// Scenarios.
    #[arg(long, default_value_t = 10_000)]
    seeds: u64,
    /// The first seed; the others follow it.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// `disabled`, `d365_to_campaign`, `campaign_to_d365` or `bidirectional`, instead of what the seed draws.
    #[arg(long, value_parser = direction)]
    direction: Option<Direction>,
    /// Scenarios at the same time, each with a sandbox and a connector of its own.
    #[arg(long, default_value_t = 12)]
    at_once: usize,
}

fn direction(name: &str) -> Result<Direction, String> {
    Direction::of(name).ok_or_else(|| format!("{name} is no direction"))
}

pub(crate) async fn run(size: &Size) -> Verdict {
    let clock = SystemClock::new();
    let mut seeds = size.from..size.from + size.seeds;
    let mut under_way = JoinSet::new();
    let mut all = Outcome::default();
    loop {
        while under_way.len() < size.at_once.max(1)
            && let Some(seed) = seeds.next()
        {
            let plan = Plan { seed, direction: size.direction, channel: Channel::of(seed) };
            under_way.spawn(opt_outs::run(plan));
        }
        match under_way.join_next().await {
            Some(Ok(outcome)) => {
                for line in &outcome.broken {
                    let _ = writeln!(io::stderr(), "{line}");
                }
                all += outcome;
            }
            Some(Err(error)) => all.broken.push(format!("a scenario failed: {error}")),
            None => break,
        }
        if all.seeds.is_multiple_of(500) {
            let _ = writeln!(io::stderr(), "{} seeds, {} broken", all.seeds, all.broken.len());
        }
    }
    let seconds = clock.monotonic().as_secs_f64();
    let mut text = format!(
        "{} seeds from {} on{}. Each has up to four contacts, a sandbox and a connector of its own, which hears of Campaign's changes by \
         polling, and in every fourth by a file; both sides are changed by hand before and while it runs, services fail, it is stopped and cut off. The order of all \
         changes of all rows is judged by an oracle that is written from the requirements.\n\n| what | count |\n|---|---|\n",
        size.seeds,
        size.from,
        size.direction.map_or_else(String::new, |direction| format!(", direction {}", direction.name())),
    );
    let counts = [
        ("runs of the connector, two quiet ones for each seed not counted", all.runs),
        ("runs that were cut off", all.cut_off),
        ("changes by hand", all.by_hand),
        ("profiles that ingress created", all.created),
        ("opt-outs that were changed in Dynamics 365", all.written[0]),
        ("opt-outs that were changed in Campaign", all.written[1]),
        ("FALSE over TRUE among them, each demanded by the rule", all.opted_in),
        ("writes that Dynamics 365 refused because the row had changed", all.conflicts),
        ("faults that fired", all.faults),
        ("findings of the oracle", all.broken.len() as u64),
    ];
    for (what, count) in counts {
        let _ = writeln!(text, "| {what} | {count} |");
    }
    let _ = writeln!(text, "\nTime: {seconds:.0} s, two cores shared by connectors, sandboxes and the test.");
    Verdict { title: "Opt-outs", text, broken: all.broken }
}
