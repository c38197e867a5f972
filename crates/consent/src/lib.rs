//! Opt-outs of people on both sides: the rule that decides, the ledger that remembers, the gate that answers.
//!
//! [`decide`] is the conflict rule: pure, asked with freshly read states of both sides. A [`Ledger`] records every decision before
//! its first byte is sent, in a hash chain that shows later changes, and keeps the last known state of both sides. A
//! [`ConsentGate`] answers a host from that: may this contact be reached by this channel? It fails closed. Erasure marks say whose data
//! must not come back.
//!
//! The crate knows neither HTTP nor the engine. `docs/protocols/consent.md` tells in which order the parts are used.
//!
//! ```
//! use consent::{Direction, Policy, Precision, Side, Stamp, decide};
//!
//! // The row was edited at second 9; Campaign's attribute changed within that second, which is a tie.
//! let d365 = Side::new(true, Some(Stamp::record(9_000, Precision::Second)));
//! let campaign = Side::new(false, Some(Stamp::attribute(9_400, Precision::Millisecond)));
//! let verdict = decide(Policy::default(), Direction::Bidirectional, d365, campaign, None);
//! assert!(verdict.value && verdict.write_campaign && !verdict.write_d365);
//! ```

mod chain;
mod error;
mod feed;
mod file;
mod gate;
mod keyed;
mod known;
mod ledger;
mod rule;

pub use chain::{Broken, Ending, Entry, Event, Head, Source};
pub use error::{LedgerError, LedgerErrorKind};
pub use feed::Party;
pub use gate::{Answer, Channel, ConsentGate, GateOptions, Ground};
pub use keyed::HostKey;
pub use known::{Known, Pending, Seen};
pub use ledger::{Decided, Ledger, Look, Reading, SharedLedger};
pub use rule::{Agreed, Direction, Level, Policy, Precision, Reason, Rule, Side, Stamp, Verdict, decide};
