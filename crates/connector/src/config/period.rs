//! Spans of time as people write them: `90s`, `15m`, `26h`, `7d`.

use std::time::Duration;

use super::reader::{Document, Section};

/// The span of a text, at least one second and at most a year.
fn parse(text: &str) -> Option<Duration> {
    let unit = text.chars().last()?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 24 * 3600,
        _ => return None,
    };
    let number: u64 = text.get(..text.len() - 1)?.parse().ok()?;
    let span = number.checked_mul(seconds)?;
    (1..=366 * 24 * 3600).contains(&span).then(|| Duration::from_secs(span))
}

/// An optional span of a section.
pub(super) fn period<'t>(
    document: &mut Document<'t>,
    section: &mut Section<'_, 't>,
    key: &'static str,
) -> Option<Duration> {
    let offset = section.value(key)?.span().start;
    let text = section.text(document, key)?;
    let span = parse(&text);
    if span.is_none() {
        let remedy = "Write a number with s, m, h or d behind it, such as \"26h\".";
        document.problem(section.place(key), offset, "This must be a span of time, from 1s to 366d.", remedy);
    }
    span
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_and_nothing_else_is() {
        let seconds = |text| parse(text).map(|span| span.as_secs());
        assert_eq!(seconds("90s"), Some(90));
        assert_eq!(seconds("15m"), Some(900));
        assert_eq!(seconds("26h"), Some(93_600));
        assert_eq!(seconds("7d"), Some(604_800));
        for wrong in ["", "h", "26", "26 h", "-1h", "1.5h", "0s", "367d", "99999999999999999999d", "1w", "1é"] {
            assert_eq!(seconds(wrong), None, "{wrong}");
        }
    }
}
