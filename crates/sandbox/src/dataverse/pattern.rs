//! SQL patterns: `%`, `_`, `[a-c]`, `[^x]` are active in the service's text functions (learn.microsoft.com, "Filter rows using
//! OData": wildcard characters in conditions using string values).

/// Whether a text is like a pattern. Both are in lower case.
pub(super) fn like(text: &str, pattern: &str) -> bool {
    let text: Vec<char> = text.chars().collect();
    let pieces = pieces(pattern);
    // The classic walk with one place to come back to: linear but for the last `%`.
    let (mut t, mut p) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    while t < text.len() {
        match pieces.get(p) {
            Some(Piece::Any) => {
                back = Some((p + 1, t));
                p += 1;
            }
            Some(piece) if piece.fits(text[t]) => {
                t += 1;
                p += 1;
            }
            _ => match back {
                Some((after, from)) => {
                    back = Some((after, from + 1));
                    p = after;
                    t = from + 1;
                }
                None => return false,
            },
        }
    }
    pieces[p..].iter().all(|piece| matches!(piece, Piece::Any))
}

enum Piece {
    Any,
    One,
    Literal(char),
    Set { negated: bool, ranges: Vec<(char, char)> },
}

impl Piece {
    fn fits(&self, c: char) -> bool {
        match self {
            Self::Any => false,
            Self::One => true,
            Self::Literal(own) => *own == c,
            Self::Set { negated, ranges } => ranges.iter().any(|(from, to)| (*from..=*to).contains(&c)) != *negated,
        }
    }
}

fn pieces(pattern: &str) -> Vec<Piece> {
    let chars: Vec<char> = pattern.chars().collect();
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(&c) = chars.get(at) {
        at += 1;
        match c {
            '%' => found.push(Piece::Any),
            '_' => found.push(Piece::One),
            '[' => match chars[at..].iter().skip(1).position(|c| *c == ']') {
                Some(length) => {
                    let inner = &chars[at..at + length + 1];
                    found.push(set(inner));
                    at += length + 2;
                }
                None => found.push(Piece::Literal('[')),
            },
            other => found.push(Piece::Literal(other)),
        }
    }
    found
}

fn set(inner: &[char]) -> Piece {
    let (negated, inner) = match inner {
        ['^', rest @ ..] if !rest.is_empty() => (true, rest),
        all => (false, all),
    };
    let mut ranges = Vec::new();
    let mut at = 0;
    while let Some(&from) = inner.get(at) {
        match (inner.get(at + 1), inner.get(at + 2)) {
            (Some('-'), Some(&to)) => {
                ranges.push((from, to));
                at += 3;
            }
            _ => {
                ranges.push((from, from));
                at += 1;
            }
        }
    }
    Piece::Set { negated, ranges }
}

#[cfg(test)]
mod tests {
    use super::like;

    #[test]
    fn wildcards_are_active_and_can_be_escaped() {
        let cases = [
            ("anna", "%nn%", true),
            ("anna", "a__a", true),
            ("anna", "an", false),
            ("anna", "[a-c]nna", true),
            ("anna", "[^a-c]nna", false),
            ("100%", "100[%]", true),
            ("1000", "100[%]", false),
            ("a[b", "a[[]b", true),
            ("", "%", true),
            ("abab", "%ab", true),
        ];
        for (text, pattern, expected) in cases {
            assert_eq!(like(text, pattern), expected, "{text} like {pattern}");
        }
    }
}
