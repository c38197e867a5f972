//! Errors of the connector: what is wrong, where, and how to mend it.

use std::error::Error as StdError;
use std::fmt;

use crate::preflight::Name;

/// Why the connector could not be built, started or asked.
///
/// Shown to operators as it is: it names places and remedies, never a secret or a value of a record.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    problems: Vec<Problem>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// What sort of trouble it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The configuration is wrong; seen without asking a service.
    Configuration,
    /// The store cannot be used as it is: another process has it, it is of a newer version, or it is no store.
    Store,
    /// A service refused, or has not what the configuration names.
    Refused,
    /// A service cannot be reached at present.
    Unavailable,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where: a path such as `table[1].fields[0].to`, with the name of the file where one was read.
    pub place: String,
    /// The line in the file, counted from 1.
    pub line: Option<usize>,
    /// What is wrong.
    pub message: String,
    /// How to mend it.
    pub remedy: String,
    /// The check of preflight that finds it, where one is meant for it.
    pub(crate) check: Option<Name>,
}

impl Problem {
    /// A problem without a line.
    pub fn new(place: impl Into<String>, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { place: place.into(), line: None, message: message.into(), remedy: remedy.into(), check: None }
    }

    /// The same as what a check of preflight finds.
    #[must_use]
    pub(crate) fn found_by(mut self, check: Name) -> Self {
        self.check = Some(check);
        self
    }

    /// The same with the line it stands in.
    #[must_use]
    pub fn at_line(mut self, line: Option<usize>) -> Self {
        self.line = line;
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.place)?;
        if let Some(line) = self.line {
            write!(f, " (line {line})")?;
        }
        write!(f, ": {}", self.message)?;
        if !self.remedy.is_empty() {
            write!(f, " Remedy: {}", self.remedy)?;
        }
        Ok(())
    }
}

impl Error {
    /// An error of several problems.
    pub fn new(kind: ErrorKind, problems: Vec<Problem>) -> Self {
        Self { kind, problems, source: None }
    }

    /// An error of one problem.
    pub fn one(kind: ErrorKind, problem: Problem) -> Self {
        Self::new(kind, vec![problem])
    }

    /// The error beneath.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What sort of trouble it is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Everything that is wrong.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
