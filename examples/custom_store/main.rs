//! A store of one's own, certified: does it keep every promise that the engine relies on?
//!
//! `cargo run --example custom_store`

#![expect(clippy::print_stdout, reason = "a program speaks on standard output")]

mod audited;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use audited::AuditedStore;
use sync_core::store::MemoryStore;
use sync_core::traits::{LeaseStore, OwnerId, StateStore, Store};
use sync_testkit::{Ground, certify};

#[derive(Default)]
struct Place(MemoryStore);

impl Ground for Place {
    fn open(&self) -> Arc<dyn Store> {
        Arc::new(AuditedStore::new(self.0.clone()))
    }
}

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let store = AuditedStore::new(MemoryStore::new());
    let lease = store.acquire("ingress", &OwnerId("host".into()), Duration::from_secs(30)).await?;
    let lease = lease.ok_or("somebody else has the workflow")?;
    store.put(&lease, "pause", b"until noon").await?;
    store.release(lease).await?;
    store.log().iter().for_each(|line| println!("audit: {line}"));

    // A suite has a runtime of its own for every case.
    let certificate = tokio::task::spawn_blocking(|| certify::store(Place::default)).await?;
    println!("{certificate}");
    Ok(if certificate.holds() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
