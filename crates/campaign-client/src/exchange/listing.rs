use std::collections::HashMap;
use std::time::Duration;

use russh_sftp::client::error::Error as SftpError;
use russh_sftp::protocol::{FileAttributes, StatusCode};
use timing::SharedClock;

use super::connection::{Abandoned, Exchange, Session, refused};
use super::error::{ExchangeError, ExchangeErrorKind, Limit};
use super::name::{FileName, Folder};

/// A file as a listing showed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileEntry {
    /// Name.
    pub name: FileName,
    /// Bytes.
    pub size: u64,
    /// When it was last written, by the server's clock: seconds since 1970.
    pub modified: u32,
}

/// What a folder holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// Plain files by name. Whether they are complete, [`Completeness`] says.
    pub files: Vec<FileEntry>,
    /// Folders.
    pub folders: usize,
    /// Files whose names say that somebody is still writing; hidden files among them.
    pub partial: usize,
    /// Links, devices, and names that are not taken.
    pub refused: usize,
}

/// Size and time of a plain file; `None` for anything else, a link above all.
pub(super) fn plain(attributes: &FileAttributes) -> Option<(u64, u32)> {
    // Without a type in the answer the file might be a link.
    let is_file = attributes.permissions.is_some() && attributes.file_type().is_file();
    is_file.then_some((attributes.size?, attributes.mtime?))
}

/// Closes a folder also when the call is given up.
struct OpenFolder<'a> {
    session: &'a Session,
    handle: Option<String>,
}

impl Drop for OpenFolder<'_> {
    fn drop(&mut self) {
        if let Some(handle) = self.handle.take() {
            self.session.abandon(Abandoned::Handle(handle));
        }
    }
}

impl Exchange {
    /// Lists a folder. A link in place of the folder is refused, and so are links and strange names in it.
    ///
    /// # Errors
    /// [`ExchangeErrorKind::NotFound`], [`ExchangeErrorKind::NotAFile`], [`ExchangeErrorKind::Limit`] for too many entries, and
    /// whatever the connection comes up with. Cancel safe.
    pub async fn list(&self, folder: &Folder) -> Result<Listing, ExchangeError> {
        self.list_entries(folder).await.map_err(|error| error.during(format!("list {folder}")))
    }

    async fn list_entries(&self, folder: &Folder) -> Result<Listing, ExchangeError> {
        self.session.tidy().await;
        let sftp = &self.session.sftp;
        let found = self.session.look(folder.as_str()).await?;
        let found = found.ok_or_else(|| ExchangeError::new(ExchangeErrorKind::NotFound))?;
        if !found.file_type().is_dir() {
            return Err(ExchangeError::because(ExchangeErrorKind::NotAFile, "this is a link or a file, and no folder"));
        }
        let handle = sftp.opendir(folder.as_str()).await.map_err(refused)?.handle;
        let mut open = OpenFolder { session: &self.session, handle: Some(handle.clone()) };
        let mut listing = Listing::default();
        let mut seen = 0;
        loop {
            let entries = match sftp.readdir(handle.as_str()).await {
                Ok(name) => name.files,
                Err(SftpError::Status(status)) if status.status_code == StatusCode::Eof => break,
                Err(error) => return Err(refused(error)),
            };
            seen += entries.len();
            if seen > self.limits.entries {
                return Err(ExchangeError::new(ExchangeErrorKind::Limit(Limit::Entries)));
            }
            for entry in entries {
                sort_in(&mut listing, entry.filename, &entry.attrs);
            }
        }
        open.handle = None;
        sftp.close(handle).await.map_err(refused)?;
        listing.files.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(listing)
    }
}

fn sort_in(listing: &mut Listing, name: String, attributes: &FileAttributes) {
    if name == "." || name == ".." {
        return;
    }
    if attributes.file_type().is_dir() {
        listing.folders += 1;
        return;
    }
    let Some((size, modified)) = plain(attributes) else {
        listing.refused += 1;
        return;
    };
    match FileName::new(name.as_str()) {
        Ok(name) if name.is_partial() => listing.partial += 1,
        Ok(name) => listing.files.push(FileEntry { name, size, modified }),
        Err(_) if name.starts_with('.') => listing.partial += 1,
        Err(_) => listing.refused += 1,
    }
}

/// When a file counts as complete.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CompleteWhen {
    /// The writer renames it at the end, so that its name ends thus: `.done`.
    Renamed(String),
    /// Two listings this far apart show the same size and time.
    Stable(Duration),
}

/// Tells complete files from files that are still being written, over the listings of one folder.
#[derive(Debug)]
pub struct Completeness {
    rule: CompleteWhen,
    clock: SharedClock,
    seen: HashMap<FileName, Seen>,
}

#[derive(Debug)]
struct Seen {
    size: u64,
    modified: u32,
    since: Duration,
}

impl Completeness {
    /// Nothing seen yet.
    #[must_use]
    pub fn new(rule: CompleteWhen, clock: SharedClock) -> Self {
        Self { rule, clock, seen: HashMap::new() }
    }

    /// Takes note of a listing and gives its complete files, oldest first. What is not in it is forgotten.
    pub fn complete(&mut self, listing: &Listing) -> Vec<FileEntry> {
        let now = self.clock.monotonic();
        let mut complete: Vec<FileEntry> = match &self.rule {
            CompleteWhen::Renamed(ending) => {
                let done = |file: &&FileEntry| {
                    file.name.as_str().len() > ending.len() && file.name.as_str().ends_with(ending.as_str())
                };
                listing.files.iter().filter(done).cloned().collect()
            }
            CompleteWhen::Stable(span) => {
                let mut before = std::mem::take(&mut self.seen);
                let mut complete = Vec::new();
                for file in &listing.files {
                    let known = before.remove(&file.name);
                    let same = known.filter(|known| known.size == file.size && known.modified == file.modified);
                    let since = same.map_or(now, |known| known.since);
                    // The first listing that shows a file never makes it complete, however short the span is.
                    if since != now && now.saturating_sub(since) >= *span {
                        complete.push(file.clone());
                    }
                    self.seen.insert(file.name.clone(), Seen { size: file.size, modified: file.modified, since });
                }
                complete
            }
        };
        complete.sort_by(|one, other| (one.modified, &one.name).cmp(&(other.modified, &other.name)));
        complete
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use timing::ManualClock;

    fn file(name: &str, size: u64, modified: u32) -> FileEntry {
        FileEntry { name: FileName::new(name).unwrap(), size, modified }
    }

    fn listing(files: &[FileEntry]) -> Listing {
        Listing { files: files.to_vec(), ..Listing::default() }
    }

    #[test]
    fn a_file_is_complete_once_it_stood_still_for_the_span() {
        let clock = ManualClock::new();
        let mut rule = Completeness::new(CompleteWhen::Stable(Duration::from_secs(60)), clock.shared());
        let growing = |size| listing(&[file("a.csv", size, 5), file("b.csv", 9, 1)]);
        assert_eq!(rule.complete(&growing(1)), []);
        clock.advance(Duration::from_secs(59));
        assert_eq!(rule.complete(&growing(1)), []);
        clock.advance(Duration::from_secs(1));
        assert_eq!(rule.complete(&growing(2)), [file("b.csv", 9, 1)], "a.csv has grown");
        clock.advance(Duration::from_secs(60));
        assert_eq!(rule.complete(&growing(2)), [file("b.csv", 9, 1), file("a.csv", 2, 5)]);
        // Gone and come again is a new file; written again with the same size is one too.
        assert_eq!(rule.complete(&listing(&[])), []);
        clock.advance(Duration::from_secs(60));
        assert_eq!(rule.complete(&growing(2)), []);
        clock.advance(Duration::from_secs(60));
        assert_eq!(rule.complete(&listing(&[file("a.csv", 2, 6)])), []);
    }

    #[test]
    fn one_listing_is_never_enough() {
        let mut rule = Completeness::new(CompleteWhen::Stable(Duration::ZERO), ManualClock::new().shared());
        assert_eq!(rule.complete(&listing(&[file("a", 1, 1)])), []);
    }

    #[test]
    fn a_renamed_file_is_complete_at_once() {
        let mut rule = Completeness::new(CompleteWhen::Renamed(".done".to_owned()), ManualClock::new().shared());
        let found = rule.complete(&listing(&[file("a.csv", 1, 1), file("b.csv.done", 1, 1)]));
        assert_eq!(found, [file("b.csv.done", 1, 1)]);
    }

    #[test]
    fn links_folders_and_strange_names_are_sorted_out() {
        let attributes = |mode: u32| FileAttributes {
            size: Some(1),
            permissions: Some(mode),
            mtime: Some(7),
            ..FileAttributes::empty()
        };
        let mut listing = Listing::default();
        for (name, mode) in [
            ("good.csv", 0o100_644),
            ("link.csv", 0o120_777),
            ("folder", 0o040_755),
            ("pipe", 0o010_644),
            ("evil\n.csv", 0o100_644),
            (".x.csv.1.part", 0o100_644),
            ("x.csv.filepart", 0o100_644),
            (".", 0o040_755),
            ("..", 0o040_755),
        ] {
            sort_in(&mut listing, name.to_owned(), &attributes(mode));
        }
        sort_in(&mut listing, "untyped.csv".to_owned(), &FileAttributes { permissions: None, ..attributes(0) });
        assert_eq!(listing.files, [file("good.csv", 1, 7)]);
        assert_eq!((listing.folders, listing.partial, listing.refused), (1, 2, 4));
    }
}
