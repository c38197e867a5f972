//! The listener, the keys, and what the rest of the sandbox may do with the files.

use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use russh::keys::ssh_key::private::Ed25519Keypair;
use russh::keys::ssh_key::{LineEnding, PrivateKey};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::faults::{SftpFaultBook, SftpFaultKind};
use super::files::{Files, locked};
use super::session::{Cutter, SshSession};
use crate::clock::SandboxClock;
use crate::prng::Prng;

/// The one user.
pub(super) const USER: &str = "campaign";

/// Folder of the exports.
pub const EXPORTS: &str = "d365_loads/exports";

/// Folder of the connector's logs.
pub const LOGS: &str = "d365_loads/logs";

/// Where the file exchange is, and who may enter.
#[derive(Debug, Clone)]
pub struct SftpInfo {
    /// Address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// User.
    pub user: String,
    /// The user's private key in a folder of the system's temporary one, gone with the sandbox.
    pub private_key_file: PathBuf,
    /// The server's key, `ssh-ed25519 AAAA...`.
    pub host_key: String,
}

impl SftpInfo {
    /// The object that the program prints.
    pub fn to_json(&self) -> Value {
        json!({
            "host": self.host, "port": self.port, "user": self.user,
            "private_key_file": self.private_key_file, "host_key": self.host_key,
        })
    }
}

/// What the connections share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) files: Files,
    pub(super) faults: SftpFaultBook,
    pub(super) clock: Arc<SandboxClock>,
    counts: Mutex<BTreeMap<String, u64>>,
}

impl Shared {
    pub(super) fn count(&self, method: &str) {
        *locked(&self.counts).entry(method.to_owned()).or_insert(0) += 1;
    }
}

/// An SFTP server with files in memory.
#[derive(Debug)]
pub struct SftpService {
    info: SftpInfo,
    shared: Arc<Shared>,
    _keys: TempDir,
}

/// Keys from the seed: a sandbox that is started anew with it has the same host key.
fn key(seed: u64, name: &str) -> PrivateKey {
    let mut draws = Prng::stream(seed, name);
    let mut bytes = [0; 32];
    for part in bytes.chunks_exact_mut(8) {
        part.copy_from_slice(&draws.draw().to_be_bytes());
    }
    PrivateKey::from(Ed25519Keypair::from_seed(&bytes))
}

fn write_key(folder: &TempDir, key: &PrivateKey) -> Result<PathBuf, String> {
    let path = folder.path().join("id_ed25519");
    let text = key.to_openssh(LineEnding::LF).map_err(|e| e.to_string())?;
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(&path).and_then(|mut file| file.write_all(text.as_bytes())).map_err(|e| e.to_string())?;
    Ok(path)
}

fn server_config(key: PrivateKey) -> Arc<russh::server::Config> {
    Arc::new(russh::server::Config {
        keys: vec![key],
        methods: russh::MethodSet::from(&[russh::MethodKind::PublicKey][..]),
        auth_rejection_time: Duration::ZERO,
        auth_rejection_time_initial: Some(Duration::ZERO),
        nodelay: true,
        ..russh::server::Config::default()
    })
}

impl SftpService {
    /// Starts to serve on a listener, until `stop`.
    ///
    /// # Errors
    /// When the private key cannot be written.
    pub fn start(
        listener: TcpListener,
        at: SocketAddr,
        seed: u64,
        clock: Arc<SandboxClock>,
        stop: CancellationToken,
        servers: &mut JoinSet<()>,
    ) -> Result<Self, String> {
        let (host_key, other_key, user_key) =
            (key(seed, "sftp host"), key(seed, "sftp other host"), key(seed, "sftp user"));
        let keys = tempfile::Builder::new().prefix("sandbox-sftp-").tempdir().map_err(|e| e.to_string())?;
        let info = SftpInfo {
            host: at.ip().to_string(),
            port: at.port(),
            user: USER.to_owned(),
            private_key_file: write_key(&keys, &user_key)?,
            host_key: host_key.public_key().to_openssh().map_err(|e| e.to_string())?,
        };
        let shared = Arc::new(Shared {
            files: Files::with_folders(&[EXPORTS, LOGS]),
            faults: SftpFaultBook::default(),
            clock,
            counts: Mutex::default(),
        });
        let (config, impostor) = (server_config(host_key), server_config(other_key));
        let user_key = user_key.public_key().key_data().clone();
        let state = shared.clone();
        servers.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let accepted = tokio::select! {
                    () = stop.cancelled() => break,
                    Some(_) = connections.join_next() => continue,
                    accepted = listener.accept() => accepted,
                };
                let Ok((stream, _)) = accepted else { continue };
                let rule = state.faults.decide("CONNECT", "");
                let config = match rule.map(|rule| rule.fault) {
                    Some(SftpFaultKind::HostKey) => impostor.clone(),
                    Some(_) => continue,
                    None => config.clone(),
                };
                let (shared, user_key, stop) = (state.clone(), user_key.clone(), stop.clone());
                connections.spawn(async move {
                    if let Err(error) = serve(stream, config, shared, user_key, stop).await {
                        tracing::debug!(%error, "an SFTP connection ended");
                    }
                });
            }
            connections.shutdown().await;
        });
        Ok(Self { info, shared, _keys: keys })
    }

    /// Address and credentials.
    pub fn info(&self) -> &SftpInfo {
        &self.info
    }

    /// The files.
    pub fn files(&self) -> &Files {
        &self.shared.files
    }

    /// Scripted faults.
    pub fn faults(&self) -> &SftpFaultBook {
        &self.shared.faults
    }

    /// Operations by name.
    pub fn counters(&self) -> Value {
        json!({"requests": *locked(&self.shared.counts)})
    }

    /// Back to zero.
    pub fn reset_counters(&self) {
        locked(&self.shared.counts).clear();
    }
}

async fn serve(
    stream: TcpStream,
    config: Arc<russh::server::Config>,
    shared: Arc<Shared>,
    user_key: russh::keys::ssh_key::public::KeyData,
    stop: CancellationToken,
) -> Result<(), russh::Error> {
    stream.set_nodelay(true)?;
    let stream = stream.into_std()?;
    let cutter = Arc::new(Cutter(stream.try_clone()?));
    let stream = TcpStream::from_std(stream)?;
    let session = SshSession { shared, user_key, cutter: cutter.clone(), channels: HashMap::new() };
    let running = russh::server::run_stream(config, stream, session).await?;
    tokio::select! {
        ended = running => ended,
        () = stop.cancelled() => {
            cutter.cut();
            Ok(())
        }
    }
}
