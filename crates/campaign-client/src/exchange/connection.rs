use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use russh::client::{self, Handle};
use russh::keys::ssh_key::public::KeyData;
use russh::keys::{PrivateKeyWithHashAlg, PublicKeyOrCertificate};
use russh::{AlgorithmKind, Preferred, cipher};
use russh_sftp::client::error::Error as SftpError;
use russh_sftp::client::{Config as SftpConfig, RawSftpSession};
use russh_sftp::protocol::{FileAttributes, StatusCode};

use super::config::{ExchangeConfig, ExchangeLimits, algorithms};
use super::error::{ExchangeError, ExchangeErrorKind};

/// Accepts the one configured host key and nothing else.
struct Pin(KeyData);

impl client::Handler for Pin {
    type Error = russh::Error;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        // A certificate would be a second way to be trusted, which nobody configured.
        Ok(shown.certificate().is_none() && *shown.public_key().key_data() == self.0)
    }
}

/// What a call that was given up left behind on the server.
#[derive(Debug)]
pub(super) enum Abandoned {
    /// An open handle.
    Handle(String),
    /// A temporary file.
    Partial(String),
}

/// The part of a connection that readers hold too.
pub(super) struct Session {
    pub(super) sftp: RawSftpSession,
    abandoned: Mutex<Vec<Abandoned>>,
}

impl Session {
    pub(super) fn abandon(&self, left: Abandoned) {
        self.abandoned.lock().unwrap_or_else(PoisonError::into_inner).push(left);
    }

    /// Tidies up after calls that were given up. Failures do not matter: the server closes handles with the connection, and nobody
    /// takes a temporary file for a complete one.
    pub(super) async fn tidy(&self) {
        loop {
            let next = self.abandoned.lock().unwrap_or_else(PoisonError::into_inner).pop();
            match next {
                Some(Abandoned::Handle(handle)) => drop(self.sftp.close(handle).await),
                Some(Abandoned::Partial(path)) => drop(self.sftp.remove(path).await),
                None => return,
            }
        }
    }

    /// The attributes of what stands at a path, links not followed; `None` where nothing does.
    pub(super) async fn look(&self, path: &str) -> Result<Option<FileAttributes>, ExchangeError> {
        match self.sftp.lstat(path).await {
            Ok(found) => Ok(Some(found.attrs)),
            Err(SftpError::Status(status)) if status.status_code == StatusCode::NoSuchFile => Ok(None),
            Err(error) => Err(refused(error)),
        }
    }
}

/// A connection to a file server.
///
/// The host key is pinned: a server that shows another one gets neither the user's name nor a signature. One connection serves any
/// number of calls, also at the same time. Every call may be dropped at any moment: a download leaves nothing behind, an upload at
/// most a temporary file that no reader takes for a complete one; the next call on the connection removes it. Dropping the
/// connection closes it.
pub struct Exchange {
    pub(super) session: Arc<Session>,
    pub(super) limits: ExchangeLimits,
    pub(super) can_sync: bool,
    ssh: Handle<Pin>,
}

impl fmt::Debug for Exchange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Exchange").field("closed", &self.ssh.is_closed()).finish_non_exhaustive()
    }
}

impl Exchange {
    /// Connects and authenticates.
    ///
    /// # Errors
    /// [`ExchangeErrorKind::Configuration`] and [`ExchangeErrorKind::PrivateKey`] before anything is sent,
    /// [`ExchangeErrorKind::HostKey`], [`ExchangeErrorKind::Authentication`], [`ExchangeErrorKind::Transport`],
    /// [`ExchangeErrorKind::Timeout`].
    ///
    /// Cancel safe: dropping the future closes the connection.
    pub async fn connect(config: ExchangeConfig) -> Result<Self, ExchangeError> {
        let pinned = config.pinned()?;
        let key = config.user_key()?;
        let within = config.connect_timeout;
        match tokio::time::timeout(within, open(&config, pinned, key)).await {
            Ok(done) => done.map_err(|error| error.during("connect")),
            Err(_) => Err(ExchangeError::new(ExchangeErrorKind::Timeout).during("connect")),
        }
    }

    /// Whether the connection has ended; every call fails then.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.ssh.is_closed()
    }

    /// Ends the connection in good order.
    pub async fn close(self) {
        self.session.tidy().await;
        let _ = self.session.sftp.close_session();
        let _ = self.ssh.disconnect(russh::Disconnect::ByApplication, "", "").await;
    }
}

async fn open(
    config: &ExchangeConfig,
    pinned: KeyData,
    key: Arc<russh::keys::PrivateKey>,
) -> Result<Exchange, ExchangeError> {
    let ssh_config = client::Config {
        preferred: Preferred {
            // The kind of the pinned key alone: a server that has it must show it, whatever else it has.
            key: Cow::Owned(algorithms(&pinned)),
            // None of these is open to the prefix truncation that strict key exchange was invented against.
            cipher: Cow::Borrowed(&[cipher::AES_256_GCM, cipher::AES_128_GCM, cipher::AES_256_CTR]),
            ..Preferred::DEFAULT
        },
        keepalive_interval: Some(config.keep_alive),
        keepalive_max: 3,
        nodelay: true,
        ..client::Config::default()
    };
    let mut ssh = client::connect(Arc::new(ssh_config), (config.host.as_str(), config.port), Pin(pinned))
        .await
        .map_err(handshake)?;
    let hash = if key.algorithm().is_rsa() {
        // What the server names, and SHA-2 even when it names nothing: the old signature is never made.
        let named = ssh.best_supported_rsa_hash().await.map_err(transport)?;
        Some(named.flatten().unwrap_or(russh::keys::HashAlg::Sha512))
    } else {
        None
    };
    let signed = PrivateKeyWithHashAlg::new(key, hash);
    let entered = ssh.authenticate_publickey(config.user.as_str(), signed).await.map_err(transport)?;
    if !entered.success() {
        return Err(ExchangeError::new(ExchangeErrorKind::Authentication));
    }
    let channel = ssh.channel_open_session().await.map_err(transport)?;
    channel.request_subsystem(true, "sftp").await.map_err(transport)?;
    let sftp_config =
        SftpConfig { request_timeout_secs: config.request_timeout.as_secs().max(1), ..SftpConfig::default() };
    let sftp = RawSftpSession::new_with_config(channel.into_stream(), sftp_config);
    let extensions: HashMap<String, String> = sftp.init().await.map_err(refused)?.extensions;
    Ok(Exchange {
        session: Arc::new(Session { sftp, abandoned: Mutex::default() }),
        limits: config.limits,
        can_sync: extensions.contains_key("fsync@openssh.com"),
        ssh,
    })
}

fn handshake(error: russh::Error) -> ExchangeError {
    match error {
        // Another key of the kind, no key of the kind, or a signature that the key did not make.
        russh::Error::UnknownKey
        | russh::Error::WrongServerSig
        | russh::Error::NoCommonAlgo { kind: AlgorithmKind::Key, .. } => ExchangeError::new(ExchangeErrorKind::HostKey),
        other => transport(other),
    }
}

fn transport(error: russh::Error) -> ExchangeError {
    ExchangeError::from_source(ExchangeErrorKind::Transport, error)
}

/// An answer of the SFTP server. What it says in words is left out: it may name anything.
pub(super) fn refused(error: SftpError) -> ExchangeError {
    let kind = match error {
        SftpError::Status(status) => match status.status_code {
            StatusCode::NoSuchFile => ExchangeErrorKind::NotFound,
            StatusCode::PermissionDenied => ExchangeErrorKind::Permission,
            StatusCode::NoConnection | StatusCode::ConnectionLost => ExchangeErrorKind::Transport,
            _ => ExchangeErrorKind::Refused,
        },
        SftpError::Timeout => ExchangeErrorKind::Timeout,
        _ => ExchangeErrorKind::Transport,
    };
    ExchangeError::new(kind)
}
