//! What a user may do (learn.microsoft.com, "RetrieveUserPrivilegeByPrivilegeName Function", "SecurityPrivilegeMetadata").

use http::StatusCode;
use serde::Deserialize;
use uuid::Uuid;

use crate::client::D365Client;
use crate::error::{Error, ErrorKind};
use crate::odata::Name;

/// A privilege of a table.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct TablePrivilege {
    /// Its name, such as `prvCreateContact`.
    #[serde(rename = "Name")]
    pub name: String,
    /// What it allows: `Create`, `Read`, `Write`, `Delete`, `Append`, `AppendTo` and others.
    #[serde(rename = "PrivilegeType")]
    pub allows: String,
}

#[derive(Deserialize)]
struct Definition {
    #[serde(rename = "Privileges")]
    privileges: Vec<TablePrivilege>,
}

#[derive(Deserialize)]
struct Held {
    #[serde(rename = "RolePrivileges")]
    privileges: Vec<serde::de::IgnoredAny>,
}

impl D365Client {
    /// The privileges that a table has.
    ///
    /// Cancel safe: it only reads.
    ///
    /// # Errors
    /// [`ErrorKind::UnknownTable`] when there is no such table; otherwise whatever kept the request from succeeding.
    pub async fn table_privileges(&self, logical_name: &str) -> Result<Vec<TablePrivilege>, Error> {
        let name: Name = logical_name.parse()?;
        let target = format!("EntityDefinitions(LogicalName='{name}')?$select=LogicalName,Privileges");
        let response =
            self.get(&target, "GET EntityDefinitions", None).await.map_err(|error| match error.status() {
                // Whatever code stands beside it.
                Some(StatusCode::NOT_FOUND) => error.with_kind(ErrorKind::UnknownTable),
                _ => error,
            })?;
        let definition: Definition = serde_json::from_slice(&response.body)
            .map_err(|error| Error::decode("the privileges of a table", &error))?;
        Ok(definition.privileges)
    }

    /// Whether a user holds a privilege, by its own roles or by those of its teams, however deep it reaches.
    ///
    /// Cancel safe: it only reads.
    ///
    /// # Errors
    /// Whatever kept the request from succeeding: a privilege that is not there, for example.
    pub async fn holds(&self, user: Uuid, privilege: &str) -> Result<bool, Error> {
        let privilege: Name = privilege.parse()?;
        let function = "Microsoft.Dynamics.CRM.RetrieveUserPrivilegeByPrivilegeName";
        let target = format!("systemusers({user})/{function}(PrivilegeName='{privilege}')");
        let response = self.get(&target, "GET RetrieveUserPrivilegeByPrivilegeName", None).await?;
        let held: Held = serde_json::from_slice(&response.body)
            .map_err(|error| Error::decode("the privileges of a user", &error))?;
        Ok(!held.privileges.is_empty())
    }
}
