//! Stores with one planted defect each: the suite is tested by what it finds.
//!
//! Every defect is subtle: it fails the cases it is planted for ([`ALL`]) and passes all others. [`hunt`] tries them.

mod append;
mod claim;
mod ground;
mod hunt;
mod list;
mod machine;
mod notes;
mod settle;
mod store;

pub use ground::DefectiveGround;
pub use hunt::{Kill, hunt};
pub use list::{ALL, Defect};
pub use machine::DefectiveStore;
