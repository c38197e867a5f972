//! The consent ledger of a configuration, for hosts: may this person be contacted, is the ledger what was written, erasure marks.
//!
//! Everything works beside a running process. A contact is named by its id in Dynamics 365.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub use ::consent::{Answer, Broken, Channel, ConsentGate, Ground, Head, Policy, Rule};
use ::consent::{GateOptions, Ledger, LedgerError, LedgerErrorKind, SharedLedger};
use sync_core::traits::Store;
use timing::{SharedClock, SystemClock};

use crate::adapters::kept;
use crate::config::Config;
use crate::control::{self, store_error};
use crate::error::{Error, ErrorKind, Problem};
use crate::explain::key_of;

/// How old the last read of a side may be before the gate closes.
const MAX_AGE: Duration = Duration::from_secs(26 * 3600);

/// Opens the ledger of a run: made if it is not there, refused if it is not what the last run left.
pub(crate) async fn open(config: &Config, store: &Arc<dyn Store>, clock: &SharedClock) -> Result<SharedLedger, Error> {
    let key = config.store.consent_key().map_err(|problem| Error::one(ErrorKind::Configuration, problem))?;
    let path = Ledger::beside(&config.store.sqlite);
    let ledger = Ledger::open(&path, key, clock.clone()).map_err(|error| ledger_error(config, error))?;
    let ledger = Arc::new(ledger);
    let earlier = kept::consent_head(store.as_ref()).await.map_err(|error| store_error(config, error))?;
    match verified(config, ledger.clone(), earlier).await? {
        Ok(head) => {
            kept::keep_consent_head(store, &head).await.map_err(|error| store_error(config, error))?;
            Ok(ledger)
        }
        Err(broken) => Err(broken_ledger(config, broken)),
    }
}

/// Goes through the whole ledger, with the end that the last run noted: the end that was found, or the first place that is not what
/// was written.
///
/// # Errors
/// When there is no ledger, or it or the store cannot be read.
pub async fn verify(config: &Config) -> Result<Result<Head, Broken>, Error> {
    let earlier = if config.store.sqlite.exists() {
        let store = control::open(config)?;
        kept::consent_head(&store).await.map_err(|error| store_error(config, error))?
    } else {
        None
    };
    verified(config, Arc::new(read_only(config)?), earlier).await
}

/// The gate of a configuration, over the ledger as it is written meanwhile.
///
/// # Errors
/// When there is no ledger, or it cannot be opened.
pub fn gate(config: &Config) -> Result<ConsentGate, Error> {
    let pairs = config.opt_out.pairs.iter();
    let pairs: BTreeMap<String, String> = pairs.map(|pair| (pair.campaign.clone(), pair.d365.clone())).collect();
    let options = GateOptions { max_age_d365: MAX_AGE, max_age_campaign: MAX_AGE, pairs };
    Ok(ConsentGate::new(Arc::new(read_only(config)?), options))
}

/// Whether a contact may be reached by a channel.
///
/// # Errors
/// As [`gate`]; also when the id is no GUID.
pub fn may_contact(config: &Config, id: &str, channel: Channel) -> Result<Answer, Error> {
    let key = key_of(id)?;
    Ok(gate(config)?.may_contact(&key, channel))
}

/// Marks a person as erased: ingress and the opt-out workflow write nothing of hers any more. Her rows on both sides are not
/// touched.
///
/// # Errors
/// When the id is no GUID, or the ledger cannot be written.
pub async fn erase(config: &Config, id: &str) -> Result<(), Error> {
    let key = key_of(id)?;
    writable(config)?.erase(&key).await.map_err(|error| ledger_error(config, error))
}

/// Takes the mark back.
///
/// # Errors
/// As [`erase`].
pub async fn unerase(config: &Config, id: &str) -> Result<(), Error> {
    let key = key_of(id)?;
    writable(config)?.unerase(&key).await.map_err(|error| ledger_error(config, error))
}

async fn verified(config: &Config, ledger: SharedLedger, earlier: Option<Head>) -> Result<Result<Head, Broken>, Error> {
    let work = tokio::task::spawn_blocking(move || ledger.verify(earlier.as_ref()));
    match work.await {
        Ok(verified) => verified.map_err(|error| ledger_error(config, error)),
        Err(_) => Err(Error::one(
            ErrorKind::Refused,
            Problem::new("store.sqlite", "Verifying the consent ledger was broken off.", "Ask again."),
        )),
    }
}

fn read_only(config: &Config) -> Result<Ledger, Error> {
    let key = config.store.consent_key().map_err(|problem| Error::one(ErrorKind::Configuration, problem))?;
    Ledger::open_read_only(&Ledger::beside(&config.store.sqlite), key, SystemClock::shared())
        .map_err(|error| ledger_error(config, error))
}

fn writable(config: &Config) -> Result<Ledger, Error> {
    let key = config.store.consent_key().map_err(|problem| Error::one(ErrorKind::Configuration, problem))?;
    Ledger::open(&Ledger::beside(&config.store.sqlite), key, SystemClock::shared())
        .map_err(|error| ledger_error(config, error))
}

fn broken_ledger(config: &Config, broken: Broken) -> Error {
    let path = Ledger::beside(&config.store.sqlite);
    let problem = Problem::new(
        "store.sqlite",
        format!("The consent ledger {} is not what was written: {broken}.", path.display()),
        "Put it aside and restore its newest backup; nothing is written while it cannot be trusted.",
    );
    Error::one(ErrorKind::Refused, problem).with_source(broken)
}

fn ledger_error(config: &Config, error: LedgerError) -> Error {
    let kind = match error.kind() {
        LedgerErrorKind::Full => ErrorKind::Refused,
        _ => ErrorKind::Store,
    };
    let path = Ledger::beside(&config.store.sqlite);
    let problem = Problem::new("store.sqlite", format!("{error} ({})", path.display()), error.remedy());
    Error::one(kind, problem).with_source(error)
}
