use csv_core::{ReadRecordResult, ReaderBuilder, Terminator};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::form::{Quotes, Separator, Settled, TableLimits, TextForm};
use super::row::{Row, RowError, RowErrorKind};
use crate::exchange::error::{ExchangeError, ExchangeErrorKind, Limit};

const CHUNK: usize = 64 * 1024;

const BYTE_ORDER_MARK: [u8; 3] = [0xef, 0xbb, 0xbf];

/// Reads a table row by row, in bounded memory: a line of the longest length and what is read ahead.
///
/// Blank lines are skipped. A row that is not taken is an item of its own; reading goes on with the next line, also after a quote
/// that does not end.
#[derive(Debug)]
pub struct TableReader<R> {
    reader: R,
    limits: TableLimits,
    settled: Settled,
    columns: Vec<String>,
    parser: csv_core::Reader,
    buffer: Vec<u8>,
    /// Where the present row begins in the buffer.
    start: usize,
    /// How far the parser has come.
    at: usize,
    /// The line at `start`.
    line: u64,
    ended: bool,
    output: Vec<u8>,
    ends: Vec<usize>,
    rows: u64,
    rescanned: u64,
}

/// Bytes and ends of the row that the parser made, and whether it had too many columns.
struct Parsed {
    bytes: usize,
    ends: usize,
    too_many: bool,
}

enum Step {
    Row(Parsed),
    Refused(RowErrorKind),
    End,
}

impl<R: AsyncRead + Unpin + Send> TableReader<R> {
    /// Reads the header line, or takes the configured columns.
    ///
    /// # Errors
    /// [`ExchangeErrorKind::Layout`] for a header that cannot be read, with empty or repeated names,
    /// [`ExchangeErrorKind::Limit`], [`ExchangeErrorKind::Configuration`], and what the reader comes up with. An empty file has no
    /// header, which is a [`ExchangeErrorKind::Layout`].
    pub async fn open(reader: R, form: &TextForm) -> Result<Self, ExchangeError> {
        let limits = form.limits;
        let mut table = Self {
            reader,
            limits,
            // Until the first line tells.
            settled: Settled { separator: Separator::Tab, quotes: Quotes::None },
            columns: form.columns.clone().unwrap_or_default(),
            parser: csv_core::Reader::new(),
            buffer: Vec::new(),
            start: 0,
            at: 0,
            line: 1,
            ended: false,
            output: vec![0; CHUNK.min(limits.line + 1)],
            ends: vec![0; limits.columns + 1],
            rows: 0,
            rescanned: 0,
        };
        while table.buffer.len() < BYTE_ORDER_MARK.len() && !table.ended {
            table.fill().await?;
        }
        if table.buffer.starts_with(&BYTE_ORDER_MARK) {
            table.advance(BYTE_ORDER_MARK.len());
        }
        table.skip_blank().await?;
        let first = table.first_line().await?;
        table.settled = form.settle(&first)?;
        let mut parser = ReaderBuilder::new();
        parser.delimiter(table.settled.separator.byte()).terminator(Terminator::Any(b'\n'));
        match table.settled.quotes.byte() {
            Some(quote) => parser.quote(quote),
            None => parser.quoting(false),
        };
        table.parser = parser.build();
        if form.columns.is_none() {
            table.columns = table.header().await?;
        }
        check_columns(&table.columns, limits)?;
        Ok(table)
    }

    /// Names of the columns, in order.
    #[must_use]
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// The next row, or why it was not taken; `None` at the end. Not cancel safe: a call that is dropped may lose a row, so drop the
    /// table with it.
    ///
    /// # Errors
    /// What the reader comes up with, and [`ExchangeErrorKind::Limit`]; the table is at its end then.
    pub async fn next(&mut self) -> Result<Option<Result<Row, RowError>>, ExchangeError> {
        self.skip_blank().await?;
        let line = self.line;
        let parsed = match self.step().await? {
            Step::End => return Ok(None),
            Step::Refused(kind) => Err(kind),
            Step::Row(parsed) => Ok(parsed),
        };
        self.rows += 1;
        if self.rows > self.limits.rows {
            return Err(ExchangeError::new(ExchangeErrorKind::Limit(Limit::Rows)));
        }
        let row = parsed.and_then(|parsed| self.row(line, &parsed));
        Ok(Some(row.map_err(|kind| RowError { line, kind })))
    }

    async fn header(&mut self) -> Result<Vec<String>, ExchangeError> {
        let line = self.line;
        let wrong = |message| ExchangeError::because(ExchangeErrorKind::Layout, message);
        let parsed = match self.step().await? {
            Step::Row(parsed) if parsed.too_many => {
                return Err(ExchangeError::new(ExchangeErrorKind::Limit(Limit::Columns)));
            }
            Step::Row(parsed) => parsed,
            Step::End => return Err(wrong("the file is empty: it has no header")),
            Step::Refused(_) => return Err(wrong("the header line cannot be read")),
        };
        let text = self.output.get(..parsed.bytes).unwrap_or_default().to_vec();
        let text = String::from_utf8(text).map_err(|_| wrong("the header is not UTF-8"))?;
        let row = Row { line, text, ends: self.ends.get(..parsed.ends).unwrap_or_default().to_vec() };
        Ok(row.iter().map(|name| name.trim().to_owned()).collect())
    }

    fn row(&self, line: u64, parsed: &Parsed) -> Result<Row, RowErrorKind> {
        let expected = self.columns.len();
        let bytes = self.output.get(..parsed.bytes).unwrap_or_default();
        if parsed.too_many || parsed.ends != expected {
            return Err(RowErrorKind::ColumnCount { expected, found: parsed.ends });
        }
        if bytes.contains(&0) {
            return Err(RowErrorKind::Nul);
        }
        let text = std::str::from_utf8(bytes).map_err(|_| RowErrorKind::NotUtf8)?;
        let row = Row { line, text: text.to_owned(), ends: self.ends.get(..parsed.ends).unwrap_or_default().to_vec() };
        Ok(row)
    }

    /// Lets the parser make one row.
    async fn step(&mut self) -> Result<Step, ExchangeError> {
        let (mut bytes, mut ends, mut too_many) = (0, 0, false);
        loop {
            let input = self.buffer.get(self.at..).unwrap_or_default();
            if input.is_empty() && !self.ended {
                if self.at - self.start > self.limits.line {
                    return self.too_long().await;
                }
                self.fill().await?;
                continue;
            }
            let (output, places) = (self.output.get_mut(bytes..), self.ends.get_mut(ends..));
            let (result, read, wrote, ended) =
                self.parser.read_record(input, output.unwrap_or_default(), places.unwrap_or_default());
            self.at += read;
            bytes += wrote;
            ends += ended;
            match result {
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull => {
                    if self.at - self.start > self.limits.line {
                        return self.too_long().await;
                    }
                    self.output.resize(self.output.len() * 2, 0);
                }
                ReadRecordResult::OutputEndsFull => {
                    too_many = true;
                    (bytes, ends) = (0, 0);
                }
                ReadRecordResult::Record => break,
                ReadRecordResult::End => return Ok(Step::End),
            }
        }
        let raw = self.buffer.get(self.start..self.at).unwrap_or_default();
        if raw.len() > self.limits.line {
            return self.too_long().await;
        }
        if let Some(why) = self.broken_quotes(raw) {
            return self.resume_after_first_line(why).map(Step::Refused);
        }
        if raw.strip_suffix(b"\n").unwrap_or(raw).ends_with(b"\r") {
            // The parser takes it for the last character of the last value.
            bytes = bytes.saturating_sub(1);
            if let Some(last) = ends.checked_sub(1).and_then(|last| self.ends.get_mut(last)) {
                *last = last.saturating_sub(1);
            }
        }
        if too_many {
            ends = self.limits.columns;
        }
        self.advance(self.at - self.start);
        Ok(Step::Row(Parsed { bytes, ends, too_many }))
    }

    /// What is wrong with the quotes of a row. The parser takes anything, and would join lines whose quotes are not closed.
    fn broken_quotes(&self, raw: &[u8]) -> Option<RowErrorKind> {
        let quote = self.settled.quotes.byte().filter(|quote| raw.contains(quote))?;
        let separator = self.settled.separator.byte();
        let raw = raw.strip_suffix(b"\n").unwrap_or(raw);
        let raw = raw.strip_suffix(b"\r").unwrap_or(raw);
        let (mut inside, mut fresh, mut closed) = (false, true, false);
        for byte in raw {
            if inside {
                (inside, closed) = (*byte != quote, *byte == quote);
            } else if (closed || fresh) && *byte == quote {
                (inside, closed) = (true, false);
            } else if closed && *byte != separator {
                return Some(RowErrorKind::StrayQuote);
            } else {
                closed = false;
            }
            fresh = !inside && *byte == separator;
        }
        inside.then_some(RowErrorKind::OpenQuote)
    }

    /// Goes on behind a row that is too long. With quotes it may be one that was never closed, so that the very next line is a row
    /// again; without, the row is the line.
    async fn too_long(&mut self) -> Result<Step, ExchangeError> {
        if self.settled.quotes.byte().is_some()
            && self.buffer.get(self.start..self.at).unwrap_or_default().contains(&b'\n')
        {
            return self.resume_after_first_line(RowErrorKind::TooLong).map(Step::Refused);
        }
        self.parser.reset();
        loop {
            let rest = self.buffer.get(self.start..).unwrap_or_default();
            if let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                self.advance(end + 1);
                return Ok(Step::Refused(RowErrorKind::TooLong));
            }
            self.advance(rest.len());
            if self.ended {
                return Ok(Step::Refused(RowErrorKind::TooLong));
            }
            self.fill().await?;
        }
    }

    fn resume_after_first_line(&mut self, why: RowErrorKind) -> Result<RowErrorKind, ExchangeError> {
        let row = self.buffer.get(self.start..self.at).unwrap_or_default();
        let line = row.iter().position(|byte| *byte == b'\n').map_or(row.len(), |end| end + 1);
        // Each such line costs up to the longest row: a file made of them would be read again and again.
        self.rescanned += (row.len() - line) as u64;
        if self.rescanned > self.limits.rescan {
            return Err(ExchangeError::new(ExchangeErrorKind::Limit(Limit::Rescan)));
        }
        self.parser.reset();
        self.advance(line);
        Ok(why)
    }

    /// The present row ends `bytes` further on.
    fn advance(&mut self, bytes: usize) {
        let end = self.start + bytes;
        let lines = self.buffer.get(self.start..end).unwrap_or_default().iter().filter(|byte| **byte == b'\n').count();
        self.line += lines as u64;
        self.start = end;
        self.at = end;
        if self.start >= CHUNK || self.start >= self.buffer.len() {
            self.buffer.drain(..self.start.min(self.buffer.len()));
            (self.start, self.at) = (0, 0);
        }
    }

    async fn skip_blank(&mut self) -> Result<(), ExchangeError> {
        loop {
            let rest = self.buffer.get(self.start..).unwrap_or_default();
            match rest {
                [b'\n', ..] => self.advance(1),
                [b'\r', b'\n', ..] => self.advance(2),
                [] | [b'\r'] if !self.ended => self.fill().await?,
                _ => return Ok(()),
            }
        }
    }

    async fn first_line(&mut self) -> Result<Vec<u8>, ExchangeError> {
        loop {
            let rest = self.buffer.get(self.start..).unwrap_or_default();
            if let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                return Ok(rest.get(..end).unwrap_or_default().to_vec());
            }
            if self.ended {
                return Ok(rest.to_vec());
            }
            if rest.len() > self.limits.line {
                return Err(ExchangeError::new(ExchangeErrorKind::Limit(Limit::Line)));
            }
            self.fill().await?;
        }
    }

    async fn fill(&mut self) -> Result<(), ExchangeError> {
        let before = self.buffer.len();
        self.buffer.reserve(CHUNK);
        let mut part = (&mut self.reader).take(CHUNK as u64);
        part.read_buf(&mut self.buffer).await.map_err(ExchangeError::from_io)?;
        self.ended = self.buffer.len() == before;
        Ok(())
    }
}

fn check_columns(columns: &[String], limits: TableLimits) -> Result<(), ExchangeError> {
    let wrong = |message| Err(ExchangeError::because(ExchangeErrorKind::Layout, message));
    if columns.len() > limits.columns {
        return Err(ExchangeError::new(ExchangeErrorKind::Limit(Limit::Columns)));
    }
    if columns.is_empty() || columns.iter().any(|name| name.is_empty() || name.contains('\0')) {
        return wrong("a column without a name");
    }
    let mut sorted: Vec<&String> = columns.iter().collect();
    sorted.sort();
    if sorted.windows(2).any(|pair| matches!(pair, [one, other] if one == other)) {
        return wrong("two columns of one name");
    }
    Ok(())
}
