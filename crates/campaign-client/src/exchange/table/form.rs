use crate::exchange::error::{ExchangeError, ExchangeErrorKind};

/// What stands between two values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Separator {
    /// Tab: the default of the extract activity.
    Tab,
    /// `,`
    Comma,
    /// `;`
    Semicolon,
    /// `|`
    Pipe,
}

impl Separator {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Tab, Self::Comma, Self::Semicolon, Self::Pipe];

    pub(super) fn byte(self) -> u8 {
        match self {
            Self::Tab => b'\t',
            Self::Comma => b',',
            Self::Semicolon => b';',
            Self::Pipe => b'|',
        }
    }
}

/// What stands around values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Quotes {
    /// Nothing: the default of the extract activity.
    None,
    /// `"`, doubled inside.
    Double,
    /// `'`, doubled inside.
    Single,
}

impl Quotes {
    pub(super) fn byte(self) -> Option<u8> {
        match self {
            Self::None => None,
            Self::Double => Some(b'"'),
            Self::Single => Some(b'\''),
        }
    }
}

/// Bounds against tables that are too large, by accident or on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableLimits {
    /// Bytes of a line; with quotes, of a value over several lines. Default 1 MiB.
    pub line: usize,
    /// Columns. Default 512.
    pub columns: usize,
    /// Rows, refused ones among them. Default 50 million.
    pub rows: u64,
    /// Bytes that are read again after lines whose quotes do not end. Default 64 MiB.
    pub rescan: u64,
}

impl Default for TableLimits {
    fn default() -> Self {
        Self { line: 1 << 20, columns: 512, rows: 50_000_000, rescan: 64 << 20 }
    }
}

/// How a table is written. What is left open is taken from the header line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TextForm {
    /// Separator. From the header when absent: the one that it holds most of, outside of quotes.
    pub separator: Option<Separator>,
    /// Quotes. From the header when absent: those that it begins with; else none with a tab, whose values cannot hold the separator
    /// anyway, and double ones with the others.
    pub quotes: Option<Quotes>,
    /// Names of the columns of a file without a header line; the separator must be given then.
    pub columns: Option<Vec<String>>,
    /// Bounds.
    pub limits: TableLimits,
}

/// The form of a file, settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Settled {
    pub(super) separator: Separator,
    pub(super) quotes: Quotes,
}

impl TextForm {
    /// Settles what was left open by the first line.
    pub(super) fn settle(&self, first_line: &[u8]) -> Result<Settled, ExchangeError> {
        if self.columns.is_some() && self.separator.is_none() {
            return Err(ExchangeError::because(
                ExchangeErrorKind::Configuration,
                "a table without a header line needs its separator in the configuration",
            ));
        }
        let opened = match first_line.first() {
            Some(b'"') => Some(Quotes::Double),
            Some(b'\'') => Some(Quotes::Single),
            _ => None,
        };
        let separator = match self.separator {
            Some(separator) => separator,
            None => most_frequent(first_line, self.quotes.or(opened).unwrap_or(Quotes::None))?,
        };
        let by_separator = if separator == Separator::Tab { Quotes::None } else { Quotes::Double };
        let quotes = self.quotes.or(opened.filter(|_| self.columns.is_none())).unwrap_or(by_separator);
        Ok(Settled { separator, quotes })
    }
}

fn most_frequent(line: &[u8], quotes: Quotes) -> Result<Separator, ExchangeError> {
    let count = |separator: Separator| {
        let mut inside = false;
        let mut count = 0_usize;
        for byte in line {
            if Some(*byte) == quotes.byte() {
                inside = !inside;
            } else if !inside && *byte == separator.byte() {
                count += 1;
            }
        }
        count
    };
    let counts = Separator::ALL.map(|separator| (count(separator), separator));
    let most = counts.iter().map(|(count, _)| *count).max().unwrap_or(0);
    let mut best = counts.iter().filter(|(count, _)| *count == most).map(|(_, separator)| *separator);
    match (best.next(), best.next()) {
        (Some(separator), None) => Ok(separator),
        // One column: any separator does.
        _ if most == 0 => Ok(Separator::Tab),
        _ => Err(ExchangeError::because(
            ExchangeErrorKind::Layout,
            "the header does not tell the separator: give it in the configuration",
        )),
    }
}
