//! From statuses and error codes to kinds. Pure tables.
//!
//! Codes: learn.microsoft.com, "Web service error codes", "Service protection API limits", "Use change tracking to
//! synchronize data with external systems", "Compose HTTP requests and handle errors". A code decides before the status
//! does, because the documentation leaves the status of several codes open.

use crate::error::ErrorKind;

/// The kind of a refusal.
pub(crate) fn classify(status: u16, code: Option<u32>, message: &str) -> ErrorKind {
    if let Some(kind) = code.and_then(|code| by_code(code, status, message)) {
        return kind;
    }
    match status {
        401 => ErrorKind::Unauthorized,
        403 => ErrorKind::Forbidden,
        404 if is_unknown_segment(message) => ErrorKind::UnknownTable,
        404 | 410 => ErrorKind::NotFound,
        501 | 505 => ErrorKind::BadRequest,
        408 | 500..=599 => ErrorKind::ServiceUnavailable,
        412 => ErrorKind::PreconditionFailed,
        413 => ErrorKind::Validation,
        429 => ErrorKind::Throttled,
        400 | 405 if is_unknown_column(message) => ErrorKind::UnknownColumn,
        400..=499 => ErrorKind::BadRequest,
        _ => ErrorKind::Unexpected,
    }
}

fn by_code(code: u32, status: u16, message: &str) -> Option<ErrorKind> {
    Some(match code {
        // ObjectDoesNotExist, RecordNotFoundByEntityKey
        0x8004_0217 | 0x8006_0891 => ErrorKind::NotFound,
        // Tables that the metadata does not know, and URL segments that name nothing.
        0x8004_1102 | 0x8006_088a => ErrorKind::UnknownTable,
        // One code for most errors of OData requests: the message tells them apart.
        0x8006_0888 | 0x8004_8d19 if is_unknown_column(message) => ErrorKind::UnknownColumn,
        0x8006_0888 if is_unknown_segment(message) => ErrorKind::UnknownTable,
        0x8006_0888 | 0x8006_0890 => ErrorKind::BadRequest,
        0x8004_8d19 => ErrorKind::Payload,
        // QueryBuilderNoAttribute
        0x8004_1103 => ErrorKind::UnknownColumn,
        // DuplicateRecord, DuplicateRecordsFound, DuplicateRecordEntityKey
        0x8004_0237 | 0x8004_0333 | 0x8006_0892 => ErrorKind::Duplicate,
        // ConcurrencyVersionMismatch, ConcurrencyVersionNotProvided
        0x8006_0882 | 0x8006_0883 => ErrorKind::PreconditionFailed,
        // PrivilegeDenied, UnManagedIdsAccessDenied
        0x8004_0220 | 0x8004_8306 => ErrorKind::Forbidden,
        // The application user is missing, or disabled.
        0x8007_2560 | 0x8004_0225 => ErrorKind::NotMember,
        // ExpiredAuthTicket, ExpiredOAuthToken, AccessTokenExpired
        0x8004_a101 | 0x8004_1d52 | 0x8005_f101 => ErrorKind::Unauthorized,
        // InvalidArgument, plug-in refusal, StringLengthTooLong, out of range
        0x8004_0203 | 0x8004_0265 | 0x8004_4331 | 0x8004_432f | 0x8004_4330 | 0x8004_431a => ErrorKind::Validation,
        // ExpiredVersionStamp
        0x8004_4352 => ErrorKind::TokenExpired,
        // The table is not enabled for change tracking, or cannot be.
        0x8007_2491 | 0x8007_2492 => ErrorKind::TrackingOff,
        // Service protection: requests, execution time, concurrency
        0x8007_2321 | 0x8007_2322 | 0x8007_2326 => ErrorKind::Throttled,
        // SqlError, SqlTimeout, a concurrent operation, ServiceUnavailable
        0x8004_4150 | 0x8004_4151 | 0x8007_1154 | 0x8005_f103 => ErrorKind::ServiceUnavailable,
        // "An unexpected error occurred", with a status of either family.
        0x8004_0216 | 0x8004_0224 if status < 500 => ErrorKind::Validation,
        0x8004_0216 | 0x8004_0224 => ErrorKind::ServiceUnavailable,
        _ => return None,
    })
}

/// Whether the code says by itself what happened, whatever the status.
pub(crate) fn is_known(code: u32) -> bool {
    by_code(code, 400, "").is_some()
}

fn is_unknown_column(message: &str) -> bool {
    message.contains("Could not find a property named")
        || message.contains("does not exist on type")
        || message.contains("An undeclared property")
}

fn is_unknown_segment(message: &str) -> bool {
    message.contains("Resource not found for the segment")
}

/// Codes come as hexadecimal text of either casing, sometimes empty or `0x0`, seldom as a signed decimal.
pub(crate) fn parse_code(text: &str) -> Option<u32> {
    let text = text.trim();
    let code = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => u32::from_str_radix(digits, 16).ok()?,
        None => text.parse::<i32>().ok()?.cast_unsigned(),
    };
    (code != 0).then_some(code)
}

/// What an operator can do, for codes that know better than their kind.
pub(crate) fn remedy(code: u32) -> Option<&'static str> {
    Some(match code {
        0x8007_2560 => {
            "create an application user for the app registration in this environment (Power Platform admin center) and give it a security role"
        }
        0x8004_0225 => "enable the application user in this environment (Power Platform admin center)",
        0x8004_0220 => {
            "give the application user's security role the privilege that the server's message names, at organization level"
        }
        0x8004_8306 => "give the application user access to the row, by a security role or by sharing",
        0x8007_2491 => "switch on change tracking for the table (maker portal: table properties, Track changes)",
        0x8007_2492 => "choose another table: this kind of table cannot track changes",
        0x8006_0890 => "define an alternate key on these columns, or wait until its index is active",
        0x8006_0883 => "send the row's version tag with the request",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_decide_before_statuses() {
        for status in [400, 404, 410, 412, 500] {
            assert_eq!(classify(status, Some(0x8004_4352), ""), ErrorKind::TokenExpired);
            assert_eq!(classify(status, Some(0x8007_2491), ""), ErrorKind::TrackingOff);
            assert_eq!(classify(status, Some(0x8004_0333), ""), ErrorKind::Duplicate);
        }
    }

    #[test]
    fn statuses_decide_without_a_code() {
        let table = [
            (400, ErrorKind::BadRequest),
            (401, ErrorKind::Unauthorized),
            (403, ErrorKind::Forbidden),
            (404, ErrorKind::NotFound),
            (405, ErrorKind::BadRequest),
            (412, ErrorKind::PreconditionFailed),
            (413, ErrorKind::Validation),
            (429, ErrorKind::Throttled),
            (500, ErrorKind::ServiceUnavailable),
            (501, ErrorKind::BadRequest),
            (503, ErrorKind::ServiceUnavailable),
            (505, ErrorKind::BadRequest),
            (522, ErrorKind::ServiceUnavailable),
            (302, ErrorKind::Unexpected),
        ];
        for (status, kind) in table {
            assert_eq!(classify(status, None, ""), kind, "{status}");
        }
    }

    #[test]
    fn messages_tell_apart_what_one_code_joins() {
        let column = "Could not find a property named 'x' on type 'Microsoft.Dynamics.CRM.contact'.";
        let payload = "Error identified in Payload provided by the user for Entity :'contacts'";
        let undeclared =
            format!("{payload} The property 'citty' does not exist on type 'Microsoft.Dynamics.CRM.contact'.");
        assert_eq!(classify(400, Some(0x8006_0888), column), ErrorKind::UnknownColumn);
        assert_eq!(
            classify(400, Some(0x8006_0888), "The query parameter $skip is not supported"),
            ErrorKind::BadRequest
        );
        assert_eq!(
            classify(404, Some(0x8006_0888), "Resource not found for the segment 'x'."),
            ErrorKind::UnknownTable
        );
        assert_eq!(classify(400, Some(0x8004_8d19), payload), ErrorKind::Payload);
        assert_eq!(classify(400, Some(0x8004_8d19), &undeclared), ErrorKind::UnknownColumn);
    }

    #[test]
    fn code_texts() {
        assert_eq!(parse_code("0x80040217"), Some(0x8004_0217));
        assert_eq!(parse_code("0x8006088A"), Some(0x8006_088a));
        assert_eq!(parse_code("-2147204270"), Some(0x8004_4352));
        for empty in ["", "0x0", "0x", "hello", "<This code>"] {
            assert_eq!(parse_code(empty), None, "{empty}");
        }
    }
}
