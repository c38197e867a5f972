use super::form::{Quotes, Separator};
use crate::exchange::error::{ExchangeError, ExchangeErrorKind};

/// How a table for a machine is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WriteForm {
    /// Separator.
    pub separator: Separator,
    /// Quotes around values that need them.
    pub quotes: Quotes,
    /// CR LF in place of LF.
    pub crlf: bool,
}

impl Default for WriteForm {
    /// What the load activity takes without questions: tabs, double quotes, LF.
    fn default() -> Self {
        Self { separator: Separator::Tab, quotes: Quotes::Double, crlf: false }
    }
}

/// Writes a table for a machine: every value comes back exactly as it was, or is refused. Never for people: a spreadsheet would run
/// a value that looks like a formula ([`HumanWriter`]).
#[derive(Debug)]
pub struct TableWriter {
    form: WriteForm,
    writer: csv::Writer<Vec<u8>>,
    begun: bool,
}

impl TableWriter {
    /// An empty table.
    #[must_use]
    pub fn new(form: WriteForm) -> Self {
        let mut builder = csv::WriterBuilder::new();
        builder
            .delimiter(form.separator.byte())
            .terminator(if form.crlf { csv::Terminator::CRLF } else { csv::Terminator::Any(b'\n') })
            .flexible(true);
        match form.quotes.byte() {
            Some(quote) => builder.quote(quote).quote_style(csv::QuoteStyle::Necessary),
            None => builder.quote_style(csv::QuoteStyle::Never),
        };
        Self { form, writer: builder.from_writer(Vec::new()), begun: false }
    }

    /// Writes a line; the first one may be the header.
    ///
    /// # Errors
    /// [`ExchangeErrorKind::Unrepresentable`] for a value that would not come back: a NUL, a byte order mark at the front of the file,
    /// and without quotes the separator or a line end. Nothing of the line is written then.
    pub fn write<S: AsRef<str>>(&mut self, values: &[S]) -> Result<(), ExchangeError> {
        let separator = char::from(self.form.separator.byte());
        let unquoted = self.form.quotes == Quotes::None;
        let first = !self.begun;
        let fits = |(at, value): (usize, &S)| {
            let value = value.as_ref();
            let breaks = unquoted && value.contains([separator, '\n', '\r']);
            let mark = first && at == 0 && value.starts_with('\u{feff}');
            !breaks && !mark && !value.contains('\0')
        };
        let blank = unquoted && values.len() == 1 && values.iter().all(|value| value.as_ref().is_empty());
        if values.is_empty() || blank || !values.iter().enumerate().all(fits) {
            return Err(ExchangeError::new(ExchangeErrorKind::Unrepresentable));
        }
        self.begun = true;
        self.writer
            .write_record(values.iter().map(AsRef::as_ref))
            .map_err(|_| ExchangeError::new(ExchangeErrorKind::Unrepresentable))
    }

    /// The file.
    ///
    /// # Errors
    /// None in practice: it is written into memory.
    pub fn finish(self) -> Result<Vec<u8>, ExchangeError> {
        self.writer.into_inner().map_err(|_| ExchangeError::new(ExchangeErrorKind::Unrepresentable))
    }
}

/// Writes a table for people: RFC 4180 with a byte order mark, and a `'` before every value that a spreadsheet would take for a
/// formula. The values do not come back as they were, so no machine reads such a file; [`HumanWriter::file_name`] says it in the name.
#[derive(Debug)]
pub struct HumanWriter(csv::Writer<Vec<u8>>);

impl Default for HumanWriter {
    fn default() -> Self {
        Self::new()
    }
}

impl HumanWriter {
    /// An empty table.
    #[must_use]
    pub fn new() -> Self {
        let mut builder = csv::WriterBuilder::new();
        builder.terminator(csv::Terminator::CRLF).flexible(true);
        Self(builder.from_writer("\u{feff}".as_bytes().to_vec()))
    }

    /// `status` becomes `status.human.csv`.
    #[must_use]
    pub fn file_name(stem: &str) -> String {
        format!("{stem}.human.csv")
    }

    /// Writes a line.
    ///
    /// # Errors
    /// None in practice: it is written into memory.
    pub fn write<S: AsRef<str>>(&mut self, values: &[S]) -> Result<(), ExchangeError> {
        self.0
            .write_record(values.iter().map(|value| guarded(value.as_ref())))
            .map_err(|_| ExchangeError::new(ExchangeErrorKind::Unrepresentable))
    }

    /// The file.
    ///
    /// # Errors
    /// None in practice: it is written into memory.
    pub fn finish(self) -> Result<Vec<u8>, ExchangeError> {
        self.0.into_inner().map_err(|_| ExchangeError::new(ExchangeErrorKind::Unrepresentable))
    }
}

/// Characters with which a spreadsheet begins a formula or a command, their full-width forms, and those that some programs drop
/// before they look.
const TRIGGERS: [char; 11] = ['=', '+', '-', '@', '\t', '\r', '\0', '＝', '＋', '－', '＠'];

fn guarded(value: &str) -> String {
    let begins = |text: &str| text.starts_with(TRIGGERS);
    // Blanks and line ends at the front are dropped by some programs, and the rest is looked at then.
    let bare = value.trim_start_matches(|c: char| c.is_whitespace() || c == '\u{feff}' || c == '\u{200b}');
    if begins(value) || begins(bare) { format!("'{value}") } else { value.to_owned() }
}
