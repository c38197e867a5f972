//! The places where sources and destinations are put to the test.

use std::collections::BTreeMap;
use std::sync::Arc;

use record::{Change, Key};
use sync_core::Payload;
use sync_core::traits::{Destination, Source};

/// A table that a source reads, and a hand that changes it.
///
/// The methods are called from a runtime of several threads: one that has to wait for a service does so with
/// `tokio::task::block_in_place`. Those with a default are things that happen to services; a case that needs one which the
/// ground does not offer is skipped, and says so.
pub trait SourceGround {
    /// A source on the table, which is empty at first. Another call makes another source, as after a restart.
    fn open(&self) -> Arc<dyn Source>;

    /// Makes the record of this number say this text, and creates it if it is not there.
    fn put(&self, number: u32, text: &str);

    /// Removes the record of this number.
    fn delete(&self, number: u32);

    /// What is there: each record's key and text.
    fn rows(&self) -> BTreeMap<Key, String>;

    /// The text that a change says its record has; `None` where the record is gone or cannot be read.
    fn text(&self, change: &Change) -> Option<String>;

    /// The key of a record that is not there.
    fn absent(&self) -> Key;

    /// Whether changes made while a snapshot is read are told after it. Where a service does not promise that, the engine
    /// scans the table once more, and so does the case.
    fn feed_covers_snapshot(&self) -> bool {
        true
    }

    /// Ends the time for which positions given so far are served. Answers whether it can.
    fn expire(&self) -> bool {
        false
    }

    /// Takes the service away, or brings it back. Answers whether it can.
    fn break_down(&self, _down: bool) -> bool {
        false
    }
}

/// What a destination writes to, and an eye that looks at it.
///
/// As for [`SourceGround`]: what has a default may be left out.
pub trait DestinationGround {
    /// The destination, which holds nothing at first.
    fn open(&self) -> Arc<dyn Destination>;

    /// What is there: each record's key and text. More than one text of a key is a duplicate.
    fn records(&self) -> BTreeMap<Key, Vec<String>>;

    /// The body that creates a record with this text.
    fn create(&self, key: &Key, text: &str) -> Payload;

    /// The body that makes a record say this text.
    fn update(&self, key: &Key, text: &str) -> Payload;

    /// Keys of different records that are hard to tell apart or to write down, as far as the destination allows.
    fn odd_keys(&self) -> Vec<Key> {
        ["a", "A", "a b", "a'b", "a/b", "a%2Fb", "..", "a&b=c#d?e", "Łukasz", "\u{10ffff}"].map(Key::text).to_vec()
    }

    /// A body that the destination refuses for good.
    fn refused(&self, _key: &Key) -> Option<Payload> {
        None
    }

    /// Takes the service away, or brings it back. Answers whether it can.
    fn break_down(&self, _down: bool) -> bool {
        false
    }

    /// Has the next write take effect and its answer lost. Answers whether it can.
    fn lose_answer(&self) -> bool {
        false
    }
}
