//! Change tracking (learn.microsoft.com, "Use change tracking to synchronize data with external systems").

use super::cursor::{Cursor, DeltaToken, Walk};
use super::error::{Refusal, refusal};
use super::page::Writer;
use super::query::{Options, Prefer};
use super::read::{Answer, BEFORE_ALL, Frame, Reader, quote, shape, write_rows};
use super::row;
use super::schema::Table;
use super::store::{Mask, Rows};
use crate::faults::FaultKind;

impl Reader<'_> {
    /// Tracked requests: the first walk, changes since a token, and further pages of both.
    pub(super) fn tracked(
        &self,
        table: &Table,
        query: &str,
        options: &Options,
        prefer: &Prefer,
        cursor: Option<Cursor>,
    ) -> Result<Answer, Refusal> {
        self.tracking_allowed(table, options)?;
        let select = options.select(table)?;
        let size = self.page_size(prefer);
        let number = cursor.as_ref().map_or(1, |c| c.page);
        let rows = self.store.read(table);
        let writer = Writer::new(self.store, table, select.as_deref(), prefer);
        let context = format!("{}$metadata#{}", self.base, shape(table, select.as_deref()));
        let (Picked { mut ids, gone }, next, until, context) = match cursor.map(|c| c.walk) {
            walk @ (None | Some(Walk::After { .. })) if options.get("$deltatoken").is_none() => {
                let (after, since) = match walk {
                    Some(Walk::After { last, since }) => (Some(last), since),
                    _ => (None, None),
                };
                let since = since.unwrap_or_else(|| self.store.version());
                // The version at the start of the walk: what is written during it comes again, and nothing is lost. Or the
                // version of now: what was written meanwhile to the part that was read already is nowhere.
                let until = if self.switches.token_covers_paging { since } else { self.store.version() };
                if self.injects(FaultKind::EmptyPage) {
                    let next = Walk::After { last: after.unwrap_or(BEFORE_ALL), since: Some(since) };
                    (Picked::default(), Some(next), until, context)
                } else {
                    let ids = first_walk(&rows, after, size);
                    let last = if ids.len() > size { ids.get(size - 1).copied() } else { None };
                    let next = last.map(|last| Walk::After { last, since: Some(since) });
                    let ids = ids.into_iter().take(size).collect();
                    (Picked { ids, gone: Vec::new() }, next, until, context)
                }
            }
            walk => {
                let (from, until, after, gone) = match walk {
                    Some(Walk::Changes { from, until, after, gone }) => (from, until, after, gone),
                    _ => {
                        let token = self.delta_token(table, &rows, options)?;
                        let from = if self.switches.resend_duplicates {
                            previous(&rows, token.version)
                        } else {
                            token.version
                        };
                        (from, self.store.version(), from, false)
                    }
                };
                let wanted = (!self.switches.unselected_changes).then(|| writer.columns());
                let (mut picked, next) = if self.injects(FaultKind::EmptyPage) {
                    (Picked::default(), Some(Walk::Changes { from, until, after, gone }))
                } else {
                    delta_page(&rows, (from, until, after, gone), size, wanted.as_ref())
                };
                if self.injects(FaultKind::UnseenDelete) {
                    picked.gone.push(uuid::Uuid::new_v4().as_u128());
                }
                (picked, next, until, format!("{context}/$delta"))
            }
        };
        let mut frame = Frame { context, ..Frame::default() };
        if options.count()? && number == 1 {
            frame.count = Some(rows.by_id.len().min(super::read::LARGEST_PAGE));
        }
        match next {
            Some(walk) => {
                let token =
                    Cursor { page: number + 1, walk, made: self.now }.encode(&table.set, self.switches.istracking);
                frame.next_link = Some(self.link(table, query, options, &format!("$skiptoken={token}")));
            }
            None if self.switches.annotations_hide_delta_link && prefer.annotations.is_some() => {}
            None if self.switches.delta_without_link && frame.context.ends_with("/$delta") => {}
            None => {
                let token = DeltaToken { version: until, seconds: self.now }.encode();
                frame.delta_link = Some(self.link(table, query, options, &format!("$deltatoken={token}")));
            }
        }
        if self.injects(FaultKind::NoLink) {
            (frame.next_link, frame.delta_link) = (None, None);
        }
        self.resend(&mut ids);
        let count = ids.len() + gone.len();
        let mut body = write_rows(&writer, table, rows, &ids);
        let context = quote(&format!("{}$metadata#{}/$deletedEntity", self.base, table.set));
        for id in gone {
            if !body.is_empty() {
                body.push(b',');
            }
            let id = row::guid(id);
            body.extend_from_slice(
                format!("{{\"@odata.context\":{context},\"id\":\"{id}\",\"reason\":\"deleted\"}}").as_bytes(),
            );
        }
        frame.omit_value = body.is_empty() && frame.context.ends_with("/$delta") && !self.switches.empty_delta_value;
        let mut answer = Answer { status: 200, body: frame.close(&body), rows: count as u64, ..Answer::default() };
        answer.headers.extend(prefer.applied(true).map(|applied| ("preference-applied", applied)));
        Ok(answer)
    }

    /// Table tracked, no option that tracking excludes.
    fn tracking_allowed(&self, table: &Table, options: &Options) -> Result<(), Refusal> {
        if !table.change_tracking {
            let message = format!("Entity {} isn't enabled for change tracking.", table.name);
            return Err(refusal(self.switches.tracking_off_status, "0x80072491", message));
        }
        let mut excluded = vec!["$filter", "$orderby", "$expand", "$top", "$apply"];
        if !self.switches.count_with_tracking {
            excluded.push("$count");
        }
        for name in excluded {
            if options.get(name).is_some() {
                let message =
                    format!("The \"{name}\" query parameter isn't supported when Change Tracking is enabled.");
                return Err(refusal(
                    self.switches.tracking_option_status,
                    self.switches.tracking_option_code.clone(),
                    message,
                ));
            }
        }
        Ok(())
    }

    /// The token of a query, when it is one of this service and has not expired.
    fn delta_token(&self, table: &Table, rows: &Rows, options: &Options) -> Result<DeltaToken, Refusal> {
        let malformed = || refusal(self.switches.malformed_token_status, "0x80060888", "The delta token is not valid.");
        let token = options.get("$deltatoken").and_then(DeltaToken::decode).ok_or_else(malformed)?;
        if token.version > self.store.version() {
            return Err(malformed());
        }
        let lifetime = i64::from(self.switches.expire_change_tracking_days) * 86_400;
        let since =
            if self.switches.strict_token_age { Some(token.seconds) } else { unseen(table, rows, token.version) };
        let expired = token.version < self.store.defined(table)
            || since.is_some_and(|since| self.now.saturating_sub(since) > lifetime);
        if expired || self.injects(FaultKind::ExpireDelta) {
            let message = "Version stamp associated with the client has expired. Please perform a full sync.";
            return Err(refusal(self.switches.expired_token_status, "0x80044352", message));
        }
        Ok(token)
    }

    /// Number of changes since the token of a query.
    pub(super) fn changes_since(&self, table: &Table, options: &Options) -> Result<usize, Refusal> {
        self.tracking_allowed(table, options)?;
        let rows = self.store.read(table);
        let token = self.delta_token(table, &rows, options)?;
        Ok(rows.by_version.range(token.version + 1..).count() + rows.tombstones.range(token.version + 1..).count())
    }
}

/// What a page shows: live rows, then deleted ones.
#[derive(Default)]
struct Picked {
    ids: Vec<u128>,
    gone: Vec<u128>,
}

fn delta_page(
    rows: &Rows,
    (from, until, after, gone): (i64, i64, i64, bool),
    size: usize,
    wanted: Option<&Mask>,
) -> (Picked, Option<Walk>) {
    let mut picked = Picked::default();
    let mut last = after;
    if !gone {
        for (version, id) in rows.by_version.range(after + 1..).take_while(|(version, _)| **version <= until) {
            if picked.ids.len() == size {
                return (picked, Some(Walk::Changes { from, until, after: last, gone: false }));
            }
            if wanted.is_none_or(|columns| rows.changed_since(*id, from, columns)) {
                picked.ids.push(*id);
            }
            last = *version;
        }
    }
    let mut last = if gone { after } else { from };
    for (version, tombstone) in rows.tombstones.range(last + 1..).take_while(|(version, _)| **version <= until) {
        if picked.ids.len() + picked.gone.len() == size {
            return (picked, Some(Walk::Changes { from, until, after: last, gone: true }));
        }
        picked.gone.push(tombstone.id);
        last = *version;
    }
    (picked, None)
}

/// When the oldest change happened that a token has not seen.
fn unseen(table: &Table, rows: &Rows, version: i64) -> Option<i64> {
    let gone = rows.tombstones.range(version + 1..).map(|(_, tombstone)| tombstone.at).next();
    let changed = rows.by_version.range(version + 1..).next().and_then(|(_, id)| {
        let modified = table.column("modifiedon")?;
        super::value::date_time(&row::text(rows.by_id.get(id)?.get(&table.columns, modified))?)
    });
    gone.into_iter().chain(changed).min()
}

/// The version before the newest row at or before a version.
fn previous(rows: &Rows, version: i64) -> i64 {
    rows.by_version.range(..=version).next_back().map_or(version, |(newest, _)| newest - 1)
}

/// The ids of a page and, where there is more, one beyond it.
fn first_walk(rows: &Rows, after: Option<u128>, size: usize) -> Vec<u128> {
    let from = after.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
    rows.by_id.range((from, std::ops::Bound::Unbounded)).take(size.saturating_add(1)).map(|(id, _)| *id).collect()
}
