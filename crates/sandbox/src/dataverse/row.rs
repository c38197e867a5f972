//! Rows in memory: one allocation that holds the cells that differ from their defaults. A cell is the JSON text of its value, so
//! that a page is written by copying; a lookup's is 16 bytes of GUID and one of target.

use super::schema::{Column, Kind};

#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) version: i64,
    data: Box<[u8]>,
}

impl Row {
    /// All cells, column by column, into a list that is used again and again.
    pub(super) fn spread<'a>(&'a self, columns: &'a [Column], all: &mut Vec<&'a [u8]>) {
        all.clear();
        all.extend(columns.iter().map(|c| c.default.as_slice()));
        let mut rest = &*self.data;
        while let Some((column, length, after)) = head(rest) {
            let Some((cell, after)) = after.split_at_checked(length) else { return };
            if let Some(place) = all.get_mut(usize::from(column)) {
                *place = cell;
            }
            rest = after;
        }
    }

    /// One cell.
    pub(super) fn get<'a>(&'a self, columns: &'a [Column], wanted: usize) -> &'a [u8] {
        let mut rest = &*self.data;
        while let Some((column, length, after)) = head(rest) {
            let Some((cell, after)) = after.split_at_checked(length) else { break };
            if usize::from(column) == wanted {
                return cell;
            }
            rest = after;
        }
        columns.get(wanted).map_or(b"null", |c| c.default.as_slice())
    }

    pub(super) fn build<T: AsRef<[u8]>>(columns: &[Column], cells: &[T], version: i64) -> Self {
        let kept = || {
            (0_u8..)
                .zip(columns.iter().zip(cells))
                .map(|(at, (column, cell))| (at, column, cell.as_ref()))
                .filter(|(_, column, cell)| column.default.as_slice() != *cell)
        };
        let size = kept().map(|(_, _, cell)| if cell.len() < 0xff { 2 } else { 6 } + cell.len()).sum();
        let mut data = Vec::with_capacity(size);
        for (at, _, cell) in kept() {
            data.push(at);
            match u8::try_from(cell.len()) {
                Ok(short) if short < 0xff => data.push(short),
                _ => {
                    // No body that is read is nearly as long as four bytes can count.
                    data.push(0xff);
                    data.extend_from_slice(&u32::try_from(cell.len()).unwrap_or(u32::MAX).to_le_bytes());
                }
            }
            data.extend_from_slice(cell);
        }
        Self { version, data: data.into_boxed_slice() }
    }

    /// Bytes on the heap.
    #[cfg(test)]
    pub(super) fn size(&self) -> usize {
        self.data.len()
    }
}

fn head(data: &[u8]) -> Option<(u8, usize, &[u8])> {
    match data {
        [column, 0xff, a, b, c, d, rest @ ..] => {
            Some((*column, usize::try_from(u32::from_le_bytes([*a, *b, *c, *d])).unwrap_or(usize::MAX), rest))
        }
        [column, length, rest @ ..] => Some((*column, usize::from(*length), rest)),
        _ => None,
    }
}

/// Whether a cell is null.
pub(super) fn is_null(kind: Kind, cell: &[u8]) -> bool {
    if kind == Kind::Lookup { cell.is_empty() } else { cell == b"null" }
}

/// Id and target of a lookup's cell.
pub(super) fn reference(cell: &[u8]) -> Option<(u128, usize)> {
    let (id, target) = cell.split_first_chunk::<16>()?;
    Some((u128::from_be_bytes(*id), usize::from(*target.first()?)))
}

/// A lookup's cell.
pub(super) fn reference_cell(id: u128, target: usize) -> Vec<u8> {
    let mut cell = id.to_be_bytes().to_vec();
    cell.push(u8::try_from(target).unwrap_or(0));
    cell
}

/// The text of a JSON string cell.
pub(super) fn text(cell: &[u8]) -> Option<String> {
    let inner = cell.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    if inner.contains(&b'\\') {
        serde_json::from_slice(cell).ok()
    } else {
        std::str::from_utf8(inner).ok().map(str::to_owned)
    }
}

/// The JSON string cell of a text; null for an empty one, as the service stores it.
pub(super) fn text_cell(text: &str) -> Vec<u8> {
    if text.is_empty() {
        return b"null".to_vec();
    }
    serde_json::to_vec(text).unwrap_or_else(|_| b"null".to_vec())
}

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Writes a GUID in lower case with hyphens.
pub(super) fn write_guid(id: u128, out: &mut Vec<u8>) {
    let mut text = [b'-'; 36];
    let mut at = 0;
    for (nth, byte) in id.to_be_bytes().into_iter().enumerate() {
        if matches!(nth, 4 | 6 | 8 | 10) {
            at += 1;
        }
        text[at] = HEX[usize::from(byte >> 4)];
        text[at + 1] = HEX[usize::from(byte & 15)];
        at += 2;
    }
    out.extend_from_slice(&text);
}

/// A GUID in lower case with hyphens.
pub(super) fn guid(id: u128) -> String {
    uuid::Uuid::from_u128(id).hyphenated().to_string()
}

/// Reads a GUID of 32 digits with hyphens, in either case.
pub(super) fn parse_guid(text: &str) -> Option<u128> {
    (text.len() == 36).then(|| uuid::Uuid::try_parse(text).ok()).flatten().map(|id| id.as_u128())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataverse::schema::Schema;
    use crate::dataverse::seed::{Seeder, Targets};

    #[test]
    fn a_seeded_contact_takes_a_few_hundred_bytes() {
        let schema = Schema::build(&crate::dataverse::DataverseScenario::default()).unwrap();
        let table = schema.by_name("contact").unwrap();
        let mut seeder = Seeder::new(1, "contact", Targets::default());
        let sizes: Vec<usize> = (0..200)
            .map(|number| {
                let mut cells: Vec<Vec<u8>> = table.columns.iter().map(|c| c.default.clone()).collect();
                for (at, cell) in seeder.row(table, number) {
                    cells[at] = cell;
                }
                Row::build(&table.columns, &cells, 1).size()
            })
            .collect();
        let mean = sizes.iter().sum::<usize>() / sizes.len();
        assert!((100..450).contains(&mean), "{mean}");
    }

    #[test]
    fn cells_come_back_as_they_were() {
        let columns = vec![
            Column::new("id", Kind::PrimaryKey),
            Column::new("a", Kind::Memo { max: 2000 }),
            Column::new("b", Kind::Boolean),
            Column::new("c", Kind::Lookup),
        ];
        let long = text_cell(&"é\"".repeat(500));
        let cells = [b"null".to_vec(), long.clone(), b"true".to_vec(), reference_cell(7, 1)];
        let row = Row::build(&columns, &cells, 3);
        let mut all = Vec::new();
        row.spread(&columns, &mut all);
        assert_eq!(all, cells);
        assert_eq!(row.get(&columns, 1), long);
        assert_eq!(text(row.get(&columns, 1)), Some("é\"".repeat(500)));
        assert_eq!(reference(row.get(&columns, 3)), Some((7, 1)));
        let empty = Row::build(&columns, &columns.iter().map(|c| c.default.clone()).collect::<Vec<_>>(), 1);
        assert_eq!(empty.size(), 0);
        assert_eq!(empty.get(&columns, 2), b"false");
    }

    #[test]
    fn a_cell_may_be_longer_than_64_kib() {
        let columns = vec![Column::new("id", Kind::PrimaryKey), Column::new("a", Kind::Memo { max: 200_000 })];
        let long = text_cell(&"ж".repeat(100_000));
        let row = Row::build(&columns, &[b"null".to_vec(), long.clone()], 3);
        assert_eq!(row.get(&columns, 1), long);
    }

    #[test]
    fn a_guid_is_written_in_small_letters() {
        let mut out = Vec::new();
        write_guid(0xABCD_EF01_2345_6789_ABCD_EF01_2345_6789, &mut out);
        assert_eq!(out, b"abcdef01-2345-6789-abcd-ef0123456789");
        assert_eq!(parse_guid("ABCDEF01-2345-6789-abcd-ef0123456789"), Some(0xABCD_EF01_2345_6789_ABCD_EF01_2345_6789));
    }
}
