//! Query strings, built from types only.
//!
//! Nothing in here takes a piece of OData text: names are checked when a [`Name`] is made, values are [`Literal`]s,
//! conditions are [`Filter`]s. So a value can never change the meaning of the query that carries it.

mod filter;
mod key;
mod literal;
mod name;
mod prefer;
mod query;

pub use filter::{Column, Comparison, Filter};
pub use key::EntityKey;
pub use literal::{Finite, Literal};
pub use name::Name;
pub use prefer::Prefer;
pub use query::{Direction, MAX_TOP, MAX_URL, Query};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What stays bare in an encoded value: the unreserved characters of RFC 3986 and the parentheses.
/// The quote is encoded although a query may hold it, because URL parsers rewrite it and the request line should be
/// what was built.
const ENCODE: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'(').remove(b')');

/// Percent-encodes a finished expression for use as the value of a query option or as a path segment.
pub(crate) fn encode(text: &str) -> String {
    utf8_percent_encode(text, ENCODE).to_string()
}
