//! The frame that all filters have: conditions joined by `and`, `or` and `not`, in brackets; what a condition is, the caller says.

use std::collections::HashMap;

use super::error::Refusal;
use super::token::{Token, tokens};

/// A filter of conditions.
#[derive(Debug, Clone)]
pub(super) enum Expression<C> {
    And(Box<Expression<C>>, Box<Expression<C>>),
    Or(Box<Expression<C>>, Box<Expression<C>>),
    Not(Box<Expression<C>>),
    Condition(C),
}

impl<C> Expression<C> {
    /// Parses a filter. `aliases` are the `@p` parameters of the query; `condition` takes one condition off the words.
    pub(super) fn parse(
        text: &str,
        aliases: &HashMap<String, String>,
        condition: &dyn Fn(&mut Words<'_>) -> Result<C, Refusal>,
    ) -> Result<Self, Refusal> {
        let mut words = Words { tokens: with_aliases(tokens(text)?, aliases)?, at: 0, text };
        let expression = either(&mut words, condition, 0)?;
        match words.peek() {
            None => Ok(expression),
            Some(_) => Err(words.syntax()),
        }
    }

    /// Whether the filter passes, given which conditions hold.
    pub(super) fn passes(&self, holds: &impl Fn(&C) -> bool) -> bool {
        match self {
            Self::And(a, b) => a.passes(holds) && b.passes(holds),
            Self::Or(a, b) => a.passes(holds) || b.passes(holds),
            Self::Not(a) => !a.passes(holds),
            Self::Condition(condition) => holds(condition),
        }
    }
}

/// A parameter alias may stand wherever a value or a name may (OData 4.0, part 1, "Parameter Aliases").
pub(super) fn with_aliases(found: Vec<Token>, aliases: &HashMap<String, String>) -> Result<Vec<Token>, Refusal> {
    let of = |token: Token| match &token {
        Token::Word(name) if name.starts_with('@') => {
            let value = aliases
                .get(name)
                .ok_or_else(|| Refusal::request(format!("The parameter alias '{name}' has no value.")))?;
            let mut tokens = tokens(value)?.into_iter();
            match (tokens.next(), tokens.next()) {
                (Some(one), None) => Ok(one),
                _ => Err(Refusal::request(format!("The value of the parameter alias '{name}' is not a literal."))),
            }
        }
        _ => Ok(token),
    };
    found.into_iter().map(of).collect()
}

/// The words of a filter, taken one by one.
pub(super) struct Words<'a> {
    tokens: Vec<Token>,
    at: usize,
    text: &'a str,
}

impl Words<'_> {
    pub(super) fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    pub(super) fn next(&mut self) -> Option<Token> {
        let token = self.tokens.get(self.at).cloned();
        self.at += 1;
        token
    }

    pub(super) fn expect(&mut self, wanted: &Token) -> Result<(), Refusal> {
        if self.next().as_ref() == Some(wanted) { Ok(()) } else { Err(self.syntax()) }
    }

    /// The name of a function and its opening bracket, when they come next.
    pub(super) fn function(&mut self) -> Option<String> {
        let (Some(Token::Word(name)), Some(Token::Open)) = (self.peek(), self.tokens.get(self.at + 1)) else {
            return None;
        };
        let name = name.clone();
        self.at += 2;
        Some(name)
    }

    pub(super) fn syntax(&self) -> Refusal {
        let at = self.at.min(self.tokens.len());
        Refusal::request(format!("Syntax error at token {at} in '{}'.", self.text))
    }

    fn word(&mut self, word: &str) -> bool {
        let is = matches!(self.peek(), Some(Token::Word(w)) if w == word);
        self.at += usize::from(is);
        is
    }
}

type Parse<'p, C> = &'p dyn Fn(&mut Words<'_>) -> Result<C, Refusal>;

fn either<C>(words: &mut Words<'_>, condition: Parse<'_, C>, depth: u32) -> Result<Expression<C>, Refusal> {
    if depth > 100 {
        return Err(Refusal::request("The filter is nested too deeply."));
    }
    let mut left = both(words, condition, depth)?;
    while words.word("or") {
        left = Expression::Or(Box::new(left), Box::new(both(words, condition, depth)?));
    }
    Ok(left)
}

fn both<C>(words: &mut Words<'_>, condition: Parse<'_, C>, depth: u32) -> Result<Expression<C>, Refusal> {
    let mut left = single(words, condition, depth)?;
    while words.word("and") {
        left = Expression::And(Box::new(left), Box::new(single(words, condition, depth)?));
    }
    Ok(left)
}

fn single<C>(words: &mut Words<'_>, condition: Parse<'_, C>, depth: u32) -> Result<Expression<C>, Refusal> {
    let mut negated = false;
    while words.word("not") {
        negated = !negated;
    }
    let expression = if words.peek() == Some(&Token::Open) {
        words.next();
        let inner = either(words, condition, depth + 1)?;
        words.expect(&Token::Close)?;
        inner
    } else {
        Expression::Condition(condition(words)?)
    };
    Ok(if negated { Expression::Not(Box::new(expression)) } else { expression })
}
