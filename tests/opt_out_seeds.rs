//! Random opt-outs in all directions, under faults, stops and cuts: both sides equal in the end, and nobody contactable who opted out.

use end_to_end_tests::opt_outs::{Channel, Outcome, Plan, run};
use tokio::task::JoinSet;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_seeds_hold() {
    let plan = |seed| Plan { seed, direction: None, channel: Channel::of(seed) };
    let mut seeds: JoinSet<Outcome> = (0..20).map(|seed| run(plan(seed))).collect();
    let mut all = Outcome::default();
    while let Some(outcome) = seeds.join_next().await {
        all += outcome.unwrap_or_else(|error| Outcome { broken: vec![error.to_string()], ..Outcome::default() });
    }
    assert!(all.broken.is_empty(), "{all:#?}");
    let tried =
        all.faults > 10 && all.cut_off > 3 && all.created > 20 && all.written.iter().all(|written| *written > 5);
    assert!(all.seeds == 20 && tried, "it tries what it means to: {all:?}");
}
