//! The main job on an embedded default: a sandbox and the connector in one process with its three workflows, a load, live changes, email
//! events, opt-outs on both sides, and a comparison of both sides field by field.
//!
//! `cargo run --release --example quickstart [-- --contacts N] [--plant-difference]`

#![expect(clippy::print_stdout, reason = "a program speaks on standard output")]

mod control;
mod expected;
mod preferences;
mod report;
mod setup;
mod timelines;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;

use d365_campaign::{Config, Connector, RunMode, RunSummary, Tally};
use sandbox::scenario::Scenario;
use sandbox::{Sandbox, SandboxConfig};
use serde_json::json;

use crate::control::{Control, Outcome};
use crate::expected::Expected;
use crate::preferences::Preferences;
use crate::report::Bars;
use crate::timelines::Timelines;

#[tokio::main]
async fn main() -> Outcome<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let contacts = match arguments.iter().position(|argument| argument == "--contacts") {
        Some(at) => arguments.get(at + 1).ok_or("--contacts needs a number")?.parse()?,
        None => 1_000,
    };
    let plant = arguments.iter().any(|argument| argument == "--plant-difference");

    let scenario = Scenario::parse(setup::SCENARIO)?;
    let sandbox = Sandbox::start(SandboxConfig { contacts, scenario, ..SandboxConfig::default() }).await?;
    let info = sandbox.info().to_json();
    let control = Control::new(&info)?;
    let dir = tempfile::tempdir()?;
    let config = Config::parse(&setup::configuration(&info), dir.path())?;
    let bars = Arc::new(Bars::default());

    let mut story = Story {
        control,
        expected: [Expected::default(), Expected::default()],
        timelines: Timelines::default(),
        preferences: Preferences::default(),
        totals: BTreeMap::new(),
        seconds: 0.0,
    };
    println!("loading {contacts} contacts and 500 boats");
    story.write_codes().await?;
    story.run(&config, &bars).await?;
    println!("emails are sent, opened, clicked and bounce; some events are told twice, and in any order");
    Timelines::make(&story.control, contacts).await?;
    story.timelines = Timelines::expected(&story.control).await?;
    story.run(&config, &bars).await?;
    println!(
        "creating, changing and deleting; some contacts leave the filter, some come back; people opt out on either side"
    );
    for (round, scale) in (1..=3).zip([20, 10, 5]) {
        story.control.mutate("contact", [contacts / scale / 2, contacts / scale, contacts / scale / 4], round).await?;
        story.control.mutate("new_boat", [10, 40, 10], round).await?;
        story.leave_and_return(round).await?;
        story.preferences.opt_out(&story.control, round).await?;
        story.write_codes().await?;
        story.run(&config, &bars).await?;
    }
    println!("nothing changed any more: what the last run wrote is looked at, and nothing is written");
    story.run(&config, &bars).await?;
    bars.finish();

    if plant {
        story.plant_difference().await?;
    }
    println!("\n{}", report::table(&story.totals, &story.control.counters().await?, story.seconds));
    let (preferences, differences) = story.compare().await?;
    let code = if differences.is_empty() {
        println!(
            "both sides are equal: {} profiles, {} boats, {} activities, {preferences} preferences",
            story.expected[0].len(),
            story.expected[1].len(),
            story.timelines.len()
        );
        ExitCode::SUCCESS
    } else {
        println!("both sides are NOT equal: {} differences, such as: {}", differences.len(), differences[0]);
        ExitCode::from(1)
    };
    sandbox.shutdown().await;
    Ok(code)
}

/// What has happened so far.
struct Story {
    control: Control,
    expected: [Expected; 2],
    timelines: Timelines,
    preferences: Preferences,
    totals: BTreeMap<String, Tally>,
    seconds: f64,
}

impl Story {
    /// Runs the connector until both sides are at rest, as a process that is started again would, and remembers what must be
    /// there now.
    async fn run(&mut self, config: &Config, bars: &Arc<Bars>) -> Outcome<()> {
        let connector = Connector::builder(config.clone()).observer(bars.clone()).connect().await?;
        let summary: RunSummary = connector.start(RunMode::UntilIdle).join().await;
        for workflow in &summary.workflows {
            if let Some(reason) = &workflow.status.reason {
                return Err(format!("{}: {} {}", workflow.workflow, reason.message, reason.remedy).into());
            }
            for table in &workflow.tables {
                *self.totals.entry(format!("{} -> {}", table.table, table.resource)).or_default() += table.tally;
            }
        }
        self.seconds += summary.elapsed_ms as f64 / 1000.0;
        self.expected[0].contacts(&self.control.records("dataverse", "contact").await?);
        self.expected[1].boats(&self.control.records("dataverse", "new_boat").await?);
        Ok(())
    }

    /// Contacts that leave the filter by name in one round and come back in the next, and values that the seeded changes leave
    /// alone.
    async fn leave_and_return(&self, round: u64) -> Outcome<()> {
        let contacts = self.control.records("dataverse", "contact").await?;
        for (index, contact) in contacts.iter().filter(|contact| contact["statecode"] == 0).take(60).enumerate() {
            let id = contact["contactid"].as_str().ok_or("a contact has no id")?;
            let row = match (index % 3, round % 2) {
                (0, 1) => json!({"lastname": "Nobody"}),
                (0, _) => json!({"lastname": format!("Returned {index}")}),
                (1, _) => {
                    json!({"familystatuscode": 1 + (index + round as usize) % 4, "donotbulkemail": round % 2 == 1})
                }
                _ => json!({"creditlimit": 1000.25 * (index + 1) as f64, "telephone1": null}),
            };
            self.control.put("dataverse", "contact", id, &row).await?;
        }
        Ok(())
    }

    /// Seeded texts are words; the code of a boat is a text of digits, which becomes a number.
    async fn write_codes(&self) -> Outcome<()> {
        let boats = self.control.records("dataverse", "new_boat").await?;
        for (index, mut boat) in boats.into_iter().enumerate() {
            let written = boat["new_code"].as_str().is_some_and(|code| code.bytes().all(|byte| byte.is_ascii_digit()));
            if !written {
                boat["new_code"] = json!((7 * index + 1).to_string());
                let id = boat["new_boatid"].as_str().ok_or("a boat has no id")?.to_owned();
                self.control.put("dataverse", "new_boat", &id, &boat).await?;
            }
        }
        Ok(())
    }

    /// Changes one attribute behind the connector's back; a row is put as a whole.
    async fn plant_difference(&self) -> Outcome<()> {
        let profiles = self.control.records("campaign", "profile").await?;
        let mut profile = profiles.into_iter().next().ok_or("no profile")?;
        profile["firstName"] = json!("Planted");
        let id = profile["externalId"].as_str().ok_or("a profile without a key")?.to_owned();
        self.control.put("campaign", "profile", &id, &profile).await
    }

    /// How many preferences were compared, and everything that differs.
    async fn compare(&self) -> Outcome<(usize, Vec<String>)> {
        let profiles = self.control.records("campaign", "profile").await?;
        let mut differences = self.expected[0].differences("profile", "externalId", &profiles);
        let boats = self.control.records("campaign", "cusBoat").await?;
        differences.extend(self.expected[1].differences("cusBoat", "cusBoatId", &boats));
        differences.extend(self.timelines.differences(&Timelines::found(&self.control).await?));
        let (preferences, more) = self.preferences.differences(&self.control).await?;
        differences.extend(more);
        Ok((preferences, differences))
    }
}
