use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use async_compression::tokio::bufread::GzipDecoder;
use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use russh_sftp::client::error::Error as SftpError;
use russh_sftp::protocol::{FileAttributes, OpenFlags, StatusCode};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncRead, BufReader, ReadBuf};
use tokio_util::io::StreamReader;

use super::config::ExchangeLimits;
use super::connection::{Abandoned, Exchange, Session, refused};
use super::error::{ExchangeError, ExchangeErrorKind, Limit};
use super::ledger::FileLedgerKey;
use super::listing::{FileEntry, plain};
use super::name::Folder;

/// Bytes of one read request: every server gives that many at once.
const CHUNK: u32 = 32 * 1024;

/// Read requests under way: they hide the distance to the server.
const READS: usize = 16;

/// What a compressed file may expand to whatever its size: the proportion says nothing about so little.
const FREE_OF_RATIO: u64 = 1 << 20;

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// A file open on the server. Dropped before it is closed, it is closed by the next call on the connection.
struct OpenFile {
    session: Arc<Session>,
    handle: String,
    closed: bool,
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        if !self.closed {
            self.session.abandon(Abandoned::Handle(std::mem::take(&mut self.handle)));
        }
    }
}

impl OpenFile {
    /// `length` bytes from `offset` on. Fewer mean that the file was cut meanwhile.
    async fn read(&self, offset: u64, length: u32) -> Result<Bytes, ExchangeError> {
        let mut all = Vec::new();
        loop {
            let have = u32::try_from(all.len()).unwrap_or(u32::MAX);
            let wanted = length.saturating_sub(have);
            if wanted == 0 {
                return Ok(all.into());
            }
            match self.session.sftp.read(self.handle.as_str(), offset + u64::from(have), wanted).await {
                Ok(part) if part.data.is_empty() || part.data.len() > wanted as usize => {
                    return Err(ExchangeError::new(ExchangeErrorKind::Transport));
                }
                Ok(part) if all.is_empty() => all = part.data,
                Ok(part) => all.extend_from_slice(&part.data),
                Err(SftpError::Status(status)) if status.status_code == StatusCode::Eof => {
                    return Err(ExchangeError::new(ExchangeErrorKind::Changed));
                }
                Err(error) => return Err(refused(error)),
            }
        }
    }

    async fn attributes(&self) -> Result<FileAttributes, ExchangeError> {
        Ok(self.session.sftp.fstat(self.handle.as_str()).await.map_err(refused)?.attrs)
    }
}

/// Whether the file is the one that was listed.
fn unchanged(found: &FileAttributes, listed: &FileEntry) -> Result<(), ExchangeError> {
    match plain(found) {
        Some(found) if found == (listed.size, listed.modified) => Ok(()),
        Some(_) => Err(ExchangeError::new(ExchangeErrorKind::Changed)),
        None => Err(ExchangeError::new(ExchangeErrorKind::NotAFile)),
    }
}

type Chunks = StreamReader<BoxStream<'static, io::Result<Bytes>>, Bytes>;

/// The bytes as they lie on the server, counted and hashed on their way.
struct Raw {
    chunks: Chunks,
    size: u64,
    hash: Sha256,
}

impl AsyncRead for Raw {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        ready!(Pin::new(&mut self.chunks).poll_read(context, into))?;
        let new = into.filled().get(before..).unwrap_or_default();
        self.size += new.len() as u64;
        self.hash.update(new);
        Poll::Ready(Ok(()))
    }
}

enum Content {
    Plain(Box<BufReader<Raw>>),
    Gzip(Box<GzipDecoder<BufReader<Raw>>>),
}

impl Content {
    fn raw(&self) -> &Raw {
        match self {
            Self::Plain(reader) => reader.get_ref(),
            Self::Gzip(decoder) => decoder.get_ref().get_ref(),
        }
    }
}

/// A file of the server as a stream of bytes, decompressed where it is gzip.
///
/// It ends with an error, and never quietly, when the file is cut off, changes while it is read, is damaged or exceeds a limit; the
/// error inside the [`io::Error`] is an [`ExchangeError`] ([`ExchangeError::from_io`]). Dropping it at any point leaves nothing
/// behind. Memory: at most 16 chunks of 32 KiB on their way, whatever the size of the file.
pub struct FileReader {
    content: Content,
    entry: FileEntry,
    limits: ExchangeLimits,
    produced: u64,
    ended: bool,
    failed: bool,
}

impl std::fmt::Debug for FileReader {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("FileReader")
            .field("entry", &self.entry)
            .field("produced", &self.produced)
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

impl FileReader {
    /// The file that is read.
    #[must_use]
    pub fn entry(&self) -> &FileEntry {
        &self.entry
    }

    /// Name and hash of the file as it lies on the server, once everything was read without an error; `None` before.
    #[must_use]
    pub fn ledger_key(&self) -> Option<FileLedgerKey> {
        self.ended.then(|| FileLedgerKey {
            name: self.entry.name.clone(),
            sha256: self.content.raw().hash.clone().finalize().into(),
        })
    }

    fn judge(&mut self, new: usize) -> Result<(), ExchangeError> {
        self.produced += new as u64;
        if self.produced > self.limits.decompressed {
            return Err(ExchangeError::new(ExchangeErrorKind::Limit(Limit::Decompressed)));
        }
        let allowed = self.content.raw().size.saturating_mul(self.limits.ratio).saturating_add(FREE_OF_RATIO);
        if matches!(self.content, Content::Gzip(_)) && self.produced > allowed {
            return Err(ExchangeError::new(ExchangeErrorKind::Limit(Limit::Ratio)));
        }
        Ok(())
    }
}

impl AsyncRead for FileReader {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.failed {
            return Poll::Ready(Err(ExchangeError::new(ExchangeErrorKind::Damaged).into()));
        }
        if this.ended || into.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let before = into.filled().len();
        let read = match &mut this.content {
            Content::Plain(reader) => ready!(Pin::new(reader.as_mut()).poll_read(context, into)),
            Content::Gzip(decoder) => ready!(Pin::new(decoder.as_mut()).poll_read(context, into)),
        };
        let outcome = match read {
            Ok(()) => {
                let new = into.filled().len() - before;
                this.ended = new == 0;
                this.judge(new)
            }
            Err(error) => Err(damage(error)),
        };
        if outcome.is_err() {
            this.failed = true;
            // What came over the limit is not handed out.
            into.set_filled(before);
        }
        Poll::Ready(outcome.map_err(|error| error.during(format!("read {}", this.entry.name)).into()))
    }
}

/// An error of the connection as it is, any other one as damage of the compressed data.
fn damage(error: io::Error) -> ExchangeError {
    match error.downcast::<ExchangeError>() {
        Ok(own) => own,
        Err(other) => ExchangeError::from_source(ExchangeErrorKind::Damaged, other),
    }
}

impl Exchange {
    /// Opens a file for reading from its start to its end, decompressed where it begins as gzip does.
    ///
    /// # Errors
    /// [`ExchangeErrorKind::NotFound`], [`ExchangeErrorKind::NotAFile`] for a link, [`ExchangeErrorKind::Changed`] when size or time
    /// are not those of the listing any more, [`ExchangeErrorKind::Limit`], and whatever the connection comes up with. Cancel safe.
    pub async fn open(&self, folder: &Folder, entry: &FileEntry) -> Result<FileReader, ExchangeError> {
        let opened = async {
            let mut raw = BufReader::with_capacity(CHUNK as usize, self.raw(folder, entry).await?);
            // Chunks are whole whatever the server's answers are, so that the magic bytes come together.
            let start = raw.fill_buf().await.map_err(damage)?;
            let content = if start.starts_with(&GZIP_MAGIC) {
                let mut decoder = GzipDecoder::new(raw);
                decoder.multiple_members(true);
                Content::Gzip(Box::new(decoder))
            } else {
                Content::Plain(Box::new(raw))
            };
            let (entry, limits) = (entry.clone(), self.limits);
            Ok(FileReader { content, entry, limits, produced: 0, ended: false, failed: false })
        };
        opened.await.map_err(|error: ExchangeError| error.during(format!("open {folder}/{}", entry.name)))
    }

    /// Reads a file only to hash it: to ask whether it was processed before its rows are looked at.
    ///
    /// # Errors
    /// Those of [`Exchange::open`] and of reading. Cancel safe.
    pub async fn fingerprint(&self, folder: &Folder, entry: &FileEntry) -> Result<FileLedgerKey, ExchangeError> {
        let hashed = async {
            let mut raw = BufReader::with_capacity(CHUNK as usize, self.raw(folder, entry).await?);
            loop {
                let new = raw.fill_buf().await.map_err(damage)?.len();
                if new == 0 {
                    let sha256 = raw.into_inner().hash.finalize().into();
                    return Ok(FileLedgerKey { name: entry.name.clone(), sha256 });
                }
                Pin::new(&mut raw).consume(new);
            }
        };
        hashed.await.map_err(|error: ExchangeError| error.during(format!("read {folder}/{}", entry.name)))
    }

    async fn raw(&self, folder: &Folder, entry: &FileEntry) -> Result<Raw, ExchangeError> {
        self.session.tidy().await;
        if entry.size > self.limits.file_size {
            return Err(ExchangeError::new(ExchangeErrorKind::Limit(Limit::FileSize)));
        }
        let path = folder.file(entry.name.as_str());
        // Opening follows links, so the name is looked at first, and the open file is compared with what was listed.
        let found = self.session.look(&path).await?;
        unchanged(&found.ok_or_else(|| ExchangeError::new(ExchangeErrorKind::NotFound))?, entry)?;
        let handle =
            self.session.sftp.open(path, OpenFlags::READ, FileAttributes::empty()).await.map_err(refused)?.handle;
        let file = OpenFile { session: self.session.clone(), handle, closed: false };
        unchanged(&file.attributes().await?, entry)?;
        let chunks = StreamReader::new(chunks(Arc::new(file), entry.clone()));
        Ok(Raw { chunks, size: 0, hash: Sha256::new() })
    }
}

/// All chunks in order, and at the end the question whether the file is still the same.
fn chunks(file: Arc<OpenFile>, entry: FileEntry) -> BoxStream<'static, io::Result<Bytes>> {
    let size = entry.size;
    let step = u64::from(CHUNK);
    let reader = file.clone();
    let reads = stream::iter((0..size.div_ceil(step)).map(move |number| number * step))
        .map(move |offset| {
            let file = reader.clone();
            let length = u32::try_from(size - offset).unwrap_or(u32::MAX).min(CHUNK);
            async move { file.read(offset, length).await }
        })
        .buffered(READS);
    let end = stream::once(async move {
        unchanged(&file.attributes().await?, &entry)?;
        // The reads hold the file too, but none of them is left; a handle that nobody closes here is closed by the next call.
        if let Some(mut file) = Arc::into_inner(file) {
            file.session.sftp.close(file.handle.as_str()).await.map_err(refused)?;
            file.closed = true;
        }
        Ok(Bytes::new())
    });
    reads.chain(end).map_err(io::Error::from).boxed()
}
