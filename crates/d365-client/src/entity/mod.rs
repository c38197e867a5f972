//! Rows: typed structs and the dynamic form, behind one [`EntityApi`](crate::EntityApi).

mod api;
mod body;
mod dynamic;
mod etag;
mod finite;
mod guard;
mod page;

pub(crate) use api::encode_body;
pub use api::{EntityApi, Upserted};
pub use body::EntityBody;
pub(crate) use dynamic::RowOf;
pub use dynamic::{ASSOCIATED_NAVIGATION_PROPERTY, ColumnError, DynamicEntity, FORMATTED_VALUE, LOOKUP_LOGICAL_NAME};
pub use etag::{ETag, Expect, Precondition};
pub(crate) use finite::is_finite;
pub use guard::{Guarded, Undecodable};
pub(crate) use page::{Envelope, RAW, envelope, text_of};
pub use page::{Page, Reference, decode_page, decode_references};

use std::fmt::Debug;

/// A kind of row that an [`EntityApi`](crate::EntityApi) reads and writes.
///
/// A struct implements it with `Def = ()` and serde; [`DynamicEntity`] implements it with the table's definition, known
/// at run time only. Every method of the API exists once for both.
///
/// ```
/// use d365_client::Entity;
/// #[derive(serde::Deserialize)]
/// struct Contact { contactid: uuid::Uuid, lastname: Option<String> }
///
/// impl Entity for Contact {
///     type Def = ();
///     fn logical_name(_: &()) -> &str { "contact" }
///     fn entity_set(_: &()) -> &str { "contacts" }
///     fn primary_id(_: &()) -> &str { "contactid" }
///     fn columns(_: &()) -> &[&'static str] { &["contactid", "lastname"] }
///     fn decode(_: &(), text: &str) -> Result<Self, serde_json::Error> { serde_json::from_str(text) }
/// }
/// let ada = Contact::decode(&(), r#"{"contactid":"00000000-0000-0000-0000-000000000010","lastname":"Byron"}"#)?;
/// assert_eq!(ada.lastname.as_deref(), Some("Byron"));
/// # Ok::<(), serde_json::Error>(())
/// ```
pub trait Entity: Sized + Send + 'static {
    /// What must be known of the table at run time: `()` for a struct, `Arc<EntityDef>` for [`DynamicEntity`].
    type Def: Clone + Debug + Send + Sync + 'static;

    /// The table's logical name: `contact`.
    fn logical_name(def: &Self::Def) -> &str;

    /// The name of the table in URLs: `contacts`.
    fn entity_set(def: &Self::Def) -> &str;

    /// The column that identifies a row: `contactid`.
    fn primary_id(def: &Self::Def) -> &str;

    /// The columns that are asked for when a call names none. Empty means all that the table has, which on standard
    /// tables are hundreds.
    fn columns(def: &Self::Def) -> &[&'static str];

    /// Reads one row from its JSON text, tolerating properties it does not know.
    ///
    /// # Errors
    /// A row of another shape. The client reports the row's place, never the error's text, which may quote values.
    fn decode(def: &Self::Def, text: &str) -> Result<Self, serde_json::Error>;
}
