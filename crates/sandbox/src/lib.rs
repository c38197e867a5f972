//! Both services imitated over HTTP on loopback: an independent opinion of the protocol.
