//! Both services imitated over HTTP on loopback: an independent opinion of the protocol.

pub mod campaign;
pub mod clock;
pub mod connection;
pub mod counters;
pub mod dataverse;
pub mod faults;
pub mod oauth;
pub mod prng;
pub mod route;
pub mod scenario;
pub mod service;
