//! End-to-end tests in one process against the linked sandbox.
