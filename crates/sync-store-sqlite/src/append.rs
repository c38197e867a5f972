//! A page, its effects on the backlog and the read position, in one step.

use rusqlite::{CachedStatement, Connection, params};
use sync_core::traits::{Advance, AppendReport, Checkpoint, Draft, DraftBody, Lease, Page, Rejection};
use sync_core::{Acceptance, KeyState, PendingEntry, StoreError, Tally, accept};

use crate::error::{conflict, store_error};
use crate::number::Numbers;
use crate::outdated;
use crate::row::{DELETE, READY, digest, seq, signed, update_columns};
use crate::{lease, state};

pub(crate) fn append(
    connection: &Connection,
    lease: &Lease,
    page: Page,
    advance: Advance,
) -> Result<AppendReport, StoreError> {
    lease::check(connection, lease)?;
    let stream = state::stream_id(connection, &page.stream)?;
    let current = state::load(connection, stream)?;
    if current.as_ref().map_or(0, |checkpoint| checkpoint.version) != advance.expected_version {
        return Err(conflict());
    }
    let queued = current.as_ref().is_some_and(|checkpoint| checkpoint.totals.unsettled() > 0);
    let mut appending = Appending::new(connection, stream, &page, &advance, queued)?;
    for draft in page.drafts {
        let key = draft.key.to_bytes();
        appending.due_ms = 0;
        if page.refresh {
            let dropped = outdated::drop_of(connection, stream, &key, appending.plan)?;
            appending.tally.superseded += dropped.entries;
            appending.due_ms = dropped.due_ms;
        }
        appending.draft(&key, &draft)?;
        if let Some(generation) = page.mark_seen {
            mark_seen(connection, stream, &key, signed(generation))?;
        }
    }
    let tally = appending.finish()?;
    let mut totals = current.map(|checkpoint| checkpoint.totals).unwrap_or_default();
    totals += tally;
    let checkpoint = Checkpoint {
        generation: advance.generation,
        phase: advance.phase,
        position: Some(advance.position),
        version: advance.expected_version + 1,
        totals,
        at_ms: page.now_ms,
    };
    state::save(connection, stream, &checkpoint)?;
    Ok(AppendReport { checkpoint, tally })
}

/// Marks a key as met by a generation, wherever it stands.
pub(crate) fn mark_seen(connection: &Connection, stream: i64, key: &[u8], generation: i64) -> Result<(), StoreError> {
    for table in [
        "UPDATE idx SET seen = max(seen, ?3) WHERE stream = ?1 AND key = ?2",
        "UPDATE entry SET generation = max(generation, ?3) WHERE stream = ?1 AND key = ?2",
    ] {
        let mut statement = connection.prepare_cached(table).map_err(store_error)?;
        statement.execute(params![stream, key, generation]).map_err(store_error)?;
    }
    Ok(())
}

/// A page on its way into the tables, with the statements that every draft needs.
struct Appending<'c> {
    connection: &'c Connection,
    stream: i64,
    plan: i64,
    generation: i64,
    now_ms: i64,
    /// When a new entry of the present key is due; 0 for at once.
    due_ms: i64,
    /// Whether the stream has any dead letter: almost always not, and then none is looked up.
    dead: bool,
    /// Whether the stream has any unsettled entry: without one, a draft that writes nothing has nothing to undo.
    queued: bool,
    numbers: Numbers<'c>,
    known: CachedStatement<'c>,
    insert: CachedStatement<'c>,
    tally: Tally,
}

impl<'c> Appending<'c> {
    fn new(
        connection: &'c Connection,
        stream: i64,
        page: &Page,
        advance: &Advance,
        queued: bool,
    ) -> Result<Self, StoreError> {
        let mut dead =
            connection.prepare_cached("SELECT 1 FROM dead WHERE stream = ?1 LIMIT 1").map_err(store_error)?;
        Ok(Self {
            connection,
            stream,
            plan: signed(page.plan.0),
            generation: signed(advance.generation),
            now_ms: page.now_ms,
            due_ms: 0,
            dead: dead.exists([stream]).map_err(store_error)?,
            queued,
            numbers: Numbers::new(connection),
            known: connection
                .prepare_cached(
                    "SELECT NULL, bound, 0, digest FROM idx WHERE stream = ?1 AND key = ?2
                     UNION ALL
                     SELECT seq, state, verification, digest FROM entry WHERE stream = ?1 AND key = ?2",
                )
                .map_err(store_error)?,
            insert: connection
                .prepare_cached(
                    "INSERT INTO entry(seq, stream, key, kind, state, due_ms, attempt, fence, was_unknown, verification,
                       version, plan, generation, digest, insert_body, update_body, at_ms)
                     VALUES (?1, ?2, ?3, ?4, 0, ?12, 0, 0, 0, 0, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
                )
                .map_err(store_error)?,
            tally: Tally::default(),
        })
    }

    fn finish(self) -> Result<Tally, StoreError> {
        self.numbers.keep()?;
        Ok(self.tally)
    }

    fn draft(&mut self, key: &[u8], draft: &Draft) -> Result<(), StoreError> {
        self.tally.read += 1;
        if let DraftBody::Rejected(rejection) = &draft.body {
            return self.reject(key, rejection);
        }
        let writes_nothing = matches!(draft.body, DraftBody::Filtered | DraftBody::Ignored);
        let known = if writes_nothing && !self.queued { KeyState::default() } else { self.key_state(key)? };
        match accept(&known, &draft.body) {
            Acceptance::Append => {
                self.queued = true;
                let seq = self.numbers.next()?;
                self.insert(seq, key, draft)?;
                return self.close_later(key, seq);
            }
            Acceptance::Replace(seq) => {
                self.tally.superseded += 1;
                self.replace(signed(seq.0), draft, true)?;
                return self.close_later(key, signed(seq.0));
            }
            Acceptance::Refresh(seq) => {
                self.tally.unchanged += 1;
                self.replace(signed(seq.0), draft, false)?;
            }
            Acceptance::Cancel(seq) => {
                self.tally.superseded += 1;
                let mut statement =
                    self.connection.prepare_cached("DELETE FROM entry WHERE seq = ?1").map_err(store_error)?;
                statement.execute([signed(seq.0)]).map_err(store_error)?;
                self.nothing(&draft.body);
            }
            Acceptance::Unchanged => self.tally.unchanged += 1,
            Acceptance::Nothing | Acceptance::AsDrafted => self.nothing(&draft.body),
        }
        // The newest state of the record needs no entry of its own: what failed before it is of no interest any more.
        self.on_dead("DELETE FROM dead WHERE stream = ?1 AND key = ?2 AND ?3 IS NOT NULL", key, 0)
    }

    /// Counts a draft that leads to no entry.
    fn nothing(&mut self, body: &DraftBody) {
        match body {
            DraftBody::Filtered | DraftBody::DeleteFiltered => self.tally.filtered += 1,
            _ => self.tally.ignored += 1,
        }
    }

    /// The dead letter of a key, where there is one, is closed by the end of this entry.
    fn close_later(&self, key: &[u8], seq: i64) -> Result<(), StoreError> {
        self.on_dead("UPDATE dead SET closed_by = ?3 WHERE stream = ?1 AND key = ?2", key, seq)
    }

    fn on_dead(&self, statement: &str, key: &[u8], seq: i64) -> Result<(), StoreError> {
        if !self.dead {
            return Ok(());
        }
        let mut statement = self.connection.prepare_cached(statement).map_err(store_error)?;
        statement.execute(params![self.stream, key, seq]).map(drop).map_err(store_error)
    }

    fn key_state(&mut self, key: &[u8]) -> Result<KeyState, StoreError> {
        let mut found = KeyState::default();
        let mut rows = self.known.query(params![self.stream, key]).map_err(store_error)?;
        while let Some(row) = rows.next().map_err(store_error)? {
            let number = |column: usize| row.get::<_, i64>(column).map_err(store_error);
            let digest = digest(row.get(3).map_err(store_error)?)?;
            let Some(at) = row.get::<_, Option<i64>>(0).map_err(store_error)? else {
                found.bound = number(1)? != 0;
                found.written = digest;
                found.in_doubt |= digest.is_none();
                continue;
            };
            let ready = number(1)? == READY;
            found.in_doubt |= !ready;
            let entry = PendingEntry { seq: seq(at), digest, replaceable: ready && number(2)? == 0 };
            if found.newest.is_none_or(|newest: PendingEntry| newest.seq < entry.seq) {
                found.newest = Some(entry);
            }
        }
        Ok(found)
    }

    fn insert(&mut self, seq: i64, key: &[u8], draft: &Draft) -> Result<(), StoreError> {
        let body = Columns::of(&draft.body);
        self.insert
            .execute(params![
                seq,
                self.stream,
                key,
                body.kind,
                draft.version,
                self.plan,
                self.generation,
                body.digest,
                body.insert,
                body.update.as_deref(),
                self.now_ms,
                self.due_ms
            ])
            .map(drop)
            .map_err(store_error)
    }

    /// Gives an entry the draft's content; a `new` state starts without the past of the old one.
    fn replace(&self, seq: i64, draft: &Draft, new: bool) -> Result<(), StoreError> {
        let body = Columns::of(&draft.body);
        let mut statement = self
            .connection
            .prepare_cached(
                "UPDATE entry SET kind = ?2, version = ?3, plan = ?4, generation = ?5, digest = ?6, insert_body = ?7,
                   update_body = ?8, attempt = iif(?9, 0, attempt), due_ms = iif(?9, 0, due_ms)
                 WHERE seq = ?1",
            )
            .map_err(store_error)?;
        statement
            .execute(params![
                seq,
                body.kind,
                draft.version,
                self.plan,
                self.generation,
                body.digest,
                body.insert,
                body.update.as_deref(),
                new
            ])
            .map(drop)
            .map_err(store_error)
    }

    fn reject(&mut self, key: &[u8], rejection: &Rejection) -> Result<(), StoreError> {
        self.tally.dead += 1;
        self.dead = true;
        let id = self.numbers.next()?;
        let mut statement = self
            .connection
            .prepare_cached(
                "INSERT OR REPLACE INTO dead(id, stream, key, code, field, explanation, attempts, at_ms)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, ?7)",
            )
            .map_err(store_error)?;
        statement
            .execute(params![id, self.stream, key, rejection.code, rejection.field, rejection.explanation, self.now_ms])
            .map(drop)
            .map_err(store_error)
    }
}

/// The columns of a draft's body.
struct Columns<'b> {
    kind: i64,
    digest: Option<&'b [u8]>,
    insert: Option<&'b [u8]>,
    update: Option<std::borrow::Cow<'b, [u8]>>,
}

impl<'b> Columns<'b> {
    fn of(body: &'b DraftBody) -> Self {
        match body {
            DraftBody::Upsert { insert, update, digest } => {
                let (kind, update) = update_columns(update);
                Self { kind, digest: Some(&digest.0), insert: Some(&insert.0), update: Some(update) }
            }
            _ => Self { kind: DELETE, digest: None, insert: None, update: None },
        }
    }
}
