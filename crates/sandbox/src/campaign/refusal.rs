//! The two voices in which a request is refused: the gateway's JSON envelopes and the engine's own texts, most of them with
//! status 500 (experienceleague.adobe.com, "Troubleshooting" and "Campaign Standard and v8 REST API limitations").

use super::scenario::{CampaignSwitches, ErrorBody};
use super::schema::{Column, Resource};
use super::value::{self, Problem};

const HEAD: &str = "RST-360011 An error has occurred - please contact your administrator.";

/// An answer, before it is HTTP.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) content_type: &'static str,
    pub(super) body: Vec<u8>,
    /// Rows in the body.
    pub(super) rows: u64,
}

impl Reply {
    /// JSON that is already text.
    pub(super) fn json(status: u16, body: Vec<u8>) -> Self {
        Self { status, content_type: "application/json;charset=utf-8", body, rows: 0 }
    }

    /// The same with a number of rows.
    pub(super) fn holding(self, rows: u64) -> Self {
        Self { rows, ..self }
    }

    /// No body.
    pub(super) fn empty(status: u16) -> Self {
        Self::json(status, Vec::new())
    }

    /// The gateway's envelope with a code in text.
    pub(super) fn gateway(status: u16, code: &str, message: &str) -> Self {
        Self::json(status, format!(r#"{{"error_code":"{code}","message":"{message}"}}"#).into_bytes())
    }

    /// The gateway's envelope for a URI that leads nowhere.
    pub(super) fn oops(status: u16) -> Self {
        let body =
            format!(r#"{{"code":{status},"message":"Oops. Something went wrong. Check your URI and try again."}}"#);
        Self::json(status, body.into_bytes())
    }
}

/// An error of the engine.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: u16,
    pub(super) text: String,
}

impl Refusal {
    fn new(status: u16, text: String) -> Self {
        Self { status, text }
    }

    fn headed(status: u16, text: &str) -> Self {
        Self::new(status, format!("{HEAD}\n{text}"))
    }

    /// In the shape that the switches ask for.
    pub(super) fn reply(self, switches: &CampaignSwitches) -> Reply {
        let shape = switches.error_body;
        let text = match self.text.strip_prefix(HEAD).and_then(|rest| rest.strip_prefix('\n')) {
            Some(rest) if !switches.error_head_line => rest.to_owned(),
            _ => self.text,
        };
        let content_type = match shape {
            ErrorBody::Text => "text/plain;charset=utf-8",
            ErrorBody::JsonString | ErrorBody::MislabelledText => "application/json;charset=utf-8",
        };
        let mut body = Vec::new();
        match shape {
            ErrorBody::JsonString => value::write_string(&mut body, text.as_bytes()),
            ErrorBody::Text | ErrorBody::MislabelledText => body = text.into_bytes(),
        }
        Reply { status: self.status, content_type, body, rows: 0 }
    }

    pub(super) fn unknown_primary_key(resource: &Resource, key: &str) -> Self {
        let bare = key.trim_start_matches('@');
        let (label, schema) = (&resource.label, &resource.schema);
        Self::new(
            500,
            format!(
                "'{bare}' attribute unknown (see definition of '{label} ({schema})' schema).\nXTK-170036 Unable to parse expression '@id = @{bare}'."
            ),
        )
    }

    pub(super) fn gibberish(key: &str) -> Self {
        let bare = key.trim_start_matches('@');
        Self::new(
            500,
            format!("'@{bare}' is not a valid constant.\nXTK-170036 Unable to parse expression '@id = @{bare}'."),
        )
    }

    /// No row with that key: as a path (`:0` after the key) or in a body.
    pub(super) fn not_found(resource: &Resource, key: &str, in_path: bool) -> Self {
        let (path, name, mark) = (&resource.singular, &resource.name, if in_path { ":0" } else { "" });
        Self::headed(
            404,
            &format!(
                "Unable to find document with path '{path}' from key '{key}{mark}' (document with schema '{name}' and name '{key}')"
            ),
        )
    }

    pub(super) fn changed_key(resource: &Resource, from: &str, to: &str) -> Self {
        let name = &resource.name;
        Self::headed(
            500,
            &format!("RST-360012 Inconsistent operation on resource '{name}' - Cannot update key '{from}' to '{to}'."),
        )
    }

    pub(super) fn duplicate(resource: &Resource, unique: usize, values: &[&[u8]]) -> Self {
        let columns = resource.uniques.get(unique).map(Vec::as_slice).unwrap_or_default();
        let names =
            columns.iter().filter_map(|c| resource.columns.get(usize::from(*c))).map(|c| c.path.to_ascii_lowercase());
        let names: Vec<String> = names.collect();
        let values = values.iter().map(|v| String::from_utf8_lossy(v).into_owned()).collect::<Vec<_>>().join(", ");
        let constraint = names.join("_");
        let columns = names.iter().map(|n| format!("s{n}")).collect::<Vec<_>>().join(", ");
        let (singular, table) = (&resource.singular, &resource.table);
        Self::new(
            500,
            format!(
                "A '{singular}' with the same key '{values}' already exists.\nPGS-220000 PostgreSQL error: ERROR: duplicate key value violates unique constraint \
                 \"{table}_{constraint}\" DETAIL: Key ({columns})=({values}) already exists."
            ),
        )
    }

    pub(super) fn read_only(name: &str) -> Self {
        Self::new(500, format!("Cannot update the '{name}' property that is read-only"))
    }

    pub(super) fn unknown_field(resource: &Resource, name: &str) -> Self {
        Self::new(500, format!("'{name}' property is not valid for the '{}' resource.", resource.name))
    }

    pub(super) fn mandatory(resource: &Resource, column: &Column) -> Self {
        Self::headed(500, &format!("The '{}' property of the '{}' resource is mandatory.", column.path, resource.name))
    }

    pub(super) fn value(resource: &Resource, column: &Column, problem: &Problem) -> Self {
        let name = column.path.rsplit('.').next().unwrap_or(&column.path);
        match problem {
            Problem::Convert { value, from, to } => Self::new(
                500,
                format!("BAS-010040 Cannot convert '{value}' (type {from}) to {to} type (BAS-010011 Invalid value)."),
            ),
            Problem::Enumeration { value } => Self::headed(
                500,
                &format!(
                    "The value '{value}' is not valid for the '{}:{name}' enumeration of the '@{name}' field",
                    resource.schema
                ),
            ),
            Problem::TooLong { length, database: false } => {
                Self::headed(500, &format!("The value of the '@{name}' field is longer than {length} characters."))
            }
            Problem::TooLong { length, database: true } => Self::new(
                500,
                format!("PGS-220000 PostgreSQL error: ERROR: value too long for type character varying({length})"),
            ),
            Problem::Email { value } => Self::email(500, value),
        }
    }

    /// A text that is no email address, where the column's policy asks for one.
    pub(super) fn email(status: u16, text: &str) -> Self {
        Self::headed(status, text)
    }

    /// A filter without its parameter.
    pub(super) fn missing_parameter(filter: &str, name: &str) -> Self {
        Self::headed(500, &format!("The '{name}' parameter of the '{filter}' filter is missing."))
    }

    /// A query parameter that cannot be read.
    pub(super) fn parameter(value: &str, to: &str) -> Self {
        Self::new(
            500,
            format!("BAS-010040 Cannot convert '{value}' (type text) to {to} type (BAS-010011 Invalid value)."),
        )
    }

    pub(super) fn path() -> Self {
        Self::headed(404, "Error rc=-2003")
    }

    pub(super) fn stray() -> Self {
        Self::new(500, HEAD.to_owned())
    }

    pub(super) fn body() -> Self {
        Self::headed(500, "RST-360000 The body of the request is not a JSON object.")
    }

    pub(super) fn no_workflow(id: &str) -> Self {
        Self::headed(
            404,
            &format!(
                "Unable to find document with path 'workflow' from key '{id}:0' (document with schema 'execution' and name '{id}')"
            ),
        )
    }

    /// A command that the present state of a workflow does not allow. The wording is the sandbox's own.
    pub(super) fn command(method: &str, state: &str) -> Self {
        Self::headed(500, &format!("XTK-170019 The '{method}' command is not possible while the workflow is {state}."))
    }

    pub(super) fn unknown_command(method: &str) -> Self {
        Self::headed(500, &format!("XTK-170019 The '{method}' command is not known."))
    }

    /// A signal that is not accepted. The wording is the sandbox's own.
    pub(super) fn signal(text: &str) -> Self {
        Self::headed(500, &format!("XTK-170019 {text}"))
    }

    /// A parameter of a signal that its activity does not declare: the four lines of the public sample
    /// (experienceleague.adobe.com, "Triggering a signal activity").
    pub(super) fn undeclared(parameter: &str) -> Self {
        Self::headed(
            500,
            &format!(
                "'{parameter}' parameter isn't defined in signal activity.\nXTK-170006 Unable to parse expression 'HandleTrigger(@name, $(source), $({{parameters}}))'.\nRST-360000 Error while assessing 'HandleTrigger(@name, $(source), $({{parameters}}))' expression ('xtk:workflow:execution/activities/signal/trigger' resource)"
            ),
        )
    }

    pub(super) fn method() -> Self {
        Self::headed(405, "The method is not supported on this resource.")
    }
}
