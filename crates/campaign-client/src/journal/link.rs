//! `Link` headers (RFC 8288), as far as a journal uses them.

use http::HeaderMap;
use http::header::LINK;

/// The target of the first link with a relation, as it stands there.
pub(super) fn target<'h>(headers: &'h HeaderMap, relation: &str) -> Option<&'h str> {
    headers.get_all(LINK).iter().filter_map(|value| value.to_str().ok()).find_map(|text| in_value(text, relation))
}

/// One header may hold several links, with commas between them; a comma within the brackets is part of an address.
fn in_value<'t>(mut text: &'t str, relation: &str) -> Option<&'t str> {
    loop {
        let (target, rest) = text.split_once('<')?.1.split_once('>')?;
        let end = end_of_parameters(rest);
        if rest[..end].split(';').any(|parameter| names(parameter, relation)) {
            return Some(target);
        }
        text = &rest[end..];
    }
}

/// Where the parameters end: at the first comma outside of quotes.
fn end_of_parameters(text: &str) -> usize {
    let mut quoted = false;
    for (at, letter) in text.char_indices() {
        match letter {
            '"' => quoted = !quoted,
            ',' if !quoted => return at,
            _ => {}
        }
    }
    text.len()
}

/// `rel="next"`, `rel=next`, and `rel="prev next"`.
fn names(parameter: &str, relation: &str) -> bool {
    let Some((name, value)) = parameter.split_once('=') else { return false };
    name.trim().eq_ignore_ascii_case("rel")
        && value.trim().trim_matches('"').split_ascii_whitespace().any(|own| own.eq_ignore_ascii_case(relation))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_found_by_its_relation_however_it_is_written() {
        let cases = [
            ("</a?since=1>; rel=\"next\"", Some("/a?since=1")),
            ("</a>; rel=next", Some("/a")),
            ("</v>; rel=\"validate\", </a,b>; title=\"x, y\"; REL=\"prev next\"", Some("/a,b")),
            ("</v>; rel=\"validate\"", None),
            ("</v>; rel=\"nextish\"", None),
            ("/a; rel=next", None),
            ("</a; rel=next", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(in_value(text, "next"), expected, "{text}");
        }
    }

    #[test]
    fn links_may_come_in_several_headers() {
        let mut headers = HeaderMap::new();
        for text in ["</v>; rel=\"validate\"", "</a>; rel=\"next\""] {
            headers.append(LINK, http::HeaderValue::from_static(text));
        }
        assert_eq!(target(&headers, "next"), Some("/a"));
        assert_eq!(target(&headers, "page"), None);
    }
}
