//! Keyed hashes: pseudonyms of contacts, the chain, the seals of rows. HMAC-SHA256 throughout.
//!
//! A contact stands in the file as a keyed hash alone, and there is no switch for the clear key. The ledger is never shortened, so a
//! clear key would outlive the erasure of its person; and whoever asks about a person knows the key and finds the hash from it.
//! With the host's key the hashes mean nothing to whoever has only the file, and nobody without it can forge a row. Without one the
//! file holds a random key of its own: accidents and careless edits show, a forger who reads the file does not.

use std::fmt;
use std::sync::Arc;

use hmac::{Hmac, Mac};
use record::Key;
use secrecy::{ExposeSecret, SecretBox};
use sha2::Sha256;

/// The bytes of a keyed hash.
pub(crate) const HASH: usize = 32;
pub(crate) type Hash = [u8; HASH];
type Keyed = Hmac<Sha256>;

/// The host's key: 32 bytes of a cryptographic random generator; the same as the store's will do.
#[derive(Clone)]
pub struct HostKey(Arc<SecretBox<[u8; 32]>>);

impl HostKey {
    /// The key of these bytes. They are wiped from memory with its last clone.
    pub fn new(bytes: Box<[u8; 32]>) -> Self {
        Self(Arc::new(SecretBox::new(bytes)))
    }
}

/// Shows nothing of it.
impl fmt::Debug for HostKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HostKey(..)")
    }
}

/// The keyed hashes of one file.
#[derive(Clone)]
pub(crate) struct Hashes {
    contact: Keyed,
    chain: Keyed,
    row: Keyed,
    check: Hash,
}

impl fmt::Debug for Hashes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hashes(..)")
    }
}

impl Hashes {
    /// Those of the file with this random salt.
    pub(crate) fn of(key: Option<&HostKey>, salt: &[u8; 32]) -> Self {
        let root = match key {
            Some(key) => digest(keyed(key.0.expose_secret()), &[b"consent", salt]),
            None => *salt,
        };
        let derived = |purpose: &[u8]| keyed(&digest(keyed(&root), &[purpose]));
        Self {
            contact: derived(b"contact"),
            chain: derived(b"chain"),
            row: derived(b"row"),
            check: digest(keyed(&root), &[b"check"]),
        }
    }

    /// Tells one key from another.
    pub(crate) fn check(&self) -> Hash {
        self.check
    }

    /// The pseudonym of a contact.
    pub(crate) fn contact(&self, key: &Key) -> Hash {
        digest(self.contact.clone(), &[&key.to_bytes()])
    }

    /// The link of a chain.
    pub(crate) fn link(&self, before: &[u8], parts: &[&[u8]]) -> Hash {
        digest(self.chain.clone(), &[&[before], parts].concat())
    }

    /// The seal of a row that is not in the chain.
    pub(crate) fn row(&self, parts: &[&[u8]]) -> Hash {
        digest(self.row.clone(), parts)
    }
}

/// HMAC pads a key of 32 bytes with zeros to a block of 64.
fn keyed(key: &[u8; 32]) -> Keyed {
    let mut block = [0; 64];
    block[..32].copy_from_slice(key);
    <Keyed as hmac::digest::KeyInit>::new(&block.into())
}

/// Each part has its length before it, so that other parts are other bytes.
fn digest(mut hash: Keyed, parts: &[&[u8]]) -> Hash {
    for part in parts {
        hash.update(&(part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize().into_bytes().into()
}
