//! Many rows of one table in one request: `CreateMultiple`, `UpdateMultiple`, `UpsertMultiple`
//! (learn.microsoft.com, "Use bulk operation messages").
//!
//! On standard tables such a call is one transaction: the first row that is refused rolls all back, and the error names that
//! one at most. [`Error::trouble`] says what a caller can do about a refusal: ask again with half of the rows, or wait.

use std::collections::HashSet;

use bytes::Bytes;
use http::Method;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::client::{Condition, Write};
use crate::entity::{Entity, EntityApi, encode_body};
use crate::error::{Error, ErrorKind};
use crate::odata::{EntityKey, Name, encode};

/// A message that acts on many rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BulkMessage {
    /// `CreateMultiple`.
    Create,
    /// `UpdateMultiple`.
    Update,
    /// `UpsertMultiple`.
    Upsert,
}

impl BulkMessage {
    /// The name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Create => "CreateMultiple",
            Self::Update => "UpdateMultiple",
            Self::Upsert => "UpsertMultiple",
        }
    }

    /// The operation as errors and statistics name it.
    fn operation(self) -> &'static str {
        match self {
            Self::Create => "POST CreateMultiple",
            Self::Update => "POST UpdateMultiple",
            Self::Upsert => "POST UpsertMultiple",
        }
    }
}

/// What to do about a call on many rows that failed as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Trouble {
    /// One of the rows was refused, or several: ask again with each half of them until the bad ones stand alone.
    Rows,
    /// The call was too much at once (deadlock or time limit in the database): ask again later with fewer rows.
    Load,
    /// It lies with the service, the connection or the configuration: fewer rows do not help.
    Service,
}

impl Error {
    /// What to do about this error of a call on many rows. A single row that is [`Trouble::Rows`] is that row's refusal.
    #[must_use]
    pub fn trouble(&self) -> Trouble {
        match (self.kind(), self.code()) {
            // SqlError, SqlTimeout
            (_, Some(0x8004_4150 | 0x8004_4151)) => Trouble::Load,
            // UnManagedIdsAccessDenied: access to a row. Any other refusal of access is that of a whole privilege.
            (ErrorKind::Forbidden, Some(0x8004_8306)) => Trouble::Rows,
            (
                ErrorKind::NotFound
                | ErrorKind::PreconditionFailed
                | ErrorKind::Duplicate
                | ErrorKind::UnknownColumn
                | ErrorKind::BadRequest
                | ErrorKind::Payload
                | ErrorKind::Validation,
                _,
            ) => Trouble::Rows,
            _ => Trouble::Service,
        }
    }
}

impl<E: Entity> EntityApi<E> {
    /// Creates rows and returns their identifiers in the same order. A body may carry the primary key of the row's choice.
    ///
    /// All or nothing on standard tables. Not cancel safe: the rows may or may not have been created.
    ///
    /// # Errors
    /// See [`Error::trouble`]. After [`Delivery::MaybeApplied`](http_kit::Delivery::MaybeApplied) look the rows up before
    /// creating them again.
    pub async fn create_multiple<B: Serialize>(&self, rows: &[B]) -> Result<Vec<Uuid>, Error> {
        #[derive(Deserialize)]
        struct Created {
            #[serde(rename = "Ids")]
            ids: Vec<Uuid>,
        }
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let mut targets = Targets::new(E::logical_name(self.def()))?;
        for row in rows {
            targets.push(row, None, None)?;
        }
        let response = self.post_multiple(BulkMessage::Create, targets).await?;
        let created: Created = serde_json::from_slice(&response.body)
            .map_err(|error| Error::decode("the identifiers of created rows", &error))?;
        if created.ids.len() != rows.len() {
            return Err(Error::shape("as many identifiers as rows were to be created"));
        }
        Ok(created.ids)
    }

    /// Changes columns of existing rows, each named by its identifier.
    ///
    /// All or nothing on standard tables; a row that does not exist is an error of the whole call. Repeatable: sending it
    /// twice has the effect of once. Not cancel safe: the rows may or may not have been changed.
    ///
    /// # Errors
    /// See [`Error::trouble`]. A row that is named twice and a body with the primary key in it are refused before anything
    /// is sent.
    pub async fn update_multiple<B: Serialize>(&self, rows: &[(Uuid, B)]) -> Result<(), Error> {
        if rows.is_empty() {
            return Ok(());
        }
        let mut targets = Targets::new(E::logical_name(self.def()))?;
        for (id, row) in rows {
            targets.push(row, Some((E::primary_id(self.def()), &EntityKey::id(*id))), None)?;
        }
        self.post_multiple(BulkMessage::Update, targets).await.map(drop)
    }

    /// Changes columns of rows or creates them, each named by an identifier of the caller's choice or by an alternate key.
    /// The service does not tell which were created. The columns of an alternate key must not be in the body as well.
    ///
    /// All or nothing on standard tables. Repeatable: sending it twice has the effect of once. Not cancel safe: the rows may
    /// or may not have been written.
    ///
    /// # Errors
    /// See [`Error::trouble`]. A row that is named twice and a body with the primary key in it are refused before anything
    /// is sent.
    pub async fn upsert_multiple<B: Serialize>(&self, rows: &[(EntityKey, B)]) -> Result<(), Error> {
        if rows.is_empty() {
            return Ok(());
        }
        let mut targets = Targets::new(E::logical_name(self.def()))?;
        for (key, row) in rows {
            targets.push(row, Some((E::primary_id(self.def()), key)), Some(E::entity_set(self.def())))?;
        }
        self.post_multiple(BulkMessage::Upsert, targets).await.map(drop)
    }

    /// Whether the table takes a message: not every table does, and older environments know none of them.
    ///
    /// Cancel safe: it only reads.
    ///
    /// # Errors
    /// Whatever kept the request from succeeding; the application user needs to read `sdkmessagefilter`.
    pub async fn takes(&self, message: BulkMessage) -> Result<bool, Error> {
        #[derive(Deserialize)]
        struct Found {
            value: Vec<serde::de::IgnoredAny>,
        }
        let table: Name = E::logical_name(self.def()).parse()?;
        let filter = format!("sdkmessageid/name eq '{}' and primaryobjecttypecode eq '{table}'", message.name());
        let target = format!("sdkmessagefilters?$select=sdkmessagefilterid&$filter={}", encode(&filter));
        let response = self.client().get(&target, "GET sdkmessagefilters", None).await?;
        let found: Found = serde_json::from_slice(&response.body)
            .map_err(|error| Error::decode("a collection of message filters", &error))?;
        Ok(!found.value.is_empty())
    }

    async fn post_multiple(&self, message: BulkMessage, targets: Targets) -> Result<http_kit::Response, Error> {
        let set: Name = E::entity_set(self.def()).parse()?;
        let target = format!("{set}/Microsoft.Dynamics.CRM.{}", message.name());
        let write = Write {
            method: Method::POST,
            target: &target,
            operation: message.operation(),
            body: Some(targets.finish()),
            condition: Condition::None,
            prefer: None,
            idempotent: message != BulkMessage::Create,
        };
        self.client().write(write).await
    }
}

/// The body of a call, put together from the bodies of its rows without parsing them again.
struct Targets {
    body: Vec<u8>,
    /// `"@odata.type":"Microsoft.Dynamics.CRM.contact"`, which the service demands in each target.
    type_member: String,
    keys: HashSet<String>,
}

impl Targets {
    fn new(table: &str) -> Result<Self, Error> {
        let table: Name = table.parse()?;
        Ok(Self {
            body: br#"{"Targets":["#.to_vec(),
            type_member: format!(r#""@odata.type":"Microsoft.Dynamics.CRM.{table}""#),
            keys: HashSet::new(),
        })
    }

    /// `key` is the name of the primary key and how the row is addressed; an alternate key stands in `@odata.id` below `set`.
    fn push<B: Serialize>(&mut self, row: &B, key: Option<(&str, &EntityKey)>, set: Option<&str>) -> Result<(), Error> {
        let own = encode_body(row)?;
        let members = own
            .strip_prefix(b"{")
            .and_then(|rest| rest.strip_suffix(b"}"))
            .ok_or_else(|| Error::validation("a row of a call on many rows is not written as a JSON object"))?;
        if self.body.last() == Some(&b'}') {
            self.body.push(b',');
        }
        self.body.push(b'{');
        self.body.extend_from_slice(self.type_member.as_bytes());
        if let Some((primary, key)) = key {
            let primary: Name = primary.parse()?;
            // A quote within a text is escaped, so this finds members only.
            let member = format!(r#""{primary}":"#);
            if memchr::memmem::find(members, member.as_bytes()).is_some() {
                return Err(Error::validation("the body of a row carries the primary key, which stands beside it"));
            }
            if !self.keys.insert(key.to_segment()) {
                return Err(Error::validation("a call on many rows names a row twice"));
            }
            match (key.as_id(), set) {
                (Some(id), _) => self.body.extend_from_slice(format!(r#",{member}"{}""#, id.hyphenated()).as_bytes()),
                (None, Some(set)) => {
                    let set: Name = set.parse()?;
                    let address = serde_json::to_string(&format!("{set}{}", key.to_segment()))
                        .map_err(|_| Error::validation("an alternate key cannot be written as JSON"))?;
                    self.body.extend_from_slice(format!(r#","@odata.id":{address}"#).as_bytes());
                }
                (None, None) => return Err(Error::validation("an update of many rows names each by its identifier")),
            }
        }
        if !members.is_empty() {
            self.body.push(b',');
            self.body.extend_from_slice(members);
        }
        self.body.push(b'}');
        Ok(())
    }

    fn finish(mut self) -> Bytes {
        self.body.extend_from_slice(b"]}");
        self.body.into()
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use serde_json::json;

    use super::*;

    #[test]
    fn bodies_are_put_together() {
        let mut targets = Targets::new("contact").unwrap();
        targets.push(&json!({}), None, None).unwrap();
        let id = EntityKey::id(Uuid::from_u128(1));
        targets.push(&json!({"firstname": "X"}), Some(("contactid", &id)), None).unwrap();
        let key = EntityKey::by("externaluseridentifier", "4 2").unwrap();
        targets.push(&json!({"firstname": "\"contactid\":"}), Some(("contactid", &key)), Some("contacts")).unwrap();
        assert_eq!(
            std::str::from_utf8(&targets.finish()).unwrap(),
            r#"{"Targets":[{"@odata.type":"Microsoft.Dynamics.CRM.contact"},{"@odata.type":"Microsoft.Dynamics.CRM.contact","contactid":"00000000-0000-0000-0000-000000000001","firstname":"X"},{"@odata.type":"Microsoft.Dynamics.CRM.contact","@odata.id":"contacts(externaluseridentifier='4%202')","firstname":"\"contactid\":"}]}"#
        );
    }

    #[test]
    fn what_cannot_mean_one_row_is_refused() {
        let id = EntityKey::id(Uuid::from_u128(1));
        let mut targets = Targets::new("contact").unwrap();
        assert!(targets.push(&json!({"contactid": "x"}), Some(("contactid", &id)), None).is_err());
        let mut targets = Targets::new("contact").unwrap();
        targets.push(&json!({}), Some(("contactid", &id)), None).unwrap();
        assert!(targets.push(&json!({}), Some(("contactid", &id)), None).is_err());
        assert!(Targets::new("contact").unwrap().push(&[1], None, None).is_err());
        assert!(
            Targets::new("contact")
                .unwrap()
                .push(&std::collections::BTreeMap::from([("a", f64::NAN)]), None, None)
                .is_err()
        );
    }

    #[test]
    fn trouble_is_told_apart() {
        let of = |status: u16, code: &str| {
            let body = json!({"error": {"code": code, "message": "m"}}).to_string();
            Error::from_answer(StatusCode::from_u16(status).unwrap(), body.as_bytes()).trouble()
        };
        let table = [
            (404, "0x80040217", Trouble::Rows),
            (412, "0x80040237", Trouble::Rows),
            (412, "0x80060892", Trouble::Rows),
            (400, "0x80044331", Trouble::Rows),
            (400, "0x80048d19", Trouble::Rows),
            (400, "0x80040265", Trouble::Rows),
            (403, "0x80048306", Trouble::Rows),
            (413, "", Trouble::Rows),
            (400, "0x80044150", Trouble::Load),
            (500, "0x80044151", Trouble::Load),
            (403, "0x80040220", Trouble::Service),
            (403, "0x80072560", Trouble::Service),
            (404, "0x8006088a", Trouble::Service),
            (401, "", Trouble::Service),
            (429, "0x80072322", Trouble::Service),
            (503, "", Trouble::Service),
        ];
        for (status, code, trouble) in table {
            assert_eq!(of(status, code), trouble, "{status} {code}");
        }
    }
}
