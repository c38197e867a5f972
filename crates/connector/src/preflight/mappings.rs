//! The mapped tables: their definitions on both sides, the mapping between them, and whether rows can be read and found.

use futures::future::join_all;
use mapping::{OptOutPair, TableSpec};
use sync_core::traits::{BatchLimit, Class};

use super::findings::Findings;
use super::name::Name;
use crate::config::Config;
use crate::connect::Clients;
use crate::error::Problem;
use crate::workflows::ingress::{self, MappedTable};

/// Looks at every table, at the same time; `pairs` are those of the opt-out workflow.
pub(super) async fn look(config: &Config, clients: &Clients, pairs: &[OptOutPair]) -> Findings {
    let ranks = ingress::ranks(&config.tables);
    let tables = config
        .tables
        .iter()
        .zip(ranks)
        .enumerate()
        .map(|(index, (spec, rank))| table(config, clients, pairs, index, spec, rank));
    let mut findings = Findings::default();
    for found in join_all(tables).await {
        findings.merge(found);
    }
    findings
}

async fn table(
    config: &Config,
    clients: &Clients,
    pairs: &[OptOutPair],
    index: usize,
    spec: &TableSpec,
    rank: u32,
) -> Findings {
    let loaded = MappedTable::load(index, spec, rank, pairs, &clients.dataverse, &clients.campaign).await;
    let mut findings = Findings::default();
    for problem in loaded.as_ref().err().into_iter().flatten() {
        findings.fault(Name::TypesConvert, problem.clone());
    }
    let failed = |name: Name| loaded.as_ref().err().is_some_and(|all| all.iter().any(|one| one.check == Some(name)));
    // What could be looked at and is not complained about is in order.
    let (table, resource) = (!failed(Name::TableExists), !failed(Name::ResourcePublished));
    let mut looked =
        vec![(Name::TableExists, table), (Name::ChangeTrackingOn, table), (Name::ResourcePublished, resource)];
    looked.extend(Name::OF_MAPPING.map(|name| (name, table && resource)));
    let what = format!("{} -> {}.", spec.table, spec.resource);
    for (name, _) in looked.into_iter().filter(|(_, looked)| *looked) {
        findings.good(name, &what);
    }
    if let Ok(mapped) = loaded {
        let place = format!("table[{index}]");
        let proof = mapped.prove_key(&clients.campaign).await;
        findings.good(Name::KeyAddressesRows, &what);
        if let Err(problem) = proof {
            findings.fault(Name::KeyAddressesRows, problem);
        }
        findings.good(Name::ReadPrivilege, &what);
        if let Err(problem) = read(config, clients, &place, mapped).await {
            findings.fault(Name::ReadPrivilege, problem);
        }
    }
    findings
}

/// Reads the first rows as a run does.
async fn read(config: &Config, clients: &Clients, place: &str, mapped: MappedTable) -> Result<(), Problem> {
    let place = format!("{place}.table");
    let parts = mapped
        .stream(config, &clients.dataverse, None, &clients.campaign, None, None)
        .map_err(|error| Problem::new(&place, format!("{error}."), error.remedy()))?;
    let limit = BatchLimit { rows: 1, class: Class::Live };
    let page = parts.source.read(None, limit).await;
    page.map(drop).map_err(|error| Problem::new(place, error.to_string(), error.remedy()))
}
