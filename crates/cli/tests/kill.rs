//! The program is killed without warning at random instants, while it loads and while records change, and started again each
//! time: nothing is lost, nothing is there twice, no value is stale.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on ends there")]

mod support;

use std::time::Duration;

use sandbox::SandboxConfig;
use support::{World, program, spawn, total};
use tokio::time::{Instant, sleep};

/// Kills while the table is loaded for the first time.
const IN_LOAD: usize = 10;
/// Kills while records are created, changed and deleted.
const IN_LIFE: usize = 15;
/// So many of the 25 must hit while a write is in flight at Campaign.
const IN_FLIGHT: usize = 15;
/// A restart waits for no lease: its first write is there within this time.
const FIRST_WRITE: Duration = Duration::from_secs(2);

/// A small generator, so that a failure can be repeated.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// Writes that Campaign received so far: POST, PATCH, DELETE.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Writes([u64; 3]);

impl Writes {
    async fn of(world: &World) -> Self {
        let counters = world.counters().await;
        Self(["POST", "PATCH", "DELETE"].map(|method| total(&counters, "campaign", method)))
    }

    fn since(self, before: Self) -> Self {
        Self(std::array::from_fn(|method| self.0[method] - before.0[method]))
    }

    fn plus(self, more: Self) -> Self {
        Self(std::array::from_fn(|method| self.0[method] + more.0[method]))
    }
}

/// One life of the program: started, perhaps given something to do, killed at a random instant after its first write.
async fn live_and_die(world: &World, config: &str, random: &mut Random, changes: Option<u64>) -> (Writes, bool) {
    let before = Writes::of(world).await;
    let started = Instant::now();
    let mut child = spawn(&["run", "--config", config]);
    if let Some(seed) = changes {
        world.mutate(10, 40, 15, seed).await;
    }
    while Writes::of(world).await == before {
        assert!(
            started.elapsed() < FIRST_WRITE,
            "no write {FIRST_WRITE:?} after the start (changes: {changes:?}); still running: {:?}",
            child.try_wait()
        );
        sleep(Duration::from_millis(5)).await;
    }
    if let Some(seed) = changes {
        // What arrives now is read by a later poll, or by the next life.
        world.mutate(5, 20, 10, 1000 + seed).await;
    }
    sleep(Duration::from_millis(random.below(120))).await;
    let busy = world.counters().await["campaign"]["in_flight"].as_u64().unwrap() > 0;
    child.kill().await.unwrap();
    (Writes::of(world).await.since(before), busy)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_five_kills_lose_and_double_nothing() {
    let world = World::with(SandboxConfig {
        contacts: 1500,
        dataverse_latency: Duration::from_millis(20),
        campaign_latency: Duration::from_millis(20),
        ..SandboxConfig::default()
    })
    .await;
    let config = world.config();
    let path = config.display().to_string();
    let mut random = Random(0x5eed_cafe);
    let mut in_flight = 0;
    for _ in 0..IN_LOAD {
        let (_, busy) = live_and_die(&world, &path, &mut random, None).await;
        in_flight += usize::from(busy);
    }
    assert_eq!(world.until_idle(&config).await.code(), Some(0));
    world.assert_equal().await;

    let mut cut_short = Writes::default();
    for life in 0..IN_LIFE {
        let (made, busy) = live_and_die(&world, &path, &mut random, Some(life as u64)).await;
        if busy {
            in_flight += 1;
            cut_short = cut_short.plus(made);
        }
    }
    assert!(in_flight >= IN_FLIGHT, "only {in_flight} kills hit while a write was in flight");
    assert!(
        cut_short.0.iter().all(|count| *count > 0),
        "POST, PATCH, DELETE in the lives that were cut short: {cut_short:?}"
    );

    let ended = world.until_idle(&config).await;
    assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
    world.assert_equal().await;
    // Whatever a life read and did not settle, a later one settled: the counts of the store add up.
    let status = program(&["status", "--format", "json", "--config", &path]).await;
    let totals = &status.summary()["workflows"][0]["tables"][0]["totals"];
    let others: u64 =
        totals.as_object().unwrap().iter().filter(|(name, _)| *name != "read").filter_map(|(_, n)| n.as_u64()).sum();
    assert_eq!(totals["read"].as_u64(), Some(others), "{totals}");
}
