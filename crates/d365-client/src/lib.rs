//! A typed client of the Dataverse Web API (Dynamics 365), for one environment and one application user.
//!
//! - [`D365Client`] holds identity, connections and pace; [`D365Client::who_am_i`] proves that all is in order.
//! - [`EntityApi`] creates, reads, updates, upserts, deletes and lists rows: typed structs that implement [`Entity`],
//!   or [`DynamicEntity`] for tables known at run time only.
//! - `EntityApi::upsert_multiple` and its like write many rows of one table as one transaction; a [`Batch`] carries requests
//!   of any kind, each with its own outcome.
//! - [`wire`] keeps decimals exact and reads multi-select choices in typed structs.
//! - [`odata`] builds conditions and queries from types, so that no value can change a query's meaning.
//! - [`ChangeTracker`] reads a whole table once and its changes and deletions from then on.
//! - [`TableScan`] reads which rows a table has, and in which version.
//! - [`metadata`] tells tables, columns, options, labels and keys.
//! - [`Error`] says what to treat a failure as, whether the request may have had an effect, and what to do.
//!
//! ```
//! use d365_client::odata::{Column, Query};
//! use d365_client::{D365Client, D365Config, Entity, EntityBody, Expect};
//! use futures::TryStreamExt as _;
//! use secrecy::SecretString;
//! use uuid::Uuid;
//!
//! #[derive(serde::Deserialize)]
//! struct Contact {
//!     contactid: Uuid,
//!     lastname: Option<String>,
//! }
//!
//! impl Entity for Contact {
//!     type Def = ();
//!     fn logical_name(_: &()) -> &str { "contact" }
//!     fn entity_set(_: &()) -> &str { "contacts" }
//!     fn primary_id(_: &()) -> &str { "contactid" }
//!     fn columns(_: &()) -> &[&'static str] { &["contactid", "lastname"] }
//!     fn decode(_: &(), text: &str) -> Result<Self, serde_json::Error> { serde_json::from_str(text) }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let mut server = mockito::Server::new_async().await;
//! # let token = server.mock("POST", "/contoso.example/oauth2/v2.0/token")
//! #     .with_body(r#"{"token_type":"Bearer","expires_in":3599,"access_token":"t"}"#).create_async().await;
//! # let list = server.mock("GET", "/api/data/v9.2/contacts?$select=contactid,lastname&$filter=statecode%20eq%200")
//! #     .match_header("prefer", "odata.maxpagesize=5000")
//! #     .with_body(r#"{"value":[{"contactid":"00000000-0000-0000-0000-000000000010","lastname":"Byron"}]}"#).create_async().await;
//! # let patch = server.mock("PATCH", "/api/data/v9.2/contacts(00000000-0000-0000-0000-000000000010)")
//! #     .match_header("if-match", "*").match_body(r#"{"lastname":"King"}"#).with_status(204).create_async().await;
//! # let (url, authority) = (server.url(), server.url());
//! let secret = SecretString::from("from your secret store");
//! let config = D365Config::new(url, "contoso.example", "11111111-0000-0000-0000-000000000001", secret).authority(authority);
//! let client = D365Client::new(config)?;
//! let contacts = client.entity::<Contact>();
//!
//! let active = Query::new().filter(Column::new("statecode")?.eq(0));
//! let mut rows = std::pin::pin!(contacts.rows(&active)?);
//! while let Some(contact) = rows.try_next().await? {
//!     if contact.lastname.as_deref() == Some("Byron") {
//!         let change = EntityBody::new().set("lastname", "King")?;
//!         contacts.update(contact.contactid, &change, &Expect::Any).await?;
//!     }
//! }
//! # token.assert_async().await;
//! # list.assert_async().await;
//! # patch.assert_async().await;
//! # Ok(())
//! # }
//! ```

mod batch;
mod bulk;
mod changes;
mod client;
mod codes;
mod config;
mod entity;
mod error;
mod limits;
pub mod metadata;
pub mod odata;
mod privileges;
mod scan;
mod whoami;
pub mod wire;

pub use batch::{
    Batch, BatchRequest, ChangeSet, ContentId, EncodedBatch, MAX_BATCH, Outcome, PartAnswer, PartOutcome, SetOutcome,
    decode_batch, encode_batch,
};
pub use bulk::{BulkMessage, Trouble};
pub use changes::{ChangePage, ChangeTracker, Changed, FetchedChanges, Link, decode_changes};
pub use client::{D365Client, D365ClientBuilder};
pub use config::{API_VERSION, D365Config, DEFAULT_AUTHORITY, DEFAULT_IN_FLIGHT, DEFAULT_PAGE_SIZE, DEFAULT_QUOTA};
pub use entity::{
    ASSOCIATED_NAVIGATION_PROPERTY, ColumnError, DynamicEntity, ETag, Entity, EntityApi, EntityBody, Expect,
    FORMATTED_VALUE, Guarded, LOOKUP_LOGICAL_NAME, Page, Precondition, Reference, Undecodable, Upserted, decode_page,
    decode_references,
};
pub use error::{Error, ErrorKind};
pub use http_kit::pace::Quota;
pub use http_kit::{Delivery, Priority};
pub use limits::ServiceLimits;
pub use metadata::EntityDef;
pub use privileges::TablePrivilege;
pub use scan::{FetchedScan, ScanPage, ScannedRow, TableScan, decode_scan};
pub use whoami::WhoAmI;
