//! What Campaign's workflows write for others to fetch: the daily incremental file of opt-outs, and mail logs
//! (experienceleague.adobe.com, "Extract file", "Exporting logs"; the columns of the opt-out file are not published).

use std::collections::HashMap;
use std::io::Write;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, Utc};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Deserialize;
use serde_json::{Map, Value};
use xxhash_rust::xxh3::xxh3_64;

/// Separator of the extract activity.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Separator {
    /// Tab, the activity's default.
    Tab,
    /// Comma.
    #[default]
    Comma,
    /// Semicolon.
    Semicolon,
    /// Pipe.
    Pipe,
}

impl Separator {
    fn text(self) -> char {
        match self {
            Self::Tab => '\t',
            Self::Comma => ',',
            Self::Semicolon => ';',
            Self::Pipe => '|',
        }
    }
}

/// String delimiter of the extract activity.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Quotes {
    /// None, the activity's default. A separator or line end inside a value becomes a space.
    #[default]
    None,
    /// `"`, around every value.
    Double,
    /// `'`, around every value.
    Single,
}

/// Form of the dates.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dates {
    /// `2026/02/21 09:26:57`.
    #[default]
    Slashes,
    /// `2026-02-21T09:26:57.584Z`.
    Iso,
    /// `2026-02-21 09:26:57.584Z`, as the REST API shows them.
    Wire,
}

/// Form of the truth values.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Booleans {
    /// `0` and `1`, the internal values.
    #[default]
    Digits,
    /// `false` and `true`.
    Words,
}

/// How a file is written.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the request, by its name")]
pub struct ExportForm {
    /// Separator.
    pub separator: Separator,
    /// String delimiter.
    pub quotes: Quotes,
    /// Without the header line.
    pub headless: bool,
    /// Dates.
    pub dates: Dates,
    /// Truth values.
    pub booleans: Booleans,
    /// Compressed, with `.gz` behind the name.
    pub gzip: bool,
    /// A byte order mark at the front.
    pub bom: bool,
    /// CR LF in place of LF.
    pub crlf: bool,
    /// Everything, and not only what changed since the last export of the kind.
    pub full: bool,
    /// No file when there is nothing to write; otherwise it holds the header alone.
    pub skip_empty: bool,
    /// Only the first half for now; `POST /exports/finish` writes the rest.
    pub hold: bool,
    /// Of logs: so many events at most; the next export goes on behind them.
    pub most: Option<usize>,
}

/// A finished export.
#[derive(Debug)]
pub struct Export {
    /// Bytes of the file.
    pub content: Vec<u8>,
    /// Rows in it.
    pub rows: usize,
}

/// Columns of an export of logs: the fields of a mail event.
const LOG_COLUMNS: [&str; 14] = [
    "eventType",
    "timestamp",
    "externalId",
    "recipientId",
    "email",
    "campaignName",
    "deliveryName",
    "deliveryLabel",
    "broadLogId",
    "trackingLogId",
    "url",
    "mirrorPageUrl",
    "bounceType",
    "reason",
];

/// Remembers what the incremental exports wrote last.
#[derive(Debug, Default)]
pub struct ExportBook {
    opt_outs: Mutex<HashMap<String, u64>>,
    events: Mutex<usize>,
}

fn locked<T>(of: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An opt-out attribute: one with a time of its own, or one of the known families.
fn is_attribute(name: &str) -> bool {
    !name.ends_with("LastModified")
        && (name == "ccpaOptOut"
            || ["blackList", "denyList", "blockList"].iter().any(|family| name.starts_with(family)))
}

fn text(row: &Map<String, Value>, name: &str) -> String {
    match row.get(name) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => String::new(),
        Some(other) => other.to_string(),
    }
}

/// The time of an attribute. The general one has two, of which a tenant moves one or both.
fn moved(row: &Map<String, Value>, attribute: &str) -> String {
    let own = text(row, &format!("{attribute}LastModified"));
    own.max(text(row, &format!("{attribute}AllLastModified")))
}

impl ExportBook {
    /// The opt-outs of rows as `GET /records/campaign/profile` shows them: those that changed since the last export. A profile that
    /// was never opted out of anything has not changed.
    pub fn opt_out(&self, lines: impl Iterator<Item = Map<String, Value>>, form: &ExportForm) -> Export {
        let mut known = locked(&self.opt_outs);
        let mut attributes: Vec<String> = Vec::new();
        let mut rows = Vec::new();
        for row in lines {
            if attributes.is_empty() {
                attributes = row.keys().filter(|name| is_attribute(name)).cloned().collect();
                attributes.sort();
            }
            let id = text(&row, "externalId");
            let hidden = row.get("_hidden").and_then(Value::as_bool).unwrap_or(false);
            if id.is_empty() || hidden {
                continue;
            }
            let state: Vec<(bool, String)> = attributes
                .iter()
                .map(|name| (row.get(name).and_then(Value::as_bool).unwrap_or(false), moved(&row, name)))
                .collect();
            let untouched = state.iter().all(|(out, at)| !out && at.is_empty());
            let mark = xxh3_64(format!("{state:?}").as_bytes());
            let same = known.get(&id).map_or(untouched, |last| *last == mark);
            if !untouched || known.contains_key(&id) {
                known.insert(id.clone(), mark);
            }
            if form.full || !same {
                let mut cells = vec![id];
                for (out, at) in state {
                    cells.push(truth(out, form.booleans).to_owned());
                    cells.push(date(&at, form.dates));
                }
                rows.push(cells);
            }
        }
        if attributes.is_empty() {
            // No profile, so nobody told the names; these are the published ones.
            attributes = ["", "Email", "Fax", "Mobile", "Phone", "PostalMail", "Pushnotification"]
                .map(|c| format!("blackList{c}"))
                .to_vec();
            attributes.push("ccpaOptOut".to_owned());
        }
        let mut header = vec!["externalId".to_owned()];
        for name in attributes {
            header.push(name.clone());
            header.push(format!("{name}LastModified"));
        }
        write(&header, &rows, form)
    }

    /// Mail events as logs: those made since the last export. `events` gives them by their numbers, as far as they are there.
    pub fn logs(&self, events: impl Fn(Range<usize>) -> Vec<Value>, form: &ExportForm) -> Export {
        let mut written = locked(&self.events);
        let from = if form.full { 0 } else { *written };
        let new = events(from..from.saturating_add(form.most.unwrap_or(usize::MAX)));
        *written = from + new.len();
        let row = |event: &Map<String, Value>| {
            let cell = |name: &&str| {
                let cell = text(event, name);
                if *name == "timestamp" { date(&cell, form.dates) } else { cell }
            };
            LOG_COLUMNS.iter().map(cell).collect::<Vec<_>>()
        };
        let rows: Vec<Vec<String>> = new.iter().filter_map(Value::as_object).map(row).collect();
        write(&LOG_COLUMNS.map(str::to_owned), &rows, form)
    }
}

fn truth(value: bool, form: Booleans) -> &'static str {
    match (form, value) {
        (Booleans::Digits, false) => "0",
        (Booleans::Digits, true) => "1",
        (Booleans::Words, false) => "false",
        (Booleans::Words, true) => "true",
    }
}

fn date(shown: &str, form: Dates) -> String {
    let Ok(at) = DateTime::parse_from_rfc3339(&shown.replacen(' ', "T", 1)) else { return shown.to_owned() };
    let form = match form {
        Dates::Slashes => "%Y/%m/%d %H:%M:%S",
        Dates::Iso => "%Y-%m-%dT%H:%M:%S%.3fZ",
        Dates::Wire => "%Y-%m-%d %H:%M:%S%.3fZ",
    };
    at.with_timezone(&Utc).format(form).to_string()
}

fn write(header: &[String], rows: &[Vec<String>], form: &ExportForm) -> Export {
    let separator = form.separator.text();
    let quoted = |cell: &String| match form.quotes {
        Quotes::None => cell.replace([separator, '\r', '\n'], " "),
        Quotes::Double => format!("\"{}\"", cell.replace('"', "\"\"")),
        Quotes::Single => format!("'{}'", cell.replace('\'', "''")),
    };
    let mut out = String::new();
    if form.bom {
        out.push('\u{feff}');
    }
    let head = (!form.headless).then_some(header);
    for line in head.into_iter().chain(rows.iter().map(Vec::as_slice)) {
        for (at, cell) in line.iter().enumerate() {
            if at > 0 {
                out.push(separator);
            }
            out.push_str(&quoted(cell));
        }
        out.push_str(if form.crlf { "\r\n" } else { "\n" });
    }
    let content = if form.gzip { gzip(out.as_bytes()) } else { out.into_bytes() };
    Export { content, rows: rows.len() }
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    // Writing into memory cannot fail.
    let _ = encoder.write_all(content);
    encoder.finish().unwrap_or_default()
}

/// Name of a file: `optout_20260221_093000.csv`, with `.gz` where it is compressed.
pub fn file_name(kind: &str, at: DateTime<Utc>, form: &ExportForm) -> String {
    let ending = if form.gzip { ".csv.gz" } else { ".csv" };
    format!("{kind}_{}{ending}", at.format("%Y%m%d_%H%M%S"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn profile(id: &str, email: bool, at: &str) -> Map<String, Value> {
        let row = json!({"externalId": id, "firstName": "Ida", "blackListEmail": email, "blackListEmailLastModified": at,
            "blackList": false, "blackListLastModified": "", "blackListAllLastModified": ""});
        row.as_object().unwrap().clone()
    }

    fn texts(export: &Export) -> Vec<String> {
        String::from_utf8(export.content.clone()).unwrap().lines().map(str::to_owned).collect()
    }

    const AT: &str = "2026-02-21 09:26:57.584Z";

    #[test]
    fn only_what_changed_since_the_last_export_is_written() {
        let book = ExportBook::default();
        let form = ExportForm::default();
        let export = |rows: Vec<Map<String, Value>>| texts(&book.opt_out(rows.into_iter(), &form));
        let header = "externalId,blackList,blackListLastModified,blackListEmail,blackListEmailLastModified";
        assert_eq!(
            export(vec![profile("a", true, AT), profile("b", false, "")]),
            [header, "a,0,,1,2026/02/21 09:26:57"]
        );
        assert_eq!(export(vec![profile("a", true, AT), profile("b", false, "")]), [header]);
        let later = "2026-02-22 00:00:00.000Z";
        assert_eq!(export(vec![profile("a", false, later)]), [header, "a,0,,0,2026/02/22 00:00:00"]);
    }

    #[test]
    fn every_form_is_written_as_it_says() {
        let form: ExportForm = serde_json::from_value(json!({
            "separator": "tab", "quotes": "double", "dates": "iso", "booleans": "words", "bom": true, "crlf": true
        }))
        .unwrap();
        let export = ExportBook::default().opt_out(std::iter::once(profile("a\"b", true, AT)), &form);
        let text = String::from_utf8(export.content).unwrap();
        assert!(text.starts_with("\u{feff}\"externalId\"\t"), "{text}");
        assert!(
            text.ends_with("\r\n\"a\"\"b\"\t\"false\"\t\"\"\t\"true\"\t\"2026-02-21T09:26:57.584Z\"\r\n"),
            "{text}"
        );
        let zipped = ExportForm { gzip: true, ..form };
        assert_eq!(file_name("optout", DateTime::UNIX_EPOCH, &zipped), "optout_19700101_000000.csv.gz");
        let export = ExportBook::default().opt_out(std::iter::empty(), &zipped);
        assert_eq!((export.rows, export.content.get(..2).unwrap()), (0, &[0x1f, 0x8b][..]));
    }

    #[test]
    fn logs_go_on_where_they_ended() {
        let book = ExportBook::default();
        let events = [
            json!({"eventType": "send", "timestamp": "2026-02-21T09:26:57.584Z", "externalId": "a", "url": null}),
            json!({"eventType": "click", "timestamp": "2026-02-21T09:26:58Z", "externalId": "a", "url": "https://x/?a=1,2"}),
        ];
        let form = ExportForm::default();
        let made = |count: usize| {
            let events = events.get(..count).unwrap().to_vec();
            move |of: Range<usize>| events.get(of.start..of.end.min(events.len())).unwrap_or_default().to_vec()
        };
        let header = LOG_COLUMNS.join(",");
        let first = book.logs(made(1), &form);
        assert_eq!(texts(&first), [header.as_str(), "send,2026/02/21 09:26:57,a,,,,,,,,,,,"]);
        let second = book.logs(made(2), &form);
        assert_eq!(texts(&second)[1], "click,2026/02/21 09:26:58,a,,,,,,,,https://x/?a=1 2,,,");
        assert_eq!((second.rows, book.logs(made(2), &form).rows), (1, 0));
        // Bit by bit.
        let (book, form) = (ExportBook::default(), ExportForm { most: Some(1), ..form });
        let rows = || book.logs(made(2), &form).rows;
        assert_eq!([rows(), rows(), rows()], [1, 1, 0]);
    }
}
