//! Reads sections of a TOML document and keeps every problem, each with its path and line, instead of stopping at the first.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use secrecy::SecretString;
use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::SecretRef;
use super::certificates::certificates;
use super::key;
use crate::error::Problem;

const TEXT: &str = "Write it in quotes: \"...\".";
const BOOLEAN: &str = "Write true or false, without quotes.";

/// The document as a whole: its text (for line numbers) and the problems found so far.
pub(super) struct Document<'t> {
    text: &'t str,
    base: PathBuf,
    pub(super) problems: Vec<Problem>,
    /// What the configuration refers to, to be read once the whole document was.
    references: Vec<(String, usize, Reference)>,
}

/// Something outside the document.
pub(super) enum Reference {
    /// A secret.
    Secret(SecretRef),
    /// The key of the store.
    Key(SecretRef),
    /// Certificates.
    Certificates(PathBuf),
}

impl<'t> Document<'t> {
    pub(super) fn new(text: &'t str, base: &Path) -> Self {
        Self { text, base: base.to_owned(), problems: Vec::new(), references: Vec::new() }
    }

    pub(super) fn line(&self, offset: usize) -> usize {
        1 + self.text.as_bytes().iter().take(offset).filter(|byte| **byte == b'\n').count()
    }

    pub(super) fn problem(
        &mut self,
        place: impl Into<String>,
        offset: usize,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let line = self.line(offset);
        self.problems.push(Problem::new(place, message, remedy).at_line(Some(line)));
    }

    /// Remembers what a value refers to.
    pub(super) fn refers(&mut self, place: String, offset: usize, reference: Reference) {
        self.references.push((place, offset, reference));
    }

    /// Reads what the configuration refers to, and keeps what is wrong with it.
    pub(super) fn check_references(&mut self) {
        for (place, offset, reference) in std::mem::take(&mut self.references) {
            let found = match reference {
                Reference::Secret(secret) => secret.check(&place).err(),
                Reference::Key(secret) => key::check(&secret).err(),
                Reference::Certificates(file) => certificates(&file, &place).err(),
            };
            if let Some(problem) = found {
                let line = self.line(offset);
                self.problems.push(problem.at_line(Some(line)));
            }
        }
    }

    /// Relative paths are relative to the file.
    pub(super) fn path(&self, text: &str) -> PathBuf {
        self.base.join(text)
    }

    /// Deserializes one value through serde; its first problem is kept. For values that serde knows best, such as literals.
    pub(super) fn deserialize<T: DeserializeOwned>(&mut self, place: &str, value: &Spanned<DeValue<'t>>) -> Option<T> {
        let offset = value.span().start;
        match T::deserialize(toml::de::ValueDeserializer::from(value.clone())) {
            Ok(parsed) => Some(parsed),
            Err(error) => {
                let at = error.span().map_or(offset, |span| span.start);
                let message = format!("{}.", error.message().trim_end_matches('.'));
                self.problem(place, at, message, "docs/configuration.md shows how this key is written.");
                None
            }
        }
    }
}

/// Where the value at a path such as `table[1].fields[0].to` stands, or the innermost part of the path that is there.
pub(super) fn locate(root: &DeTable<'_>, path: &str) -> usize {
    let mut offset = 0;
    let mut here: Option<&Spanned<DeValue<'_>>> = None;
    for part in path.split(['.', '[']) {
        let next = match (part.strip_suffix(']'), here) {
            (Some(index), Some(list)) => index.parse::<usize>().ok().and_then(|index| list.get_ref().get(index)),
            (None, Some(table)) => table.get_ref().as_table().and_then(|table| table.get(part)),
            (None, None) => root.get(part),
            (Some(_), None) => None,
        };
        let Some(next) = next else { break };
        offset = next.span().start;
        here = Some(next);
    }
    offset
}

/// One table of the document; asks for its keys one by one, and reports what was never asked for.
pub(super) struct Section<'d, 't> {
    table: &'d DeTable<'t>,
    place: String,
    offset: usize,
    asked: BTreeSet<&'static str>,
}

impl<'d, 't> Section<'d, 't> {
    /// The section called `name` of a table; `None` (with a problem) when it is something else than a table.
    pub(super) fn of(document: &mut Document<'t>, root: &'d DeTable<'t>, name: &'static str) -> Option<Self> {
        let value = root.get(name)?;
        let offset = value.span().start;
        match value.get_ref().as_table() {
            Some(table) => Some(Self { table, place: name.to_owned(), offset, asked: BTreeSet::new() }),
            None => {
                document.problem(name, offset, "This must be a table.", format!("Write it as [{name}]."));
                None
            }
        }
    }

    /// A table that stands at `place`, which may lie within lists; `None` (with a problem) when it is something else.
    pub(super) fn at(document: &mut Document<'t>, value: &'d Spanned<DeValue<'t>>, place: String) -> Option<Self> {
        let offset = value.span().start;
        match value.get_ref().as_table() {
            Some(table) => Some(Self { table, place, offset, asked: BTreeSet::new() }),
            None => {
                document.problem(place, offset, "This must be a table.", "Write it as { key = value, ... }.");
                None
            }
        }
    }

    pub(super) fn place(&self, key: &str) -> String {
        format!("{}.{key}", self.place)
    }

    /// The number of keys.
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    /// The entries of a list with their places; none (with a problem) when it is something else than a list.
    pub(super) fn list(
        &mut self,
        document: &mut Document<'t>,
        key: &'static str,
    ) -> Vec<(String, &'d Spanned<DeValue<'t>>)> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let place = self.place(key);
        match value.get_ref().as_array() {
            Some(list) => list.iter().enumerate().map(|(n, value)| (format!("{place}[{n}]"), value)).collect(),
            None => {
                document.problem(place, value.span().start, "This must be a list.", "Write it as [ ... ].");
                Vec::new()
            }
        }
    }

    /// One of a few words.
    pub(super) fn word<T: Copy>(
        &mut self,
        document: &mut Document<'t>,
        key: &'static str,
        words: &[(&str, T)],
    ) -> Option<T> {
        let value = self.value(key)?;
        let found = value.get_ref().as_str().and_then(|text| words.iter().find(|(word, _)| *word == text));
        if found.is_none() {
            let list: Vec<String> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
            let remedy = format!("Write one of {}.", list.join(", "));
            document.problem(
                self.place(key),
                value.span().start,
                "This is none of the words that are known here.",
                remedy,
            );
        }
        found.map(|(_, meaning)| *meaning)
    }

    pub(super) fn value(&mut self, key: &'static str) -> Option<&'d Spanned<DeValue<'t>>> {
        self.asked.insert(key);
        self.table.get(key)
    }

    pub(super) fn text(&mut self, document: &mut Document<'t>, key: &'static str) -> Option<String> {
        let value = self.value(key)?;
        match value.get_ref().as_str() {
            Some(text) if !text.is_empty() => Some(text.to_owned()),
            _ => {
                document.problem(self.place(key), value.span().start, "This must be a text that is not empty.", TEXT);
                None
            }
        }
    }

    pub(super) fn required_text(&mut self, document: &mut Document<'t>, key: &'static str, what: &str) -> String {
        if self.table.get(key).is_none() {
            self.missing(document, key, what);
        }
        self.text(document, key).unwrap_or_default()
    }

    pub(super) fn missing(&mut self, document: &mut Document<'t>, key: &'static str, what: &str) {
        self.asked.insert(key);
        document.problem(self.place(key), self.offset, "This key is missing.", format!("Add it: {what}."));
    }

    pub(super) fn boolean(&mut self, document: &mut Document<'t>, key: &'static str) -> Option<bool> {
        let value = self.value(key)?;
        match value.get_ref() {
            DeValue::Boolean(boolean) => Some(*boolean),
            _ => {
                document.problem(self.place(key), value.span().start, "This must be true or false.", BOOLEAN);
                None
            }
        }
    }

    pub(super) fn integer(
        &mut self,
        document: &mut Document<'t>,
        key: &'static str,
        range: std::ops::RangeInclusive<u64>,
    ) -> Option<u64> {
        let value = self.value(key)?;
        let parsed = match value.get_ref() {
            DeValue::Integer(integer) if integer.radix() == 10 => integer.as_str().parse::<u64>().ok(),
            _ => None,
        };
        if let Some(parsed) = parsed.filter(|parsed| range.contains(parsed)) {
            return Some(parsed);
        }
        let (low, high) = (range.start(), range.end());
        document.problem(
            self.place(key),
            value.span().start,
            format!("This must be a whole number from {low} to {high}."),
            "Write a number in this range, without quotes.",
        );
        None
    }

    /// A reference to a secret; a literal is refused.
    pub(super) fn secret(&mut self, document: &mut Document<'t>, key: &'static str) -> Option<SecretRef> {
        const FORMS: &str = "Write { env = \"NAME\" } or { file = \"path\" }; a literal only as { plain = \"...\" }";
        let value = self.value(key)?;
        let offset = value.span().start;
        let reference = value.get_ref().as_table().filter(|table| table.len() == 1).and_then(|table| {
            let (form, inner) = table.iter().next()?;
            let text = inner.get_ref().as_str().filter(|text| !text.is_empty())?;
            match form.get_ref().as_ref() {
                "env" => Some(SecretRef::Env(text.to_owned())),
                "file" => Some(SecretRef::File(document.path(text))),
                "plain" => Some(SecretRef::Plain(SecretString::from(text.to_owned()))),
                _ => None,
            }
        });
        if reference.is_none() {
            document.problem(self.place(key), offset, "A secret must be a reference.", FORMS);
        }
        reference
    }

    /// Reports every key that was never asked for.
    pub(super) fn finish(self, document: &mut Document<'t>) {
        report_unknown(document, &self.place, self.table, &self.asked);
    }
}

/// Reports the keys of `table` that are not known.
pub(super) fn report_unknown(
    document: &mut Document<'_>,
    place: &str,
    table: &DeTable<'_>,
    known: &BTreeSet<&'static str>,
) {
    for (key, _) in table {
        let name = key.get_ref().as_ref();
        if !known.contains(name) {
            let path = if place.is_empty() { name.to_owned() } else { format!("{place}.{name}") };
            let list: Vec<&str> = known.iter().copied().collect();
            document.problem(
                path,
                key.span().start,
                "This key is not known.",
                format!("Known here: {}.", list.join(", ")),
            );
        }
    }
}
