//! The imitation of Dataverse's Web API.

mod scenario;

pub use scenario::{
    ChoiceScenario, ColumnScenario, ColumnType, DataverseScenario, DataverseSwitches, KeyScenario, TableScenario,
};
