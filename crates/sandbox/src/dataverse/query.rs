//! System query options and `Prefer`.

use std::collections::HashMap;

use http::HeaderMap;
use percent_encoding::percent_decode_str;

use super::error::Refusal;
use super::filter::Filter;
use super::schema::Table;

/// One part of a query string, decoded, with the text it was.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub(super) name: String,
    pub(super) value: String,
    pub(super) raw: String,
}

/// The query options of a request, not yet understood.
#[derive(Debug, Clone, Default)]
pub(super) struct Options {
    pub(super) parts: Vec<Part>,
    pub(super) aliases: HashMap<String, String>,
}

fn decode(text: &str) -> Result<String, Refusal> {
    let text = text.replace('+', " ");
    let decoded = percent_decode_str(&text).decode_utf8();
    decoded.map(std::borrow::Cow::into_owned).map_err(|_| Refusal::request("The query is not valid UTF-8."))
}

impl Options {
    /// Takes a query string apart. Names are case-sensitive; a name that the service does not know is refused.
    pub(super) fn parse(query: &str) -> Result<Self, Refusal> {
        let mut options = Self::default();
        for raw in query.split('&').filter(|part| !part.is_empty()) {
            let (name, value) = raw.split_once('=').unwrap_or((raw, ""));
            let (name, value) = (decode(name)?, decode(value)?);
            if name.starts_with('@') {
                options.aliases.insert(name, value);
                continue;
            }
            let known = matches!(
                name.as_str(),
                "$select"
                    | "$filter"
                    | "$orderby"
                    | "$top"
                    | "$count"
                    | "$expand"
                    | "$apply"
                    | "$skiptoken"
                    | "$deltatoken"
            );
            if matches!(name.as_str(), "tag" | "LabelLanguages" | "api-version") {
                continue;
            }
            if name == "fetchXml" {
                return Err(Refusal::not_imitated("FetchXML"));
            }
            if !known {
                return Err(Refusal::request(format!("The query parameter {name} is not supported")));
            }
            if options.get(&name).is_some() {
                return Err(Refusal::request(format!(
                    "Query option '{name}' was specified more than once, but it must be specified at most once."
                )));
            }
            options.parts.push(Part { name, value, raw: raw.to_owned() });
        }
        Ok(options)
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.parts.iter().find(|p| p.name == name).map(|p| p.value.as_str())
    }

    /// The query as it came, without the paging and tracking tokens.
    pub(super) fn without_tokens(&self, query: &str) -> String {
        let tokens: Vec<&str> = self
            .parts
            .iter()
            .filter(|p| matches!(p.name.as_str(), "$skiptoken" | "$deltatoken"))
            .map(|p| p.raw.as_str())
            .collect();
        let kept: Vec<&str> = query.split('&').filter(|raw| !raw.is_empty() && !tokens.contains(raw)).collect();
        kept.join("&")
    }

    /// Columns of `$select`; `None` means all.
    pub(super) fn select(&self, table: &Table) -> Result<Option<Vec<usize>>, Refusal> {
        let Some(select) = self.get("$select") else { return Ok(None) };
        let mut columns = Vec::new();
        for name in select.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            if name == "*" {
                return Ok(None);
            }
            let at = table.by_wire(name).ok_or_else(|| Refusal::no_such_column(&table.name, name))?;
            if !columns.contains(&at) {
                columns.push(at);
            }
        }
        Ok(Some(columns).filter(|c| !c.is_empty()))
    }

    pub(super) fn filter(&self, table: &Table, now: i64) -> Result<Option<Filter>, Refusal> {
        self.get("$filter").map(|text| Filter::parse(table, text, &self.aliases, now)).transpose()
    }

    /// Columns and whether they descend.
    pub(super) fn order(&self, table: &Table) -> Result<Vec<(usize, bool)>, Refusal> {
        let Some(order) = self.get("$orderby") else { return Ok(Vec::new()) };
        let mut columns = Vec::new();
        for part in order.split(',') {
            let mut words = part.split_whitespace();
            let word = words.next().unwrap_or_default();
            let name = match word.starts_with('@') {
                true => self
                    .aliases
                    .get(word)
                    .map(|value| value.trim())
                    .ok_or_else(|| Refusal::request(format!("The parameter alias '{word}' has no value.")))?,
                false => word,
            };
            let at = table.by_wire(name).ok_or_else(|| Refusal::no_such_column(&table.name, name))?;
            let descending = match (words.next(), words.next()) {
                (None | Some("asc"), None) => false,
                (Some("desc"), None) => true,
                _ => return Err(Refusal::request(format!("Syntax error in '{order}'."))),
            };
            columns.push((at, descending));
        }
        Ok(columns)
    }

    pub(super) fn top(&self) -> Result<Option<usize>, Refusal> {
        let Some(top) = self.get("$top") else { return Ok(None) };
        match top.parse::<usize>() {
            Ok(top) if top > 0 => Ok(Some(top.min(5000))),
            _ => Err(Refusal::request(format!("Invalid value '{top}' for $top query option found."))),
        }
    }

    pub(super) fn count(&self) -> Result<bool, Refusal> {
        match self.get("$count") {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(other) => Err(Refusal::request(format!("Invalid value '{other}' for $count query option found."))),
        }
    }

    /// Options that only a list can have are refused on a single row.
    pub(super) fn only_for_one(&self) -> Result<(), Refusal> {
        for name in ["$filter", "$orderby", "$top", "$count", "$apply", "$skiptoken", "$deltatoken"] {
            if self.get(name).is_some() {
                return Err(Refusal::request(format!(
                    "The query option {name} can be applied to collections only, and this request is for a single resource."
                )));
            }
        }
        Ok(())
    }

    /// What is known and yet not served.
    pub(super) fn refuse_unserved(&self) -> Result<(), Refusal> {
        for name in ["$expand", "$apply"] {
            if self.get(name).is_some() {
                return Err(Refusal::not_imitated(name));
            }
        }
        Ok(())
    }
}

/// What a client prefers.
#[derive(Debug, Clone, Default)]
pub(super) struct Prefer {
    pub(super) representation: bool,
    pub(super) track_changes: bool,
    pub(super) page_size: Option<usize>,
    pub(super) annotations: Option<String>,
    /// Of a batch: what fails does not stop the rest.
    pub(super) continue_on_error: bool,
}

impl Prefer {
    /// Reads all `Prefer` headers; preferences are parted by commas outside of quotes.
    pub(super) fn parse(headers: &HeaderMap) -> Self {
        let mut prefer = Self::default();
        for value in headers.get_all("prefer") {
            let Ok(value) = value.to_str() else { continue };
            for part in outside_quotes(value) {
                let (name, value) = part.split_once('=').unwrap_or((part, ""));
                let value = value.trim().trim_matches('"');
                match name.trim().to_ascii_lowercase().as_str() {
                    "return" => prefer.representation = value == "representation",
                    "odata.track-changes" | "track-changes" => prefer.track_changes = true,
                    "odata.maxpagesize" | "maxpagesize" => prefer.page_size = value.parse().ok().filter(|n| *n > 0),
                    "odata.continue-on-error" | "continue-on-error" => prefer.continue_on_error = value != "false",
                    "odata.include-annotations" => prefer.annotations = Some(value.to_owned()),
                    _ => {}
                }
            }
        }
        prefer
    }

    /// Whether an annotation was asked for: `*`, a name, `Prefix.*`, and `-` to leave out.
    pub(super) fn wants(&self, annotation: &str) -> bool {
        let Some(list) = &self.annotations else { return false };
        let mut wanted = false;
        for pattern in list.split(',').map(str::trim) {
            let (value, pattern) = match pattern.strip_prefix('-') {
                Some(rest) => (false, rest),
                None => (true, pattern),
            };
            let fits = match pattern.strip_suffix('*') {
                Some(prefix) => annotation.starts_with(prefix),
                None => annotation == pattern,
            };
            if fits {
                wanted = value;
            }
        }
        wanted
    }

    /// `Preference-Applied`: what was honoured.
    pub(super) fn applied(&self, tracking: bool) -> Option<String> {
        let mut applied = Vec::new();
        if tracking && self.track_changes {
            applied.push("odata.track-changes".to_owned());
        }
        if let Some(size) = self.page_size {
            applied.push(format!("odata.maxpagesize={size}"));
        }
        if let Some(list) = &self.annotations {
            applied.push(format!("odata.include-annotations=\"{list}\""));
        }
        (!applied.is_empty()).then(|| applied.join(","))
    }
}

fn outside_quotes(value: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut quoted) = (0, false);
    for (at, c) in value.char_indices() {
        match c {
            '"' => quoted = !quoted,
            ',' if !quoted => {
                parts.push(&value[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&value[start..]);
    parts.into_iter().map(str::trim).collect()
}
