//! The imitation of Dataverse's Web API: rows in memory, OData reads and writes, change tracking, definitions, limits
//! (learn.microsoft.com, "Use the Microsoft Dataverse Web API").
//!
//! A request goes through [`DataverseService`] (token, limits, route, headers) to `read`, `changes`, `write` or `metadata`. Rows are
//! kept in `store`; everything that the public pages leave open is a switch of [`DataverseScenario`].
//!
//! No request holds the locks of two tables at once; a change set holds the gate that every other request passes.
//!
//! What the service has and this does not answers 501 with a message that names it: `$metadata`, `$expand` and `$apply` on rows,
//! FetchXML, deep inserts, collection-valued navigation and its `$ref`, filters through navigation properties and lambdas, bound
//! actions other than those for many rows, `RetrieveMetadataChanges` and other functions, functions in filters on definitions,
//! `sdkmessagefilters` beyond the probe for such actions, the sets `teams`, `businessunits`, `transactioncurrencies`, `tasks`,
//! `activitypointers`, and a few more.

mod activity;
mod batch;
mod body;
mod builtin;
mod changes;
mod cursor;
mod custom;
mod definition_filter;
mod definitions;
mod error;
mod expression;
mod filter;
mod limits;
mod metadata;
mod multipart;
mod multiple;
mod mutate;
mod navigation;
mod page;
mod path;
mod pattern;
mod privileges;
mod query;
mod read;
mod row;
mod scenario;
mod schema;
mod seed;
mod service;
mod shape;
mod sort;
mod store;
mod token;
mod transaction;
mod value;
mod write;

pub(crate) use builtin::TENANT;
pub use limits::{Limits, Load};
pub use mutate::{DataverseLines, DataverseMutation, DataverseMutationPlan};
pub use scenario::{
    ActivityScenario, ChoiceScenario, ColumnScenario, ColumnType, DataverseScenario, DataverseSwitches, KeyScenario,
    TableScenario,
};
pub use service::DataverseService;
