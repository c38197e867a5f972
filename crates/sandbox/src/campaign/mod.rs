//! Adobe Campaign Standard imitated: profiles and custom resources over its REST API, with the answers, the error texts and the
//! oddities of the service (experienceleague.adobe.com, "Campaign Standard APIs").
//!
//! A request goes through [`CampaignService`] (headers, tokens, counters), `route` (what the path means), `engine` (what is done)
//! and `render` (what is shown). Rows are kept in `table`; everything that the public pages leave open is a switch of
//! [`CampaignScenario`].

mod engine;
pub mod exports;
mod metadata;
mod primary_key;
mod profile;
mod query;
mod refusal;
mod render;
mod route;
mod scenario;
mod schema;
mod seed;
mod service;
mod table;
mod value;
mod workflow;
mod write;

pub use scenario::{
    CampaignScenario, CampaignSwitches, DataPolicy, ErrorBody, FieldScenario, FieldType, FilterOperator,
    FilterScenario, GeneralOptOutDate, LinkCardinality, LinkScenario, MetadataItemContent, MetadataValues,
    OptOutPrefix, ResourceFamily, ResourceScenario, TooLong,
};
pub use seed::{CampaignMutation, CampaignMutationPlan};
pub use service::{CampaignScenarioError, CampaignService, RecordLines};
pub(crate) use workflow::WorkflowState;
pub use workflow::{ParameterType, WorkflowRun, WorkflowScenario};
