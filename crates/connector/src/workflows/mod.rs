//! The workflows that a host starts, stops and watches.

pub(crate) mod ingress;
