//! PKeys: opaque texts that depend on the path by which a row was reached and all lead to the same row
//! (experienceleague.adobe.com, "Must read"), and the cursors of `_lineStart`.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const SECRET: u64 = 0x6b65_7953_616e_6462;
/// Bytes of a token, so that its text has the length that PKeys of real instances have.
const SIZE: usize = 68;

/// Appends the PKey of a row: the same for the same path, another for another.
pub(super) fn write(out: &mut Vec<u8>, resource: usize, row: u32, context: u64) {
    let mut token = [0_u8; SIZE];
    let plain = ((resource as u64) << 32) | u64::from(row);
    let salt = xxh3_64_with_seed(&plain.to_le_bytes(), context ^ SECRET);
    let check = xxh3_64_with_seed(&plain.to_le_bytes(), salt ^ SECRET.rotate_left(17));
    token[..8].copy_from_slice(&salt.to_le_bytes());
    token[8..16].copy_from_slice(&(plain ^ mask(salt)).to_le_bytes());
    token[16..24].copy_from_slice(&check.to_le_bytes());
    let mut fill = check;
    for piece in token[24..].chunks_mut(8) {
        fill = mask(fill);
        let bytes = fill.to_le_bytes();
        piece.copy_from_slice(&bytes[..piece.len()]);
    }
    out.push(b'@');
    encode(out, &token);
}

/// What a PKey stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decoded {
    /// A row of a resource, by their numbers; whether the row is still there is another question.
    Row { resource: usize, row: u32 },
    /// Looks like one, but was never handed out.
    Unknown,
    /// Does not look like one.
    Gibberish,
}

/// Reads a PKey, with its `@`.
pub(super) fn read(text: &str) -> Decoded {
    let Some(body) = text.strip_prefix('@') else {
        return Decoded::Gibberish;
    };
    let Some(token) = decode(body) else {
        return Decoded::Gibberish;
    };
    if token.len() < 24 {
        return Decoded::Gibberish;
    }
    let word =
        |at: usize| token.get(at..at + 8).and_then(|b| <[u8; 8]>::try_from(b).ok()).map_or(0, u64::from_le_bytes);
    let (salt, plain) = (word(0), word(8) ^ mask(word(0)));
    if token.len() != SIZE || xxh3_64_with_seed(&plain.to_le_bytes(), salt ^ SECRET.rotate_left(17)) != word(16) {
        return Decoded::Unknown;
    }
    Decoded::Row { resource: (plain >> 32) as usize, row: (plain & 0xffff_ffff) as u32 }
}

/// A number for a path.
pub(super) fn context(path: &str) -> u64 {
    xxh3_64(path.as_bytes())
}

/// A cursor: the sort key and the number of the last row that was shown, with `@`.
pub(super) fn write_cursor(sort_key: &[u8], row: u32) -> String {
    let mut token = row.to_le_bytes().to_vec();
    token.extend_from_slice(sort_key);
    token.extend_from_slice(&xxh3_64_with_seed(&token, SECRET).to_le_bytes());
    let mut out = vec![b'@'];
    encode(&mut out, &token);
    String::from_utf8(out).unwrap_or_default()
}

/// Reads a cursor; none when it was never handed out.
pub(super) fn read_cursor(text: &str) -> Option<(Vec<u8>, u32)> {
    let token = decode(text.strip_prefix('@')?)?;
    let (body, check) = token.split_at_checked(token.len().checked_sub(8)?)?;
    let (row, key) = body.split_at_checked(4)?;
    if xxh3_64_with_seed(body, SECRET).to_le_bytes() != check {
        return None;
    }
    Some((key.to_vec(), u32::from_le_bytes(row.try_into().ok()?)))
}

/// A text that differs for each row and says nothing about it: the base64 text of `cryptedId`.
pub(super) fn write_crypted(out: &mut Vec<u8>, row: u32) {
    let mut token = [0_u8; 31];
    let mut fill = u64::from(row) ^ SECRET;
    for piece in token.chunks_mut(8) {
        fill = mask(fill);
        let bytes = fill.to_le_bytes();
        piece.copy_from_slice(&bytes[..piece.len()]);
    }
    let from = out.len();
    encode(out, &token);
    for byte in &mut out[from..] {
        *byte = match *byte {
            b'-' => b'+',
            b'_' => b'/',
            other => other,
        };
    }
    out.extend_from_slice(b"==");
}

fn mask(salt: u64) -> u64 {
    xxh3_64_with_seed(&salt.to_be_bytes(), SECRET)
}

fn encode(out: &mut Vec<u8>, bytes: &[u8]) {
    for piece in bytes.chunks(3) {
        let word = piece.iter().fold(0_u32, |n, b| (n << 8) | u32::from(*b)) << (8 * (3 - piece.len()));
        for at in 0..=piece.len() {
            out.push(ALPHABET[(word >> (18 - 6 * at)) as usize & 63]);
        }
    }
}

fn decode(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() * 3 / 4);
    for piece in text.as_bytes().chunks(4) {
        let mut word = 0_u32;
        for byte in piece {
            let six = match byte {
                b'A'..=b'Z' => byte - b'A',
                b'a'..=b'z' => byte - b'a' + 26,
                b'0'..=b'9' => byte - b'0' + 52,
                b'-' => 62,
                b'_' => 63,
                _ => return None,
            };
            word = (word << 6) | u32::from(six);
        }
        word <<= 6 * (4 - piece.len());
        out.extend_from_slice(word.to_be_bytes().get(1..piece.len())?);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(resource: usize, row: u32, context: u64) -> String {
        let mut out = Vec::new();
        write(&mut out, resource, row, context);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn texts_that_were_never_handed_out_are_told_apart() {
        let real = key(0, 7, context("profile"));
        assert!(real.len() > 90, "{real}");
        let mut other = real.clone();
        other.replace_range(5..6, if &real[5..6] == "A" { "B" } else { "A" });
        assert_eq!(read(&other), Decoded::Unknown);
        assert_eq!(read("@gibberish"), Decoded::Gibberish);
        assert_eq!(read("@"), Decoded::Gibberish);
        assert_eq!(read_cursor("@AAAA"), None);
    }

    proptest! {
        #[test]
        fn a_row_has_another_text_on_another_path_and_both_lead_to_it(resource in 0_usize..9, row: u32, a: u64, b: u64) {
            prop_assume!(a != b);
            let (x, y) = (key(resource, row, a), key(resource, row, b));
            prop_assert_ne!(&x, &y);
            prop_assert_eq!(read(&x), Decoded::Row { resource, row });
            prop_assert_eq!(read(&y), Decoded::Row { resource, row });
        }

        #[test]
        fn cursors_survive(sort: Vec<u8>, row: u32) {
            prop_assert_eq!(read_cursor(&write_cursor(&sort, row)), Some((sort, row)));
        }
    }
}
