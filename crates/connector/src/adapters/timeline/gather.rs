//! Gathers rows that are ready at the same time into one request, and finds the bad one among them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use d365_client::odata::{EntityKey, Name};
use d365_client::{D365Client, DynamicEntity, EntityApi, EntityDef, Error, ErrorKind, Precondition, Trouble};
use http_kit::Priority;
use serde_json::value::RawValue;
use tokio::sync::{Semaphore, oneshot};
use uuid::Uuid;

/// What became of one row.
pub(super) type Written = Result<(), Arc<Error>>;

/// A row that waits for its request.
struct Waiting {
    id: Uuid,
    row: Box<RawValue>,
    answer: oneshot::Sender<Written>,
}

/// The rows of one table.
pub(super) struct Gather {
    api: EntityApi<DynamicEntity>,
    /// Whether the table takes many rows in one request.
    many: bool,
    queue: Mutex<VecDeque<Waiting>>,
    /// Requests at the same time.
    requests: Semaphore,
}

/// Rows of one request. Each runs through whatever the organisation does with a new activity, so requests stay small.
const MOST: usize = 100;

impl Gather {
    pub(super) fn new(client: &D365Client, def: Arc<EntityDef>, many: bool, requests: usize) -> Self {
        let api = client.at_priority(Priority::Live).entity_with(def);
        Self { api, many, queue: Mutex::default(), requests: Semaphore::new(requests.max(1)) }
    }

    /// Writes a row, together with others that are ready. `None` when nobody can tell what became of it.
    ///
    /// # Cancellation safety
    /// A row whose future is dropped may be written all the same, and so may others of its request; they are written again.
    pub(super) async fn write(&self, id: Uuid, row: Box<RawValue>) -> Option<Written> {
        let (answer, mut answered) = oneshot::channel();
        self.lock().push_back(Waiting { id, row, answer });
        // Everything that is ready now comes along.
        tokio::task::yield_now().await;
        loop {
            let permit = tokio::select! {
                biased;
                written = &mut answered => return written.ok(),
                permit = self.requests.acquire() => permit.ok()?,
            };
            let batch = self.take();
            if batch.is_empty() {
                drop(permit);
                return answered.await.ok();
            }
            self.send(batch).await;
        }
    }

    /// Whether a row is there.
    pub(super) async fn is_there(&self, id: Uuid) -> Result<bool, Error> {
        let primary: Name = self.api.def().primary_id().parse()?;
        match self.api.retrieve(id, &[primary]).await {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<Waiting>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Vec<Waiting> {
        let mut queue = self.lock();
        let most = if self.many { MOST } else { 1 };
        let count = queue.len().min(most);
        queue.drain(..count).collect()
    }

    /// Sends rows, and halves what is refused until the bad ones stand alone: the service undoes all of a refused request.
    async fn send(&self, batch: Vec<Waiting>) {
        let mut open = vec![batch];
        while let Some(mut rows) = open.pop() {
            match self.upsert(&rows).await {
                Ok(()) => rows.into_iter().for_each(|row| tell(row, Ok(()))),
                Err(error) if rows.len() > 1 && error.trouble() != Trouble::Service => {
                    let second = rows.split_off(rows.len() / 2);
                    open.push(second);
                    open.push(rows);
                }
                Err(error) => {
                    let error = Arc::new(error);
                    rows.into_iter().for_each(|row| tell(row, Err(error.clone())));
                }
            }
        }
    }

    async fn upsert(&self, rows: &[Waiting]) -> Result<(), Error> {
        if let ([row], false) = (rows, self.many) {
            return self.api.upsert(row.id, &row.row, &Precondition::None).await.map(drop);
        }
        let targets: Vec<(EntityKey, &RawValue)> = rows.iter().map(|row| (EntityKey::id(row.id), &*row.row)).collect();
        self.api.upsert_multiple(&targets).await
    }
}

/// Whoever waits for it may be gone.
fn tell(row: Waiting, written: Written) {
    let _ = row.answer.send(written);
}

impl std::fmt::Debug for Gather {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gather").field("many", &self.many).finish_non_exhaustive()
    }
}
