//! A destination of one's own, certified: does it answer for every operation as the engine needs it?
//!
//! `cargo run --example custom_destination`

#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a program that shows, and ends where it cannot go on")]

mod folder;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;

use folder::JsonFolder;
use record::Key;
use sync_core::Payload;
use sync_core::traits::Destination;
use sync_testkit::{DestinationGround, certify};
use tempfile::TempDir;

/// A folder in a folder, so that it can be taken away.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        std::fs::create_dir(place.folder().0).unwrap();
        place
    }

    fn folder(&self) -> JsonFolder {
        JsonFolder(self.0.path().join("records"))
    }
}

impl DestinationGround for Place {
    fn open(&self) -> Arc<dyn Destination> {
        Arc::new(self.folder())
    }

    fn records(&self) -> BTreeMap<Key, Vec<String>> {
        let mut records: BTreeMap<Key, Vec<String>> = BTreeMap::new();
        for entry in std::fs::read_dir(self.folder().0).unwrap() {
            let path = entry.unwrap().path();
            let body: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
            let key = JsonFolder::key(&path).unwrap();
            records.entry(key).or_default().push(body["text"].as_str().unwrap().to_owned());
        }
        records
    }

    fn create(&self, _key: &Key, text: &str) -> Payload {
        Payload(serde_json::json!({ "text": text }).to_string().into())
    }

    fn update(&self, key: &Key, text: &str) -> Payload {
        self.create(key, text)
    }

    fn refused(&self, _key: &Key) -> Option<Payload> {
        Some(Payload("{".into()))
    }

    fn break_down(&self, down: bool) -> bool {
        let (here, away) = (self.folder().0, self.0.path().join("away"));
        if down { std::fs::rename(here, away) } else { std::fs::rename(away, here) }.is_ok()
    }
}

fn main() -> ExitCode {
    let certificate = certify::destination(Place::new);
    println!("{certificate}");
    if certificate.holds() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
