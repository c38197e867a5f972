//! Rows that may be of an unexpected shape.

use std::fmt;

use uuid::Uuid;

use super::{DynamicEntity, Entity};

/// A row, or what is left of one that could not be decoded: one bad row does not spoil its page.
///
/// `EntityApi<Guarded<Contact>>` reads what `EntityApi<Contact>` reads and hands bad rows out one by one. `Debug` hides a
/// good row.
pub struct Guarded<E>(pub Result<E, Undecodable>);

impl<E> fmt::Debug for Guarded<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Ok(_) => f.write_str("Guarded(Ok(..))"),
            Err(bad) => f.debug_tuple("Guarded").field(bad).finish(),
        }
    }
}

/// A row of an unexpected shape.
#[derive(Debug)]
pub struct Undecodable {
    /// The row's identifier, if that much was readable.
    pub id: Option<Uuid>,
    /// The row as it came, if it was a JSON object at all.
    pub row: Option<DynamicEntity>,
}

impl<E: Entity> Entity for Guarded<E> {
    type Def = E::Def;

    fn logical_name(def: &E::Def) -> &str {
        E::logical_name(def)
    }

    fn entity_set(def: &E::Def) -> &str {
        E::entity_set(def)
    }

    fn primary_id(def: &E::Def) -> &str {
        E::primary_id(def)
    }

    fn columns(def: &E::Def) -> &[&'static str] {
        E::columns(def)
    }

    fn decode(def: &E::Def, text: &str) -> Result<Self, serde_json::Error> {
        Ok(Self(E::decode(def, text).map_err(|_| {
            let row = DynamicEntity::parse(text, Some(E::primary_id(def))).ok();
            Undecodable { id: row.as_ref().and_then(DynamicEntity::id), row }
        })))
    }
}
