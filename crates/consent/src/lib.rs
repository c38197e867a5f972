//! Opt-outs of people on both sides: the rule that decides, the ledger that remembers, the gate that answers.
//!
//! [`decide`] is the conflict rule: pure, asked with freshly read states of both sides. A [`Ledger`] records every decision before
//! its first byte is sent, in a hash chain that shows later changes, and keeps the last known state of both sides. A
//! [`ConsentGate`] answers a host from that: may this contact be reached by this channel? It fails closed. Erasure marks say whose data
//! must not come back.
//!
//! The crate knows neither HTTP nor the engine. `docs/protocols/consent.md` tells in which order the parts are used.

mod rule;

pub use rule::{Agreed, Direction, Level, Policy, Precision, Reason, Rule, Side, Stamp, Verdict, decide};
