//! Between JSON text and values, by the kind that a schema promises.
