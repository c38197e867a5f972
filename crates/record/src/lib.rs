//! Values, keys, records, changes and schemas: the neutral vocabulary between two systems.
