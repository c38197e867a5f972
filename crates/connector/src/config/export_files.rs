//! Which files of the file exchange are read, and how they are written: the keys of every `export = { ... }`.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{FixedOffset, Offset, Utc};

use super::period::period;
use super::reader::{Document, Section};

/// Files of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportFiles {
    /// The folder, relative to where the user lands.
    pub folder: String,
    /// Names of the files; `*` stands for anything.
    pub pattern: String,
    /// What stands between two values: tab, comma, semicolon or pipe. From the header when absent.
    pub separator: Option<char>,
    /// What stands around values: `"`, `'` or nothing. From the header when absent.
    pub quotes: Option<Option<char>>,
    /// Names of the columns of files without a header line.
    pub header: Option<Vec<String>>,
    /// Columns that are not called as usual.
    pub columns: BTreeMap<&'static str, String>,
    /// The offset of times that name none.
    pub utc_offset: FixedOffset,
    /// When a file is complete.
    pub complete: ExportComplete,
}

/// When a file is complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExportComplete {
    /// Its name ends thus: whoever writes it renames it at the end.
    Renamed(String),
    /// Its size and time did not change for so long.
    Stable(Duration),
}

impl ExportFiles {
    /// Files by their defaults.
    pub fn new(folder: impl Into<String>, pattern: impl Into<String>) -> Self {
        Self {
            folder: folder.into(),
            pattern: pattern.into(),
            separator: None,
            quotes: None,
            header: None,
            columns: BTreeMap::new(),
            utc_offset: Utc.fix(),
            complete: ExportComplete::Stable(Duration::from_secs(30)),
        }
    }
}

const SEPARATORS: [(&str, char); 4] = [("tab", '\t'), ("comma", ','), ("semicolon", ';'), ("pipe", '|')];
const QUOTES: [(&str, Option<char>); 3] = [("none", None), ("double", Some('"')), ("single", Some('\''))];

/// Reads the keys of a section; `columns` are those that may have other names.
pub(super) fn export_files<'t>(
    document: &mut Document<'t>,
    section: &mut Section<'_, 't>,
    pattern: &str,
    columns: &[&'static str],
) -> ExportFiles {
    let folder = section.required_text(document, "folder", "the folder of the exports, such as \"d365_loads/exports\"");
    let mut files = ExportFiles::new(folder, pattern);
    if let Some(pattern) = section.text(document, "pattern") {
        files.pattern = pattern;
    }
    files.separator = section.word(document, "separator", &SEPARATORS);
    files.quotes = section.word(document, "quotes", &QUOTES);
    if let Some(value) = section.value("header") {
        files.header = document.deserialize(&section.place("header"), value);
        if files.header.is_some() && files.separator.is_none() {
            section.missing(document, "separator", "without a header line nothing tells it");
        }
    }
    if let Some(value) = section.value("columns")
        && let Some(mut names) = Section::at(document, value, section.place("columns"))
    {
        for field in columns {
            if let Some(name) = names.text(document, field) {
                files.columns.insert(field, name);
            }
        }
        names.finish(document);
    }
    if let Some(value) = section.value("utc_offset") {
        let offset = value.span().start;
        match section.text(document, "utc_offset").as_deref().map(str::parse::<FixedOffset>) {
            Some(Ok(found)) => files.utc_offset = found,
            Some(Err(_)) => {
                let place = section.place("utc_offset");
                document.problem(place, offset, "This is no offset.", "Write it as \"+01:00\".");
            }
            None => {}
        }
    }
    let stable = period(document, section, "stable_for");
    let renamed = section.text(document, "complete_ending");
    match (stable, renamed) {
        (Some(_), Some(_)) => {
            let offset = section.value("complete_ending").map_or(0, |value| value.span().start);
            let message = "A file is complete by its name or by standing still, not by both.";
            document.problem(
                section.place("complete_ending"),
                offset,
                message,
                "Remove one of stable_for and complete_ending.",
            );
        }
        (Some(span), None) => files.complete = ExportComplete::Stable(span),
        (None, Some(ending)) => files.complete = ExportComplete::Renamed(ending),
        (None, None) => {}
    }
    files
}
