//! Campaign's opt-out files as the source of its changes: a row says at whom to look, and decides nothing.

use async_trait::async_trait;
use campaign_client::exchange::ExchangeError;
use campaign_client::exchange::table::{OptOutColumns, OptOutDecoder, OptOutLayout, OptOutRow, Row, TimePrecision};
use record::{Change, ChangeBody, FieldName, Key, Record, Value};
use sync_core::traits::{BatchLimit, ChangeBatch, Source, SourceCaps};
use sync_core::{EndpointError, Position, StatusReason};
use timing::SharedClock;
use uuid::Uuid;

use super::layout::{DecodeRow, RowLayout, Unusable, gone};
use super::source::ExportSource;
use super::watch::FileWatch;
use crate::config::ExportFiles;

/// The layout of opt-out files.
///
/// The key of a record is the contact's id, or the external id as text where that is none. What the row says is observed, so that a row
/// that comes again is known again. One that does not tell when it changed, to the second at least, never is.
#[derive(Debug)]
pub(crate) struct OptOutRows {
    layout: OptOutLayout,
    clock: SharedClock,
}

impl OptOutRows {
    /// By the contract, or by the configured columns.
    pub(crate) fn new(files: &ExportFiles, clock: SharedClock) -> Self {
        let column = |name: &str| files.columns.get(name).cloned();
        let attributes = files.columns.iter().filter(|(name, _)| mapping::is_opt_out(name));
        let attributes: Vec<OptOutColumns> = attributes
            .map(|(name, value)| OptOutColumns {
                attribute: mapping::wire_name(name).into_owned(),
                value: value.clone(),
                modified: column(&format!("{name}LastModified")),
            })
            .collect();
        let default = OptOutLayout::default();
        let layout = OptOutLayout {
            external_id: column("external_id").unwrap_or(default.external_id),
            attributes: (!attributes.is_empty()).then_some(attributes),
            offset: files.utc_offset,
        };
        Self { layout, clock }
    }
}

impl RowLayout for OptOutRows {
    fn decoder(&self, header: &[String]) -> Result<Box<dyn DecodeRow>, ExchangeError> {
        let decoder = OptOutDecoder::new(header, &self.layout)?;
        let external_id = header.iter().position(|name| *name == self.layout.external_id).unwrap_or_default();
        Ok(Box::new(Decoder { decoder, external_id, clock: self.clock.clone() }))
    }
}

struct Decoder {
    decoder: OptOutDecoder,
    external_id: usize,
    clock: SharedClock,
}

impl DecodeRow for Decoder {
    fn decode(&self, row: &Row) -> Result<Option<Change>, Unusable> {
        let id = row.get(self.external_id).unwrap_or_default().trim();
        let key = match Uuid::parse_str(id) {
            Ok(id) => Key::Guid(id),
            // Somebody of whom Dynamics 365 does not know.
            Err(_) if id.is_empty() => Key::text(format!("line {}", row.line())),
            Err(_) => Key::text(id),
        };
        // A value that cannot be read keeps nobody from looking at the contact.
        let said = self.decoder.decode(row).ok();
        let mut record = said.as_ref().map(observed).unwrap_or_default();
        if !said.as_ref().is_some_and(is_dated) {
            record.push(FieldName::from("read"), Value::DateTime(self.clock.now()));
        }
        Ok(Some(Change { key, version: None, body: ChangeBody::Upsert(record) }))
    }
}

fn observed(row: &OptOutRow) -> Record {
    let mut record = Record::with_capacity(row.attributes.len() * 2 + 1);
    for attribute in &row.attributes {
        let name = attribute.name.as_ref();
        record.push(FieldName::from(name), attribute.value.map_or(Value::Null, Value::Bool));
        let time = attribute.modified.map_or(Value::Null, |time| Value::DateTime(time.at));
        record.push(FieldName::from(format!("{name}LastModified").as_str()), time);
    }
    record
}

/// Whether every opt-out of the row has its time, so that another value has another time.
fn is_dated(row: &OptOutRow) -> bool {
    let dated = row.attributes.iter().filter_map(|attribute| attribute.modified);
    dated.clone().count() > 0
        && dated.into_iter().all(|time| time.precision != TimePrecision::Day)
        && row.attributes.iter().all(|attribute| attribute.value != Some(true) || attribute.modified.is_some())
}

/// The opt-out files of a folder.
#[derive(Debug)]
pub(crate) struct OptOutFiles {
    files: ExportSource,
    watch: Option<FileWatch>,
    clock: SharedClock,
}

impl OptOutFiles {
    /// `watch` where files are expected.
    pub(crate) fn new(files: ExportSource, watch: Option<FileWatch>, clock: SharedClock) -> Self {
        Self { files, watch, clock }
    }
}

#[async_trait]
impl Source for OptOutFiles {
    fn capabilities(&self) -> SourceCaps {
        self.files.capabilities()
    }

    async fn read(&self, after: Option<&Position>, limit: BatchLimit) -> Result<ChangeBatch, EndpointError> {
        let batch = self.files.read(after, limit).await?;
        if let Some(watch) = &self.watch {
            let came = self.files.finished(after, &batch.next);
            // While there is something to read, nothing is missed.
            if came || !batch.more {
                watch.looked(came).await;
            }
        }
        Ok(batch)
    }

    fn notice(&self) -> Option<StatusReason> {
        self.watch.as_ref().and_then(FileWatch::reason)
    }

    /// Of a contact nothing is read here: the look that follows finds out what is there. Files are searched for rows alone that
    /// could not be read.
    async fn fetch(&self, keys: &[Key]) -> Result<Vec<Change>, EndpointError> {
        let rows: Vec<Key> = keys.iter().filter(|key| !matches!(key, Key::Guid(_))).cloned().collect();
        let rows = if rows.is_empty() { Vec::new() } else { self.files.fetch(&rows).await? };
        let mut rows = rows.into_iter();
        let now = self.clock.now();
        let change = |key: &Key| match key {
            Key::Guid(_) => {
                let mut record = Record::with_capacity(1);
                record.push(FieldName::from("asked"), Value::DateTime(now));
                Change { key: key.clone(), version: None, body: ChangeBody::Upsert(record) }
            }
            Key::Text(_) => rows.next().unwrap_or_else(|| gone(key)),
        };
        Ok(keys.iter().map(change).collect())
    }
}
