//! Encryption at rest, with a key of the host: XChaCha20-Poly1305 with a random nonce for every value.
//!
//! What records say is sealed (the bodies of entries, verifications and dead letters), and so is what may hold a token (read
//! positions and small values). Keys, versions and digests of records are not: they are what rows are found and compared by.
//!
//! Each value is bound to its place, so that one put in another place does not open. The place of a body is not the row that
//! it stands in, because bodies move: an entry becomes a verification or a dead letter, and a dead letter an entry again. It
//! is the stream, the record, kind, digest, column, and the number of the entry that the body was made for, which moves with
//! it (`born`). All of these but the column are in the row, so a body in the row of another record, or of another state of
//! the same record, is refused; and a row moved as a whole to another table is still one that this program wrote for this
//! record. Not noticed: an older whole row put back in the place of a newer one, as whoever can write the file can also put
//! back a whole older file.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use chacha20poly1305::aead::{Aead, Generate, KeyInit, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use secrecy::{ExposeSecret, SecretBox};
use sync_core::{StoreError, StoreErrorKind};
use uuid::Uuid;

use crate::error::damaged;

const NONCE: usize = 24;

/// The key that a store is encrypted with: 32 bytes, made by a cryptographic random generator and kept by the host. Without
/// it, the store cannot be opened any more.
#[derive(Clone)]
pub struct EncryptionKey(Arc<SecretBox<[u8; 32]>>);

impl EncryptionKey {
    /// The key of these bytes. They are wiped from memory with its last clone.
    pub fn new(bytes: Box<[u8; 32]>) -> Self {
        Self(Arc::new(SecretBox::new(bytes)))
    }
}

/// Shows nothing of it.
impl fmt::Debug for EncryptionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EncryptionKey(..)")
    }
}

/// What a value is, and where it belongs.
#[derive(Clone, Copy)]
pub(crate) enum Place<'p> {
    /// The store's own name, by which the key is known to be the right one.
    Name,
    /// One of the bodies of an entry.
    Body { of: BodyOf<'p>, column: &'static str },
    /// A read position.
    Position { stream: i64, generation: i64, version: i64 },
    /// A small value.
    Value(&'p str),
}

/// What both bodies of an entry belong to.
#[derive(Clone, Copy)]
pub(crate) struct BodyOf<'p> {
    pub(crate) stream: i64,
    pub(crate) key: &'p [u8],
    pub(crate) kind: i64,
    pub(crate) born: i64,
    pub(crate) digest: &'p [u8],
}

impl Place<'_> {
    /// Different places have different bytes: every part of a varying length has its length before it.
    fn bytes(self, store: Uuid) -> Vec<u8> {
        let mut bytes = store.as_bytes().to_vec();
        let mut part = |part: &[u8]| {
            bytes.extend_from_slice(&(part.len() as u64).to_le_bytes());
            bytes.extend_from_slice(part);
        };
        match self {
            Self::Name => part(b"name"),
            Self::Body { of: BodyOf { stream, key, kind, born, digest }, column } => {
                part(column.as_bytes());
                [stream, kind, born].iter().for_each(|number| part(&number.to_le_bytes()));
                part(key);
                part(digest);
            }
            Self::Position { stream, generation, version } => {
                part(b"position");
                [stream, generation, version].iter().for_each(|number| part(&number.to_le_bytes()));
            }
            Self::Value(name) => {
                part(b"value");
                part(name.as_bytes());
            }
        }
        bytes
    }
}

/// Closes and opens values; without a key it leaves them as they are.
#[derive(Clone)]
pub(crate) struct Seal(Option<Arc<Keyed>>);

struct Keyed {
    cipher: XChaCha20Poly1305,
    /// A random name, so that a value of another store with the same key does not open here.
    store: Uuid,
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Seal(keyed)" } else { "Seal(open)" })
    }
}

impl Seal {
    /// For what is never sealed.
    pub(crate) fn none() -> Self {
        Self(None)
    }

    /// The seal of a new store, and what the file keeps to know its key by.
    pub(crate) fn make(key: Option<&EncryptionKey>) -> Result<(Self, Option<Vec<u8>>), StoreError> {
        let Some(key) = key else { return Ok((Self(None), None)) };
        let store = Uuid::new_v4();
        let keyed = Keyed { cipher: cipher(key), store };
        let mark = keyed.close(Place::Name.bytes(Uuid::nil()), store.as_bytes())?;
        Ok((Self(Some(Arc::new(keyed))), Some(mark)))
    }

    /// The seal of an existing store, from what the file keeps.
    pub(crate) fn of(key: Option<&EncryptionKey>, mark: Option<&[u8]>) -> Result<Self, StoreError> {
        let (key, mark) = match (key, mark) {
            (None, None) => return Ok(Self(None)),
            (Some(key), Some(mark)) => (key, mark),
            (None, Some(_)) => {
                return Err(refused(
                    "The store is encrypted, and no key was given.",
                    "Give the key that it was made with.",
                ));
            }
            (Some(_), None) => {
                return Err(refused(
                    "A key was given, and the store is not encrypted.",
                    "Give no key; or name another file, which is then encrypted, and everything is read again.",
                ));
            }
        };
        let cipher = cipher(key);
        let name = open(&cipher, &Place::Name.bytes(Uuid::nil()), mark).ok();
        let store = name.and_then(|name| Uuid::from_slice(&name).ok()).ok_or_else(|| {
            refused("The store was encrypted with another key.", "Give the key that it was made with.")
        })?;
        Ok(Self(Some(Arc::new(Keyed { cipher, store }))))
    }

    /// The bytes to store.
    pub(crate) fn close<'v>(&self, place: Place<'_>, plain: Cow<'v, [u8]>) -> Result<Cow<'v, [u8]>, StoreError> {
        match &self.0 {
            Some(keyed) => Ok(keyed.close(place.bytes(keyed.store), &plain)?.into()),
            None => Ok(plain),
        }
    }

    /// What was closed; `Corrupt` when it was not closed for this place, with this key, or not as it is now.
    pub(crate) fn open(&self, place: Place<'_>, stored: Vec<u8>) -> Result<Vec<u8>, StoreError> {
        match &self.0 {
            Some(keyed) => open(&keyed.cipher, &place.bytes(keyed.store), &stored),
            None => Ok(stored),
        }
    }
}

impl Keyed {
    fn close(&self, place: Vec<u8>, plain: &[u8]) -> Result<Vec<u8>, StoreError> {
        let nonce = XNonce::try_generate().map_err(|error| no_randomness().with_source(error))?;
        let sealed = self.cipher.encrypt(&nonce, Payload { msg: plain, aad: &place }).map_err(|_| no_randomness())?;
        let mut stored = Vec::with_capacity(NONCE + sealed.len());
        stored.extend_from_slice(&nonce);
        stored.extend_from_slice(&sealed);
        Ok(stored)
    }
}

fn cipher(key: &EncryptionKey) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(&Key::from(*key.0.expose_secret()))
}

fn open(cipher: &XChaCha20Poly1305, place: &[u8], stored: &[u8]) -> Result<Vec<u8>, StoreError> {
    let (nonce, sealed) = stored.split_first_chunk::<NONCE>().ok_or_else(damaged)?;
    cipher.decrypt(&XNonce::from(*nonce), Payload { msg: sealed, aad: place }).map_err(|_| damaged())
}

fn refused(message: &str, remedy: &str) -> StoreError {
    StoreError::new(StoreErrorKind::Unavailable, message, remedy)
}

fn no_randomness() -> StoreError {
    refused("Nothing can be encrypted.", "See that the operating system gives random numbers, and start again.")
}
