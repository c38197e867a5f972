//! The program is killed without warning at random instants, while it loads and while records change, and started again each
//! time: nothing is lost, nothing is there twice, no value is stale.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on ends there")]

mod support;

use std::time::Duration;

use sandbox::SandboxConfig;
use support::{World, spawn, total};
use tokio::time::{Instant, sleep};

const KILLS: usize = 25;
const KILLS_IN_FLIGHT: usize = 15;
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

async fn writes(world: &World) -> u64 {
    let counters = world.counters().await;
    ["POST", "PATCH", "DELETE"].iter().map(|method| total(&counters, "campaign", method)).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_five_kills_lose_and_double_nothing() {
    let world = World::with(SandboxConfig {
        contacts: 4000,
        dataverse_latency: Duration::from_millis(20),
        campaign_latency: Duration::from_millis(20),
        ..SandboxConfig::default()
    })
    .await;
    let config = world.config();
    let config = config.display().to_string();
    let mut random = Random(0x5eed_cafe);
    let mut in_flight = 0;
    for kill in 0..KILLS {
        if kill % 2 == 1 {
            world.mutate(20, 40, 10, kill as u64).await;
        }
        let before = writes(&world).await;
        let started = Instant::now();
        let mut child = spawn(&["run", "--config", &config]);
        while writes(&world).await == before {
            assert!(
                started.elapsed() < FIRST_WRITE,
                "kill {kill}: no write {FIRST_WRITE:?} after the start; still running: {:?}",
                child.try_wait()
            );
            sleep(Duration::from_millis(10)).await;
        }
        sleep(Duration::from_millis(random.below(150))).await;
        let busy = world.counters().await["campaign"]["in_flight"].as_u64().unwrap();
        child.kill().await.unwrap();
        if busy > 0 {
            in_flight += 1;
        }
    }
    assert!(in_flight >= KILLS_IN_FLIGHT, "only {in_flight} kills hit while a write was in flight");
    let ended = world.until_idle(std::path::Path::new(&config)).await;
    assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
    world.assert_equal().await;
}
