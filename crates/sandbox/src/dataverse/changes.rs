//! Change tracking (learn.microsoft.com, "Use change tracking to synchronize data with external systems").

use super::cursor::{Cursor, DeltaToken, Walk};
use super::error::{Refusal, refusal};
use super::page::Writer;
use super::query::{Options, Prefer};
use super::read::{Answer, Frame, Reader, quote, shape, write_rows};
use super::row;
use super::schema::Table;
use super::store::Rows;

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
        let (body, count, next, until, context) = match cursor.map(|c| c.walk) {
            walk @ (None | Some(Walk::After { .. })) if options.get("$deltatoken").is_none() => {
                let (after, since) = match walk {
                    Some(Walk::After { last, since }) => (Some(last), since),
                    _ => (None, None),
                };
                // The version at the start of the walk: what is written during it comes again, and nothing is lost.
                let since = since.unwrap_or_else(|| self.store.version());
                let (body, count, last) = first_walk(&writer, table, &rows, after, size);
                let next = last.map(|last| Walk::After { last, since: Some(since) });
                (body, count, next, since, context)
            }
            walk => {
                let (from, until, after, gone) = match walk {
                    Some(Walk::Changes { from, until, after, gone }) => (from, until, after, gone),
                    _ => {
                        let token = self.delta_token(options)?;
                        let from = if self.switches.resend_duplicates {
                            previous(&rows, token.version)
                        } else {
                            token.version
                        };
                        (from, self.store.version(), from, false)
                    }
                };
                let (body, count, next) = self.delta_page(&writer, table, &rows, (from, until, after, gone), size);
                (body, count, next, until, format!("{context}/$delta"))
            }
        };
        let mut frame = Frame { context, ..Frame::default() };
        if options.count()? && number == 1 {
            frame.count = Some(rows.by_id.len().min(super::read::LARGEST_PAGE));
        }
        match next {
            Some(walk) => {
                let token = Cursor { page: number + 1, walk }.encode(&table.set, self.switches.istracking);
                frame.next_link = Some(self.link(table, query, options, &format!("$skiptoken={token}")));
            }
            None if self.switches.annotations_hide_delta_link && prefer.annotations.is_some() => {}
            None => {
                let token = DeltaToken { version: until, seconds: self.now }.encode();
                frame.delta_link = Some(self.link(table, query, options, &format!("$deltatoken={token}")));
            }
        }
        frame.omit_value = body.is_empty() && frame.context.ends_with("/$delta") && !self.switches.empty_delta_value;
        let mut answer = Answer { status: 200, body: frame.close(&body), rows: count, ..Answer::default() };
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
                return Err(refusal(self.switches.tracking_option_status, "0x80060888", message));
            }
        }
        Ok(())
    }

    fn delta_token(&self, options: &Options) -> Result<DeltaToken, Refusal> {
        let malformed = || refusal(self.switches.malformed_token_status, "0x80060888", "The delta token is not valid.");
        let token = options.get("$deltatoken").and_then(DeltaToken::decode).ok_or_else(malformed)?;
        if token.version > self.store.version() {
            return Err(malformed());
        }
        let lifetime = i64::from(self.switches.expire_change_tracking_days) * 86_400;
        if self.expire_delta || self.now.saturating_sub(token.seconds) > lifetime {
            let message = "Version stamp associated with the client has expired. Please perform a full sync.";
            return Err(refusal(self.switches.expired_token_status, "0x80044352", message));
        }
        Ok(token)
    }

    /// Number of changes since the token of a query.
    pub(super) fn changes_since(&self, table: &Table, options: &Options) -> Result<usize, Refusal> {
        self.tracking_allowed(table, options)?;
        let token = self.delta_token(options)?;
        let rows = self.store.read(table);
        Ok(rows.by_version.range(token.version + 1..).count() + rows.tombstones.range(token.version + 1..).count())
    }

    fn delta_page(
        &self,
        writer: &Writer<'_>,
        table: &Table,
        rows: &Rows,
        (from, until, after, gone): (i64, i64, i64, bool),
        size: usize,
    ) -> (Vec<u8>, u64, Option<Walk>) {
        let mut ids = Vec::new();
        let mut last = after;
        if !gone {
            for (version, id) in rows.by_version.range(after + 1..).take_while(|(version, _)| **version <= until) {
                if ids.len() == size {
                    let body = write_rows(writer, table, rows, &ids);
                    return (body, ids.len() as u64, Some(Walk::Changes { from, until, after: last, gone: false }));
                }
                ids.push(*id);
                last = *version;
            }
        }
        let mut body = write_rows(writer, table, rows, &ids);
        let mut count = ids.len();
        let mut last = if gone { after } else { from };
        let context = quote(&format!("{}$metadata#{}/$deletedEntity", self.base, table.set));
        for (version, tombstone) in rows.tombstones.range(last + 1..).take_while(|(version, _)| **version <= until) {
            if count == size {
                return (body, count as u64, Some(Walk::Changes { from, until, after: last, gone: true }));
            }
            if !body.is_empty() {
                body.push(b',');
            }
            body.extend_from_slice(
                format!(
                    "{{\"@odata.context\":{context},\"id\":\"{}\",\"reason\":\"deleted\"}}",
                    row::guid(tombstone.id)
                )
                .as_bytes(),
            );
            last = *version;
            count += 1;
        }
        (body, count as u64, None)
    }
}

/// The version before the newest row at or before a version.
fn previous(rows: &Rows, version: i64) -> i64 {
    rows.by_version.range(..=version).next_back().map_or(version, |(newest, _)| newest - 1)
}

fn first_walk(
    writer: &Writer<'_>,
    table: &Table,
    rows: &Rows,
    after: Option<u128>,
    size: usize,
) -> (Vec<u8>, u64, Option<u128>) {
    let from = after.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
    let mut body = Vec::with_capacity(size * 256);
    let mut cells = Vec::new();
    let mut count = 0;
    let mut last = None;
    for (id, row) in rows.by_id.range((from, std::ops::Bound::Unbounded)) {
        if count == size {
            return (body, count as u64, last);
        }
        if count > 0 {
            body.push(b',');
        }
        row.spread(&table.columns, &mut cells);
        writer.write(rows, *id, row, &cells, "", &mut body);
        last = Some(*id);
        count += 1;
    }
    (body, count as u64, None)
}
