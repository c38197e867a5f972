//! Lookups seen from the table that holds them: where each leads, and by which name it is bound.

use serde::Deserialize;

use crate::error::Error;
use crate::odata::Name;

/// One direction that a lookup column may lead to. A column with several targets has one relationship for each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relationship {
    /// The relationship's name.
    pub schema_name: String,
    /// The lookup column: `regardingobjectid`.
    pub referencing_attribute: String,
    /// The table that it leads to: `contact`.
    pub referenced_entity: String,
    /// The navigation property to bind: `regardingobjectid_contact_task`. It is case-sensitive and may differ from the
    /// column's name.
    pub navigation_property: Name,
}

/// Decodes an answer of `…/ManyToOneRelationships`.
///
/// # Errors
/// [`ErrorKind::Decode`](crate::ErrorKind::Decode) when it is none, or when a navigation property is no identifier.
pub fn decode_relationships(body: &[u8]) -> Result<Vec<Relationship>, Error> {
    #[derive(Deserialize)]
    struct Answer {
        value: Vec<Wire>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Wire {
        schema_name: String,
        referencing_attribute: String,
        referenced_entity: String,
        referencing_entity_navigation_property_name: String,
    }
    let answer: Answer =
        serde_json::from_slice(body).map_err(|error| Error::decode("a table's relationships", &error))?;
    let read = |wire: Wire| {
        let navigation_property = Name::new(wire.referencing_entity_navigation_property_name)
            .map_err(|_| Error::shape("a navigation property whose name is an identifier"))?;
        Ok(Relationship {
            schema_name: wire.schema_name,
            referencing_attribute: wire.referencing_attribute,
            referenced_entity: wire.referenced_entity,
            navigation_property,
        })
    };
    answer.value.into_iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relationships_are_read() {
        let body = br#"{"@odata.context":"x","value":[{"SchemaName":"Contact_Tasks","MetadataId":"m","ReferencingAttribute":"regardingobjectid","ReferencedEntity":"contact","ReferencingEntityNavigationPropertyName":"regardingobjectid_contact_task"}]}"#;
        let all = decode_relationships(body).unwrap();
        assert_eq!(all.len(), 1);
        assert_eq!(all[0].navigation_property.as_str(), "regardingobjectid_contact_task");
        assert_eq!(
            (all[0].referencing_attribute.as_str(), all[0].referenced_entity.as_str()),
            ("regardingobjectid", "contact")
        );
        let hostile = std::str::from_utf8(body).unwrap().replace("regardingobjectid_contact_task", "a&b");
        assert!(decode_relationships(hostile.as_bytes()).is_err());
        assert!(decode_relationships(b"{}").is_err());
    }
}
