//! The workflows that a host starts, stops and watches.

pub(crate) mod egress;
pub(crate) mod ingress;
pub(crate) mod opt_in_out;
pub(crate) mod streams;
