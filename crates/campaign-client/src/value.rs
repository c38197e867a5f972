//! Values as Campaign writes them.

use std::borrow::Cow;

use chrono::{DateTime, NaiveDateTime, Utc};

/// Writes a time as Campaign does: `2026-02-21 09:26:57.584Z`, with milliseconds and a space.
#[must_use]
pub fn format_datetime(time: &DateTime<Utc>) -> String {
    time.format("%Y-%m-%d %H:%M:%S%.3fZ").to_string()
}

/// Reads a time with a space or a `T`, with or without a fraction, `Z` or an offset. `None` for
/// anything else, and for the empty text that Campaign sends where there is no time.
#[must_use]
pub fn parse_datetime(text: &str) -> Option<DateTime<Utc>> {
    let text = text.trim();
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Some(time.with_timezone(&Utc));
    }
    let bare = text.strip_suffix(['Z', 'z'])?;
    ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M"]
        .iter()
        .find_map(|form| NaiveDateTime::parse_from_str(bare, form).ok())
        .map(|time| time.and_utc())
}

/// The prefix of the opt-out fields on the wire.
pub const OPT_OUT_PREFIX: &str = "blackList";

const OPT_OUT_ALIASES: [&str; 3] = ["denyList", "blockList", "blackList"];
const CHANNELS: [&str; 8] = ["", "All", "Email", "Fax", "Mobile", "Phone", "PostalMail", "Pushnotification"];

/// The wire name of a field. The documentation calls the opt-out fields `denyList*` and called them
/// `blockList*`; the data model has `blackList*` (experienceleague.adobe.com, Campaign Standard,
/// "Profile resource"). Other names come back as they are.
#[must_use]
pub fn wire_name(name: &str) -> Cow<'_, str> {
    wire_name_with(name, OPT_OUT_PREFIX)
}

/// [`wire_name`] for a tenant whose opt-out fields have another prefix.
#[must_use]
pub fn wire_name_with<'n>(name: &'n str, prefix: &str) -> Cow<'n, str> {
    let suffix = OPT_OUT_ALIASES.iter().find_map(|alias| name.strip_prefix(alias));
    match suffix {
        Some(suffix) if is_opt_out_suffix(suffix) => {
            let channel = if suffix.starts_with("PushNotification") {
                suffix.replacen("PushNotification", "Pushnotification", 1)
            } else {
                suffix.to_owned()
            };
            Cow::Owned(format!("{prefix}{channel}"))
        }
        _ => Cow::Borrowed(name),
    }
}

fn is_opt_out_suffix(suffix: &str) -> bool {
    let channel = suffix.strip_suffix("LastModified").unwrap_or(suffix);
    CHANNELS.contains(&channel) || channel == "PushNotification"
}
