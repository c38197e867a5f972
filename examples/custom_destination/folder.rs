//! A destination of one's own: a folder with a JSON file for each record.

use std::fmt::Write as _;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use record::Key;
use sync_core::traits::{Action, Attempt, Destination, DestinationCaps, Outcome, Rejection, Report, WriteOp};
use sync_core::{EndpointError, EndpointErrorKind, Payload};
use tokio::fs;

/// Writes to a folder that nobody else writes to.
#[derive(Debug, Clone)]
pub(crate) struct JsonFolder(pub(crate) PathBuf);

impl JsonFolder {
    /// A name that every file system bears, and no two keys share.
    pub(crate) fn file(&self, key: &Key) -> PathBuf {
        let mut name = String::new();
        for byte in key.to_bytes() {
            let _ = write!(name, "{byte:02x}");
        }
        self.0.join(name + ".json")
    }

    /// The key of a file.
    pub(crate) fn key(file: &Path) -> Option<Key> {
        let name = file.file_name()?.to_str()?.strip_suffix(".json")?;
        let byte = |at: usize| name.get(at..at + 2).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        let bytes: Option<Vec<u8>> = (0..name.len()).step_by(2).map(byte).collect();
        Key::from_bytes(&bytes?).ok()
    }

    async fn reachable(&self) -> Result<(), EndpointError> {
        if fs::try_exists(&self.0).await.unwrap_or(false) {
            return Ok(());
        }
        let (code, what) = ("folder-away", "The folder is not there.");
        Err(EndpointError::new(EndpointErrorKind::Unavailable, code, what, "Mount it again."))
    }

    /// The whole body first, under a name of its own: nobody ever meets half a record.
    async fn stage(&self, op: &WriteOp, body: &Payload) -> std::io::Result<PathBuf> {
        let staged = self.file(&op.key).with_extension(format!("new-{}", op.seq.0));
        fs::write(&staged, &body.0).await?;
        Ok(staged)
    }

    async fn perform(&self, op: &WriteOp) -> std::io::Result<Outcome> {
        let file = self.file(&op.key);
        match &op.action {
            Action::Create(body) | Action::Update(body)
                if serde_json::from_slice::<serde_json::Value>(&body.0).is_err() =>
            {
                Ok(Outcome::Rejected(Rejection {
                    code: "no-json".to_owned(),
                    field: None,
                    explanation: "The body is no JSON; correct the mapping.".to_owned(),
                }))
            }
            Action::Create(body) => {
                // A link, unlike a rename, fails where the name is taken: the folder itself keeps keys unique.
                let staged = self.stage(op, body).await?;
                let linked = fs::hard_link(&staged, &file).await;
                fs::remove_file(&staged).await?;
                match linked {
                    Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(Outcome::Exists),
                    linked => linked.map(|()| Outcome::Applied),
                }
            }
            Action::Update(_) if !fs::try_exists(&file).await? => Ok(Outcome::Missing),
            Action::Update(body) => {
                let staged = self.stage(op, body).await?;
                fs::rename(&staged, &file).await.map(|()| Outcome::Applied)
            }
            Action::Delete => match fs::remove_file(&file).await {
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(Outcome::Missing),
                removed => removed.map(|()| Outcome::Applied),
            },
        }
    }
}

#[async_trait]
impl Destination for JsonFolder {
    fn capabilities(&self) -> DestinationCaps {
        DestinationCaps { unique_key: true, settle: Duration::ZERO, in_flight: 4 }
    }

    async fn apply(&self, _at: &Attempt, ops: &[WriteOp], report: &mut Report) -> Result<(), EndpointError> {
        self.reachable().await?;
        for (index, op) in ops.iter().enumerate() {
            // What failed midway may have taken effect.
            let failed = |error: std::io::Error| Outcome::Unknown { code: format!("folder-{}", error.kind()) };
            report.set(index, self.perform(op).await.unwrap_or_else(failed));
        }
        Ok(())
    }

    async fn resolve(&self, _at: &Attempt, ops: &[WriteOp], report: &mut Report) -> Result<(), EndpointError> {
        self.reachable().await?;
        for (index, op) in ops.iter().enumerate() {
            if let Ok(there) = fs::try_exists(self.file(&op.key)).await {
                report.set(index, if there { Outcome::Exists } else { Outcome::Missing });
            }
        }
        Ok(())
    }
}
