//! What the organisation says of its tables.

mod attribute;
mod choice;
mod relationship;
mod table;

pub use attribute::{Attribute, AttributeType, DateTimeBehavior};
pub use choice::{BooleanLabels, ChoiceOption, Choices, Label, LocalizedLabel};
pub use relationship::{Relationship, decode_relationships};
pub use table::{AlternateKey, EntityDef, decode_attributes, decode_table};

use futures::future::try_join_all;

use crate::client::D365Client;
use crate::error::{Error, ErrorKind};
use crate::odata::{Name, encode};

const TABLE: &str = "$select=LogicalName,EntitySetName,SchemaName,PrimaryIdAttribute,PrimaryNameAttribute,\
    IsActivity,ChangeTrackingEnabled,IsOptimisticConcurrencyEnabled\
    &$expand=Keys($select=SchemaName,LogicalName,KeyAttributes,EntityKeyIndexStatus)";

const COLUMNS: &str = "$select=LogicalName,SchemaName,DisplayName,AttributeType,AttributeTypeName,AttributeOf,\
    IsPrimaryId,IsPrimaryName,IsValidForRead,IsValidForCreate,IsValidForUpdate,RequiredLevel";

const LOOKUPS: &str =
    "$select=SchemaName,ReferencingAttribute,ReferencedEntity,ReferencingEntityNavigationPropertyName";

const OPTIONS: &str = "$select=LogicalName&$expand=OptionSet,GlobalOptionSet";

/// The casts that tell what the plain list of columns does not: for which types, under which name, with which query.
const CASTS: [(&[AttributeType], &str, &str); 11] = [
    (&[AttributeType::String], "StringAttributeMetadata", "$select=LogicalName,MaxLength"),
    (&[AttributeType::Memo], "MemoAttributeMetadata", "$select=LogicalName,MaxLength"),
    (&[AttributeType::DateTime], "DateTimeAttributeMetadata", "$select=LogicalName,DateTimeBehavior"),
    (&[AttributeType::Decimal], "DecimalAttributeMetadata", "$select=LogicalName,Precision"),
    (&[AttributeType::Money], "MoneyAttributeMetadata", "$select=LogicalName,Precision"),
    (
        &[AttributeType::Lookup, AttributeType::Customer, AttributeType::Owner],
        "LookupAttributeMetadata",
        "$select=LogicalName,Targets",
    ),
    (&[AttributeType::Choice], "PicklistAttributeMetadata", OPTIONS),
    (&[AttributeType::State], "StateAttributeMetadata", OPTIONS),
    (&[AttributeType::Status], "StatusAttributeMetadata", OPTIONS),
    (&[AttributeType::MultiSelectChoice], "MultiSelectPicklistAttributeMetadata", OPTIONS),
    (&[AttributeType::Boolean], "BooleanAttributeMetadata", OPTIONS),
];

/// Reads definitions; made by [`D365Client::metadata`].
#[derive(Clone, Debug)]
pub struct Metadata {
    client: D365Client,
}

impl Metadata {
    pub(crate) fn new(client: D365Client) -> Self {
        Self { client }
    }

    /// The table's definition with its keys and columns, their lengths, date behaviours, options with labels and lookup
    /// targets. One request for the table, one for its columns, and one for each kind of column that has more to tell.
    ///
    /// The service caches definitions: a change of the schema may show up half a minute late
    /// (learn.microsoft.com, "Cache schema data").
    ///
    /// Cancel safe: it only reads.
    ///
    /// # Errors
    /// [`ErrorKind::UnknownTable`] when there is no such table; otherwise whatever kept a request from succeeding.
    pub async fn table(&self, logical_name: &str) -> Result<EntityDef, Error> {
        let mut table = self.summary(logical_name).await?;
        let path = format!("EntityDefinitions(LogicalName='{}')/Attributes", table.logical_name());
        let columns = self.get(&format!("{path}?{COLUMNS}"), "GET EntityDefinitions/Attributes").await?;
        table.set_attributes(decode_attributes(&columns)?);
        let wanted =
            CASTS.iter().filter(|(kinds, ..)| table.attributes().iter().any(|column| kinds.contains(&column.kind)));
        let casts = wanted.map(|(_, cast, query)| {
            let target = format!("{path}/Microsoft.Dynamics.CRM.{cast}?{query}");
            async move { decode_attributes(&self.get(&target, "GET EntityDefinitions/Attributes").await?) }
        });
        for attributes in try_join_all(casts).await? {
            table.refine(attributes);
        }
        Ok(table)
    }

    /// The table's definition and keys without its columns, in one request.
    ///
    /// Cancel safe: it only reads.
    ///
    /// # Errors
    /// As [`Metadata::table`].
    pub async fn summary(&self, logical_name: &str) -> Result<EntityDef, Error> {
        let name: Name = logical_name.parse()?;
        let target = format!("EntityDefinitions(LogicalName='{name}')?{TABLE}");
        let body = self.get(&target, "GET EntityDefinitions").await.map_err(|error| match error.kind() {
            ErrorKind::NotFound => error.with_kind(ErrorKind::UnknownTable),
            _ => error,
        })?;
        decode_table(&body)
    }

    /// Where the lookups of a table lead, and by which navigation property each is bound.
    ///
    /// Cancel safe: it only reads.
    ///
    /// # Errors
    /// [`ErrorKind::UnknownTable`] when there is no such table; otherwise whatever kept the request from succeeding.
    pub async fn relationships(&self, logical_name: &str) -> Result<Vec<Relationship>, Error> {
        self.many_to_one(logical_name, "").await
    }

    /// The navigation property that binds a lookup column to rows of another table: for the column `regardingobjectid` of
    /// `task` and the table `contact` it is `regardingobjectid_contact_task`. `None` when the column does not lead there.
    ///
    /// Cancel safe: it only reads.
    ///
    /// # Errors
    /// As [`Metadata::relationships`].
    pub async fn navigation_property(
        &self,
        logical_name: &str,
        column: &str,
        referenced: &str,
    ) -> Result<Option<Name>, Error> {
        let (column, referenced): (Name, Name) = (column.parse()?, referenced.parse()?);
        let filter = encode(&format!("ReferencingAttribute eq '{column}' and ReferencedEntity eq '{referenced}'"));
        let found = self.many_to_one(logical_name, &format!("&$filter={filter}")).await?;
        Ok(found.into_iter().next().map(|relationship| relationship.navigation_property))
    }

    async fn many_to_one(&self, logical_name: &str, more: &str) -> Result<Vec<Relationship>, Error> {
        let name: Name = logical_name.parse()?;
        let target = format!("EntityDefinitions(LogicalName='{name}')/ManyToOneRelationships?{LOOKUPS}{more}");
        let body = self.get(&target, "GET ManyToOneRelationships").await.map_err(|error| match error.kind() {
            ErrorKind::NotFound => error.with_kind(ErrorKind::UnknownTable),
            _ => error,
        })?;
        decode_relationships(&body)
    }

    async fn get(&self, target: &str, operation: &'static str) -> Result<bytes::Bytes, Error> {
        self.client.get(target, operation, None).await.map(|response| response.body)
    }
}
