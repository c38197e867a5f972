//! Puts the log on the file exchange.

use std::io::Write;
use std::time::Duration;

use campaign_client::exchange::{Exchange, ExchangeConfig, ExchangeError, ExchangeErrorKind, FileName, Folder};
use flate2::Compression;
use flate2::write::GzEncoder;
use timing::SharedClock;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::LogBuffer;
use crate::adapters::exports;
use crate::config::Config;
use crate::error::Problem;

/// Where the files go. It is made where it is missing.
const FOLDER: &str = "d365_loads/logs";

/// A file is written this often, or as soon as there is enough for one.
const EVERY: Duration = Duration::from_secs(300);

/// How long the end of a run waits for its last lines to be put there.
const AT_THE_END: Duration = Duration::from_secs(30);

/// Names tried for a file whose name is taken.
const MOST_NAMES: u32 = 1000;

/// Puts lines there from its start on.
#[derive(Debug)]
pub(crate) struct Uploader {
    exchange: ExchangeConfig,
    logs: LogBuffer,
    clock: SharedClock,
}

/// An uploader at work.
#[derive(Debug)]
pub(crate) struct Uploading {
    end: CancellationToken,
    task: JoinHandle<()>,
    logs: LogBuffer,
}

impl Uploader {
    /// None where the log is not to be exported.
    ///
    /// # Errors
    /// A private key that cannot be read.
    pub(crate) fn new(config: &Config, logs: LogBuffer, clock: SharedClock) -> Result<Option<Self>, Problem> {
        let Some(sftp) = config.sftp.as_ref().filter(|sftp| sftp.export_logs) else { return Ok(None) };
        Ok(Some(Self { exchange: exports::exchange(sftp)?, logs, clock }))
    }

    /// Begins.
    pub(crate) fn start(self) -> Uploading {
        self.logs.open();
        let (end, logs) = (CancellationToken::new(), self.logs.clone());
        let task = tokio::spawn(self.keep(end.clone()));
        Uploading { end, task, logs }
    }

    async fn keep(self, end: CancellationToken) {
        let mut failed = false;
        loop {
            tokio::select! {
                biased;
                () = end.cancelled() => break,
                // A server in trouble is not asked more often because much is to be told.
                () = self.logs.enough(), if !failed => {}
                () = self.clock.sleep(EVERY) => {}
            }
            failed = self.upload().await.is_err();
        }
        // Once more after a failure: it may have been the connection.
        let last = async {
            if self.upload().await.is_err() {
                let _ = self.upload().await;
            }
        };
        let _ = tokio::time::timeout(AT_THE_END, last).await;
    }

    /// Everything that waits now. Trouble is told in the log that stays on this machine; the lines wait for the next time.
    async fn upload(&self) -> Result<(), ExchangeError> {
        let done = self.upload_parts().await;
        if let Err(error) = &done {
            tracing::warn!(remedy = error.remedy(), "the log could not be put on the file exchange: {error}");
        }
        done
    }

    async fn upload_parts(&self) -> Result<(), ExchangeError> {
        // What the upload itself has logged waits for the next one.
        let mut left = self.logs.len();
        if left == 0 {
            return Ok(());
        }
        let exchange = Exchange::connect(self.exchange.clone()).await?;
        let folder = Folder::new(FOLDER)?;
        exchange.create_folder(&folder).await?;
        while left > 0 {
            let part = self.logs.part();
            if part.0.is_empty() {
                break;
            }
            let content = compressed(&part);
            self.upload_part(&exchange, &folder, &content).await?;
            self.logs.remove(&part);
            left = left.saturating_sub(part.0.len());
        }
        exchange.close().await;
        Ok(())
    }

    async fn upload_part(&self, exchange: &Exchange, folder: &Folder, content: &[u8]) -> Result<(), ExchangeError> {
        let at = self.clock.now().format("%Y%m%d_%H%M%S");
        let mut number = 0;
        loop {
            let name = FileName::new(format!("d365-campaign_{at}_{number:03}.log.gz"))?;
            match exchange.upload(folder, &name, content).await {
                Err(error) if error.kind() == ExchangeErrorKind::Exists && number < MOST_NAMES => number += 1,
                done => return done.map(drop),
            }
        }
    }
}

impl Uploading {
    /// Puts the last lines there, or gives up after half a minute.
    pub(crate) async fn finish(self) {
        self.end.cancel();
        // A task that panicked has nothing more to tell.
        let _ = self.task.await;
        self.logs.close();
    }
}

fn compressed((text, dropped): &(Vec<u8>, u64)) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    // Writing into memory cannot fail.
    let _ = encoder.write_all(text);
    if *dropped > 0 {
        let _ = writeln!(encoder, "{dropped} lines are missing here: too many were waiting for the file exchange");
    }
    encoder.finish().unwrap_or_default()
}
