//! An authority of the sandbox's own making, and certificates for loopback.

use std::path::Path;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// What a TLS server needs, and the authority's certificate as PEM.
struct Made {
    authority: String,
    server: CertificateDer<'static>,
    key: KeyPair,
}

fn made(host: &str) -> Result<Made, String> {
    let failed = |what: &str, error: &dyn std::fmt::Display| format!("cannot {what}: {error}");
    let mut authority = CertificateParams::default();
    authority.distinguished_name.push(DnType::CommonName, "Sandbox authority");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_usages =
        vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    let authority_key = KeyPair::generate().map_err(|e| failed("make a key", &e))?;
    let certificate = authority.self_signed(&authority_key).map_err(|e| failed("make the authority", &e))?;
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    if !names.iter().any(|name| name == host) {
        names.push(host.to_owned());
    }
    let mut server = CertificateParams::new(names).map_err(|e| failed("name the server", &e))?;
    // Strict clients refuse a certificate that does not say whose key signed it (RFC 5280, section 4.2.1.1).
    server.use_authority_key_identifier_extension = true;
    server.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate().map_err(|e| failed("make a key", &e))?;
    let issuer = Issuer::from_params(&authority, &authority_key);
    let signed = server.signed_by(&key, &issuer).map_err(|e| failed("sign the certificate", &e))?;
    Ok(Made { authority: certificate.pem(), server: signed.der().clone(), key })
}

/// Makes an authority, writes it to `dir/ca.pem`, and signs a certificate for `127.0.0.1`, `::1`, `localhost` and `host`.
pub(crate) fn acceptor(dir: &Path, host: &str) -> Result<TlsAcceptor, String> {
    let failed = |what: &str, error: &dyn std::fmt::Display| format!("cannot {what}: {error}");
    let Made { authority, server, key } = made(host)?;
    std::fs::create_dir_all(dir).map_err(|e| failed("make the TLS folder", &e))?;
    std::fs::write(dir.join("ca.pem"), authority).map_err(|e| failed("write ca.pem", &e))?;
    let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|e| failed("set up TLS", &e))?
        .with_no_client_auth()
        .with_single_cert(vec![server], private)
        .map_err(|e| failed("set up TLS", &e))?;
    // HTTP/1.1 alone: a fault cuts the connection that its request came in by, and under HTTP/2 that one carries everybody's.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_certificate_names_the_key_that_signed_it() {
        let made = made("127.0.0.1").unwrap();
        // 2.5.29.35, id-ce-authorityKeyIdentifier.
        let extension = [0x06, 0x03, 0x55, 0x1d, 0x23];
        assert!(made.server.as_ref().windows(extension.len()).any(|bytes| bytes == extension));
    }
}
