use bytes::Bytes;
use futures::stream::FuturesUnordered;
use futures::{StreamExt, TryStreamExt};
use russh_sftp::client::error::Error as SftpError;
use russh_sftp::protocol::{FileAttributes, OpenFlags, StatusCode};
use tokio::io::{AsyncRead, AsyncReadExt};
use uuid::Uuid;

use super::connection::{Abandoned, Exchange, Session, refused};
use super::error::{ExchangeError, ExchangeErrorKind};
use super::name::{FileName, Folder};

/// Bytes of one write request: with its frame, what every server takes at once.
const CHUNK: usize = 32 * 1024 - 256;

/// Write requests under way.
const WRITES: usize = 16;

/// Names tried for a file that is moved to where its name is taken.
const MOST_NAMES: u32 = 1000;

/// An upload under way. Dropped before its end, the temporary file is left to the next call on the connection.
struct Upload<'a> {
    session: &'a Session,
    path: String,
    handle: Option<String>,
    done: bool,
}

impl Drop for Upload<'_> {
    fn drop(&mut self) {
        // Last in, first out: the handle is closed before its file is removed.
        if !self.done {
            self.session.abandon(Abandoned::Partial(std::mem::take(&mut self.path)));
        }
        if let Some(handle) = self.handle.take() {
            self.session.abandon(Abandoned::Handle(handle));
        }
    }
}

impl Exchange {
    /// Uploads a file: under a temporary name that no listing of this crate takes, made durable where the server offers that, and
    /// renamed at the end. Gives the bytes written. An existing file is never overwritten.
    ///
    /// # Errors
    /// [`ExchangeErrorKind::Exists`], [`ExchangeErrorKind::Input`] when the reader fails, and whatever the connection comes up with;
    /// the temporary file is removed then, unless the connection itself failed. When that happens during the very rename, the file may
    /// be there all the same: list before trying again. Cancel safe: nothing visible is left.
    pub async fn upload<R>(&self, folder: &Folder, name: &FileName, reader: R) -> Result<u64, ExchangeError>
    where
        R: AsyncRead + Unpin + Send,
    {
        let done = self.write(folder, name, reader).await;
        // Over a connection that failed nothing can be tidied up, and each try would wait for its answer.
        let lost =
            |error: &ExchangeError| matches!(error.kind(), ExchangeErrorKind::Transport | ExchangeErrorKind::Timeout);
        if !done.as_ref().is_err_and(lost) {
            self.session.tidy().await;
        }
        done.map_err(|error| error.during(format!("upload {folder}/{name}")))
    }

    async fn write<R>(&self, folder: &Folder, name: &FileName, mut reader: R) -> Result<u64, ExchangeError>
    where
        R: AsyncRead + Unpin + Send,
    {
        self.session.tidy().await;
        let sftp = &self.session.sftp;
        let target = folder.file(name.as_str());
        if self.session.look(&target).await?.is_some() {
            return Err(ExchangeError::new(ExchangeErrorKind::Exists));
        }
        let path = folder.file(&format!(".{name}.{}.part", Uuid::new_v4().simple()));
        let flags = OpenFlags::WRITE | OpenFlags::CREATE | OpenFlags::EXCLUDE;
        // From here on the file may exist, whatever comes back.
        let mut upload = Upload { session: &self.session, path: path.clone(), handle: None, done: false };
        let handle = sftp.open(path.as_str(), flags, FileAttributes::empty()).await.map_err(refused)?.handle;
        upload.handle = Some(handle.clone());
        let mut offset = 0;
        let mut writes = FuturesUnordered::new();
        loop {
            let chunk = next_chunk(&mut reader).await?;
            if chunk.is_empty() {
                break;
            }
            let at = offset;
            offset += chunk.len() as u64;
            writes.push(sftp.write(handle.as_str(), at, chunk.into()));
            if writes.len() >= WRITES
                && let Some(written) = writes.next().await
            {
                written.map_err(refused)?;
            }
        }
        writes.try_collect::<Vec<_>>().await.map_err(refused)?;
        if self.can_sync {
            sftp.fsync(handle.as_str()).await.map_err(refused)?;
        }
        upload.handle = None;
        sftp.close(handle).await.map_err(refused)?;
        self.rename(&path, &target).await?;
        upload.done = true;
        Ok(offset)
    }

    /// Moves a file into another folder, which is made when it is missing. Where its name is taken there, a number is put behind
    /// it. Gives the name that it has now. Asked again after a lost answer, with the file gone and its name there, it answers as the
    /// first time.
    ///
    /// # Errors
    /// [`ExchangeErrorKind::NotFound`] when the file is neither here nor there, [`ExchangeErrorKind::NotAFile`] for a link, and
    /// whatever the connection comes up with. Cancel safe: the file is in one of the two folders.
    pub async fn move_to(&self, from: &Folder, name: &FileName, to: &Folder) -> Result<FileName, ExchangeError> {
        self.shift(from, name, to).await.map_err(|error| error.during(format!("move {from}/{name} to {to}")))
    }

    async fn shift(&self, from: &Folder, name: &FileName, to: &Folder) -> Result<FileName, ExchangeError> {
        self.session.tidy().await;
        let source = from.file(name.as_str());
        self.make_folder(to).await?;
        match self.session.look(&source).await? {
            Some(found) if found.permissions.is_some() && found.file_type().is_file() => {}
            Some(_) => return Err(ExchangeError::new(ExchangeErrorKind::NotAFile)),
            None if self.session.look(&to.file(name.as_str())).await?.is_some() => return Ok(name.clone()),
            None => return Err(ExchangeError::new(ExchangeErrorKind::NotFound)),
        }
        for number in 0..MOST_NAMES {
            let target = if number == 0 { name.clone() } else { FileName::new(format!("{name}.{number}"))? };
            let path = to.file(target.as_str());
            if self.session.look(&path).await?.is_some() {
                continue;
            }
            match self.rename(&source, &path).await {
                Ok(()) => return Ok(target),
                // Somebody else took the name in between.
                Err(error) if error.kind() == ExchangeErrorKind::Exists => {}
                Err(error) => return Err(error),
            }
        }
        Err(ExchangeError::new(ExchangeErrorKind::Exists))
    }

    /// Renames without overwriting; servers differ in how they say that the name is taken.
    async fn rename(&self, from: &str, to: &str) -> Result<(), ExchangeError> {
        match self.session.sftp.rename(from, to).await {
            Ok(_) => Ok(()),
            Err(SftpError::Status(status)) if status.status_code == StatusCode::Failure => {
                let taken = self.session.look(to).await?.is_some();
                let kind = if taken { ExchangeErrorKind::Exists } else { ExchangeErrorKind::Refused };
                Err(ExchangeError::new(kind))
            }
            Err(error) => Err(refused(error)),
        }
    }

    /// Makes a folder, and those above it, where they are missing.
    ///
    /// # Errors
    /// [`ExchangeErrorKind::NotAFile`] where a link or a file has the name, and whatever the connection comes up with. Cancel safe:
    /// folders above it may be there already.
    pub async fn create_folder(&self, folder: &Folder) -> Result<(), ExchangeError> {
        self.make_folder(folder).await.map_err(|error| error.during(format!("create {folder}")))
    }

    async fn make_folder(&self, folder: &Folder) -> Result<(), ExchangeError> {
        let not_a_folder =
            || ExchangeError::because(ExchangeErrorKind::NotAFile, "this is a link or a file, and no folder");
        let mut path = String::new();
        for part in folder.as_str().split('/') {
            if !path.is_empty() {
                path.push('/');
            }
            path.push_str(part);
            match self.session.look(&path).await? {
                Some(found) if found.file_type().is_dir() => {}
                Some(_) if path.len() < folder.as_str().len() => {}
                Some(_) => return Err(not_a_folder()),
                None => match self.session.sftp.mkdir(path.as_str(), FileAttributes::empty()).await {
                    Ok(_) => {}
                    // Somebody else made it in between.
                    Err(_) if self.session.look(&path).await?.is_some_and(|found| found.file_type().is_dir()) => {}
                    Err(error) => return Err(refused(error)),
                },
            }
        }
        Ok(())
    }
}

/// Up to [`CHUNK`] bytes; none at the end. Small reads are gathered, so that a slow reader does not make many requests.
async fn next_chunk<R: AsyncRead + Unpin>(reader: &mut R) -> Result<Bytes, ExchangeError> {
    let mut chunk = Vec::with_capacity(CHUNK);
    let mut part = reader.take(CHUNK as u64);
    part.read_to_end(&mut chunk).await.map_err(|error| ExchangeError::from_source(ExchangeErrorKind::Input, error))?;
    Ok(chunk.into())
}
