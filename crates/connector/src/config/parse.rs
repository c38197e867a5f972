use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use toml::de::DeTable;
use url::Url;

use super::reader::{Document, Reference, Section, report_unknown};
use super::url_check::service_url;
use super::{
    CampaignConfig, Config, DataverseConfig, DeleteBrake, Direction, EventSource, EventsConfig, OptOutConfig,
    OptOutSource, SecretRef, SftpConfig, StoreConfig, Sweep, SyncConfig, TlsConfig, events, opt_out, sftp, tables,
};
use crate::error::Problem;

/// What a version that cannot serve a setting yet says of it.
pub(super) const LATER: &str = "not available yet";

/// Reads the document; with `references`, what it refers to as well: secrets and certificates.
pub(super) fn parse(text: &str, base: &Path, references: bool) -> Result<Config, Vec<Problem>> {
    let mut document = Document::new(text, base);
    let (root, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        for error in errors {
            let offset = error.span().map_or(0, |span| span.start);
            let message = format!("This is not TOML: {}.", error.message());
            document.problem(
                "(file)",
                offset,
                message,
                "Correct the line; keys, quotes and brackets are what to look at.",
            );
        }
        return Err(document.problems);
    }
    let root = root.get_ref();
    let known = BTreeSet::from(["dataverse", "campaign", "tls", "store", "sync", "table", "events", "opt_out", "sftp"]);
    report_unknown(&mut document, "", root, &known);

    let dataverse = dataverse(&mut document, root);
    let campaign = campaign(&mut document, root);
    let tls = tls(&mut document, root);
    let store = store(&mut document, root);
    let sync = sync(&mut document, root);
    let tables = tables::tables(&mut document, root, sync.adobe_guardrails);
    let events = events::events(&mut document, root);
    let opt_out = opt_out::opt_out(&mut document, root);
    let sftp = sftp::sftp(&mut document, root);
    together(&mut document, root, &tables, &events, &opt_out, sftp.as_ref());
    if references {
        document.check_references();
    }
    document.problems.sort_by_key(|problem| problem.line);
    match (dataverse, campaign, store) {
        (Some(dataverse), Some(campaign), Some(store)) if document.problems.is_empty() => {
            Ok(Config { dataverse, campaign, tls, store, sync, tables, events, opt_out, sftp })
        }
        _ => Err(document.problems),
    }
}

/// What sections ask of each other.
fn together(
    document: &mut Document<'_>,
    root: &DeTable<'_>,
    tables: &[mapping::TableSpec],
    events: &EventsConfig,
    opt_out: &OptOutConfig,
    sftp: Option<&SftpConfig>,
) {
    let at = |name: &str| root.get(name).map_or(0, |value| value.span().start);
    if sftp.is_some_and(|sftp| sftp.export_logs) && !cfg!(feature = "exchange") {
        let message = "The log is put on the file exchange, which this program was built without.";
        let remedy = "Build it with the cargo feature exchange, or write false.";
        document.problem("sftp.export_logs", at("sftp"), message, remedy);
    }
    let exports = [
        ("events", events.sources().any(|source| matches!(source, EventSource::Export { .. }))),
        ("opt_out", matches!(opt_out.source, Some(OptOutSource::Export { .. }))),
    ];
    for (name, exports) in exports {
        if exports && sftp.is_none() {
            let message = "Exports are read from the file exchange, and there is no section [sftp].";
            document.problem(format!("{name}.source"), at(name), message, "Add [sftp].");
        }
        if exports && !cfg!(feature = "exchange") {
            let message = "Exports are read from the file exchange, which this program was built without.";
            let remedy = "Build it with the cargo feature exchange, or read another source.";
            document.problem(format!("{name}.source"), at(name), message, remedy);
        }
    }
    if opt_out.direction != Direction::Disabled {
        let owned = opt_out.pairs.iter().map(|pair| pair.campaign.as_str());
        for problem in mapping::opt_out_conflicts(tables, owned) {
            let offset = super::reader::locate(root, &problem.path);
            document.problem(problem.path, offset, format!("{}.", problem.message), format!("{}.", problem.remedy));
        }
    }
}

fn required<'d, 't>(document: &mut Document<'t>, root: &'d DeTable<'t>, name: &'static str) -> Option<Section<'d, 't>> {
    if root.get(name).is_none() {
        document.problem(name, 0, "This section is missing.", format!("Add [{name}]."));
    }
    Section::of(document, root, name)
}

pub(super) fn url(document: &mut Document<'_>, place: &str, offset: usize, text: &str) -> Option<Url> {
    match service_url(text) {
        Ok(url) => Some(url),
        Err(message) => {
            document.problem(place, offset, message, "Write it as https://host or https://host/path.");
            None
        }
    }
}

fn optional_url<'t>(document: &mut Document<'t>, section: &mut Section<'_, 't>, key: &'static str) -> Option<Url> {
    let offset = section.value(key)?.span().start;
    let text = section.text(document, key)?;
    url(document, &section.place(key), offset, &text)
}

fn required_url<'t>(
    document: &mut Document<'t>,
    section: &mut Section<'_, 't>,
    key: &'static str,
    what: &str,
) -> Option<Url> {
    if section.value(key).is_none() {
        section.missing(document, key, what);
        return None;
    }
    optional_url(document, section, key)
}

fn required_secret<'t>(
    document: &mut Document<'t>,
    section: &mut Section<'_, 't>,
    key: &'static str,
) -> Option<SecretRef> {
    if section.value(key).is_none() {
        section.missing(document, key, "{ env = \"NAME\" } or { file = \"path\" }");
        return None;
    }
    let offset = section.value(key)?.span().start;
    let secret = section.secret(document, key)?;
    document.refers(section.place(key), offset, Reference::Secret(secret.clone()));
    Some(secret)
}

fn narrow<T: TryFrom<u64>>(value: Option<u64>, default: T) -> T {
    value.and_then(|value| T::try_from(value).ok()).unwrap_or(default)
}

fn dataverse<'t>(document: &mut Document<'t>, root: &DeTable<'t>) -> Option<DataverseConfig> {
    let mut section = required(document, root, "dataverse")?;
    let url =
        required_url(document, &mut section, "url", "the organisation, such as https://contoso.api.crm.dynamics.com");
    let tenant = section.required_text(document, "tenant", "the Entra tenant's id or domain");
    let client_id = section.required_text(document, "client_id", "the application's id");
    let client_secret = required_secret(document, &mut section, "client_secret");
    let authority = optional_url(document, &mut section, "authority");
    let page_size = narrow(section.integer(document, "page_size", 1..=5000), 5000);
    let poll = Duration::from_secs(section.integer(document, "poll_seconds", 1..=86_400).unwrap_or(30));
    let in_flight = narrow(section.integer(document, "in_flight", 1..=52), 4);
    let timeout = section.integer(document, "timeout_seconds", 1..=600).map(Duration::from_secs);
    section.finish(document);
    Some(DataverseConfig {
        url: url?,
        tenant,
        client_id,
        client_secret: client_secret?,
        authority,
        page_size,
        poll,
        in_flight,
        timeout,
    })
}

fn campaign<'t>(document: &mut Document<'t>, root: &DeTable<'t>) -> Option<CampaignConfig> {
    let mut section = required(document, root, "campaign")?;
    let url = required_url(document, &mut section, "url", "the instance, such as https://mc.adobe.io/acme");
    let client_id = section.required_text(document, "client_id", "the credential's client id");
    let client_secret = required_secret(document, &mut section, "client_secret");
    let org_id = section.required_text(document, "org_id", "the organisation, ...@AdobeOrg");
    let ims_url = optional_url(document, &mut section, "ims_url");
    let scopes = section.value("scopes").and_then(|value| document.deserialize("campaign.scopes", value));
    let in_flight = narrow(section.integer(document, "in_flight", 1..=256), 8);
    let timeout = section.integer(document, "timeout_seconds", 1..=600).map(Duration::from_secs);
    let requests_per_second =
        section.integer(document, "requests_per_second", 1..=10_000).map(|rate| narrow(Some(rate), 1));
    let settle = Duration::from_secs(section.integer(document, "settle_seconds", 0..=86_400).unwrap_or(120));
    let accept_duplicate_risk = section.boolean(document, "accept_duplicate_risk").unwrap_or(false);
    let engine_calls_per_day = section.integer(document, "engine_calls_per_day", 1..=1_000_000_000);
    section.finish(document);
    Some(CampaignConfig {
        url: url?,
        client_id,
        client_secret: client_secret?,
        org_id,
        ims_url,
        scopes,
        in_flight,
        timeout,
        requests_per_second,
        settle,
        accept_duplicate_risk,
        engine_calls_per_day,
    })
}

fn tls<'t>(document: &mut Document<'t>, root: &DeTable<'t>) -> TlsConfig {
    let Some(mut section) = Section::of(document, root, "tls") else { return TlsConfig::default() };
    let offset = section.value("ca_file").map_or(0, |value| value.span().start);
    let ca_file = section.text(document, "ca_file").map(|text| document.path(&text));
    if let Some(file) = &ca_file {
        document.refers(section.place("ca_file"), offset, Reference::Certificates(file.clone()));
    }
    section.finish(document);
    TlsConfig { ca_file }
}

fn store<'t>(document: &mut Document<'t>, root: &DeTable<'t>) -> Option<StoreConfig> {
    let mut section = required(document, root, "store")?;
    let file = section.required_text(document, "sqlite", "the database file, such as sqlite = \"sync.db\"");
    let sqlite = document.path(&file);
    let cache_mib = narrow(section.integer(document, "cache_mib", 1..=4096), 16);
    let max_pages =
        section.integer(document, "max_pages", 16..=u64::from(u32::MAX)).map(|pages| narrow(Some(pages), u32::MAX));
    let offset = section.value("encryption_key").map_or(0, |value| value.span().start);
    let encryption_key = section.secret(document, "encryption_key");
    if let Some(key) = &encryption_key {
        document.refers(section.place("encryption_key"), offset, Reference::Key(key.clone()));
    }
    if let Some(value) = section.value("postgres") {
        let offset = value.span().start;
        let message = format!("A PostgreSQL store is {LATER}.");
        document.problem(section.place("postgres"), offset, message, "Remove the key.");
    }
    section.finish(document);
    Some(StoreConfig { sqlite, cache_mib, max_pages, encryption_key })
}

fn sync<'t>(document: &mut Document<'t>, root: &DeTable<'t>) -> SyncConfig {
    let mut config = SyncConfig::default();
    let Some(mut section) = Section::of(document, root, "sync") else { return config };
    // "off" is what it was called first.
    let sweeps = [("weekly", Sweep::Weekly), ("daily", Sweep::Daily), ("never", Sweep::Never), ("off", Sweep::Never)];
    config.sweep = section.word(document, "sweep", &sweeps).unwrap_or_default();
    let days = section.integer(document, "dead_letter_days", 1..=36_500);
    config.dead_letters_kept = days.map_or(config.dead_letters_kept, |days| Duration::from_secs(days * 24 * 3600));
    if let Some(value) = section.value("delete_brake") {
        #[derive(serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Brake {
            rows: u64,
            share: f64,
        }
        let offset = value.span().start;
        if let Some(Brake { rows, share }) = document.deserialize("sync.delete_brake", value) {
            if (0.0..=1.0).contains(&share) {
                config.delete_brake = DeleteBrake { rows, share };
            } else {
                document.problem(
                    "sync.delete_brake",
                    offset,
                    "The share must be from 0 to 1.",
                    "Write a number such as 0.005.",
                );
            }
        }
    }
    config.adobe_guardrails =
        section.word(document, "guardrails", &[("none", false), ("adobe", true)]).unwrap_or_default();
    section.finish(document);
    config
}
