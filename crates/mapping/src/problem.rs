//! What is wrong with a specification: every problem at once, each with its place and its remedy.

use std::fmt;

/// One thing that is wrong. Names and configured literals may appear in it, record values never do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where: relative to the table section (`fields[3].to`) from [`compile`](crate::compile), relative to the list of
    /// tables (`table[1].fields[3].to`) from [`validate`](crate::validate). Counted from 0.
    pub path: String,
    /// What sort of problem it is.
    pub kind: ProblemKind,
    /// One sentence for people.
    pub message: String,
    /// What to do about it.
    pub remedy: String,
}

impl Problem {
    pub(crate) fn new(
        path: impl Into<String>,
        kind: ProblemKind,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { path: path.into(), kind, message: message.into(), remedy: remedy.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.path, self.message, self.remedy)
    }
}

/// The sorts of problems.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProblemKind {
    /// A name that must not be empty is.
    Empty,
    /// A table or resource is mapped twice.
    DuplicateTable,
    /// Two sources for one target attribute, or an attribute and a part of it.
    DuplicateTarget,
    /// The key attribute is also the target of a field or link.
    KeyMapped,
    /// A source column that the table does not have.
    UnknownColumn,
    /// A target attribute that the resource does not have.
    UnknownAttribute,
    /// The source has no primary key that the schema tells, or the key attribute cannot hold it.
    UnsuitableKey,
    /// Values of the source type cannot become values of the target type.
    NotConvertible,
    /// The source column cannot be read.
    Unreadable,
    /// The target attribute cannot be written.
    ReadOnly,
    /// A replacement for a column that is not mapped.
    UnmappedReplacement,
    /// Two replacements for the same value.
    DuplicateReplacement,
    /// A replaced value that the source type cannot have, or a replacement that the target does not take.
    BadReplacement,
    /// A comparison that the column's type does not have.
    BadComparison,
    /// A value that cannot be compared with the column.
    BadFilterValue,
    /// A link to a table that is not mapped.
    UnknownParent,
    /// A link that needs a row that is there, where rows may refer to each other in a circle.
    LinkInCircle,
    /// An opt-out attribute that both the ingress and the opt-out workflow write.
    OptOutConflict,
    /// More than the published limits of the connector by Adobe allow.
    Limit,
    /// Values that will be refused unless every one of them is replaced.
    Doubtful,
}

/// Every problem of a specification; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// `Ok` when there is no problem.
    ///
    /// # Errors
    /// All of them, when there is any.
    pub fn check(problems: Vec<Problem>) -> Result<(), Self> {
        if problems.is_empty() { Ok(()) } else { Err(Self(problems)) }
    }

    /// A list of one.
    pub(crate) fn one(problem: Problem) -> Self {
        Self(vec![problem])
    }

    /// The problems in the order of the specification.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Problem> {
        self.0.iter()
    }

    /// The problems as a list.
    pub fn into_vec(self) -> Vec<Problem> {
        self.0
    }
}

/// One problem a line.
impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
