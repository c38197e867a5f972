//! The store, beside a process that may run on it.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::Path;

use super::findings::Findings;
use super::name::Name;
use crate::config::Config;
use crate::control;
use crate::error::{Error, Problem};

/// Whether the store can be read where there is one, and made where there is none.
pub(super) fn look(config: &Config) -> Findings {
    let mut findings = Findings::default();
    let file = &config.store.sqlite;
    findings.good(Name::StoreUsable, "");
    if file.exists() {
        for problem in control::open(config).err().iter().flat_map(Error::problems) {
            findings.fault(Name::StoreUsable, problem.clone());
        }
    }
    if let Err(error) = takes_files(file) {
        let problem = Problem::new(
            "store.sqlite",
            format!("No file can be made in the folder of {}: {}.", file.display(), error.kind()),
            "Make the folder, and let the user of this process write there.",
        );
        findings.fault(Name::StoreUsable, problem);
    }
    findings
}

/// The database keeps files beside its own, so that the folder has to take new ones. One is made and removed at once.
fn takes_files(store: &Path) -> io::Result<()> {
    let name = store.file_name().unwrap_or_default().to_string_lossy();
    let probe = store.with_file_name(format!(".{name}.preflight-{}", std::process::id()));
    OpenOptions::new().write(true).create_new(true).open(&probe)?;
    fs::remove_file(probe)
}
