use crate::{FieldName, Value};

/// The fields of one record, in the order they were put in, each name at most once.
///
/// A record has tens of fields, so a scan over a vector beats a map in time and in memory.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Record {
    fields: Vec<(FieldName, Value)>,
}

impl Record {
    /// A record with room for `fields` fields.
    pub fn with_capacity(fields: usize) -> Self {
        Self { fields: Vec::with_capacity(fields) }
    }

    /// Sets a field; an earlier value of the same name is replaced and returned.
    pub fn set(&mut self, name: FieldName, value: Value) -> Option<Value> {
        match self.fields.iter_mut().find(|(known, _)| *known == name) {
            Some((_, old)) => Some(std::mem::replace(old, value)),
            None => {
                self.fields.push((name, value));
                None
            }
        }
    }

    /// Appends a field whose name is known to be new, without the scan that [`Record::set`] makes.
    pub fn push(&mut self, name: FieldName, value: Value) {
        debug_assert!(self.get(name.as_str()).is_none());
        self.fields.push((name, value));
    }

    /// The value of a field; `None` when the record has no such field (which differs from a field that is null).
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.fields.iter().find(|(known, _)| known.as_str() == name).map(|(_, value)| value)
    }

    /// The value of a field that is expected at position `hint`; found by a scan when it stands elsewhere.
    ///
    /// A source that reads the same columns of every record puts them in the same order, so the scan is the exception.
    pub fn get_near(&self, hint: usize, name: &str) -> Option<&Value> {
        match self.fields.get(hint) {
            Some((known, value)) if known.as_str() == name => Some(value),
            _ => self.get(name),
        }
    }

    /// All fields in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&FieldName, &Value)> {
        self.fields.iter().map(|(name, value)| (name, value))
    }

    /// How many fields there are.
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// Whether there is no field.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }
}
