//! Values, keys, records, changes and schemas: the neutral vocabulary between two systems.
//!
//! Nothing here knows a product, a protocol or a clock. Both sides of a sync are described in these types, the
//! [`mapping`](https://docs.rs/mapping) between them is a pure function over them, and the engine stores keys made of them.

mod change;
pub mod json;
mod key;
mod name;
mod record;
pub mod schema;
mod value;

pub use change::{Change, ChangeBody};
pub use key::{Key, KeyError};
pub use name::{FieldName, TableName};
pub use record::Record;
pub use value::{Choice, Reference, Value, ValueError, ValueKind};
