//! How far a folder was read, as the position that the engine keeps.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use sync_core::{EndpointError, EndpointErrorKind, Position};

/// Processed files that are remembered. A file is moved away as soon as its rows are durable, so only those count whose move was
/// interrupted, and those that are put there once more; the rows of one that is forgotten are told again, which changes nothing.
const REMEMBERED: usize = 100;

/// A file by name and content: the same name with new content is a new file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FileMark {
    pub(super) name: String,
    /// Of the bytes as they lie on the server: half of SHA-256, which is plenty to tell files of one name apart.
    pub(super) hash: String,
}

/// A file that is not to be read again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Done {
    pub(super) file: FileMark,
    /// Whether it could not be read to its end.
    pub(super) refused: bool,
}

/// A file that was begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Reading {
    pub(super) file: FileMark,
    /// Rows that were read.
    pub(super) rows: u64,
}

/// How far a folder was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    /// By which a position of another folder is known.
    folder: String,
    pub(super) reading: Option<Reading>,
    done: VecDeque<Done>,
}

impl Place {
    /// What a position says of this folder; the beginning, where it says nothing.
    pub(super) fn of(position: Option<&Position>, folder: &str) -> Self {
        let saved = position.and_then(|position| serde_json::from_str::<Self>(position.as_str()).ok());
        let beginning = || Self { folder: folder.to_owned(), reading: None, done: VecDeque::new() };
        saved.filter(|saved| saved.folder == folder).unwrap_or_else(beginning)
    }

    /// What is remembered of a file, if it is not to be read again.
    pub(super) fn done(&self, file: &FileMark) -> Option<&Done> {
        self.done.iter().find(|done| done.file == *file)
    }

    /// Whether a file was read to its end since an earlier place.
    pub(super) fn is_past(&self, earlier: &Self) -> bool {
        let last = self.done.back().filter(|done| !done.refused);
        last.is_some() && last != earlier.done.back()
    }

    /// The file that was read is not to be read again.
    pub(super) fn finish(&mut self, file: FileMark, refused: bool) {
        self.reading = None;
        self.done.push_back(Done { file, refused });
        while self.done.len() > REMEMBERED {
            self.done.pop_front();
        }
    }

    /// As the engine keeps it.
    pub(super) fn position(&self) -> Result<Position, EndpointError> {
        serde_json::to_string(self).map(Position::new).map_err(|_| {
            EndpointError::new(
                EndpointErrorKind::Refused,
                "position-unwritable",
                "The position in the folder cannot be written.",
                "Report it.",
            )
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on ends there")]

    use super::*;

    fn mark(number: usize) -> FileMark {
        FileMark { name: format!("logs_{number}.csv"), hash: "5e".to_owned() }
    }

    #[test]
    fn a_position_comes_back_and_another_folder_begins_anew() {
        let mut place = Place::of(None, "a");
        place.finish(mark(1), false);
        place.reading = Some(Reading { file: mark(2), rows: 7 });
        let position = place.position().unwrap();
        assert_eq!(Place::of(Some(&position), "a"), place);
        assert_eq!(Place::of(Some(&position), "b"), Place::of(None, "b"));
        assert_eq!(Place::of(Some(&Position::new("{}")), "a"), Place::of(None, "a"));
    }

    #[test]
    fn only_the_newest_files_are_remembered() {
        let mut place = Place::of(None, "a");
        (0..=REMEMBERED).for_each(|number| place.finish(mark(number), false));
        assert_eq!(place.done(&mark(0)), None);
        assert!(place.done(&mark(1)).is_some() && place.done(&mark(REMEMBERED)).is_some());
        let (earlier, mut refused) = (place.clone(), place.clone());
        place.finish(mark(REMEMBERED + 1), false);
        refused.finish(mark(REMEMBERED + 1), true);
        assert!(place.is_past(&earlier) && !refused.is_past(&earlier) && !place.is_past(&place));
        let other = FileMark { hash: "5f".to_owned(), ..mark(1) };
        assert_eq!(place.done(&other), None, "new content is a new file");
    }
}
