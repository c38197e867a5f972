//! Ownership: the operating system's lock keeps others out, the fence keeps an earlier run of this process out.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, params};
use sync_core::StoreError;
use sync_core::traits::{Lease, LeaseStore, OwnerId};
use uuid::Uuid;

use crate::SqliteStore;
use crate::error::{fenced, store_error};
use crate::row::{signed, unsigned};

#[async_trait]
impl LeaseStore for SqliteStore {
    async fn acquire(&self, resource: &str, owner: &OwnerId) -> Result<Option<Lease>, StoreError> {
        let (resource, owner) = (resource.to_owned(), owner.0.clone());
        let nonce = Uuid::new_v4().as_u64_pair().0;
        self.write(move |connection| {
            let fence: i64 = connection
                .query_row(
                    "INSERT INTO lease(res, owner, fence, nonce) VALUES (?1, ?2, 1, ?3)
                     ON CONFLICT(res) DO UPDATE SET owner = ?2, fence = fence + 1, nonce = ?3 RETURNING fence",
                    params![resource, &*owner, signed(nonce)],
                    |row| row.get(0),
                )
                .map_err(store_error)?;
            Ok(Some(Lease { resource: resource.into(), fence: unsigned(fence), nonce }))
        })
        .await
    }

    async fn release(&self, lease: Lease) -> Result<(), StoreError> {
        self.write(move |connection| {
            // The fence stays, so that it only grows; the nonce makes the released lease void.
            connection
                .execute(
                    "UPDATE lease SET owner = '', nonce = nonce + 1 WHERE res = ?1 AND fence = ?2 AND nonce = ?3",
                    params![&*lease.resource, signed(lease.fence), signed(lease.nonce)],
                )
                .map(drop)
                .map_err(store_error)
        })
        .await
    }
}

/// Refuses an old lease; called first in every transaction that writes.
pub(crate) fn check(connection: &Connection, lease: &Lease) -> Result<(), StoreError> {
    let mut statement = connection
        .prepare_cached("SELECT 1 FROM lease WHERE res = ?1 AND fence = ?2 AND nonce = ?3")
        .map_err(store_error)?;
    let valid = statement
        .query_row(params![&*lease.resource, signed(lease.fence), signed(lease.nonce)], |_| Ok(()))
        .optional()
        .map_err(store_error)?;
    valid.ok_or_else(fenced)
}
