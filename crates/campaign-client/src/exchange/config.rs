use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use russh::keys::ssh_key::public::KeyData;
use russh::keys::{Algorithm, HashAlg, PrivateKey, PublicKey};
use secrecy::{ExposeSecret, SecretString};

use super::error::{ExchangeError, ExchangeErrorKind};

/// Where the private key of the user comes from.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum PrivateKeySource {
    /// A file in OpenSSH's form. On Unix it must not be readable by anybody but its owner.
    File(PathBuf),
    /// The text of such a file.
    Text(SecretString),
}

/// How to reach a file server.
#[derive(Clone)]
pub struct ExchangeConfig {
    /// Host name or address.
    pub host: String,
    /// Port, usually 22.
    pub port: u16,
    /// User.
    pub user: String,
    /// The user's key. An RSA key signs with SHA-2 only.
    pub private_key: PrivateKeySource,
    /// The one host key that is accepted: a line like `ssh-ed25519 AAAA...`, as `ssh-keyscan` prints it without the host. It is never
    /// learnt from the server.
    pub host_key: String,
    /// The longest time for the connection with its handshake. Default 30 s.
    pub connect_timeout: Duration,
    /// The longest time for one answer of the server; whole seconds. Default 30 s.
    pub request_timeout: Duration,
    /// How often an idle connection is checked; three checks without answer end it. Default 15 s.
    pub keep_alive: Duration,
    /// What is read at most.
    pub limits: ExchangeLimits,
}

/// Bounds against files that are too large, by accident or on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExchangeLimits {
    /// Entries of a folder. Default 200,000.
    pub entries: usize,
    /// Bytes of a file as it lies on the server. Default 2 GiB.
    pub file_size: u64,
    /// Bytes of a file after decompression. Default 16 GiB.
    pub decompressed: u64,
    /// Decompressed bytes for each compressed one, beyond the first mebibyte. Default 100.
    pub ratio: u64,
}

impl Default for ExchangeLimits {
    fn default() -> Self {
        Self { entries: 200_000, file_size: 2 << 30, decompressed: 16 << 30, ratio: 100 }
    }
}

impl ExchangeConfig {
    /// Settings with the defaults for times and limits.
    #[must_use]
    pub fn new(
        host: impl Into<String>,
        port: u16,
        user: impl Into<String>,
        private_key: PrivateKeySource,
        host_key: impl Into<String>,
    ) -> Self {
        Self {
            host: host.into(),
            port,
            user: user.into(),
            private_key,
            host_key: host_key.into(),
            connect_timeout: Duration::from_secs(30),
            request_timeout: Duration::from_secs(30),
            keep_alive: Duration::from_secs(15),
            limits: ExchangeLimits::default(),
        }
    }

    pub(super) fn pinned(&self) -> Result<KeyData, ExchangeError> {
        let wrong = |message| ExchangeError::because(ExchangeErrorKind::Configuration, message);
        if self.host.is_empty() || self.user.is_empty() {
            return Err(wrong("sftp: host and user must not be empty"));
        }
        let mut words = self.host_key.split_ascii_whitespace();
        let line = format!("{} {}", words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let key = PublicKey::from_openssh(&line)
            .map_err(|_| wrong("sftp: host_key is not a line like ssh-ed25519 AAAA..."))?;
        if algorithms(key.key_data()).is_empty() {
            return Err(wrong("sftp: the kind of key in host_key is not accepted; ed25519, ECDSA and RSA are"));
        }
        Ok(key.key_data().clone())
    }

    /// Reads the private key. A small file, read at once.
    pub(super) fn user_key(&self) -> Result<Arc<PrivateKey>, ExchangeError> {
        let refused = |message| ExchangeError::because(ExchangeErrorKind::PrivateKey, message);
        let text = match &self.private_key {
            PrivateKeySource::Text(text) => text.clone(),
            PrivateKeySource::File(path) => {
                let read = |error: std::io::Error| {
                    ExchangeError::from_source(ExchangeErrorKind::PrivateKey, error).during("sftp: private_key")
                };
                let mut file = std::fs::File::open(path).map_err(read)?;
                // The mode of the file that is open, and not of what stands at its name a moment later.
                #[cfg(unix)]
                {
                    use std::os::unix::fs::PermissionsExt;
                    if file.metadata().map_err(read)?.permissions().mode() & 0o177 != 0 {
                        return Err(refused("sftp: the file of the private key is open to others than its owner"));
                    }
                }
                let mut text = String::new();
                std::io::Read::read_to_string(&mut file, &mut text).map_err(read)?;
                SecretString::from(text)
            }
        };
        let key = PrivateKey::from_openssh(text.expose_secret())
            .map_err(|_| refused("sftp: the private key is not in the form of OpenSSH"))?;
        if key.is_encrypted() {
            return Err(refused("sftp: the private key is encrypted with a passphrase"));
        }
        if algorithms(key.public_key().key_data()).is_empty() {
            return Err(refused("sftp: the kind of the private key is not accepted; ed25519, ECDSA and RSA are"));
        }
        Ok(Arc::new(key))
    }
}

/// The signatures that a key may be used with, best first. Never SHA-1.
pub(super) fn algorithms(key: &KeyData) -> Vec<Algorithm> {
    match key {
        KeyData::Ed25519(_) | KeyData::Ecdsa(_) => vec![key.algorithm()],
        KeyData::Rsa(_) => {
            vec![Algorithm::Rsa { hash: Some(HashAlg::Sha512) }, Algorithm::Rsa { hash: Some(HashAlg::Sha256) }]
        }
        _ => Vec::new(),
    }
}

impl fmt::Debug for ExchangeConfig {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ExchangeConfig")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("user", &self.user)
            .field("host_key", &self.host_key)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
