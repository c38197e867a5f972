use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::OnceLock;

use record::Key;

/// Stands for a record's key where the key itself must not: a hash of 64 bits under a secret that is drawn once per process.
/// Lines of one process about one record can be brought together; nobody can find out the key, nor compare processes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyHash(u64);

impl KeyHash {
    /// The hash of a key.
    pub fn of(key: &Key) -> Self {
        /// `SipHash` under random keys, which is made for that: a function that nobody can compute without them.
        static SECRET: OnceLock<RandomState> = OnceLock::new();
        Self(SECRET.get_or_init(RandomState::new).hash_one(key))
    }
}

impl fmt::Display for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyHash({self})")
    }
}
