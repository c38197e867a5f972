//! Who this client is, and what its environment allows.

use serde::Deserialize;
use uuid::Uuid;

use crate::client::D365Client;
use crate::error::Error;
use crate::limits::ServiceLimits;

/// The answer of the `WhoAmI` function: the cheapest proof that everything from secret to application user is in order.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct WhoAmI {
    /// The application user (`systemuserid`).
    #[serde(rename = "UserId")]
    pub user_id: Uuid,
    /// The user's business unit.
    #[serde(rename = "BusinessUnitId")]
    pub business_unit_id: Uuid,
    /// The organisation.
    #[serde(rename = "OrganizationId")]
    pub organization_id: Uuid,
    /// What the answer's headers said about limits.
    #[serde(skip)]
    pub limits: ServiceLimits,
}

impl WhoAmI {
    /// Decodes the body of an answer; limits are left empty.
    ///
    /// # Errors
    /// [`ErrorKind::Decode`](crate::ErrorKind::Decode).
    pub fn decode(body: &[u8]) -> Result<Self, Error> {
        serde_json::from_slice(body).map_err(|error| Error::decode("the answer of WhoAmI", &error))
    }
}

impl D365Client {
    /// Asks who this client is.
    ///
    /// Cancel safe: it only reads.
    ///
    /// # Errors
    /// [`ErrorKind::Auth`](crate::ErrorKind::Auth) for a wrong secret or tenant,
    /// [`ErrorKind::NotMember`](crate::ErrorKind::NotMember) when the application user is missing, and so on.
    pub async fn who_am_i(&self) -> Result<WhoAmI, Error> {
        let response = self.get("WhoAmI", "GET WhoAmI", None).await?;
        let limits = ServiceLimits::from_headers(&response.headers);
        Ok(WhoAmI { limits, ..WhoAmI::decode(&response.body)? })
    }

    /// For how many days the environment keeps the records of deletions: a delta link older than that expires
    /// (`organization.expirechangetrackingindays`; 7 today by default, 30 in older environments). `None` when the
    /// environment does not tell.
    ///
    /// Cancel safe: it only reads.
    ///
    /// # Errors
    /// Whatever kept the request from succeeding, a missing privilege for example.
    pub async fn change_tracking_days(&self) -> Result<Option<u32>, Error> {
        #[derive(Deserialize)]
        struct Organizations {
            value: Vec<Organization>,
        }
        #[derive(Deserialize)]
        struct Organization {
            expirechangetrackingindays: Option<u32>,
        }
        let response = self.get("organizations?$select=expirechangetrackingindays", "GET organizations", None).await?;
        let answer: Organizations =
            serde_json::from_slice(&response.body).map_err(|error| Error::decode("the organisation", &error))?;
        Ok(answer.value.first().and_then(|organization| organization.expirechangetrackingindays))
    }
}
