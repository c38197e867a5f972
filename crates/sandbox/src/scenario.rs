//! The scenario file: what the services hold and how they behave where the public pages leave it open.

use std::path::Path;

use serde::Deserialize;

use crate::campaign::CampaignScenario;
use crate::dataverse::DataverseScenario;
use crate::journal::JournalScenario;

/// A scenario. Everything has a default; unknown keys are errors.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Scenario {
    /// Dataverse: tables, columns, row counts, switches.
    pub dataverse: DataverseScenario,
    /// Campaign: resources, columns, links, filters, switches.
    pub campaign: CampaignScenario,
    /// The events journal: links, envelopes, pages.
    pub journal: JournalScenario,
}

/// A scenario file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// The file cannot be read.
    #[error("cannot read the scenario file: {0}")]
    Read(#[from] std::io::Error),
    /// The file is no TOML, or says something unknown.
    #[error("the scenario file is not valid: {0}")]
    Parse(#[from] toml::de::Error),
}

impl Scenario {
    /// Parses the text of a scenario file.
    ///
    /// # Errors
    /// When it is no TOML or holds an unknown key.
    pub fn parse(text: &str) -> Result<Self, ScenarioError> {
        Ok(toml::from_str(text)?)
    }

    /// Reads a scenario file.
    ///
    /// # Errors
    /// When it cannot be read or parsed.
    pub fn read(path: &Path) -> Result<Self, ScenarioError> {
        Self::parse(&std::fs::read_to_string(path)?)
    }
}
