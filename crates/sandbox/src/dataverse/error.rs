//! Refusals in the service's envelope (learn.microsoft.com, "Compose HTTP requests and handle errors").

use std::borrow::Cow;

use axum::response::Response;
use http::StatusCode;

use crate::service::plain;

/// A refusal: status, code, message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: u16,
    pub(super) code: Cow<'static, str>,
    pub(super) message: String,
}

pub(super) fn refusal(status: u16, code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Refusal {
    Refusal { status, code: code.into(), message: message.into() }
}

impl Refusal {
    /// The generic refusal of a request that makes no sense.
    pub(super) fn request(message: impl Into<String>) -> Self {
        refusal(400, "0x80060888", message)
    }

    /// A body that makes no sense.
    pub(super) fn payload(set: &str, inner: &str) -> Self {
        refusal(
            400,
            "0x80048d19",
            format!(
                "Error identified in Payload provided by the user for Entity :'{set}', For more information on this error please follow this help link https://go.microsoft.com/fwlink/?linkid=2195293  ---->  InnerException : Microsoft.OData.ODataException: {inner}"
            ),
        )
    }

    pub(super) fn unknown_property(set: &str, table: &str, name: &str) -> Self {
        Self::payload(
            set,
            &format!(
                "The property '{name}' does not exist on type 'Microsoft.Dynamics.CRM.{table}'. Make sure to only use property names that are defined by the type."
            ),
        )
    }

    pub(super) fn no_such_row(table: &str, id: u128) -> Self {
        refusal(404, "0x80040217", format!("{table} With Id = {} Does Not Exist", super::row::guid(id)))
    }

    pub(super) fn no_such_segment(name: &str) -> Self {
        refusal(404, "0x8006088a", format!("Resource not found for the segment '{name}'."))
    }

    pub(super) fn no_such_column(table: &str, name: &str) -> Self {
        Self::request(format!("Could not find a property named '{name}' on type 'Microsoft.Dynamics.CRM.{table}'."))
    }

    pub(super) fn wrong_method(method: &http::Method) -> Self {
        refusal(405, "0x80060888", format!("The requested resource does not support http method '{method}'."))
    }

    pub(super) fn not_imitated(what: &str) -> Self {
        refusal(501, "0x8006088a", format!("The sandbox does not imitate {what}."))
    }

    /// The envelope. With `details`, the siblings that annotated errors have.
    pub(super) fn body(&self, details: bool) -> String {
        let mut error = serde_json::json!({"code": self.code, "message": self.message});
        if details {
            error["@Microsoft.PowerApps.CDS.ErrorDetails.OperationStatus"] = "0".into();
            error["@Microsoft.PowerApps.CDS.ErrorDetails.SubErrorCode"] = "2146233088".into();
            error["@Microsoft.PowerApps.CDS.HelpLink"] = format!(
                "http://go.microsoft.com/fwlink/?LinkID=398563&error=Microsoft.Crm.CrmException%3a{}",
                self.code.trim_start_matches("0x")
            )
            .into();
        }
        serde_json::json!({"error": error}).to_string()
    }

    /// The envelope as an answer.
    pub(super) fn answer(&self, details: bool) -> Response {
        let body = self.body(details);
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::BAD_REQUEST);
        plain(status, "application/json; odata.metadata=minimal", body)
    }
}
