//! Gathers rows that are ready at the same time into one request, and finds the bad one among them.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet, VecDeque};
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

/// A table, and whether it takes many rows in one request.
struct Table {
    api: EntityApi<DynamicEntity>,
    many: bool,
}

/// The rows of some tables.
pub(super) struct Gather {
    tables: Vec<Table>,
    /// Where a refused request asks which of the contacts that its rows refer to are there.
    contacts: EntityApi<DynamicEntity>,
    /// The rows that wait for their request, by table.
    queues: Mutex<Vec<VecDeque<Waiting>>>,
    /// Requests at the same time, of all tables together.
    requests: Semaphore,
}

/// Rows of one request. Each runs through whatever the organisation does with a new activity, so requests stay small.
pub(super) const MOST: usize = 100;

impl Gather {
    /// With so many requests at the same time. Each table says whether it takes many rows in one request; `contact` is the table that
    /// the rows refer to.
    pub(super) fn new(
        client: &D365Client,
        tables: impl IntoIterator<Item = (Arc<EntityDef>, bool)>,
        contact: Arc<EntityDef>,
        requests: usize,
    ) -> Self {
        let client = client.at_priority(Priority::Live);
        let table = |(def, many)| Table { api: client.entity_with(def), many };
        let tables: Vec<Table> = tables.into_iter().map(table).collect();
        let queues = tables.iter().map(|_| VecDeque::new()).collect();
        let contacts = client.entity_with(contact);
        Self { tables, contacts, queues: Mutex::new(queues), requests: Semaphore::new(requests.max(1)) }
    }

    /// Writes a row of the table with this number, together with others that are ready. `None` when nobody can tell what became of it.
    ///
    /// # Cancellation safety
    /// A row whose future is dropped may be written all the same, and so may others of its request; they are written again.
    pub(super) async fn write(&self, table: usize, id: Uuid, row: Box<RawValue>) -> Option<Written> {
        let (answer, mut answered) = oneshot::channel();
        self.lock().get_mut(table)?.push_back(Waiting { id, row, answer });
        // Everything that is ready now comes along.
        tokio::task::yield_now().await;
        loop {
            let permit = tokio::select! {
                biased;
                written = &mut answered => return written.ok(),
                permit = self.requests.acquire() => permit.ok()?,
            };
            let Some((table, batch)) = self.take() else {
                drop(permit);
                return answered.await.ok();
            };
            table.send(batch, &self.contacts).await;
        }
    }

    /// Whether a row of the table with this number is there.
    pub(super) async fn is_there(&self, table: usize, id: Uuid) -> Result<bool, Error> {
        let Some(Table { api, .. }) = self.tables.get(table) else { return Ok(false) };
        let primary: Name = api.def().primary_id().parse()?;
        match api.retrieve(id, &[primary]).await {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<VecDeque<Waiting>>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The rows of the next request, of the table with the most that wait: where requests are what is scarce, they are full. The rows of
    /// the others become more meanwhile, until it is their turn.
    fn take(&self) -> Option<(&Table, Vec<Waiting>)> {
        let mut queues = self.lock();
        let (queue, table) = queues.iter_mut().zip(&self.tables).max_by_key(|(queue, _)| queue.len())?;
        let count = queue.len().min(if table.many { MOST } else { 1 });
        (count > 0).then(|| (table, queue.drain(..count).collect()))
    }
}

impl Table {
    /// Sends rows, and finds the bad ones among those that are refused: the service undoes all of a refused request.
    ///
    /// What is not found is the contact of some row, as a rule of several: one question tells them all. Whatever else is wrong is
    /// found by halves.
    async fn send(&self, batch: Vec<Waiting>, contacts: &EntityApi<DynamicEntity>) {
        let mut open = vec![(batch, false)];
        while let Some((mut rows, sorted)) = open.pop() {
            let error = match self.upsert(&rows).await {
                Ok(()) => {
                    rows.into_iter().for_each(|row| tell(row, Ok(())));
                    continue;
                }
                Err(error) => Arc::new(error),
            };
            if rows.len() == 1 || error.trouble() == Trouble::Service {
                tell_all(rows, &error);
                continue;
            }
            if !sorted && error.kind() == ErrorKind::NotFound {
                match without_contact(&rows, contacts).await {
                    Ok(absent) if !absent.is_empty() => {
                        let (bad, good) = rows.into_iter().partition(|row| absent.contains(&row.id));
                        tell_all(bad, &error);
                        open.extend(Some((good, true)).filter(|(good, _)| !good.is_empty()));
                        continue;
                    }
                    // Whatever was not found, it was no contact; or contacts cannot be asked for.
                    Ok(_) => {}
                    Err(error) if error.trouble() == Trouble::Rows => {}
                    Err(error) => {
                        tell_all(rows, &Arc::new(error));
                        continue;
                    }
                }
            }
            let second = rows.split_off(rows.len() / 2);
            open.push((second, sorted));
            open.push((rows, sorted));
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

/// The ids of the rows whose contact is not there.
async fn without_contact(rows: &[Waiting], contacts: &EntityApi<DynamicEntity>) -> Result<HashSet<Uuid>, Error> {
    let of_rows: Vec<(Uuid, Uuid)> = rows.iter().filter_map(|row| Some((row.id, contact_of(&row.row)?))).collect();
    let asked: Vec<Uuid> = of_rows.iter().map(|(_, contact)| *contact).collect::<HashSet<_>>().into_iter().collect();
    let primary: Name = contacts.def().primary_id().parse()?;
    let there = contacts.retrieve_many(&asked, &[primary]).await?;
    let there: HashSet<Uuid> = there.iter().filter_map(DynamicEntity::id).collect();
    Ok(of_rows.into_iter().filter(|(_, contact)| !there.contains(contact)).map(|(row, _)| row).collect())
}

/// The contact that a row is to be bound to.
fn contact_of(row: &RawValue) -> Option<Uuid> {
    let members: BTreeMap<Cow<'_, str>, &RawValue> = serde_json::from_str(row.get()).ok()?;
    members.iter().filter(|(name, _)| name.ends_with("@odata.bind")).find_map(|(_, value)| {
        let address: Cow<'_, str> = serde_json::from_str(value.get()).ok()?;
        Uuid::parse_str(address.strip_prefix("/contacts(")?.strip_suffix(')')?).ok()
    })
}

fn tell_all(rows: Vec<Waiting>, error: &Arc<Error>) {
    rows.into_iter().for_each(|row| tell(row, Err(error.clone())));
}

/// Whoever waits for it may be gone.
fn tell(row: Waiting, written: Written) {
    let _ = row.answer.send(written);
}

impl std::fmt::Debug for Gather {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gather").field("tables", &self.tables.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on ends there")]

    use super::*;

    #[test]
    fn the_contact_of_a_row_is_where_it_is_bound() {
        let of = |row: serde_json::Value| contact_of(&serde_json::value::to_raw_value(&row).unwrap());
        let id = Uuid::from_u128(7);
        let bound = serde_json::json!({
            "subject": "/contacts(00000000-0000-0000-0000-000000000001)",
            "regarding@odata.bind": format!("/contacts({id})"),
        });
        assert_eq!(of(bound), Some(id));
        assert_eq!(of(serde_json::json!({"subject": "\"x@odata.bind\"", "o@odata.bind": "/systemusers(1)"})), None);
    }
}
