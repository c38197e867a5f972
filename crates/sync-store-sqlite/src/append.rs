//! A page, its effects on the backlog and the read position, in one step.

use rusqlite::{Connection, OptionalExtension, params};
use sync_core::traits::{Advance, AppendReport, Checkpoint, Draft, DraftBody, Lease, Page, Rejection};
use sync_core::{Acceptance, KeyState, PendingEntry, Seq, StoreError, Tally, accept};

use crate::error::{conflict, store_error};
use crate::row::{DELETE, IN_FLIGHT, READY, UNKNOWN, UPSERT, digest, seq, signed};
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
    let mut appending =
        Appending { connection, stream, plan: signed(page.plan.0), now_ms: page.now_ms, tally: Tally::default() };
    for draft in page.drafts {
        let key = draft.key.to_bytes();
        if let Some(generation) = page.mark_seen {
            appending.mark_seen(&key, signed(generation))?;
        }
        appending.draft(&key, draft)?;
    }
    let tally = appending.tally;
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

struct Appending<'c> {
    connection: &'c Connection,
    stream: i64,
    plan: i64,
    now_ms: i64,
    tally: Tally,
}

impl Appending<'_> {
    fn draft(&mut self, key: &[u8], draft: Draft) -> Result<(), StoreError> {
        self.tally.read += 1;
        let acceptance = match &draft.body {
            DraftBody::Filtered | DraftBody::Ignored | DraftBody::Rejected(_) => Acceptance::AsDrafted,
            body => accept(&self.key_state(key)?, body),
        };
        match acceptance {
            Acceptance::Append => self.insert(key, &draft)?,
            Acceptance::Replace(seq) => {
                self.tally.superseded += 1;
                self.replace(seq, &draft)?;
            }
            Acceptance::Cancel(seq) => {
                self.tally.superseded += 1;
                let mut statement =
                    self.connection.prepare_cached("DELETE FROM entry WHERE seq = ?1").map_err(store_error)?;
                statement.execute([signed(seq.0)]).map_err(store_error)?;
                self.nothing(&draft.body);
            }
            Acceptance::Unchanged => self.tally.unchanged += 1,
            Acceptance::Nothing => self.nothing(&draft.body),
            Acceptance::AsDrafted => match &draft.body {
                DraftBody::Rejected(rejection) => self.reject(key, rejection)?,
                body => self.nothing(body),
            },
        }
        Ok(())
    }

    /// Counts a draft that leads to no entry.
    fn nothing(&mut self, body: &DraftBody) {
        match body {
            DraftBody::Filtered | DraftBody::DeleteFiltered => self.tally.filtered += 1,
            _ => self.tally.ignored += 1,
        }
    }

    fn key_state(&self, key: &[u8]) -> Result<KeyState, StoreError> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT digest FROM idx WHERE stream = ?1 AND key = ?2 AND digest IS NOT NULL")
            .map_err(store_error)?;
        let written: Option<Vec<u8>> =
            statement.query_row(params![self.stream, key], |row| row.get(0)).optional().map_err(store_error)?;
        let mut state = KeyState { bound: written.is_some(), written: digest(written)?, ..KeyState::default() };
        let mut statement = self
            .connection
            .prepare_cached("SELECT seq, state, digest FROM entry WHERE stream = ?1 AND key = ?2 ORDER BY seq")
            .map_err(store_error)?;
        let mut rows = statement.query(params![self.stream, key]).map_err(store_error)?;
        while let Some(row) = rows.next().map_err(store_error)? {
            let phase: i64 = row.get(1).map_err(store_error)?;
            state.in_doubt |= phase == IN_FLIGHT || phase == UNKNOWN;
            state.newest = Some(PendingEntry {
                seq: seq(row.get(0).map_err(store_error)?),
                digest: digest(row.get(2).map_err(store_error)?)?,
                replaceable: phase == READY,
            });
        }
        Ok(state)
    }

    fn insert(&self, key: &[u8], draft: &Draft) -> Result<(), StoreError> {
        let (kind, digest, insert, update) = columns(&draft.body);
        let mut statement = self
            .connection
            .prepare_cached(
                "INSERT INTO entry(stream, key, kind, state, due_ms, attempt, fence, was_unknown, verification, version,
                   plan, digest, insert_body, update_body, at_ms)
                 VALUES (?1, ?2, ?3, 0, 0, 0, 0, 0, 0, ?4, ?5, ?6, ?7, ?8, ?9)",
            )
            .map_err(store_error)?;
        statement
            .execute(params![self.stream, key, kind, draft.version, self.plan, digest, insert, update, self.now_ms])
            .map(drop)
            .map_err(store_error)
    }

    fn replace(&self, seq: Seq, draft: &Draft) -> Result<(), StoreError> {
        let (kind, digest, insert, update) = columns(&draft.body);
        let mut statement = self
            .connection
            .prepare_cached(
                "UPDATE entry SET kind = ?2, version = ?3, plan = ?4, digest = ?5, insert_body = ?6, update_body = ?7
                 WHERE seq = ?1",
            )
            .map_err(store_error)?;
        statement
            .execute(params![signed(seq.0), kind, draft.version, self.plan, digest, insert, update])
            .map(drop)
            .map_err(store_error)
    }

    fn reject(&mut self, key: &[u8], rejection: &Rejection) -> Result<(), StoreError> {
        self.tally.dead += 1;
        let mut statement = self
            .connection
            .prepare_cached(
                "INSERT OR REPLACE INTO dead(stream, key, code, field, explanation, attempts, at_ms)
                 VALUES (?1, ?2, ?3, ?4, ?5, 0, ?6)",
            )
            .map_err(store_error)?;
        statement
            .execute(params![self.stream, key, rejection.code, rejection.field, rejection.explanation, self.now_ms])
            .map(drop)
            .map_err(store_error)
    }

    fn mark_seen(&self, key: &[u8], generation: i64) -> Result<(), StoreError> {
        let mut statement = self
            .connection
            .prepare_cached("UPDATE idx SET seen = max(seen, ?3) WHERE stream = ?1 AND key = ?2")
            .map_err(store_error)?;
        statement.execute(params![self.stream, key, generation]).map(drop).map_err(store_error)
    }
}

type BodyColumns<'b> = (i64, Option<&'b [u8]>, Option<&'b [u8]>, Option<&'b [u8]>);

fn columns(body: &DraftBody) -> BodyColumns<'_> {
    match body {
        DraftBody::Upsert { insert, update, digest } => (UPSERT, Some(&digest.0), Some(&insert.0), Some(&update.0)),
        _ => (DELETE, None, None, None),
    }
}
