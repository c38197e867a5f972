//! The shortest host: brings Campaign in step with Dynamics 365 once. `RunMode::Continuous` keeps it so.
//!
//! `cargo run --example embed_minimal -- connector.toml`

#![expect(clippy::print_stdout, reason = "a program speaks on standard output")]

use d365_campaign::{Config, Connector, RunMode};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let file = std::env::args().nth(1).ok_or("usage: embed_minimal CONFIG")?;
    let connector = Connector::builder(Config::load(file.as_ref())?).connect().await?;
    let running = connector.start(RunMode::UntilIdle);
    let stopper = running.stopper();
    tokio::spawn(async move { tokio::signal::ctrl_c().await.map(|()| stopper.stop()) });
    let summary = running.join().await;
    println!("{}", serde_json::to_string_pretty(&summary)?);
    Ok(())
}
