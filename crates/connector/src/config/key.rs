//! The key of the store.

use consent::HostKey;
use secrecy::{ExposeSecret, SecretString};
use sync_store_sqlite::EncryptionKey;

use super::{SecretRef, StoreConfig};
use crate::error::Problem;

/// Where the key is named.
pub(crate) const PLACE: &str = "store.encryption_key";
/// Hexadecimal digits of a key.
const DIGITS: usize = 64;

impl StoreConfig {
    /// Reads the key, where one is named.
    ///
    /// # Errors
    /// A [`Problem`] when it cannot be read or is no key.
    pub(crate) fn key(&self) -> Result<Option<EncryptionKey>, Problem> {
        let bytes = self.encryption_key.as_ref().map(|secret| key_of(&secret.read(PLACE)?)).transpose()?;
        Ok(bytes.map(EncryptionKey::new))
    }

    /// The same key as that of the consent ledger.
    ///
    /// # Errors
    /// As [`StoreConfig::key`].
    pub(crate) fn consent_key(&self) -> Result<Option<HostKey>, Problem> {
        let bytes = self.encryption_key.as_ref().map(|secret| key_of(&secret.read(PLACE)?)).transpose()?;
        Ok(bytes.map(HostKey::new))
    }
}

/// Whether a key can be read.
pub(super) fn check(secret: &SecretRef) -> Result<(), Problem> {
    key_of(&secret.resolve(PLACE)?).map(drop)
}

fn key_of(text: &SecretString) -> Result<Box<[u8; DIGITS / 2]>, Problem> {
    let text = text.expose_secret().as_bytes();
    let mut bytes = Box::new([0; DIGITS / 2]);
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let whole = text.len() == DIGITS;
    let read = bytes.iter_mut().zip(text.chunks(2)).try_for_each(|(byte, pair)| match pair {
        [high, low] => {
            *byte = digit(*high)? << 4 | digit(*low)?;
            Some(())
        }
        _ => None,
    });
    match read.filter(|()| whole) {
        Some(()) => Ok(bytes),
        None => Err(Problem::new(
            PLACE,
            "The key must be 64 hexadecimal digits.",
            "Make one with `openssl rand -hex 32`, and keep a copy: without it the store cannot be opened any more.",
        )),
    }
}
