//! Looks at a store from outside, beside a running process, and leaves requests of operators in it.

mod letters;
mod requests;
mod status;

use mapping::TableSpec;
use sync_core::{StoreError, StoreErrorKind};
use sync_store_sqlite::{SqliteOptions, SqliteStore};

pub use letters::{DeadLetterFilter, DeadLetterView, dead_letters};
pub use requests::{CarriedOutBy, LeftRequest, PendingRequestView, drop_letters, replay, requeue};
pub use status::{
    FilesReport, GapReport, PassReport, StatusReport, TableReport, WorkflowReport, WorkflowStateText, status,
};

use crate::config::Config;
use crate::error::{Error, ErrorKind, Problem};
use crate::workflows::streams::{self, StreamLabel};

/// The streams of a table that an operator names, or all, of every workflow.
fn streams(config: &Config, table: Option<&str>) -> Result<Vec<StreamLabel>, Error> {
    let all: Vec<StreamLabel> = streams::of(config).into_iter().flat_map(|(_, streams)| streams).collect();
    let Some(table) = table else { return Ok(all) };
    let mut known: Vec<String> = all.iter().map(|stream| stream.table.clone()).collect();
    known.dedup();
    let found: Vec<StreamLabel> = all.into_iter().filter(|stream| stream.table == table).collect();
    if found.is_empty() { Err(unknown_table(table, &known)) } else { Ok(found) }
}

fn unknown_table(table: &str, known: &[String]) -> Error {
    let message = format!("The table {table} is not configured.");
    let remedy = format!("Name a configured table: {}.", known.join(", "));
    Error::one(ErrorKind::Configuration, Problem::new("--table", message, remedy))
}

/// The mapping of a table that an operator names.
pub(crate) fn configured<'c>(config: &'c Config, table: &str) -> Result<&'c TableSpec, Error> {
    config.tables.iter().find(|spec| spec.table == table).ok_or_else(|| {
        let known: Vec<String> = config.tables.iter().map(|spec| spec.table.clone()).collect();
        unknown_table(table, &known)
    })
}

pub(crate) fn open(config: &Config) -> Result<SqliteStore, Error> {
    let key = config.store.key().map_err(|problem| Error::one(ErrorKind::Configuration, problem))?;
    let options = SqliteOptions::default().encryption_key(key);
    SqliteStore::open_read_only(&config.store.sqlite, &options).map_err(|error| store_error(config, error))
}

/// A store's error as the connector's: what can be seen before anything starts is a matter of configuration.
pub(crate) fn store_error(config: &Config, error: StoreError) -> Error {
    let kind = match error.kind() {
        StoreErrorKind::InUse | StoreErrorKind::TooNew | StoreErrorKind::Corrupt | StoreErrorKind::Unavailable => {
            ErrorKind::Store
        }
        _ => ErrorKind::Refused,
    };
    let problem = Problem::new(
        "store.sqlite",
        format!("{} ({})", error, config.store.sqlite.display()),
        error.remedy().to_owned(),
    );
    Error::one(kind, problem).with_source(error)
}
