//! Sections that this version cannot serve yet: accepted while they are off, and checked all the same, so that a mistake in
//! them is not found only on the day when they are switched on.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::parse::LATER;
use super::reader::{Document, Section};

/// `[events]`, `[opt_out]` and `[sftp]`.
pub(super) fn sections<'t>(document: &mut Document<'t>, root: &DeTable<'t>) {
    for (name, read) in [("events", events as Read), ("opt_out", opt_out), ("sftp", sftp)] {
        let Some(mut section) = Section::of(document, root, name) else { continue };
        let on = read(document, &mut section);
        section.finish(document);
        if on {
            let offset = root.get(name).map_or(0, |value| value.span().start);
            let message = format!("The section [{name}] is {LATER}.");
            document.problem(name, offset, message, "Switch it off or remove it.");
        }
    }
}

/// Reads a section and answers whether it is switched on.
type Read = for<'d, 't, 's> fn(&'d mut Document<'t>, &'s mut Section<'_, 't>) -> bool;

fn events<'t>(document: &mut Document<'t>, section: &mut Section<'_, 't>) -> bool {
    let mut on = false;
    for key in ["sends", "opens", "clicks", "bounces"] {
        on |= section.boolean(document, key).unwrap_or(false);
    }
    let journal: Form = ("journal", &["url", "organization", "integration"]);
    source(document, section, &[journal, ("export", &["folder"])]);
    on
}

fn opt_out<'t>(document: &mut Document<'t>, section: &mut Section<'_, 't>) -> bool {
    let directions =
        [("disabled", false), ("d365_to_campaign", true), ("campaign_to_d365", true), ("bidirectional", true)];
    let on = section.word(document, "direction", &directions).unwrap_or(false);
    source(document, section, &[("export", &["folder"]), ("filter", &["name", "parameter"])]);
    for (place, value) in section.list(document, "pairs") {
        texts(document, place, value, &["d365", "campaign"]);
    }
    section.text(document, "workflow");
    section.text(document, "expect_file_within");
    on
}

fn sftp<'t>(document: &mut Document<'t>, section: &mut Section<'_, 't>) -> bool {
    for key in ["host", "user", "host_key"] {
        section.text(document, key);
    }
    section.secret(document, "private_key");
    section.boolean(document, "export_logs").unwrap_or(false)
}

/// One form of a source and the texts that it takes.
type Form = (&'static str, &'static [&'static str]);

/// `source = { form = { ... } }`.
fn source<'t>(document: &mut Document<'t>, section: &mut Section<'_, 't>, forms: &[Form]) {
    let Some(value) = section.value("source") else { return };
    let place = section.place("source");
    let Some(mut source) = Section::at(document, value, place.clone()) else { return };
    if source.len() != 1 {
        let names: Vec<_> = forms.iter().map(|(name, _)| *name).collect();
        let remedy = format!("Write one of {}.", names.join(", "));
        document.problem(place, value.span().start, "This must name one source.", remedy);
    }
    for (name, keys) in forms {
        if let Some(value) = source.value(name) {
            texts(document, source.place(name), value, keys);
        }
    }
    source.finish(document);
}

/// A table of texts, each of them required.
fn texts<'t>(document: &mut Document<'t>, place: String, value: &Spanned<DeValue<'t>>, keys: &[&'static str]) {
    let Some(mut section) = Section::at(document, value, place) else { return };
    for key in keys {
        section.required_text(document, key, "a text");
    }
    section.finish(document);
}
