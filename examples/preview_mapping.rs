//! One record on its way, step by step, with the requests that a run would send for it. Nothing is written.
//!
//! `cargo run --example preview_mapping` asks a sandbox in this process, before a run and after it;
//! `cargo run --example preview_mapping -- connector.toml contact ID` asks your own services.

#![expect(clippy::print_stdout, reason = "a program speaks on standard output")]

use std::error::Error;
use std::path::Path;

use d365_campaign::preview::preview;
use d365_campaign::{Config, Connector, RunMode, template};
use sandbox::{Sandbox, SandboxConfig};
use serde_json::Value;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [] => on_a_sandbox().await,
        [file, table, id] => {
            println!("{}", preview(&Config::load(Path::new(file))?, table, id).await?);
            Ok(())
        }
        _ => Err("usage: preview_mapping [CONFIG TABLE ID]".into()),
    }
}

async fn on_a_sandbox() -> Result<(), Box<dyn Error>> {
    let sandbox = Sandbox::start(SandboxConfig { contacts: 5, ..SandboxConfig::default() }).await?;
    let info = sandbox.info().to_json();
    let control = info["control"].as_str().ok_or("the sandbox has no control address")?;
    let folder = tempfile::tempdir()?;
    let config = Config::parse(&template::from_sandbox(control).await?, folder.path())?;

    let contacts = reqwest::get(format!("{control}/records/dataverse/contact")).await?.text().await?;
    let contacts: Vec<Value> = contacts.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let active = contacts.iter().find(|contact| contact["statecode"] == 0).ok_or("no contact is active")?;
    let id = active["contactid"].as_str().ok_or("a contact without an id")?;

    println!("{}\n", preview(&config, "contact", id).await?);
    let counters: Value = reqwest::get(format!("{control}/counters")).await?.json().await?;
    println!("What the sandbox was asked for: {}\n", counters["dataverse"]["requests"]);
    println!("Campaign's engine calls: {}\n", counters["campaign"]["engine_calls"]);

    Connector::builder(config.clone()).connect().await?.start(RunMode::UntilIdle).join().await;
    println!("After a run:\n{}", preview(&config, "contact", id).await?);
    Ok(())
}
