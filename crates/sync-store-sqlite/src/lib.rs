//! The embedded store of sync-core: SQLite on one writer thread with group commit.
