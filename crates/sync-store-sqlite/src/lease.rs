//! Ownership: the operating system's lock keeps other processes out, the fence keeps an earlier run of this one out.

use std::time::Duration;

use async_trait::async_trait;
use rusqlite::params;
use sync_core::StoreError;
use sync_core::traits::{Lease, LeaseStore, OwnerId};
use uuid::Uuid;

use crate::SqliteStore;
use crate::database::{Database, get};
use crate::error::fenced;
use crate::row::{signed, unsigned};

#[async_trait]
impl LeaseStore for SqliteStore {
    /// `ttl` has no meaning here: whoever holds the operating system's lock knows that nobody else lives.
    async fn acquire(&self, resource: &str, owner: &OwnerId, _ttl: Duration) -> Result<Option<Lease>, StoreError> {
        let (resource, owner, opening) = (resource.to_owned(), owner.0.clone(), self.opening);
        let nonce = Uuid::new_v4().as_u64_pair().0;
        self.write(move |db| {
            // Only this opening of the file can hold a lease; what an earlier one left is free.
            let fence = db.one(
                "INSERT INTO lease(res, owner, fence, nonce, opening) VALUES (?1, ?2, 1, ?3, ?4)
                 ON CONFLICT(res) DO UPDATE SET owner = ?2, fence = fence + 1, nonce = ?3, opening = ?4
                   WHERE opening <> ?4 OR owner = ?2
                 RETURNING fence",
                params![resource, &*owner, signed(nonce), opening],
                |row| get(row, 0),
            )?;
            Ok(fence.map(|fence| Lease { resource: resource.into(), fence: unsigned(fence), nonce, ttl: None }))
        })
        .await
    }

    async fn renew(&self, lease: &Lease, _ttl: Duration) -> Result<Lease, StoreError> {
        let lease = lease.clone();
        self.write(move |db| {
            check(db, &lease)?;
            Ok(Lease { ttl: None, ..lease })
        })
        .await
    }

    async fn release(&self, lease: Lease) -> Result<(), StoreError> {
        self.write(move |db| {
            // The fence stays, so that it only grows; without its opening the lease is void.
            db.execute(
                "UPDATE lease SET owner = '', opening = 0 WHERE res = ?1 AND fence = ?2 AND nonce = ?3",
                params![&*lease.resource, signed(lease.fence), signed(lease.nonce)],
            )
            .map(drop)
        })
        .await
    }
}

/// Refuses an old lease; called first in every transaction that writes.
pub(crate) fn check(db: &Database, lease: &Lease) -> Result<(), StoreError> {
    let valid = db.exists(
        "SELECT 1 FROM lease WHERE res = ?1 AND fence = ?2 AND nonce = ?3 AND opening <> 0",
        params![&*lease.resource, signed(lease.fence), signed(lease.nonce)],
    )?;
    if valid { Ok(()) } else { Err(fenced()) }
}
