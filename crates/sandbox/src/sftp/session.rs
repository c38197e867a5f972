//! One connection: SSH with one user and one key, and the SFTP operations on the files.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use russh::keys::ssh_key::public::KeyData;
use russh::server::{Auth, ChannelOpenHandle, Msg, Session, VerifiedPublicKey};
use russh::{Channel, ChannelId};
use russh_sftp::protocol::{
    Attrs, Data, File, FileAttributes, Handle, Name, OpenFlags, Packet, Status, StatusCode, Version,
};

use super::faults::SftpFaultKind;
use super::files::{Files, SharedInode, absolute, locked};
use super::service::{Shared, USER};

/// Files and folders that one connection may hold open.
const MOST_HANDLES: usize = 256;

/// Entries in one answer to a listing.
const ENTRIES: usize = 100;

/// Cuts a connection from the outside, whatever its tasks wait for.
#[derive(Debug)]
pub(super) struct Cutter(pub(super) std::net::TcpStream);

impl Cutter {
    pub(super) fn cut(&self) {
        let _ = self.0.shutdown(std::net::Shutdown::Both);
    }
}

pub(super) struct SshSession {
    pub(super) shared: Arc<Shared>,
    pub(super) user_key: KeyData,
    pub(super) cutter: Arc<Cutter>,
    pub(super) channels: HashMap<ChannelId, Channel<Msg>>,
}

impl russh::server::Handler for SshSession {
    type Error = russh::Error;

    async fn auth_publickey(&mut self, user: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, Self::Error> {
        let known = user == USER && *key.public_key.key_data() == self.user_key;
        Ok(if known { Auth::Accept } else { Auth::reject() })
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Self::Error> {
        self.channels.insert(channel.id(), channel);
        reply.accept().await;
        Ok(())
    }

    async fn channel_eof(&mut self, channel: ChannelId, session: &mut Session) -> Result<(), Self::Error> {
        session.close(channel)
    }

    async fn subsystem_request(&mut self, id: ChannelId, name: &str, session: &mut Session) -> Result<(), Self::Error> {
        match self.channels.remove(&id) {
            Some(channel) if name == "sftp" => {
                session.channel_success(id)?;
                let handler = SftpSession {
                    shared: self.shared.clone(),
                    cutter: self.cutter.clone(),
                    handles: HashMap::new(),
                    next: 0,
                    doomed: false,
                };
                russh_sftp::server::run(channel.into_stream(), handler).await;
                Ok(())
            }
            _ => session.channel_failure(id),
        }
    }
}

#[derive(Debug)]
enum Open {
    File { inode: SharedInode, path: String, append: bool },
    Folder { path: String, rest: Vec<(String, FileAttributes)> },
}

struct SftpSession {
    shared: Arc<Shared>,
    cutter: Arc<Cutter>,
    handles: HashMap<String, Open>,
    next: u64,
    /// The next operation finds the connection cut.
    doomed: bool,
}

/// What a fault leaves of an operation.
enum Fate {
    Normal,
    CutAfterwards,
    OneByte,
    Half,
}

impl SftpSession {
    fn files(&self) -> &Files {
        &self.shared.files
    }

    async fn fate(&mut self, method: &str, path: &str) -> Result<Fate, StatusCode> {
        self.shared.count(method);
        if self.doomed {
            self.cutter.cut();
            return Err(StatusCode::ConnectionLost);
        }
        let Some(rule) = self.shared.faults.decide(method, path) else { return Ok(Fate::Normal) };
        let wait = rule.delay_ms.map(Duration::from_millis);
        match rule.fault {
            SftpFaultKind::Hang => match wait {
                Some(wait) => tokio::time::sleep(wait).await,
                None => std::future::pending().await,
            },
            _ => tokio::time::sleep(wait.unwrap_or_default()).await,
        }
        match rule.fault {
            SftpFaultKind::ResetBefore => {
                self.cutter.cut();
                Err(StatusCode::ConnectionLost)
            }
            SftpFaultKind::ResetAfterCommit => Ok(Fate::CutAfterwards),
            SftpFaultKind::Truncate => {
                self.doomed = true;
                Ok(Fate::Half)
            }
            SftpFaultKind::Hang | SftpFaultKind::Status => Err(StatusCode::Failure),
            SftpFaultKind::Drip => Ok(Fate::OneByte),
            SftpFaultKind::Delay | SftpFaultKind::HostKey => Ok(Fate::Normal),
        }
    }

    /// Carries an operation out, under its fault.
    async fn run<T>(
        &mut self,
        method: &str,
        path: &str,
        act: impl FnOnce(&Files, i64) -> Result<T, StatusCode>,
    ) -> Result<T, StatusCode> {
        let fate = self.fate(method, path).await?;
        let done = act(self.files(), self.shared.clock.now_seconds());
        if matches!(fate, Fate::CutAfterwards) {
            self.cutter.cut();
            return Err(StatusCode::ConnectionLost);
        }
        done
    }

    fn hold(&mut self, id: u32, open: Open) -> Result<Handle, StatusCode> {
        if self.handles.len() >= MOST_HANDLES {
            return Err(StatusCode::Failure);
        }
        self.next += 1;
        let handle = self.next.to_string();
        self.handles.insert(handle.clone(), open);
        Ok(Handle { id, handle })
    }

    fn file(&self, handle: &str) -> Result<(SharedInode, String, bool), StatusCode> {
        match self.handles.get(handle) {
            Some(Open::File { inode, path, append }) => Ok((inode.clone(), path.clone(), *append)),
            _ => Err(StatusCode::Failure),
        }
    }
}

fn ok(id: u32) -> Status {
    Status { id, status_code: StatusCode::Ok, error_message: "Success".to_owned(), language_tag: "en".to_owned() }
}

/// The one text in the data of `fsync@openssh.com`: a length and the handle.
fn text_of(data: &[u8]) -> Option<String> {
    let (length, rest) = data.split_at_checked(4)?;
    let length = u32::from_be_bytes(length.try_into().ok()?) as usize;
    String::from_utf8(rest.get(..length)?.to_vec()).ok()
}

impl russh_sftp::server::Handler for SftpSession {
    type Error = StatusCode;

    fn unimplemented(&self) -> Self::Error {
        StatusCode::OpUnsupported
    }

    async fn init(&mut self, _version: u32, _extensions: HashMap<String, String>) -> Result<Version, Self::Error> {
        let mut version = Version::new();
        version.extensions.insert("fsync@openssh.com".to_owned(), "1".to_owned());
        Ok(version)
    }

    async fn open(
        &mut self,
        id: u32,
        filename: String,
        flags: OpenFlags,
        _attrs: FileAttributes,
    ) -> Result<Handle, Self::Error> {
        let has = |flag| flags.contains(flag);
        let (create, exclusive) = (has(OpenFlags::CREATE), has(OpenFlags::EXCLUDE));
        let (truncate, append) = (has(OpenFlags::TRUNCATE), has(OpenFlags::APPEND));
        let open = |files: &Files, now| files.open(&filename, create, exclusive, truncate, now);
        let inode = self.run("OPEN", &filename, open).await?;
        self.hold(id, Open::File { inode, path: filename, append })
    }

    async fn close(&mut self, id: u32, handle: String) -> Result<Status, Self::Error> {
        let path = match self.handles.get(&handle) {
            Some(Open::File { path, .. } | Open::Folder { path, .. }) => path.clone(),
            None => return Err(StatusCode::Failure),
        };
        self.run("CLOSE", &path, |_, _| Ok(())).await?;
        self.handles.remove(&handle);
        Ok(ok(id))
    }

    async fn read(&mut self, id: u32, handle: String, offset: u64, length: u32) -> Result<Data, Self::Error> {
        let (inode, path, _) = self.file(&handle)?;
        let fate = self.fate("READ", &path).await?;
        let data = {
            let inode = locked(&inode);
            let start = usize::try_from(offset).unwrap_or(usize::MAX).min(inode.content.len());
            let rest = inode.content.get(start..).unwrap_or_default();
            let wanted = rest.len().min(length as usize);
            let given = match fate {
                Fate::OneByte => wanted.min(1),
                Fate::Half => wanted.div_ceil(2),
                Fate::Normal | Fate::CutAfterwards => wanted,
            };
            rest.get(..given).unwrap_or_default().to_vec()
        };
        if matches!(fate, Fate::CutAfterwards) {
            self.cutter.cut();
        }
        if data.is_empty() { Err(StatusCode::Eof) } else { Ok(Data { id, data }) }
    }

    async fn write(&mut self, id: u32, handle: String, offset: u64, data: Vec<u8>) -> Result<Status, Self::Error> {
        let (inode, path, append) = self.file(&handle)?;
        let write = |_: &Files, now| {
            let mut inode = locked(&inode);
            let start = if append { inode.content.len() } else { usize::try_from(offset).unwrap_or(usize::MAX) };
            let end = start.checked_add(data.len()).filter(|end| *end <= 1 << 31).ok_or(StatusCode::Failure)?;
            if inode.content.len() < end {
                inode.content.resize(end, 0);
            }
            if let Some(place) = inode.content.get_mut(start..end) {
                place.copy_from_slice(&data);
            }
            inode.modified = now;
            Ok(())
        };
        self.run("WRITE", &path, write).await?;
        Ok(ok(id))
    }

    async fn lstat(&mut self, id: u32, path: String) -> Result<Attrs, Self::Error> {
        let attrs = self.run("STAT", &path, |files, _| files.attributes(&path, false)).await?;
        Ok(Attrs { id, attrs })
    }

    async fn stat(&mut self, id: u32, path: String) -> Result<Attrs, Self::Error> {
        let attrs = self.run("STAT", &path, |files, _| files.attributes(&path, true)).await?;
        Ok(Attrs { id, attrs })
    }

    async fn fstat(&mut self, id: u32, handle: String) -> Result<Attrs, Self::Error> {
        let (inode, path, _) = self.file(&handle)?;
        let attrs = self.run("STAT", &path, |_, _| Ok(Files::of_inode(&inode))).await?;
        Ok(Attrs { id, attrs })
    }

    async fn setstat(&mut self, id: u32, path: String, _attrs: FileAttributes) -> Result<Status, Self::Error> {
        self.files().attributes(&path, true)?;
        Ok(ok(id))
    }

    async fn fsetstat(&mut self, id: u32, handle: String, _attrs: FileAttributes) -> Result<Status, Self::Error> {
        self.file(&handle)?;
        Ok(ok(id))
    }

    async fn opendir(&mut self, id: u32, path: String) -> Result<Handle, Self::Error> {
        let mut rest = self.run("LIST", &path, |files, _| files.entries(&path)).await?;
        rest.reverse();
        self.hold(id, Open::Folder { path, rest })
    }

    async fn readdir(&mut self, id: u32, handle: String) -> Result<Name, Self::Error> {
        let Some(Open::Folder { rest, .. }) = self.handles.get_mut(&handle) else { return Err(StatusCode::Failure) };
        let start = rest.len().saturating_sub(ENTRIES);
        let mut part = rest.split_off(start);
        part.reverse();
        if part.is_empty() {
            return Err(StatusCode::Eof);
        }
        Ok(Name { id, files: part.into_iter().map(|(name, attributes)| File::new(name, attributes)).collect() })
    }

    async fn remove(&mut self, id: u32, filename: String) -> Result<Status, Self::Error> {
        self.run("REMOVE", &filename, |files, _| files.remove(&filename)).await?;
        Ok(ok(id))
    }

    async fn mkdir(&mut self, id: u32, path: String, _attrs: FileAttributes) -> Result<Status, Self::Error> {
        self.run("MKDIR", &path, |files, _| files.make_folder(&path)).await?;
        Ok(ok(id))
    }

    async fn realpath(&mut self, id: u32, path: String) -> Result<Name, Self::Error> {
        Ok(Name { id, files: vec![File::dummy(absolute(&path))] })
    }

    async fn rename(&mut self, id: u32, oldpath: String, newpath: String) -> Result<Status, Self::Error> {
        self.run("RENAME", &oldpath, |files, _| files.rename(&oldpath, &newpath)).await?;
        Ok(ok(id))
    }

    async fn extended(&mut self, id: u32, request: String, data: Vec<u8>) -> Result<Packet, Self::Error> {
        if request != "fsync@openssh.com" {
            return Err(StatusCode::OpUnsupported);
        }
        let (_, path, _) = self.file(&text_of(&data).ok_or(StatusCode::BadMessage)?)?;
        self.run("FSYNC", &path, |_, _| Ok(())).await?;
        Ok(Packet::Status(ok(id)))
    }
}
