//! A typed client of the Adobe Campaign Standard API: tokens, records by custom key, lists with
//! filters and paging, metadata, workflows, the events journal, and errors with a meaning.
//!
//! ```
//! use std::sync::Arc;
//!
//! use campaign_client::{CampaignClient, CampaignConfig, CustomRecord, RecordKey, Resource, Updated};
//! use http_kit::{SecretString, StaticToken};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! // A server that speaks for Campaign. Leave the authenticator out to get tokens from Adobe.
//! let mut server = mockito::Server::new_async().await;
//! let patch = server
//!     .mock("PATCH", "/acme/campaign/profileAndServicesExt/profile/c-1")
//!     .match_body(r#"{"firstName":"Ida"}"#)
//!     .with_body(r#"{"PKey":"@a1"}"#)
//!     .create_async()
//!     .await;
//!
//! let config = CampaignConfig::new(format!("{}/acme", server.url()), "api-key", SecretString::from("secret"));
//! let token = StaticToken::new(&SecretString::from("token"))?;
//! let client = CampaignClient::builder(config).authenticator(Arc::new(token)).build()?;
//!
//! let profiles = client.records(Resource::profile());
//! let key = RecordKey::new("c-1")?;
//! let outcome = profiles.update_from(&key, &serde_json::json!({ "firstName": "Ida" })).await?;
//! assert_eq!(outcome, Updated::Updated);
//! patch.assert_async().await;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod changed_since;
mod client;
mod config;
mod custom_resource;
mod equipment;
mod error;
#[cfg(feature = "exchange")]
pub mod exchange;
mod filter;
mod journal;
mod key;
mod metadata;
mod page;
mod profile;
mod record_api;
mod refusal;
mod resource;
pub mod value;
mod workflow;

pub use changed_since::{ChangePass, ChangedPage, ChangedSince};
pub use client::{CampaignClient, CampaignClientBuilder};
pub use config::{CampaignConfig, DEFAULT_IMS_URL, DEFAULT_SCOPES};
pub use custom_resource::CustomRecord;
pub use error::{Delivery, Error, ErrorKind};
pub use filter::{DEFAULT_LINE_COUNT, Filter, ListQuery};
pub use http_kit::Priority;
pub use journal::{
    DecodeError, DecodeEvents, DecodeFault, EventPointers, FieldPointers, Journal, JournalBuilder, JournalConfig,
    JournalEvent, JournalPage, JournalRead, JournalStart, KindSource, MailEvent, MailKind,
};
pub use key::{MAX_KEY, RecordKey};
pub use metadata::{EnumValue, FieldMeta, FieldType, ResourceMeta};
pub use page::Page;
pub use profile::{Location, Profile};
pub use record_api::{Addressing, Created, Deleted, RecordApi, Updated};
pub use refusal::Refusal;
pub use resource::{Family, Resource, ResourceEntry};
pub use workflow::{MAX_SIGNAL, Workflow, WorkflowApi, WorkflowCommand};
