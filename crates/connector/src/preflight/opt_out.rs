//! Opt-outs: what both sides call them, how Campaign's changes are found, and the workflow that writes them down.

use campaign_client::{CampaignClient, ErrorKind};
use mapping::OptOutPair;

use super::findings::Findings;
use super::name::Name;
use crate::adapters::consent::overdue::{self, Expectation};
use crate::config::{Config, Direction, OptOutSource};
use crate::connect::Clients;
use crate::error::Problem;
use crate::workflows::opt_in_out::Preferences;

/// The checks that nothing asks for: all where the opt-outs are off, and otherwise those of the source that is not configured.
pub(super) fn unasked(config: &Config) -> Findings {
    let opt_out = &config.opt_out;
    let (by_file, by_filter) = match &opt_out.source {
        _ if !opt_out.direction.reads_campaign() => (false, false),
        Some(OptOutSource::Export { .. }) => (true, false),
        Some(OptOutSource::Filter { .. }) => (false, true),
        None => (false, false),
    };
    let asked = [
        (Name::OptOutPairs, opt_out.direction != Direction::Disabled),
        (Name::OptOutFilter, by_filter),
        (Name::OptOutFiles, by_file),
        (Name::OptOutWorkflow, by_file && opt_out.workflow.is_some()),
    ];
    let mut findings = Findings::default();
    asked.into_iter().filter(|(_, asked)| !asked).for_each(|(name, _)| findings.unasked(name));
    findings
}

/// The pairs and the filter, as a run asks for them; with the pairs that are in order.
pub(super) async fn preferences(config: &Config, clients: &Clients) -> (Findings, Vec<OptOutPair>) {
    let mut findings = Findings::default();
    let opt_out = &config.opt_out;
    if opt_out.direction == Direction::Disabled {
        return (findings, Vec::new());
    }
    let loaded = Preferences::load(config, &clients.dataverse, &clients.campaign).await;
    let problems = loaded.as_ref().err().map_or(&[][..], Vec::as_slice);
    // Without the table or the resource nothing could be compared with them.
    let own = |problem: &Problem| matches!(problem.check, None | Some(Name::OptOutPairs | Name::OptOutFilter));
    if problems.iter().all(own) {
        findings.good(Name::OptOutPairs, format!("{} pairs.", opt_out.pairs.len()));
        if let (true, Some(OptOutSource::Filter { name, .. })) = (opt_out.direction.reads_campaign(), &opt_out.source) {
            findings.good(Name::OptOutFilter, format!("{name}."));
        }
    }
    for problem in problems {
        findings.fault(Name::OptOutPairs, problem.clone());
    }
    (findings, loaded.map_or_else(|_| Vec::new(), |preferences| preferences.pairs().to_vec()))
}

/// The workflow that writes the files, where one is named.
pub(super) async fn workflow(config: &Config, client: &CampaignClient) -> Findings {
    let mut findings = Findings::default();
    let expected = Expectation::of(config).and_then(|expected| expected.workflow);
    let Some(id) = expected else { return findings };
    let place = "opt_out.workflow";
    let found = client.workflows().get(&id).await;
    findings.good(Name::OptOutWorkflow, format!("{id} is started."));
    let problem = match found.map(|workflow| workflow.state) {
        Ok(Some(state)) if overdue::is_started(&state) => return findings,
        Ok(Some(state)) => Problem::new(
            place,
            format!("The workflow {id} is {state}, so that no file of opt-outs comes."),
            "Start it in Campaign; while a run waits for files in vain, it does so itself.",
        ),
        Ok(None) => {
            let message = format!("Campaign does not tell the state of the workflow {id}.");
            let problem = Problem::new(place, message, "Look at it in Campaign.");
            findings.warning(Name::OptOutWorkflow, problem);
            return findings;
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Problem::new(
            place,
            format!("Campaign has no workflow with the ID {id}."),
            "Write the ID that the properties of the workflow show, such as WKF12.",
        ),
        Err(error) => Problem::new(place, format!("Campaign: {error}."), error.remedy()),
    };
    findings.fault(Name::OptOutWorkflow, problem);
    findings
}
