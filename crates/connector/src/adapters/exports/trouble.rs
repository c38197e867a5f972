//! What the engine is to do about an error of the file exchange.

use campaign_client::exchange::{ExchangeError, ExchangeErrorKind};
use sync_core::{EndpointError, EndpointErrorKind};

/// Connection trouble passes; everything else wants a person.
pub(crate) fn endpoint_error(error: ExchangeError) -> EndpointError {
    let kind = if error.is_transient() { EndpointErrorKind::Unavailable } else { EndpointErrorKind::Refused };
    // "Limit(FileSize)" is a limit.
    let name = format!("{:?}", error.kind());
    let code = crate::adapters::kebab("exchange", name.split('(').next().unwrap_or_default());
    EndpointError::new(kind, code, format!("The file exchange: {error}."), sentence(error.remedy())).with_source(error)
}

/// Why a file as a whole cannot be read however often it is tried; `None` for trouble of another kind. A header that does not fit is
/// no such fault: it is the configuration that is to be mended, and then the file is read.
pub(super) fn fault_of_file(error: &ExchangeError) -> Option<&'static str> {
    match error.kind() {
        ExchangeErrorKind::Damaged => Some("compressed data that are whole"),
        ExchangeErrorKind::Limit(_) => Some("a file within the limits of size"),
        ExchangeErrorKind::NotAFile => Some("a file and no link"),
        _ => None,
    }
}

/// A remedy as a sentence.
fn sentence(remedy: &str) -> String {
    let mut letters = remedy.chars();
    letters.next().map_or_else(String::new, |first| format!("{}{}.", first.to_uppercase(), letters.as_str()))
}
