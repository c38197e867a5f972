use std::sync::Arc;

use chrono::FixedOffset;

use super::row::{Row, RowError, RowErrorKind};
use super::time::FileTime;
use crate::exchange::error::{ExchangeError, ExchangeErrorKind};

/// The families of names that the documentation used for the same attributes over the years; the first one is on the wire.
const FAMILIES: [&str; 3] = ["blackList", "denyList", "blockList"];

const CCPA: &str = "ccpaOptOut";

/// The columns of one attribute in a layout of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OptOutColumns {
    /// The attribute, as the rows shall name it.
    pub attribute: String,
    /// Column of the value.
    pub value: String,
    /// Column of the time of its last change, where there is one.
    pub modified: Option<String>,
}

/// The layout of an opt-out file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OptOutLayout {
    /// Column of the external id. Default `externalId`.
    pub external_id: String,
    /// The attributes. When absent, by the contract: each column `blackList...` (or `denyList...`, `blockList...`, which mean the same
    /// and are renamed) and `ccpaOptOut` is a value, and `...LastModified` its time. For the general one `blackListAllLastModified`
    /// counts too: the later of the two. Other columns are ignored.
    pub attributes: Option<Vec<OptOutColumns>>,
    /// Offset of times that name none. Default UTC.
    pub offset: FixedOffset,
}

impl Default for OptOutLayout {
    fn default() -> Self {
        Self { external_id: "externalId".to_owned(), attributes: None, offset: super::utc() }
    }
}

/// One attribute of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OptOutAttribute {
    /// Its name, that on the wire under the contract: `blackListEmail`.
    pub name: Arc<str>,
    /// `true`: opted out. `None`: the file does not say.
    pub value: Option<bool>,
    /// When it last changed. `None`: the file does not say.
    pub modified: Option<FileTime>,
}

/// What a file says about one profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OptOutRow {
    /// Line of the file.
    pub line: u64,
    /// External id, never empty.
    pub external_id: String,
    /// All attributes that the file has columns for.
    pub attributes: Vec<OptOutAttribute>,
}

/// Makes opt-out rows of rows.
#[derive(Debug, Clone)]
pub struct OptOutDecoder {
    external_id: usize,
    attributes: Vec<Places>,
    columns: Vec<String>,
    offset: FixedOffset,
}

#[derive(Debug, Clone)]
struct Places {
    name: Arc<str>,
    value: usize,
    modified: Vec<usize>,
}

impl OptOutDecoder {
    /// Finds the columns in a header.
    ///
    /// # Errors
    /// [`ExchangeErrorKind::Layout`] when a column is missing, or no attribute is there at all.
    pub fn new(header: &[String], layout: &OptOutLayout) -> Result<Self, ExchangeError> {
        let place = |column: &str| header.iter().position(|name| name == column);
        let needed = |column: &str| {
            let missing = || format!("the header lacks the column {column}");
            place(column).ok_or_else(|| ExchangeError::because(ExchangeErrorKind::Layout, missing()))
        };
        let external_id = needed(&layout.external_id)?;
        let attributes = match &layout.attributes {
            Some(given) => given
                .iter()
                .map(|columns| {
                    let modified = columns.modified.iter().map(|column| needed(column)).collect::<Result<_, _>>()?;
                    let name = Arc::from(columns.attribute.as_str());
                    Ok(Places { name, value: needed(&columns.value)?, modified })
                })
                .collect::<Result<Vec<_>, ExchangeError>>()?,
            None => by_contract(header)?,
        };
        if attributes.is_empty() {
            return Err(ExchangeError::because(ExchangeErrorKind::Layout, "the header has no column of an opt-out"));
        }
        Ok(Self { external_id, attributes, columns: header.to_vec(), offset: layout.offset })
    }

    /// Makes a typed row. An empty value is one that the file does not say.
    ///
    /// # Errors
    /// A row without external id, or with a value that cannot be read: half a row would be half the truth about a person.
    pub fn decode(&self, row: &Row) -> Result<OptOutRow, RowError> {
        let refused = |kind| RowError { line: row.line(), kind };
        let value = |column: usize| row.get(column).unwrap_or_default();
        let name = |column: usize| self.columns.get(column).cloned().unwrap_or_default();
        let external_id = value(self.external_id);
        if external_id.trim().is_empty() {
            return Err(refused(RowErrorKind::NoKey));
        }
        let attribute = |places: &Places| {
            let truth = truth(value(places.value))
                .map_err(|()| refused(RowErrorKind::NotBoolean { column: name(places.value) }))?;
            let mut modified: Option<FileTime> = None;
            for column in &places.modified {
                let text = value(*column);
                if text.is_empty() {
                    continue;
                }
                let time = FileTime::parse(text, self.offset)
                    .ok_or_else(|| refused(RowErrorKind::NotTime { column: name(*column) }))?;
                if modified.is_none_or(|known| known.at < time.at) {
                    modified = Some(time);
                }
            }
            Ok(OptOutAttribute { name: places.name.clone(), value: truth, modified })
        };
        let attributes = self.attributes.iter().map(attribute).collect::<Result<_, _>>()?;
        Ok(OptOutRow { line: row.line(), external_id: external_id.to_owned(), attributes })
    }
}

/// The attributes of a header that follows the contract.
fn by_contract(header: &[String]) -> Result<Vec<Places>, ExchangeError> {
    let mut found: Vec<Places> = Vec::new();
    for (value, column) in header.iter().enumerate() {
        if column.ends_with("LastModified") {
            continue;
        }
        let family = FAMILIES.iter().find_map(|family| column.strip_prefix(family));
        let name = match family {
            Some(channel) => format!("blackList{channel}"),
            None if column == CCPA => CCPA.to_owned(),
            None => continue,
        };
        if found.iter().any(|known| *known.name == *name) {
            let message = format!("two columns mean {name}");
            return Err(ExchangeError::because(ExchangeErrorKind::Layout, message));
        }
        // `blackListAll` is no attribute, so this time can only be that of the general one.
        let is_time = |other: &String| {
            *other == format!("{column}LastModified")
                || (family == Some("") && *other == format!("{column}AllLastModified"))
        };
        let modified = header.iter().enumerate().filter(|(_, other)| is_time(other)).map(|(at, _)| at).collect();
        found.push(Places { name: name.into(), value, modified });
    }
    Ok(found)
}

/// `Ok(None)`: not said.
fn truth(text: &str) -> Result<Option<bool>, ()> {
    match text {
        "" => Ok(None),
        "1" => Ok(Some(true)),
        "0" => Ok(Some(false)),
        word if word.eq_ignore_ascii_case("true") => Ok(Some(true)),
        word if word.eq_ignore_ascii_case("false") => Ok(Some(false)),
        _ => Err(()),
    }
}
