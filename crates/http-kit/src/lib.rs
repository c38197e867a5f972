//! An HTTP pipeline for API clients: auth, retry that knows what was sent, pace, paging, bounded bodies, redaction.
