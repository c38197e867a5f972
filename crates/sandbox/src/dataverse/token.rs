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
    /// A JSON list of texts: `["1","2"]`.
    List(Vec<String>),
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
                let end = list_end(&chars, at).ok_or_else(|| unterminated(chars.len(), text))?;
                let json: String = chars[at - 1..end].iter().collect();
                let list: Vec<serde_json::Value> = serde_json::from_str(&json)
                    .map_err(|_| Refusal::request(format!("The list '{json}' is not valid.")))?;
                let plain = |value: serde_json::Value| match value {
                    serde_json::Value::String(text) => text,
                    other => other.to_string(),
                };
                found.push(Token::List(list.into_iter().map(plain).collect()));
                at = end;
            }
            _ => {
                let start = at - 1;
                while chars.get(at).is_some_and(|c| !matches!(c, ' ' | '\t' | '(' | ')' | ',' | '=' | '\'' | '[')) {
                    at += 1;
                }
                let word: String = chars[start..at].iter().collect();
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

/// The place after the bracket that ends a list.
fn list_end(chars: &[char], mut at: usize) -> Option<usize> {
    let mut inside = false;
    loop {
        match chars.get(at)? {
            '\\' if inside => at += 1,
            '"' => inside = !inside,
            ']' if !inside => return Some(at + 1),
            _ => {}
        }
        at += 1;
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
    }

    #[test]
    fn an_open_quote_and_a_typed_literal_are_refused() {
        assert!(tokens("a eq 'b").unwrap_err().message.starts_with("There is an unterminated literal at position 7"));
        assert_eq!(tokens("a eq guid'x'").unwrap_err().status, 400);
    }
}
