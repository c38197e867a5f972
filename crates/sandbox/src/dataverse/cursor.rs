//! Paging and tracking tokens. Opaque to clients, in the shapes that the public pages show (learn.microsoft.com, "Page results using
//! OData", "Use change tracking to synchronize data with external systems").

use chrono::{DateTime, NaiveDateTime};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::error::Refusal;

/// Where a walk goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Walk {
    /// After a row, in the order of ids; with the version at the start of a tracked walk.
    After { last: u128, since: Option<i64> },
    /// After so many rows of a sorted result.
    Offset { rows: usize },
    /// Changes of a range of versions, after one of them; first the live rows, then the deleted ones.
    Changes { from: i64, until: i64, after: i64, gone: bool },
}

/// A walk and the number of the page that comes next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cursor {
    pub(super) page: u64,
    pub(super) walk: Walk,
    /// When the link was made, in seconds since 1970.
    pub(super) made: i64,
}

/// What stays readable in the documented links.
const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'=').remove(b'/');
const ALL: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

fn lower_hex(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = 0;
    for c in text.chars() {
        if c == '%' {
            rest = 2;
            out.push(c);
        } else if rest > 0 {
            rest -= 1;
            out.push(c.to_ascii_lowercase());
        } else {
            out.push(c);
        }
    }
    out
}

fn check(set: &str, inner: &str) -> String {
    format!("{:016x}", xxhash_rust::xxh3::xxh3_64(format!("{set}|{inner}").as_bytes()))
}

impl Cursor {
    /// The value of `$skiptoken`, percent-encoded.
    pub(super) fn encode(&self, set: &str, istracking: bool) -> String {
        let (before, made) = (self.page - 1, self.made);
        let inner = match &self.walk {
            Walk::After { last, since } => {
                let id = super::row::guid(*last).to_uppercase();
                let since = since.map_or_else(String::new, |s| format!(" since=\"{s}\""));
                format!("<cookie page=\"{before}\" made=\"{made}\"><key last=\"{{{id}}}\"{since} /></cookie>")
            }
            Walk::Offset { rows } => {
                format!("<cookie page=\"{before}\" made=\"{made}\"><rows offset=\"{rows}\" /></cookie>")
            }
            Walk::Changes { from, until, after, gone } => {
                let gone = u8::from(*gone);
                format!(
                    "<cookie page=\"{before}\" made=\"{made}\"><changes from=\"{from}\" until=\"{until}\" after=\"{after}\" gone=\"{gone}\" /></cookie>"
                )
            }
        };
        let signed = format!("{inner}{}", check(set, &inner));
        let inner = lower_hex(&utf8_percent_encode(&signed, ALL).to_string());
        let tracking = if istracking { "True" } else { "False" };
        let outer =
            format!("<cookie pagenumber=\"{}\" pagingcookie=\"{inner}\" istracking=\"{tracking}\" />", self.page);
        utf8_percent_encode(&outer, KEPT).to_string()
    }

    /// Reads a `$skiptoken` that was percent-decoded once.
    pub(super) fn decode(set: &str, token: &str) -> Result<Self, Refusal> {
        Self::read(set, token).ok_or_else(|| Refusal::request("The paging token is not valid."))
    }

    fn read(set: &str, token: &str) -> Option<Self> {
        let page: u64 = attribute(token, "pagenumber")?.parse().ok()?;
        let inner = attribute(token, "pagingcookie")?;
        let signed = percent_decode_str(inner).decode_utf8().ok()?.into_owned();
        let (inner, signature) = signed.split_at_checked(signed.len().checked_sub(16)?)?;
        if check(set, inner) != signature || attribute(inner, "page")? != (page.checked_sub(1)?).to_string() {
            return None;
        }
        let number = |name| attribute(inner, name)?.parse::<i64>().ok();
        let walk = if let Some(last) = attribute(inner, "last") {
            let last = super::row::parse_guid(last.trim_matches(['{', '}']))?;
            Walk::After { last, since: number("since") }
        } else if let Some(rows) = attribute(inner, "offset") {
            Walk::Offset { rows: rows.parse().ok()? }
        } else {
            Walk::Changes {
                from: number("from")?,
                until: number("until")?,
                after: number("after")?,
                gone: number("gone")? == 1,
            }
        };
        Some(Self { page, walk, made: number("made")? })
    }
}

/// The value of an attribute, `name="value"`.
fn attribute<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let start = text.find(&format!(" {name}=\""))? + name.len() + 3;
    let rest = text.get(start..)?;
    rest.split_once('"').map(|(value, _)| value)
}

/// A delta token: a version and the time it was made, `919042!08/22/2017 08:10:44`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DeltaToken {
    pub(super) version: i64,
    pub(super) seconds: i64,
}

impl DeltaToken {
    /// The value of `$deltatoken`, percent-encoded in small letters as the public pages show it.
    pub(super) fn encode(self) -> String {
        let time = DateTime::from_timestamp(self.seconds, 0).unwrap_or_default().format("%m/%d/%Y %H:%M:%S");
        lower_hex(&utf8_percent_encode(&format!("{}!{time}", self.version), ALL).to_string())
    }

    /// Reads a token that was percent-decoded.
    pub(super) fn decode(token: &str) -> Option<Self> {
        let (version, time) = token.split_once('!')?;
        let time = NaiveDateTime::parse_from_str(time, "%m/%d/%Y %H:%M:%S").ok()?;
        Some(Self { version: version.parse().ok()?, seconds: time.and_utc().timestamp() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_come_back_and_forged_ones_do_not() {
        let walks = [
            Walk::After { last: 7, since: None },
            Walk::After { last: u128::MAX, since: Some(9) },
            Walk::Offset { rows: 10 },
            Walk::Changes { from: 1, until: 5, after: 3, gone: true },
        ];
        for walk in walks {
            let cursor = Cursor { page: 2, walk, made: 5 };
            let link = cursor.encode("contacts", true);
            let decoded = percent_decode_str(&link).decode_utf8().unwrap().into_owned();
            assert_eq!(Cursor::decode("contacts", &decoded).unwrap(), cursor);
            assert_eq!(Cursor::decode("accounts", &decoded).unwrap_err().status, 400);
            assert!(Cursor::decode("contacts", &decoded.replace("pagenumber=\"2\"", "pagenumber=\"3\"")).is_err());
        }
    }

    #[test]
    fn the_delta_token_has_the_documented_shape() {
        let token = DeltaToken { version: 919_042, seconds: 1_503_389_444 };
        assert_eq!(token.encode(), "919042%2108%2f22%2f2017%2008%3a10%3a44");
        assert_eq!(DeltaToken::decode("919042!08/22/2017 08:10:44"), Some(token));
        assert_eq!(DeltaToken::decode("nonsense"), None);
    }
}
