//! Field mappings, replacements, filters and type conversion as data: pure and fast.
//!
//! A [`TableSpec`] is what a person writes. [`validate`] checks a list of them before any service is asked; [`compile`]
//! checks one against the schemas of both sides and makes a [`Plan`]; [`Plan::decide`] turns a change of the source into
//! what is to be written to the target. Nothing here waits, reads a file or looks at a clock.
//!
//! For each field the steps are: choose label or technical value, replace, convert, treat an empty value.

mod body;
mod comparison;
mod compile;
mod convert;
mod decision;
mod explain;
mod filter;
mod guardrails;
mod literal;
mod opt_out;
mod plan;
mod problem;
mod spec;
mod validate;

pub use compile::{compile, compile_with_opt_outs};
pub use decision::{Decision, Mode, Parent, Rejection, SourceColumn, Write, code};
pub use explain::{Emptied, Explanation, FieldStep, RuleStep};
pub use guardrails::Guardrails;
pub use literal::Literal;
pub use opt_out::{OptOutPair, is_opt_out, opt_out_conflicts, validate_pairs, wire_name};
pub use plan::Plan;
pub use problem::{Problem, ProblemKind, Problems};
pub use spec::{
    Compare, FieldSpec, FilterSpec, KeyFilterSpec, LinkMode, LinkSpec, NullPolicy, Operator, ReplacementSpec, RuleSpec,
    TableSpec,
};
pub use validate::validate;
