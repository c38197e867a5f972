//! A folder of the file exchange: which of its files are complete, which is next, and where it goes when it was read.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use campaign_client::exchange::table::{Quotes, Separator, TableReader, TextForm};
use campaign_client::exchange::{
    CompleteWhen, Completeness, Exchange, ExchangeConfig, ExchangeError, ExchangeErrorKind, FileEntry, FileName,
    Folder, Listing, PrivateKeySource,
};
use timing::SharedClock;

use super::layout::RowLayout;
use super::place::{FileMark, Place};
use super::trouble::fault_of_file;
use crate::config::{ExportComplete, ExportFiles, SftpConfig};
use crate::error::Problem;

/// A folder and how to get there.
#[derive(Debug)]
pub(super) struct ExportFolder {
    exchange: ExchangeConfig,
    pub(super) folder: Folder,
    processed: Folder,
    refused: Folder,
    pattern: String,
    rule: CompleteWhen,
    pub(super) form: TextForm,
    clock: SharedClock,
}

/// What is known of a folder from one look to the next.
#[derive(Debug)]
pub(super) struct Seen {
    exchange: Option<Arc<Exchange>>,
    complete: Completeness,
    marks: HashMap<FileName, (FileEntry, FileMark)>,
}

/// A file that is to be read.
pub(super) struct Next {
    pub(super) exchange: Arc<Exchange>,
    pub(super) entry: FileEntry,
    pub(super) mark: FileMark,
    /// Rows that were read before.
    pub(super) rows: u64,
    /// Why it cannot be.
    pub(super) fault: Option<&'static str>,
}

impl ExportFolder {
    /// Reads the private key; `place` is where the folder stands in the configuration.
    pub(super) fn new(
        sftp: &SftpConfig,
        files: &ExportFiles,
        place: &str,
        clock: SharedClock,
    ) -> Result<Self, Problem> {
        let exchange = exchange(sftp)?;
        let folder = |path: String| {
            Folder::new(path).map_err(|error| {
                Problem::new(format!("{place}.folder"), format!("The folder: {error}."), format!("{}.", error.remedy()))
            })
        };
        let rule = match &files.complete {
            ExportComplete::Renamed(ending) => CompleteWhen::Renamed(ending.clone()),
            ExportComplete::Stable(span) => CompleteWhen::Stable(*span),
        };
        let form = TextForm {
            separator: files.separator.map(|separator| match separator {
                '\t' => Separator::Tab,
                ';' => Separator::Semicolon,
                '|' => Separator::Pipe,
                _ => Separator::Comma,
            }),
            quotes: files.quotes.map(|quotes| match quotes {
                Some('"') => Quotes::Double,
                Some(_) => Quotes::Single,
                None => Quotes::None,
            }),
            columns: files.header.clone(),
            ..TextForm::default()
        };
        Ok(Self {
            exchange,
            folder: folder(files.folder.clone())?,
            processed: folder(format!("{}/processed", files.folder))?,
            refused: folder(format!("{}/refused", files.folder))?,
            pattern: files.pattern.clone(),
            rule,
            form,
            clock,
        })
    }

    /// Nothing seen yet.
    pub(super) fn unseen(&self) -> Seen {
        let complete = Completeness::new(self.rule.clone(), self.clock.clone());
        Seen { exchange: None, complete, marks: HashMap::new() }
    }

    /// The file that is to be read next: the one that was begun, then by name. Files that were read are moved away on the way, since
    /// whoever asks has their rows. Where files may still be written, it waits once for them to stand still.
    pub(super) async fn next(&self, seen: &mut Seen, place: &mut Place) -> Result<Option<Next>, ExchangeError> {
        let exchange = self.connected(seen).await?;
        let begun = place.reading.take();
        let mut waited = false;
        loop {
            let listing = self.list(&exchange, &self.folder).await?;
            seen.marks.retain(|name, _| listing.files.iter().any(|entry| entry.name == *name));
            if let Some(begun) = &begun
                && let Some(entry) = listing.files.iter().find(|entry| entry.name.as_str() == begun.file.name)
            {
                let found = self.mark(seen, &exchange, &self.folder, entry).await?;
                if let Some((mark, fault)) = found.filter(|(mark, _)| *mark == begun.file) {
                    let (entry, rows) = (entry.clone(), begun.rows);
                    return Ok(Some(Next { exchange, entry, mark, rows, fault }));
                }
            }
            let mut complete = seen.complete.complete(&listing);
            complete.sort_by(|one, other| one.name.cmp(&other.name));
            for entry in &complete {
                let Some((mark, fault)) = self.mark(seen, &exchange, &self.folder, entry).await? else { continue };
                let Some(done) = place.done(&mark) else {
                    let entry = entry.clone();
                    return Ok(Some(Next { exchange, entry, mark, rows: 0, fault }));
                };
                let to = if done.refused { &self.refused } else { &self.processed };
                match exchange.move_to(&self.folder, &entry.name, to).await {
                    // Somebody else took it away.
                    Err(error) if error.kind() == ExchangeErrorKind::NotFound => {}
                    moved => drop(moved?),
                }
            }
            match self.rule {
                CompleteWhen::Stable(span) if !waited && complete.len() < listing.files.len() => {
                    // A clock that stands still between two looks would say that nothing stood still.
                    self.clock.sleep(span.max(Duration::from_millis(1))).await;
                    waited = true;
                }
                _ => return Ok(None),
            }
        }
    }

    /// All files that are there, processed ones first, each with the folder it lies in; for single records.
    pub(super) async fn all(&self, seen: &mut Seen) -> Result<Vec<(Folder, Next)>, ExchangeError> {
        let exchange = self.connected(seen).await?;
        let mut all = Vec::new();
        for folder in [&self.processed, &self.folder] {
            let listing = match self.list(&exchange, folder).await {
                // Nothing was processed yet.
                Err(error) if error.kind() == ExchangeErrorKind::NotFound => continue,
                listing => listing?,
            };
            for entry in listing.files {
                let Some((mut mark, fault)) = self.mark(seen, &exchange, folder, &entry).await? else { continue };
                mark.name = original(entry.name.as_str()).to_owned();
                all.push((folder.clone(), Next { exchange: exchange.clone(), entry, mark, rows: 0, fault }));
            }
        }
        Ok(all)
    }

    /// Opens the newest file, processed ones included, and looks for the columns of its rows: the name of a file that has them, or
    /// `None` where there is none to look at.
    pub(super) async fn header(
        &self,
        exchange: &Exchange,
        layout: &dyn RowLayout,
    ) -> Result<Option<FileName>, ExchangeError> {
        let mut newest: Option<(&Folder, FileEntry)> = None;
        for folder in [&self.processed, &self.folder] {
            let listing = match self.list(exchange, folder).await {
                Err(error) if error.kind() == ExchangeErrorKind::NotFound => continue,
                listing => listing?,
            };
            for entry in listing.files.into_iter().filter(|entry| entry.size > 0) {
                if newest
                    .as_ref()
                    .is_none_or(|(_, known)| (known.modified, &known.name) < (entry.modified, &entry.name))
                {
                    newest = Some((folder, entry));
                }
            }
        }
        let Some((folder, entry)) = newest else { return Ok(None) };
        let reader = exchange.open(folder, &entry).await?;
        let table = TableReader::open(reader, &self.form).await?;
        layout.decoder(table.columns())?;
        Ok(Some(entry.name))
    }

    /// After an error nobody knows what the connection is good for.
    pub(super) fn disconnect(seen: &mut Seen) {
        seen.exchange = None;
    }

    async fn connected(&self, seen: &mut Seen) -> Result<Arc<Exchange>, ExchangeError> {
        if let Some(open) = seen.exchange.as_ref().filter(|exchange| !exchange.is_closed()) {
            return Ok(open.clone());
        }
        let new = Arc::new(Exchange::connect(self.exchange.clone()).await?);
        seen.exchange = Some(new.clone());
        Ok(new)
    }

    async fn list(&self, exchange: &Exchange, folder: &Folder) -> Result<Listing, ExchangeError> {
        let mut listing = exchange.list(folder).await?;
        listing.files.retain(|entry| matches(&self.pattern, original(entry.name.as_str())));
        Ok(listing)
    }

    /// Name and hash of a file: it is fetched for that, unless it is known already. A file that cannot be read is known by its size
    /// and time; `None` for one that has gone.
    async fn mark(
        &self,
        seen: &mut Seen,
        exchange: &Exchange,
        folder: &Folder,
        entry: &FileEntry,
    ) -> Result<Option<(FileMark, Option<&'static str>)>, ExchangeError> {
        let of_folder = *folder == self.folder;
        if of_folder
            && let Some((known, mark)) = seen.marks.get(&entry.name)
            && known == entry
        {
            return Ok(Some((mark.clone(), None)));
        }
        match exchange.fingerprint(folder, entry).await {
            Ok(key) => {
                let hash = key.hex().get(..32).unwrap_or_default().to_owned();
                let mark = FileMark { name: entry.name.to_string(), hash };
                if of_folder {
                    seen.marks.insert(entry.name.clone(), (entry.clone(), mark.clone()));
                }
                Ok(Some((mark, None)))
            }
            Err(error) if error.kind() == ExchangeErrorKind::NotFound => Ok(None),
            Err(error) => match fault_of_file(&error) {
                Some(fault) => {
                    let hash = format!("{:x}-{:x}", entry.size, entry.modified);
                    Ok(Some((FileMark { name: entry.name.to_string(), hash }, Some(fault))))
                }
                None => Err(error),
            },
        }
    }
}

/// How the file exchange is reached; the private key is read.
pub(crate) fn exchange(sftp: &SftpConfig) -> Result<ExchangeConfig, Problem> {
    let key = sftp.private_key.read("sftp.private_key")?;
    Ok(ExchangeConfig::new(
        sftp.host.as_str(),
        sftp.port,
        sftp.user.as_str(),
        PrivateKeySource::Text(key),
        sftp.host_key.as_str(),
    ))
}

/// Whether a name fits a pattern in which `*` stands for anything.
fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        match rest.find(part) {
            Some(at) => rest = rest.get(at + part.len()..).unwrap_or_default(),
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// The name that a file had before a number was put behind it because the name was taken among the processed ones.
fn original(name: &str) -> &str {
    match name.rsplit_once('.') {
        Some((front, number))
            if front.contains('.') && !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()) =>
        {
            front
        }
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything() {
        for (pattern, name) in
            [("logs_*", "logs_1.csv.gz"), ("*", "a"), ("a*b*c", "a1b2c"), ("a.csv", "a.csv"), ("*_x*", "1_x")]
        {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [("logs_*", "optout_1.csv"), ("a*b", "ab1"), ("a.csv", "a.csv.gz"), ("ab*ba", "aba")] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn a_number_behind_the_name_is_not_part_of_it() {
        assert_eq!(original("logs_1.csv.gz.12"), "logs_1.csv.gz");
        for name in ["logs_1.csv", "logs.1", "logs"] {
            assert_eq!(original(name), name);
        }
    }
}
