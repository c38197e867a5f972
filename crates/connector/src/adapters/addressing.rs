//! Whether the configured key reaches rows at all.
//!
//! Campaign answers the same 404 for a row that is not there and for a key that never addresses anything: an attribute that
//! is no identification key, or a custom resource whose rows cannot be addressed by key. Believed blindly, the second kind
//! turns every change into a further row and loses every deletion. So the first 404 of a change or delete is believed only once
//! a row that exists was reached by its key; that of a record which was never sent needs no proof.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

use campaign_client::{Addressing, CampaignClient, CustomRecord, Error, ListQuery, RecordApi, RecordKey};
use sync_core::{EndpointError, EndpointErrorKind};
use tokio::sync::Mutex;

/// Rows that are looked at to find one with a key.
const SAMPLE: u32 = 5;
/// A row may be deleted between the list and the question for it; so often is another one tried.
const ROUNDS: usize = 4;
/// No look for a proof has failed yet.
const NEVER: u64 = u64::MAX;

/// What is known of the addressing of one resource.
#[derive(Debug)]
pub(crate) struct AddressingProof {
    client: CampaignClient,
    /// `table[2]`, the place of the mapping in the configuration.
    place: String,
    key: String,
    state: AtomicU8,
    /// Rows that this process created; a look that found no row is repeated only after another was created.
    created: AtomicU64,
    looked_at: AtomicU64,
    doubted: AtomicBool,
    /// Held while a probe runs, so that requests in flight share one.
    probing: Mutex<()>,
}

const UNPROVEN: u8 = 0;
const PROVEN: u8 = 1;
const REFUTED: u8 = 2;

/// Why a 404 is not believed.
#[derive(Debug)]
pub(crate) enum Doubt {
    /// The key addresses nothing: the mapping has to be changed.
    Refuted(EndpointError),
    /// The question itself failed.
    Unanswered(Error),
    /// Every row that was looked at vanished meanwhile.
    Open,
}

impl AddressingProof {
    pub(crate) fn new(client: CampaignClient, place: String, key: String) -> Self {
        Self {
            client,
            place,
            key,
            state: AtomicU8::new(UNPROVEN),
            created: AtomicU64::new(0),
            looked_at: AtomicU64::new(NEVER),
            doubted: AtomicBool::new(false),
            probing: Mutex::new(()),
        }
    }

    /// A row was reached by its key.
    pub(crate) fn reached(&self) {
        self.state.store(PROVEN, Ordering::Relaxed);
    }

    /// A row was created.
    pub(crate) fn created(&self) {
        self.created.fetch_add(1, Ordering::Relaxed);
    }

    /// A create ended without an answer: it is going to be repeated, which doubles a row under a key that does not identify.
    pub(crate) fn doubt(&self) {
        self.doubted.store(true, Ordering::Relaxed);
    }

    /// Whether a create ended without an answer before any row was reached.
    pub(crate) fn is_doubted(&self) -> bool {
        self.doubted.load(Ordering::Relaxed) && self.state.load(Ordering::Relaxed) == UNPROVEN
    }

    /// The refusal that holds for every further operation once the key was found to address nothing.
    pub(crate) fn refusal(&self, records: &RecordApi) -> Option<EndpointError> {
        (self.state.load(Ordering::Relaxed) == REFUTED).then(|| self.refuted(records))
    }

    /// Looks for a proof, unless there is one. Costs a list and a read once; nothing at all while rows are reached.
    pub(crate) async fn settle(&self, records: &RecordApi) -> Result<(), Doubt> {
        let _turn = match self.state.load(Ordering::Relaxed) {
            PROVEN => return Ok(()),
            _ => self.probing.lock().await,
        };
        for _ in 0..ROUNDS {
            match self.state.load(Ordering::Relaxed) {
                PROVEN => return Ok(()),
                REFUTED => break,
                _ => {}
            }
            let created = self.created.load(Ordering::Relaxed);
            if self.looked_at.load(Ordering::Relaxed) == created {
                return Ok(());
            }
            let Some(key) = self.sample(records, None).await.map_err(Doubt::Unanswered)? else {
                self.looked_at.store(created, Ordering::Relaxed);
                return Ok(());
            };
            if self.reaches(records, &key).await.map_err(Doubt::Unanswered)? {
                self.reached();
                return Ok(());
            }
            // The row may have been deleted meanwhile, also by an operation of ours that is still in flight: it refutes
            // the key only if it is still there.
            if self.sample(records, Some(&key)).await.map_err(Doubt::Unanswered)?.is_some() {
                self.state.store(REFUTED, Ordering::Relaxed);
            }
        }
        Err(self.refusal(records).map_or(Doubt::Open, Doubt::Refuted))
    }

    /// A row that has a key; with `wanted`, that very row. By the key in falling order, so that rows without one come last;
    /// in rising order too, because databases differ in where they sort what is empty.
    async fn sample(&self, records: &RecordApi, wanted: Option<&RecordKey>) -> Result<Option<RecordKey>, Error> {
        let query = || ListQuery::new(records.resource().clone()).line_count(SAMPLE);
        // A nested attribute cannot stand in the order, and a resource may refuse it: the first rows have to do then.
        let mut orders = vec![query()];
        if !self.key.contains('.') {
            orders.push(query().order_by(self.key.as_str())?);
            orders.push(query().order_by_descending(self.key.as_str())?);
        }
        let mut answered = false;
        while let Some(order) = orders.pop() {
            if answered && orders.is_empty() {
                break;
            }
            let page = match self.client.list::<CustomRecord>(&order).await {
                Ok(page) => page,
                Err(error) if error.is_transient() || orders.is_empty() => return Err(error),
                Err(_) => continue,
            };
            answered = true;
            let keys = page.content.iter().filter_map(|row| RecordKey::new(row.text(&self.key)?).ok());
            if let Some(key) = keys.into_iter().find(|key| wanted.is_none_or(|wanted| wanted == key)) {
                return Ok(Some(key));
            }
        }
        Ok(None)
    }

    /// Whether the key leads to its own row, and to no other.
    async fn reaches(&self, records: &RecordApi, key: &RecordKey) -> Result<bool, Error> {
        match records.get::<CustomRecord>(key).await {
            Ok(Some(row)) => Ok(row.text(&self.key).as_deref() == Some(key.as_str())),
            Ok(None) => Ok(false),
            // Ambiguous, or a key that Campaign takes for something else.
            Err(error) if error.kind().is_of_record() && !error.is_transient() => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn refuted(&self, records: &RecordApi) -> EndpointError {
        let Self { place, key, .. } = self;
        let resource = records.resource();
        let (message, remedy) = match records.addressing() {
            Addressing::Key => (
                format!(
                    "{place}.key: rows of {resource} that have a value in {key} are not found by it, so {key} does not \
                     identify them. Nothing was created or left undeleted because of it."
                ),
                format!(
                    "Choose an attribute for {place}.key that is an identification key of the resource in Campaign, or set \
                     {place}.key_filter to a published filter that finds a row by {key}."
                ),
            ),
            Addressing::Filter { name, .. } => (
                format!(
                    "{place}.key_filter: the filter {name} of {resource} does not find a row that is there by its {key}, or \
                     finds several. Nothing was created or left undeleted because of it."
                ),
                format!(
                    "Set {place}.key_filter to a published filter that compares {key} exactly, and make {key} a unique key \
                     of the resource in Campaign."
                ),
            ),
        };
        EndpointError::new(EndpointErrorKind::Refused, "campaign-key-does-not-identify", message, remedy)
    }
}
