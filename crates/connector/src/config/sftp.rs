//! `[sftp]`: the file exchange of the Campaign instance.

use toml::de::DeTable;

use super::SecretRef;
use super::reader::{Document, Reference, Section};

/// The file exchange.
#[derive(Debug, Clone)]
pub struct SftpConfig {
    /// The host, such as `acme.campaign.adobe.com`.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The user.
    pub user: String,
    /// The user's private key.
    pub private_key: SecretRef,
    /// The host's public key; another one is refused.
    pub host_key: String,
    /// Whether the log of the program is put there, into `d365_loads/logs`.
    pub export_logs: bool,
}

/// Reads the section; all of it is required where it is there.
pub(super) fn sftp<'t>(document: &mut Document<'t>, root: &DeTable<'t>) -> Option<SftpConfig> {
    let mut section = Section::of(document, root, "sftp")?;
    let host = section.required_text(document, "host", "the host, such as \"acme.campaign.adobe.com\"");
    let port = section.integer(document, "port", 1..=65_535).and_then(|port| u16::try_from(port).ok()).unwrap_or(22);
    let user = section.required_text(document, "user", "the user of the file exchange");
    if section.value("private_key").is_none() {
        section.missing(document, "private_key", "{ file = \"path\" }");
    }
    let offset = section.value("private_key").map_or(0, |value| value.span().start);
    let private_key = section.secret(document, "private_key");
    if let Some(key) = &private_key {
        document.refers(section.place("private_key"), offset, Reference::Secret(key.clone()));
    }
    let host_key =
        section.required_text(document, "host_key", "the host's public key, such as \"ssh-ed25519 AAAA...\"");
    let export_logs = section.boolean(document, "export_logs").unwrap_or(false);
    section.finish(document);
    Some(SftpConfig { host, port, user, private_key: private_key?, host_key, export_logs })
}
