//! Laws of the query builder: whatever a value holds, a parser that knows nothing of the builder reads the same value
//! back, and finds no other condition than the one that was built.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by a panic, also in what it shares"
)]

use chrono::{DateTime, NaiveDate, Utc};
use d365_client::odata::{Column, EntityKey, Filter, Literal, Name, Query};
use proptest::prelude::*;
use rust_decimal::Decimal;
use uuid::Uuid;

/// What the parser understands, written down in a form of its own.
#[derive(Debug, PartialEq, Clone)]
enum Tree {
    Compare(String, String, String),
    Text(String, String, String),
    In(String, Vec<String>),
    And(Vec<Tree>),
    Or(Vec<Tree>),
    Not(Box<Tree>),
}

/// Splits a query string as a server does: at `&` and the first `=`, then percent-decodes names and values.
fn options(query: &str) -> Vec<(String, String)> {
    assert!(query.is_ascii());
    let decode = |text: &str| {
        let mut bytes = Vec::new();
        let mut rest = text.bytes();
        while let Some(byte) = rest.next() {
            match byte {
                b'%' => {
                    let digits = [rest.next().unwrap(), rest.next().unwrap()];
                    bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap());
                }
                // A bare plus is a blank to many servers: the builder must not emit one.
                b'+' | b' ' | b'#' => panic!("bare {byte}"),
                other => bytes.push(other),
            }
        }
        String::from_utf8(bytes).unwrap()
    };
    query
        .split('&')
        .map(|option| {
            let (name, value) = option.split_once('=').unwrap();
            (decode(name), decode(value))
        })
        .collect()
}

struct Parser<'a> {
    rest: &'a str,
}

impl Parser<'_> {
    fn parse(text: &str) -> Tree {
        let mut parser = Parser { rest: text };
        let tree = parser.expression();
        assert_eq!(parser.rest, "", "nothing may follow the condition");
        tree
    }

    fn eat(&mut self, token: &str) -> bool {
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn expression(&mut self) -> Tree {
        let first = self.term();
        let mut parts = vec![first];
        let mut word = "";
        loop {
            if word != " or " && self.eat(" and ") {
                word = " and ";
            } else if word != " and " && self.eat(" or ") {
                word = " or ";
            } else {
                break;
            }
            parts.push(self.term());
        }
        match word {
            " and " => Tree::And(parts),
            " or " => Tree::Or(parts),
            _ => parts.remove(0),
        }
    }

    fn term(&mut self) -> Tree {
        if self.eat("not (") {
            let inner = self.expression();
            assert!(self.eat(")"));
            return Tree::Not(Box::new(inner));
        }
        if self.eat("(") {
            let inner = self.expression();
            assert!(self.eat(")"));
            return inner;
        }
        for function in ["contains", "startswith", "endswith"] {
            if self.eat(&format!("{function}(")) {
                let column = self.word();
                assert!(self.eat(","));
                let text = self.literal();
                assert!(self.eat(")"));
                return Tree::Text(function.into(), column, text);
            }
        }
        if self.eat("Microsoft.Dynamics.CRM.In(PropertyName='") {
            let column = self.word();
            assert!(self.eat("',PropertyValues="));
            let end = self.rest.find("])").unwrap() + 1;
            let members: Vec<String> = serde_json::from_str(&self.rest[..end]).unwrap();
            self.rest = &self.rest[end..];
            assert!(self.eat(")"));
            return Tree::In(column, members);
        }
        let column = self.word();
        assert!(self.eat(" "));
        let comparison = self.word();
        assert!(self.eat(" "));
        Tree::Compare(column, comparison, self.literal())
    }

    fn word(&mut self) -> String {
        let end =
            self.rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '/')).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        assert!(!word.is_empty());
        word.to_owned()
    }

    /// A quoted text with doubled quotes, marked with `t:`; or the bare characters up to a delimiter.
    fn literal(&mut self) -> String {
        if !self.eat("'") {
            let end = self.rest.find([' ', ')', ',']).unwrap_or(self.rest.len());
            let (bare, rest) = self.rest.split_at(end);
            self.rest = rest;
            assert!(!bare.is_empty() && !bare.contains('\''));
            return bare.to_owned();
        }
        let mut text = String::from("t:");
        loop {
            let at = self.rest.find('\'').expect("a text must end");
            text.push_str(&self.rest[..at]);
            self.rest = &self.rest[at + 1..];
            if !self.eat("'") {
                return text;
            }
            text.push('\'');
        }
    }
}

/// What a LIKE pattern with bracketed wildcards matches literally; panics on an active wildcard.
fn unpattern(pattern: &str) -> String {
    let mut out = String::new();
    let mut rest = pattern.chars();
    while let Some(character) = rest.next() {
        match character {
            '[' => {
                out.push(rest.next().unwrap());
                assert_eq!(rest.next(), Some(']'));
            }
            '%' | '_' => panic!("an active wildcard"),
            other => out.push(other),
        }
    }
    out
}

fn column(name: &str) -> Column {
    Column::new(name).unwrap()
}

fn hostile() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[ '\"&=+%#?/;:,()\\[\\]_\\\\a-z\u{0}-\u{1f}äß€😀]{0,24}",
        Just("' or 1 eq 1 or name eq '".to_owned()),
        Just("x')&$top=1&$filter=(a eq 'y".to_owned()),
        Just("%27%20or%20true".to_owned()),
        Just("a+b@example.org".to_owned()),
    ]
}

fn filter_of(query: &Query) -> Tree {
    let options = options(&query.to_query_string());
    assert_eq!(options.len(), 1, "a value never adds an option");
    assert_eq!(options[0].0, "$filter");
    Parser::parse(&options[0].1)
}

/// A built condition beside what the parser should find.
fn conditions() -> impl Strategy<Value = (Filter, Tree)> {
    let leaf = prop_oneof![
        (hostile(), "[a-z_][a-z0-9_]{0,8}").prop_map(|(text, name)| {
            (column(&name).eq(text.as_str()), Tree::Compare(name, "eq".into(), format!("t:{text}")))
        }),
        (any::<i64>(), "[a-z]{1,8}").prop_map(|(number, name)| {
            (column(&name).ge(number), Tree::Compare(name, "ge".into(), number.to_string()))
        }),
        any::<u128>().prop_map(|id| {
            let id = Uuid::from_u128(id);
            (column("_x_value").ne(id), Tree::Compare("_x_value".into(), "ne".into(), id.to_string()))
        }),
    ];
    leaf.prop_recursive(4, 24, 3, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| (
                a.0.negate().and(b.0.negate()),
                Tree::And(vec![Tree::Not(Box::new(a.1)), Tree::Not(Box::new(b.1)),])
            )),
            (inner.clone(), inner).prop_map(|(a, b)| (
                a.0.negate().or(b.0.negate()),
                Tree::Or(vec![Tree::Not(Box::new(a.1)), Tree::Not(Box::new(b.1)),])
            )),
        ]
    })
}

proptest! {
    #[test]
    fn texts_come_back_as_they_were(text in hostile()) {
        let query = Query::new().filter(column("lastname").eq(text.as_str()));
        prop_assert_eq!(filter_of(&query), Tree::Compare("lastname".into(), "eq".into(), format!("t:{text}")));
    }

    #[test]
    fn text_functions_match_literally(text in hostile()) {
        let query = Query::new().filter(column("lastname").contains(text.as_str()));
        let Tree::Text(function, name, pattern) = filter_of(&query) else { panic!("a text function") };
        prop_assert_eq!((function.as_str(), name.as_str()), ("contains", "lastname"));
        prop_assert_eq!(unpattern(pattern.strip_prefix("t:").unwrap()), text);
    }

    #[test]
    fn lists_hold_their_members(texts in proptest::collection::vec(hostile(), 1..5)) {
        let query = Query::new().filter(column("lastname").is_in(texts.iter().map(String::as_str)).unwrap());
        let single = |text: &String| Tree::Compare("lastname".into(), "eq".into(), format!("t:{text}"));
        match filter_of(&query) {
            Tree::In(name, members) => {
                prop_assert_eq!(name, "lastname");
                prop_assert_eq!(members, texts);
            }
            Tree::Or(parts) => prop_assert_eq!(parts, texts.iter().map(single).collect::<Vec<_>>()),
            other => prop_assert_eq!(vec![other], texts.iter().map(single).collect::<Vec<_>>()),
        }
    }

    #[test]
    fn conditions_keep_their_structure((filter, tree) in conditions()) {
        prop_assert_eq!(filter_of(&Query::new().filter(filter)), tree);
    }

    #[test]
    fn bare_literals_come_back(number in any::<i64>(), scale in 0_u32..20, days in 0_i32..3_000_000, seconds in -60_000_000_000_i64..200_000_000_000) {
        let decimal = Decimal::from_i128_with_scale(i128::from(number), scale);
        let date = NaiveDate::from_num_days_from_ce_opt(days).unwrap();
        let instant = DateTime::<Utc>::from_timestamp(seconds, 0).unwrap();
        for (literal, check) in [
            (Literal::from(decimal), Box::new(move |text: &str| text.parse::<Decimal>().unwrap() == decimal) as Box<dyn Fn(&str) -> bool>),
            (Literal::from(date), Box::new(move |text| NaiveDate::parse_from_str(text, "%Y-%m-%d").unwrap() == date)),
            (Literal::from(instant), Box::new(move |text| text.ends_with('Z') && text.parse::<DateTime<Utc>>().unwrap() == instant)),
        ] {
            let Tree::Compare(_, _, text) = filter_of(&Query::new().filter(column("x").lt(literal))) else { panic!() };
            prop_assert!(check(&text), "{}", text);
        }
    }

    #[test]
    fn keys_are_refused_or_come_back(text in hostile()) {
        match EntityKey::by("accountnumber", text.as_str()) {
            Err(_) => prop_assert!(text.is_empty() || text.contains(['/', '<', '>', '*', '%', '&', ':', '\\', '?', '+']) || text.contains(char::is_control)),
            Ok(key) => {
                let segment = key.to_segment();
                prop_assert!(!segment.contains(['/', '?', '#', '&', ' ']));
                let inner = segment.strip_prefix("(accountnumber=").unwrap().strip_suffix(')').unwrap();
                let decoded = options(&format!("k={inner}")).remove(0).1;
                let mut parser = Parser { rest: &decoded };
                prop_assert_eq!(parser.literal(), format!("t:{text}"));
                prop_assert_eq!(parser.rest, "");
            }
        }
    }

    #[test]
    fn names_are_identifiers_or_nothing(text in any::<String>()) {
        if let Ok(name) = text.parse::<Name>() {
            prop_assert!(name.as_str().bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'));
            prop_assert_eq!(name.as_str(), text);
        }
    }
}
