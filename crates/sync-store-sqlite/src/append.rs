//! A page, its effects on the backlog and the read position, in one step.

use rusqlite::{CachedStatement, params};
use sync_core::traits::{Advance, AppendReport, Checkpoint, Draft, DraftBody, Lease, Page};
use sync_core::{Acceptance, KeyState, PendingEntry, StoreError, Tally, accept};

use crate::database::{Database, get};
use crate::error::{conflict, store_error};
use crate::number::Numbers;
use crate::record_index::{FIND, index_row};
use crate::row::{Columns, DELETE, READY, digest, flag, seq, signed};
use crate::{dead_letters, lease, outdated, state, sum, waits};

pub(crate) fn append(db: &Database, lease: &Lease, page: Page, advance: Advance) -> Result<AppendReport, StoreError> {
    lease::check(db, lease)?;
    let stream = state::stream_id(db, &page.stream)?;
    let current = state::load(db, stream)?;
    if current.as_ref().map_or(0, |checkpoint| checkpoint.version) != advance.expected_version {
        return Err(conflict());
    }
    let mut appending = Appending::new(db, stream, &page, &advance)?;
    for draft in &page.drafts {
        let key = draft.key.to_bytes();
        appending.due_ms = 0;
        if page.refresh {
            let dropped = outdated::drop_of(db, stream, &key, appending.plan)?;
            appending.tally.superseded += dropped.entries;
            appending.due_ms = dropped.due_ms;
            appending.indexed |= dropped.doubt;
        }
        appending.draft(&key, draft)?;
        if let Some(generation) = page.mark_seen {
            mark_seen(db, stream, &key, signed(generation))?;
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
    state::save(db, stream, &checkpoint)?;
    Ok(AppendReport { checkpoint, tally })
}

/// Marks a key as met by a generation, wherever it stands.
pub(crate) fn mark_seen(db: &Database, stream: i64, key: &[u8], generation: i64) -> Result<(), StoreError> {
    for sql in [
        "UPDATE idx SET seen = ?3 WHERE stream = ?1 AND key = ?2 AND seen < ?3",
        "UPDATE entry SET generation = ?3 WHERE stream = ?1 AND key = ?2 AND generation < ?3",
    ] {
        db.execute(sql, params![stream, key, generation])?;
    }
    Ok(())
}

const QUEUED: &str = "SELECT seq, state, verification, digest, version FROM entry WHERE stream = ?1 AND key = ?2";

/// A page on its way into the tables, with the statements that every draft needs.
struct Appending<'d> {
    db: &'d Database,
    stream: i64,
    plan: i64,
    class: i64,
    replay: bool,
    /// Whether deletes are held.
    hold: bool,
    generation: i64,
    now_ms: i64,
    /// When a new entry of the present key is due; 0 for at once.
    due_ms: i64,
    /// Whether the stream has any dead letter: almost always not, and then none is looked up.
    dead: bool,
    /// Whether the stream has any unsettled entry, and any row in the index: during a first load, one of them is not.
    queued: bool,
    indexed: bool,
    /// Whether anything waits for a parent.
    waits: bool,
    numbers: Numbers<'d>,
    in_index: CachedStatement<'d>,
    in_queue: CachedStatement<'d>,
    insert: CachedStatement<'d>,
    tally: Tally,
}

impl<'d> Appending<'d> {
    fn new(db: &'d Database, stream: i64, page: &Page, advance: &Advance) -> Result<Self, StoreError> {
        Ok(Self {
            db,
            stream,
            plan: signed(page.plan.0),
            class: page.class.rank().into(),
            replay: page.replay,
            hold: page.hold_deletes,
            generation: signed(advance.generation),
            now_ms: page.now_ms,
            due_ms: 0,
            dead: db.exists("SELECT 1 FROM dead WHERE stream = ?1 LIMIT 1", [stream])?,
            queued: db.exists("SELECT 1 FROM entry WHERE stream = ?1 LIMIT 1", [stream])?,
            indexed: db.exists("SELECT 1 FROM idx WHERE stream = ?1 LIMIT 1", [stream])?,
            waits: db.exists("SELECT 1 FROM waits LIMIT 1", [])?,
            numbers: Numbers::new(db),
            in_index: db.statement(FIND)?,
            in_queue: db.statement(QUEUED)?,
            insert: db.statement(
                "INSERT INTO entry(seq, stream, key, kind, state, due_ms, blocked, waiting, attempt, holder, was_unknown,
                   verification, class, replay, version, plan, generation, at_ms, born, sum, digest, insert_body,
                   update_body)
                 VALUES (?1, ?2, ?3, ?4, 0, ?5, ?6, ?7, 0, 0, 0, 0, ?8, ?9, ?10, ?11, ?12, ?13, ?1, ?14, ?15, ?16, ?17)",
            )?,
            tally: Tally::default(),
        })
    }

    fn finish(self) -> Result<Tally, StoreError> {
        self.numbers.keep()?;
        Ok(self.tally)
    }

    fn draft(&mut self, key: &[u8], draft: &Draft) -> Result<(), StoreError> {
        self.tally.read += 1;
        let known = self.key_state(key)?;
        let acceptance = accept(&known, &draft.body, draft.version, self.replay);
        if acceptance == Acceptance::Stale {
            self.tally.superseded += 1;
            return Ok(());
        }
        if let DraftBody::Rejected(rejection) = &draft.body {
            self.tally.dead += 1;
            self.dead = true;
            let letter = self.numbers.next()?;
            return dead_letters::reject(self.db, letter, self.stream, key, rejection, draft.version, self.now_ms);
        }
        match acceptance {
            Acceptance::Append => {
                let seq = self.numbers.next()?;
                self.insert(seq, key, draft, &known)?;
                self.queued = true;
                return self.close_later(key, seq);
            }
            Acceptance::Replace(seq) => {
                self.tally.superseded += 1;
                let seq = signed(seq.0);
                self.replace(seq, key, draft, &known)?;
                return self.close_later(key, seq);
            }
            Acceptance::Refresh(seq) => {
                self.tally.unchanged += 1;
                self.refresh(signed(seq.0), key, draft)?;
            }
            Acceptance::Cancel(seq) => {
                self.tally.superseded += 1;
                let seq = signed(seq.0);
                self.db.execute("DELETE FROM entry WHERE seq = ?1", [seq])?;
                self.forget_parents(seq)?;
                waits::unblock(self.db, self.stream, key)?;
                self.nothing(&draft.body);
            }
            Acceptance::Unchanged => {
                self.tally.unchanged += 1;
                self.met_unchanged(key, &known, draft.version)?;
            }
            Acceptance::Nothing | Acceptance::AsDrafted | Acceptance::Stale => {
                self.nothing(&draft.body);
                self.met_unchanged(key, &known, draft.version)?;
            }
        }
        // The newest state of the record needs no entry of its own: what failed before it is of no interest any more.
        if self.dead { dead_letters::remove(self.db, self.stream, key) } else { Ok(()) }
    }

    /// Counts a draft that leads to no entry.
    fn nothing(&mut self, body: &DraftBody) {
        match body {
            DraftBody::Filtered | DraftBody::DeleteFiltered => self.tally.filtered += 1,
            _ => self.tally.ignored += 1,
        }
    }

    /// A newer version of the row needs no write while nothing is on its way: it need not be looked at again.
    fn met_unchanged(&self, key: &[u8], known: &KeyState, version: Option<i64>) -> Result<(), StoreError> {
        // Where there are dead letters, the version known may be one of theirs.
        if known.newest.is_some()
            || known.written.is_none()
            || version.is_none()
            || (version <= known.version && !self.dead)
        {
            return Ok(());
        }
        let digest = known.written.as_ref().map(|digest| &digest.0[..]);
        let sum = sum::of_index(self.stream, key, known.bound, digest, version);
        let sql = "UPDATE idx SET version = ?3, sum = ?4 WHERE stream = ?1 AND key = ?2 AND ifnull(version < ?3, 1)";
        self.db.execute(sql, params![self.stream, key, version, sum]).map(drop)
    }

    fn close_later(&self, key: &[u8], seq: i64) -> Result<(), StoreError> {
        if self.dead { dead_letters::close_later(self.db, self.stream, key, seq) } else { Ok(()) }
    }

    fn forget_parents(&self, seq: i64) -> Result<(), StoreError> {
        if self.waits { waits::forget(self.db, seq) } else { Ok(()) }
    }

    fn key_state(&mut self, key: &[u8]) -> Result<KeyState, StoreError> {
        let mut found = KeyState::default();
        if self.indexed {
            let mut rows = self.in_index.query(params![self.stream, key]).map_err(store_error)?;
            if let Some(row) = rows.next().map_err(store_error)? {
                let known = index_row(row, 0, self.stream, key)?;
                found.bound = known.bound;
                found.written = known.digest;
                found.in_doubt = known.digest.is_none();
                found.version = known.version;
            }
        }
        if self.queued {
            let mut rows = self.in_queue.query(params![self.stream, key]).map_err(store_error)?;
            while let Some(row) = rows.next().map_err(store_error)? {
                let ready = get::<i64>(row, 1)? == READY;
                found.in_doubt |= !ready;
                found.version = found.version.max(get(row, 4)?);
                let replaceable = ready && !flag(row, 2)?;
                let entry = PendingEntry { seq: seq(get(row, 0)?), digest: digest(get(row, 3)?)?, replaceable };
                if found.newest.is_none_or(|newest: PendingEntry| newest.seq < entry.seq) {
                    found.newest = Some(entry);
                }
            }
        }
        if self.dead {
            // A state that could not be written is known all the same: an older one does not take its place.
            let mut statement = self.db.statement("SELECT version FROM dead WHERE stream = ?1 AND key = ?2")?;
            let mut rows = statement.query(params![self.stream, key]).map_err(store_error)?;
            if let Some(row) = rows.next().map_err(store_error)? {
                found.version = found.version.max(get(row, 0)?);
            }
        }
        Ok(found)
    }

    /// What the entry that a draft becomes has to wait for. An upsert: its parents, which are written down. A delete: its number, if
    /// it is held.
    fn keep_waiting(&mut self, seq: i64, key: &[u8], draft: &Draft) -> Result<i64, StoreError> {
        if !matches!(draft.body, DraftBody::Upsert { .. }) {
            return if self.hold { self.numbers.next() } else { Ok(0) };
        }
        if draft.parents.is_empty() {
            return Ok(0);
        }
        let absent = waits::absent(self.db, &draft.parents, (self.stream, key))?;
        self.waits |= !absent.is_empty();
        waits::keep(self.db, seq, &absent)?;
        Ok(i64::try_from(absent.len()).unwrap_or(i64::MAX))
    }

    fn insert(&mut self, seq: i64, key: &[u8], draft: &Draft, known: &KeyState) -> Result<(), StoreError> {
        let waiting = self.keep_waiting(seq, key, draft)?;
        let body = Columns::of(self.db, self.stream, key, seq, self.plan, draft)?;
        self.insert
            .execute(params![
                seq,
                self.stream,
                key,
                body.kind,
                self.due_ms,
                known.newest.is_some(),
                waiting,
                self.class,
                self.replay,
                draft.version,
                self.plan,
                self.generation,
                self.now_ms,
                body.sum,
                body.digest,
                body.insert,
                body.update
            ])
            .map(drop)
            .map_err(store_error)
    }

    /// Gives an entry a newer state, which starts without the past of the old one. What a more urgent state asked for is not
    /// put off, and what an operator asked for is done. A settle time is not cut short: where an attempt may still take effect,
    /// the newer state waits as long.
    fn replace(&mut self, seq: i64, key: &[u8], draft: &Draft, known: &KeyState) -> Result<(), StoreError> {
        self.forget_parents(seq)?;
        let waiting = self.keep_waiting(seq, key, draft)?;
        let body = Columns::of(self.db, self.stream, key, seq, self.plan, draft)?;
        self.db
            .execute(
                "UPDATE entry SET kind = ?2, due_ms = due_ms * ?14, waiting = ?3, attempt = 0, class = min(class, ?4),
                   replay = max(?5, replay * ?6), version = ?7, plan = ?8, generation = ?9, born = ?1, sum = ?10,
                   digest = ?11, insert_body = ?12, update_body = ?13
                 WHERE seq = ?1",
                params![
                    seq,
                    body.kind,
                    waiting,
                    self.class,
                    self.replay,
                    body.kind != DELETE,
                    draft.version,
                    self.plan,
                    self.generation,
                    body.sum,
                    body.digest,
                    body.insert,
                    body.update,
                    known.in_doubt
                ],
            )
            .map(drop)
    }

    /// Gives an entry the draft's content; it stays where it is otherwise.
    fn refresh(&self, seq: i64, key: &[u8], draft: &Draft) -> Result<(), StoreError> {
        let body = Columns::of(self.db, self.stream, key, seq, self.plan, draft)?;
        self.db
            .execute(
                "UPDATE entry SET kind = ?2, class = min(class, ?3), replay = max(replay, ?4), version = ?5, plan = ?6,
                   generation = ?7, born = ?1, sum = ?8, digest = ?9, insert_body = ?10, update_body = ?11
                 WHERE seq = ?1",
                params![
                    seq,
                    body.kind,
                    self.class,
                    self.replay,
                    draft.version,
                    self.plan,
                    self.generation,
                    body.sum,
                    body.digest,
                    body.insert,
                    body.update
                ],
            )
            .map(drop)
    }
}
