//! The configuration: what the TOML file may say, every problem reported at once with its path and line.

mod certificates;
mod events;
mod export_files;
mod key;
mod opt_out;
mod parse;
mod period;
mod reader;
mod secret;
mod sftp;
mod tables;
mod url_check;

use std::path::{Path, PathBuf};
use std::time::Duration;

use mapping::TableSpec;
use url::Url;

pub(crate) use certificates::certificates;
pub use events::{Activities, ActivityNames, EventSource, EventsConfig};
pub use export_files::{ExportComplete, ExportFiles};
pub use opt_out::{Direction, OptOutConfig, OptOutPair, OptOutSource};
pub use secret::SecretRef;
pub use sftp::SftpConfig;

use crate::error::{Error, ErrorKind, Problem};

/// Everything the connector needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    /// The Dynamics 365 side.
    pub dataverse: DataverseConfig,
    /// The Campaign side.
    pub campaign: CampaignConfig,
    /// Transport security.
    pub tls: TlsConfig,
    /// Where progress is kept.
    pub store: StoreConfig,
    /// How the engine behaves.
    pub sync: SyncConfig,
    /// One mapping per table.
    pub tables: Vec<TableSpec>,
    /// Email events as activities.
    pub events: EventsConfig,
    /// Privacy preferences.
    pub opt_out: OptOutConfig,
    /// The file exchange.
    pub sftp: Option<SftpConfig>,
}

/// The Dynamics 365 organisation and the application that reads it.
#[derive(Debug, Clone)]
pub struct DataverseConfig {
    /// The organisation's URL, such as `https://contoso.api.crm.dynamics.com`.
    pub url: Url,
    /// The Entra tenant: its id or its domain.
    pub tenant: String,
    /// The application's id.
    pub client_id: String,
    /// The application's secret.
    pub client_secret: SecretRef,
    /// The authority that issues tokens; the public cloud's when absent.
    pub authority: Option<Url>,
    /// Rows per page, 1 to 5000.
    pub page_size: u32,
    /// How long to wait between two polls of a table that had no change.
    pub poll: Duration,
    /// Requests in flight at most.
    pub in_flight: usize,
    /// The time for one attempt of a request; the client's own when absent.
    pub timeout: Option<Duration>,
}

/// The Campaign instance and the credential that writes it.
#[derive(Debug, Clone)]
pub struct CampaignConfig {
    /// The instance's URL, such as `https://mc.adobe.io/acme` (without `/campaign`).
    pub url: Url,
    /// The credential's client id, which is the API key too.
    pub client_id: String,
    /// The credential's secret.
    pub client_secret: SecretRef,
    /// The organisation, `...@AdobeOrg`.
    pub org_id: String,
    /// The token service; the public one when absent.
    pub ims_url: Option<Url>,
    /// Scopes to ask for; the documented list when absent.
    pub scopes: Option<Vec<String>>,
    /// Requests in flight at most.
    pub in_flight: usize,
    /// The time for one attempt of a request; the client's own when absent.
    pub timeout: Option<Duration>,
    /// A fixed rate; none when absent.
    pub requests_per_second: Option<u32>,
    /// How long after it was sent a write may still take effect.
    pub settle: Duration,
    /// Whether resources without a unique key may be written although a duplicate cannot be excluded there.
    pub accept_duplicate_risk: bool,
    /// Calls to Campaign's engine in one day (UTC) at most; unlimited when absent.
    pub engine_calls_per_day: Option<u64>,
}

/// Transport security.
#[derive(Debug, Clone, Default)]
pub struct TlsConfig {
    /// Further authorities to trust, as PEM.
    pub ca_file: Option<PathBuf>,
}

/// The embedded store.
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// The database file.
    pub sqlite: PathBuf,
    /// Memory for its page cache, in MiB.
    pub cache_mib: u32,
    /// The largest size the file may grow to, in pages of 8 KiB; unlimited when absent.
    pub max_pages: Option<u32>,
    /// The key that what records say is encrypted with: 32 bytes as 64 hexadecimal digits. In clear when absent.
    pub encryption_key: Option<SecretRef>,
}

/// How the engine behaves.
#[derive(Debug, Clone)]
pub struct SyncConfig {
    /// How many records may be deleted at once after a full read found them missing.
    pub delete_brake: DeleteBrake,
    /// How often all records of a table are looked through beside its changes.
    pub sweep: Sweep,
    /// How long dead letters are kept.
    pub dead_letters_kept: Duration,
    /// Whether Adobe's documented service limits are refusals.
    pub adobe_guardrails: bool,
}

/// How often all records of a table are looked through for what its changes did not tell. A first load of more than one page is
/// followed by such a look in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sweep {
    /// Every seven days.
    #[default]
    Weekly,
    /// Every day.
    Daily,
    /// Not on a timer.
    Never,
}

impl Sweep {
    /// The time from the end of one to the beginning of the next.
    pub(crate) fn every(self) -> Option<Duration> {
        const DAY: Duration = Duration::from_secs(24 * 3600);
        match self {
            Self::Weekly => Some(DAY * 7),
            Self::Daily => Some(DAY),
            Self::Never => None,
        }
    }
}

/// The larger of the two is allowed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DeleteBrake {
    /// So many records.
    pub rows: u64,
    /// This share of all records that were written.
    pub share: f64,
}

impl Default for SyncConfig {
    fn default() -> Self {
        Self {
            delete_brake: DeleteBrake { rows: 50, share: 0.005 },
            sweep: Sweep::default(),
            dead_letters_kept: Duration::from_secs(30 * 24 * 3600),
            adobe_guardrails: false,
        }
    }
}

impl Config {
    /// Reads a configuration file. Relative paths in it are relative to the file.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`] with every problem found.
    pub fn load(file: &Path) -> Result<Self, Error> {
        let text = read(file)?;
        Self::parse(&text, folder(file))
    }

    /// Reads a configuration file and looks at what it refers to, so that everything that is wrong is told at once and with its
    /// line: [`load`](Self::load) for a command that is going to connect.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`] with every problem found, secrets and certificates included.
    pub fn load_with_references(file: &Path) -> Result<Self, Error> {
        let text = read(file)?;
        Self::parse_with_references(&text, folder(file))
    }

    /// Reads a configuration from text; relative paths are relative to `base`.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`] with every problem found.
    pub fn parse(text: &str, base: &Path) -> Result<Self, Error> {
        parse::parse(text, base, false).map_err(|problems| Error::new(ErrorKind::Configuration, problems))
    }

    /// [`parse`](Self::parse), and a look at what the configuration refers to.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`] with every problem found, secrets and certificates included.
    pub fn parse_with_references(text: &str, base: &Path) -> Result<Self, Error> {
        parse::parse(text, base, true).map_err(|problems| Error::new(ErrorKind::Configuration, problems))
    }
}

fn read(file: &Path) -> Result<String, Error> {
    std::fs::read_to_string(file).map_err(|error| {
        Error::one(
            ErrorKind::Configuration,
            Problem::new(
                file.display().to_string(),
                format!("The configuration cannot be read: {}.", error.kind()),
                "Give the path of a readable file; `d365-campaign init --output FILE` writes one to start from.",
            ),
        )
    })
}

fn folder(file: &Path) -> &Path {
    file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
