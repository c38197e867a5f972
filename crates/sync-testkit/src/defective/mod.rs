//! Stores, sources and destinations with one planted defect each: the suite is tested by what it finds.
//!
//! Every defect is subtle: it fails the cases it is planted for ([`ALL`]) and passes all others. [`hunt`] tries them.

mod append;
mod claim;
mod destination;
mod endpoint_list;
mod ground;
mod hunt;
mod list;
mod machine;
mod notes;
mod settle;
mod source;
mod store;

pub use destination::ShelfGround;
pub use endpoint_list::{DESTINATION_ALL, DestinationDefect, SOURCE_ALL, SourceDefect};
pub use ground::DefectiveGround;
pub use hunt::{Kill, hunt, hunt_destinations, hunt_sources};
pub use list::{ALL, Defect};
pub use machine::DefectiveStore;
pub use source::TableGround;
