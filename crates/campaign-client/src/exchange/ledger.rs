use std::fmt;

use super::name::FileName;

/// What a processed file is remembered by: its name, and the SHA-256 of its bytes as they lie on the server. The same name with
/// new content is a new file; a file that comes again is not. The caller stores it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileLedgerKey {
    /// Name.
    pub name: FileName,
    /// SHA-256 of the content.
    pub sha256: [u8; 32],
}

impl FileLedgerKey {
    /// The hash as 64 lower-case hexadecimal digits.
    #[must_use]
    pub fn hex(&self) -> String {
        self.sha256.iter().fold(String::with_capacity(64), |mut text, byte| {
            let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or('0');
            text.push(digit(byte >> 4));
            text.push(digit(byte & 15));
            text
        })
    }
}

/// `name sha256`, one line.
impl fmt::Display for FileLedgerKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.name, self.hex())
    }
}
