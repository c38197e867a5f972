//! The files of a folder as the engine's source.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use campaign_client::exchange::table::TableReader;
use campaign_client::exchange::{Exchange, ExchangeError, FileName, FileReader, Folder};
use record::{Change, Key};
use sync_core::traits::{BatchLimit, ChangeBatch, Phase, Source, SourceCaps};
use sync_core::{EndpointError, Position};
use timing::SharedClock;
use tokio::sync::Mutex;

use super::folder::{ExportFolder, Next, Seen};
use super::layout::{DecodeRow, RowLayout, Unusable, gone, unusable};
use super::place::{FileMark, Place, Reading};
use super::trouble::{endpoint_error, fault_of_file};
use crate::config::{ExportFiles, SftpConfig};
use crate::error::Problem;

/// Characters of the rows of one answer, beside the number of rows that is asked for.
const MOST_TEXT: usize = 8 << 20;

/// Reads the complete files of a folder, in the order of their names.
///
/// A position says which file was read up to which row. A file is fetched twice, first to know its content by a hash, then for its
/// rows: so a crash in the middle goes on with the same file, and never in the middle of another one of its name. Rows of the answer
/// that was not durable are told again. A file is moved to `processed/` when the next answer is asked for, hence with its rows
/// durable; one that cannot be read to its end becomes a dead letter and goes to `refused/`.
pub(crate) struct ExportSource {
    folder: ExportFolder,
    layout: Arc<dyn RowLayout>,
    state: Mutex<State>,
}

struct State {
    seen: Seen,
    /// The file that is being read. Taken out for every read, so that one that is given up leaves none behind.
    open: Option<OpenFile>,
}

/// A file in the middle of its rows.
struct OpenFile {
    mark: FileMark,
    table: TableReader<FileReader>,
    decoder: Box<dyn DecodeRow>,
    rows: u64,
}

impl std::fmt::Debug for ExportSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ExportSource")
            .field("folder", &self.folder)
            .field("layout", &self.layout)
            .finish_non_exhaustive()
    }
}

impl ExportSource {
    /// Connects with the first read. `place` is where the folder stands in the configuration.
    ///
    /// # Errors
    /// A private key that cannot be read, a folder whose name cannot be used.
    pub(crate) fn new(
        sftp: &SftpConfig,
        files: &ExportFiles,
        place: &str,
        layout: Arc<dyn RowLayout>,
        clock: SharedClock,
    ) -> Result<Self, Problem> {
        let folder = ExportFolder::new(sftp, files, place, clock)?;
        let state = Mutex::new(State { seen: folder.unseen(), open: None });
        Ok(Self { folder, layout, state })
    }

    /// Whether a file was read to its end between two positions.
    pub(super) fn finished(&self, after: Option<&Position>, next: &Position) -> bool {
        let place = |position| Place::of(position, self.folder.folder.as_str());
        place(Some(next)).is_past(&place(after))
    }

    /// The name of the newest file, whose columns are those that are looked for; `None` where there is no file.
    ///
    /// # Errors
    /// When a column is missing, or the file cannot be read.
    pub(crate) async fn newest_header(&self, exchange: &Exchange) -> Result<Option<FileName>, ExchangeError> {
        self.folder.header(exchange, self.layout.as_ref()).await
    }

    async fn step(&self, state: &mut State, place: &mut Place, limit: BatchLimit) -> Result<Read, ExchangeError> {
        let begun = |open: &OpenFile| {
            place.reading.as_ref().is_some_and(|reading| reading.file == open.mark && reading.rows == open.rows)
        };
        let open = match state.open.take().filter(begun) {
            Some(open) => open,
            None => {
                let Some(next) = self.folder.next(&mut state.seen, place).await? else { return Ok(Read::default()) };
                let mark = next.mark.clone();
                if next.entry.size == 0 {
                    // Nothing to tell, not even a header.
                    place.finish(mark, false);
                    return Ok(Read { changes: Vec::new(), more: true });
                }
                match self.open(&self.folder.folder, next).await? {
                    Ok(open) => open,
                    Err(fault) => return Ok(refuse(place, mark, fault)),
                }
            }
        };
        self.rows(state, place, open, limit).await
    }

    /// Opens a file behind the rows that were read before; the inner error is a fault of the file.
    async fn open(&self, folder: &Folder, next: Next) -> Result<Result<OpenFile, &'static str>, ExchangeError> {
        if let Some(fault) = next.fault {
            return Ok(Err(fault));
        }
        let opened = async {
            let reader = next.exchange.open(folder, &next.entry).await?;
            let mut table = TableReader::open(reader, &self.folder.form).await?;
            let decoder = self.layout.decoder(table.columns())?;
            for _ in 0..next.rows {
                table.next().await?;
            }
            Ok(OpenFile { mark: next.mark, table, decoder, rows: next.rows })
        };
        or_fault(opened.await)
    }

    async fn rows(
        &self,
        state: &mut State,
        place: &mut Place,
        mut open: OpenFile,
        limit: BatchLimit,
    ) -> Result<Read, ExchangeError> {
        let mut changes = Vec::new();
        let mut text = 0;
        for _ in 0..limit.rows.max(1) {
            match or_fault(open.next(&mut text).await)? {
                Ok(Some(change)) => changes.extend(change),
                Ok(None) => {
                    place.finish(open.mark, false);
                    return Ok(Read { changes, more: true });
                }
                Err(fault) => {
                    changes.extend(refuse(place, open.mark, fault).changes);
                    return Ok(Read { changes, more: true });
                }
            }
            if text > MOST_TEXT {
                break;
            }
        }
        place.reading = Some(Reading { file: open.mark.clone(), rows: open.rows });
        state.open = Some(open);
        Ok(Read { changes, more: true })
    }

    /// Looks for records in all files that are still there; of several states of one record, the last file's counts.
    async fn find(&self, state: &mut State, keys: &[Key]) -> Result<BTreeMap<Key, Change>, ExchangeError> {
        state.open = None;
        let mut found = BTreeMap::new();
        for (folder, next) in self.folder.all(&mut state.seen).await? {
            if next.entry.size == 0 {
                continue;
            }
            let Ok(mut open) = self.open(&folder, next).await? else { continue };
            while let Ok(Some(change)) = or_fault(open.next(&mut 0).await)? {
                let wanted = change.filter(|change| keys.contains(&change.key));
                found.extend(wanted.map(|change| (change.key.clone(), change)));
            }
        }
        Ok(found)
    }
}

/// What one read found.
#[derive(Default)]
struct Read {
    changes: Vec<Change>,
    more: bool,
}

impl OpenFile {
    /// The next row: a change, or `None` for one that is passed over; the outer `None` at the end.
    async fn next(&mut self, text: &mut usize) -> Result<Option<Option<Change>>, ExchangeError> {
        let Some(row) = self.table.next().await? else { return Ok(None) };
        self.rows += 1;
        let row = match row {
            Ok(row) => row,
            Err(error) => return Ok(Some(Some(unusable(&self.mark, error.line, error.into())))),
        };
        *text += row.iter().map(str::len).sum::<usize>();
        let line = row.line();
        Ok(Some(self.decoder.decode(&row).unwrap_or_else(|why| Some(unusable(&self.mark, line, why)))))
    }
}

/// A file that cannot be read to its end: one dead letter, and never again.
fn refuse(place: &mut Place, mark: FileMark, expected: &'static str) -> Read {
    let letter = unusable(&mark, 0, Unusable { field: "file".to_owned(), expected });
    tracing::warn!(file = mark.name, "a file cannot be read to its end: {expected} was expected");
    place.finish(mark, true);
    Read { changes: vec![letter], more: true }
}

/// Tells what is wrong with the file from what is wrong with the way to it.
fn or_fault<T>(result: Result<T, ExchangeError>) -> Result<Result<T, &'static str>, ExchangeError> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(error) => fault_of_file(&error).map(Err).ok_or(error),
    }
}

#[async_trait]
impl Source for ExportSource {
    fn capabilities(&self) -> SourceCaps {
        SourceCaps::default()
    }

    async fn read(&self, after: Option<&Position>, limit: BatchLimit) -> Result<ChangeBatch, EndpointError> {
        let mut state = self.state.lock().await;
        let mut place = Place::of(after, self.folder.folder.as_str());
        match self.step(&mut state, &mut place, limit).await {
            Ok(Read { changes, more }) => {
                Ok(ChangeBatch { changes, next: place.position()?, phase: Phase::Incremental, more })
            }
            Err(error) => {
                ExportFolder::disconnect(&mut state.seen);
                Err(endpoint_error(error))
            }
        }
    }

    /// Reads all files that are still in the folder and in `processed/`: as many as were ever kept there.
    async fn fetch(&self, keys: &[Key]) -> Result<Vec<Change>, EndpointError> {
        let mut state = self.state.lock().await;
        match self.find(&mut state, keys).await {
            // What no file tells of any longer was not deleted: its letter stays.
            Ok(mut found) => Ok(keys.iter().map(|key| found.remove(key).unwrap_or_else(|| gone(key))).collect()),
            Err(error) => {
                ExportFolder::disconnect(&mut state.seen);
                Err(endpoint_error(error))
            }
        }
    }
}
