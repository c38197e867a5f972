//! Rows of an opt-out file as records: what a file says about the preferences of one profile.

#![allow(dead_code, reason = "the opt-out workflow is its only user, and is to remove this line")]

use campaign_client::exchange::ExchangeError;
use campaign_client::exchange::table::{OptOutDecoder, OptOutLayout, Row, TimePrecision};
use record::{Change, ChangeBody, FieldName, Key, Record, Value};

use super::layout::{DecodeRow, RowLayout, Unusable};

/// The layout of opt-out files.
///
/// The key of a record is the external id, byte for byte. For each attribute that the file has, under its name on the wire, it holds
/// the value (`Value::Bool`; `Null` where the file does not say), [`time_field`] (`Value::DateTime` or `Null`) and
/// [`precision_field`] (`"day"`, `"second"`, `"fraction"` or `Null`).
#[derive(Debug)]
pub(crate) struct OptOutRows {
    layout: OptOutLayout,
}

impl OptOutRows {
    pub(crate) fn new(layout: OptOutLayout) -> Self {
        Self { layout }
    }
}

/// The field with the time of an attribute's last change.
pub(crate) fn time_field(attribute: &str) -> String {
    format!("{attribute}LastModified")
}

/// The field that says how exactly that time was given: before it is compared with a finer one, both are cut to it.
pub(crate) fn precision_field(attribute: &str) -> String {
    format!("{attribute}LastModifiedPrecision")
}

impl RowLayout for OptOutRows {
    fn decoder(&self, header: &[String]) -> Result<Box<dyn DecodeRow>, ExchangeError> {
        Ok(Box::new(Decoder(OptOutDecoder::new(header, &self.layout)?)))
    }
}

struct Decoder(OptOutDecoder);

impl DecodeRow for Decoder {
    fn decode(&self, row: &Row) -> Result<Option<Change>, Unusable> {
        let row = self.0.decode(row)?;
        let mut record = Record::with_capacity(row.attributes.len() * 3);
        for attribute in &row.attributes {
            let name = attribute.name.as_ref();
            let precision = attribute.modified.map_or(Value::Null, |time| {
                Value::text(match time.precision {
                    TimePrecision::Day => "day",
                    TimePrecision::Second => "second",
                    TimePrecision::Fraction => "fraction",
                })
            });
            record.push(FieldName::from(name), attribute.value.map_or(Value::Null, Value::Bool));
            let time = attribute.modified.map_or(Value::Null, |time| Value::DateTime(time.at));
            record.push(FieldName::from(time_field(name).as_str()), time);
            record.push(FieldName::from(precision_field(name).as_str()), precision);
        }
        Ok(Some(Change { key: Key::text(row.external_id), version: None, body: ChangeBody::Upsert(record) }))
    }
}
