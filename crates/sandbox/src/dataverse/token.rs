//! The words of a filter.

use super::error::Refusal;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    Open,
    Close,
    Comma,
    Equals,
    /// A quoted text, its doubled quotes made single.
    Text(String),
    /// A list: `["1","2"]`, `['1','2']`, `[1,2]`.
    List(Vec<String>),
    /// A quoted text with a type's qualified name before it, as enumerations are written.
    Typed(String, String),
    /// Anything else up to the next blank or sign: names, numbers, dates, GUIDs.
    Word(String),
}

/// Cuts a filter into its words.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, Refusal> {
    let chars: Vec<char> = text.chars().collect();
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(&c) = chars.get(at) {
        at += 1;
        match c {
            ' ' | '\t' | '\n' | '\r' => {}
            '(' => found.push(Token::Open),
            ')' => found.push(Token::Close),
            ',' => found.push(Token::Comma),
            '=' => found.push(Token::Equals),
            '\'' => {
                let (content, end) = quoted(&chars, at).ok_or_else(|| unterminated(chars.len(), text))?;
                at = end;
                found.push(Token::Text(content));
            }
            '[' => {
                let (list, end) = list(&chars, at).ok_or_else(|| unterminated(chars.len(), text))?;
                found.push(Token::List(list));
                at = end;
            }
            _ => {
                let start = at - 1;
                while chars.get(at).is_some_and(|c| !matches!(c, ' ' | '\t' | '(' | ')' | ',' | '=' | '\'' | '[')) {
                    at += 1;
                }
                let word: String = chars[start..at].iter().collect();
                if chars.get(at) == Some(&'\'') && word.contains('.') {
                    let (content, end) = quoted(&chars, at + 1).ok_or_else(|| unterminated(chars.len(), text))?;
                    at = end;
                    found.push(Token::Typed(word, content));
                    continue;
                }
                // `guid'...'` and its like belong to older versions of the protocol.
                if chars.get(at) == Some(&'\'') {
                    return Err(Refusal::request(format!(
                        "Unrecognized '{word}' literal '{word}'' at '{start}' in '{text}'."
                    )));
                }
                found.push(Token::Word(word));
            }
        }
        if found.len() > 5000 {
            return Err(Refusal::request("The filter is too long."));
        }
    }
    Ok(found)
}

fn unterminated(at: usize, text: &str) -> Refusal {
    Refusal::request(format!("There is an unterminated literal at position {at} in '{text}'."))
}

/// The content of a quoted text that began before `at`, and the place after it.
fn quoted(chars: &[char], mut at: usize) -> Option<(String, usize)> {
    let mut content = String::new();
    loop {
        match (chars.get(at)?, chars.get(at + 1)) {
            ('\'', Some('\'')) => {
                content.push('\'');
                at += 2;
            }
            ('\'', _) => return Some((content, at + 1)),
            (c, _) => {
                content.push(*c);
                at += 1;
            }
        }
    }
}

/// The members of a list whose bracket was before `at`, and the place after it: JSON texts, texts in single quotes, bare words.
fn list(chars: &[char], mut at: usize) -> Option<(Vec<String>, usize)> {
    let mut members = Vec::new();
    loop {
        match chars.get(at)? {
            ']' => return Some((members, at + 1)),
            ' ' | ',' | '\t' => at += 1,
            '\'' => {
                let (content, end) = quoted(chars, at + 1)?;
                members.push(content);
                at = end;
            }
            '"' => {
                let start = at;
                at += 1;
                while *chars.get(at)? != '"' {
                    at += if *chars.get(at)? == '\\' { 2 } else { 1 };
                }
                at += 1;
                let json: String = chars[start..at].iter().collect();
                members.push(serde_json::from_str(&json).ok()?);
            }
            _ => {
                let start = at;
                while !matches!(chars.get(at)?, ',' | ']' | ' ') {
                    at += 1;
                }
                members.push(chars[start..at].iter().collect());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_texts_and_lists_come_apart() {
        let found = tokens("a eq 'O''Bryan' and X.In(PropertyName='b',PropertyValues=[\"1\",\"]\"])").unwrap();
        assert_eq!(found[2], Token::Text("O'Bryan".to_owned()));
        assert_eq!(found[found.len() - 2], Token::List(vec!["1".to_owned(), "]".to_owned()]));
        assert_eq!(found.len(), 14);
        for text in ["['1','O''B']", "[\"1\",\"O'B\"]", "[1, O'B]"] {
            assert_eq!(tokens(text).unwrap(), [Token::List(vec!["1".to_owned(), "O'B".to_owned()])], "{text}");
        }
        assert_eq!(tokens("N.A'B'").unwrap(), [Token::Typed("N.A".to_owned(), "B".to_owned())]);
    }

    #[test]
    fn an_open_quote_and_a_typed_literal_are_refused() {
        assert!(tokens("a eq 'b").unwrap_err().message.starts_with("There is an unterminated literal at position 7"));
        assert_eq!(tokens("a eq guid'x'").unwrap_err().status, 400);
        assert_eq!(tokens("[\"a]").unwrap_err().status, 400);
    }
}
