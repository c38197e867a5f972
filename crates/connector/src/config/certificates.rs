use std::path::Path;

use http_kit::transport::{NetworkOptions, NetworkTransport};

use crate::error::Problem;

/// Reads the certificates that `place` names.
///
/// # Errors
/// When the file cannot be read or holds no certificates.
pub(crate) fn certificates(file: &Path, place: &str) -> Result<Vec<u8>, Problem> {
    const REMEDY: &str = "Name a readable file with certificates as PEM (-----BEGIN CERTIFICATE-----).";
    let shown = file.display();
    let pem = std::fs::read(file).map_err(|error| {
        Problem::new(place, format!("The certificates in {shown} cannot be read: {}.", error.kind()), REMEDY)
    })?;
    // Whoever will use them says best whether they can be used; nothing is connected to.
    let trial = NetworkOptions {
        connect_timeout: std::time::Duration::from_secs(1),
        read_timeout: std::time::Duration::from_secs(1),
        pool_size: 0,
        extra_roots_pem: Some(pem.clone()),
        user_agent: "d365-campaign".to_owned(),
        proxies: false,
    };
    match NetworkTransport::new(&trial) {
        Ok(_) => Ok(pem),
        Err(_) => Err(Problem::new(place, format!("The file {shown} holds no certificates that can be used."), REMEDY)),
    }
}
