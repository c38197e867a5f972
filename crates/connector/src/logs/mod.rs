//! The log on its way to the file exchange: kept in memory within bounds, and put there as files.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

#[cfg(feature = "exchange")]
pub(crate) mod upload;

/// Bytes of one file, before compression.
const PART: usize = 1 << 20;

/// Bytes that wait at most. What comes when they are full is dropped and counted.
const MOST: usize = 4 * PART;

/// Takes the lines of a program's log for the file exchange.
///
/// A program that writes its log through [`io::Write`] gives clones of this as one more writer, one whole line with each call, and hands
/// it over with [`ConnectorBuilder::logs`](crate::ConnectorBuilder::logs). Where `sftp.export_logs` is off, or the connector is not
/// started, everything is dropped at once; otherwise at most four mebibytes wait, also while the file exchange cannot be reached.
/// Whoever writes into it sees to it that a line holds no secret and no value of a record; the lines of this crate hold none.
#[derive(Clone, Default)]
pub struct LogBuffer(Arc<Shared>);

#[derive(Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    enough: Notify,
}

#[derive(Default)]
struct Waiting {
    open: bool,
    text: Vec<u8>,
    /// Lines that did not fit since the last part was taken.
    dropped: u64,
}

impl LogBuffer {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg_attr(not(feature = "exchange"), expect(dead_code, reason = "nobody takes lines without the file exchange"))]
impl LogBuffer {
    /// Begins to keep lines.
    pub(crate) fn open(&self) {
        self.waiting().open = true;
    }

    /// Drops what waits, and all that comes.
    pub(crate) fn close(&self) {
        *self.waiting() = Waiting::default();
    }

    /// Bytes that wait.
    pub(crate) fn len(&self) -> usize {
        self.waiting().text.len()
    }

    /// Waits until a whole part is there.
    pub(crate) async fn enough(&self) {
        while self.waiting().text.len() < PART {
            self.0.enough.notified().await;
        }
    }

    /// The next part, whole lines, which goes on waiting until it is [removed](Self::remove); with the number of lines that did not fit
    /// behind all that waits. Empty where nothing waits.
    pub(crate) fn part(&self) -> (Vec<u8>, u64) {
        let waiting = self.waiting();
        let most = waiting.text.get(..PART).unwrap_or(&waiting.text);
        let end = if most.len() < PART {
            most.len()
        } else {
            // A single line that is longer is cut.
            most.iter().rposition(|byte| *byte == b'\n').map_or(PART, |at| at + 1)
        };
        let is_all = end == waiting.text.len();
        (waiting.text.get(..end).unwrap_or_default().to_vec(), if is_all { waiting.dropped } else { 0 })
    }

    /// Removes a part that is in a safe place.
    pub(crate) fn remove(&self, (part, dropped): &(Vec<u8>, u64)) {
        let mut waiting = self.waiting();
        let end = part.len().min(waiting.text.len());
        waiting.text.drain(..end);
        waiting.dropped = waiting.dropped.saturating_sub(*dropped);
    }
}

impl io::Write for LogBuffer {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut waiting = self.waiting();
        if waiting.open {
            // Once a line was dropped, all are until what waits was taken: a gap is in one place, and is told there.
            if waiting.dropped > 0 || waiting.text.len() + line.len() > MOST {
                waiting.dropped += 1;
            } else {
                waiting.text.extend_from_slice(line);
            }
            if waiting.text.len() >= PART {
                self.0.enough.notify_one();
            }
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for LogBuffer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("LogBuffer").field("bytes", &self.waiting().text.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on ends there")]

    use std::io::Write;

    use super::*;

    fn line(letter: u8, length: usize) -> Vec<u8> {
        let mut line = vec![letter; length - 1];
        line.push(b'\n');
        line
    }

    #[test]
    fn nothing_is_kept_before_it_is_opened_and_after_it_is_closed() {
        let mut logs = LogBuffer::new();
        logs.write_all(b"before\n").unwrap();
        logs.open();
        logs.write_all(b"between\n").unwrap();
        assert_eq!(logs.part(), (b"between\n".to_vec(), 0));
        logs.close();
        logs.write_all(b"after\n").unwrap();
        assert_eq!(logs.part(), (Vec::new(), 0));
    }

    #[test]
    fn parts_end_with_a_line_and_wait_until_they_are_removed() {
        let mut logs = LogBuffer::new();
        logs.open();
        let half = PART / 2 + 10;
        logs.write_all(&line(b'a', half)).unwrap();
        logs.write_all(&line(b'b', half)).unwrap();
        let first = logs.part();
        assert_eq!(first, (line(b'a', half), 0));
        assert_eq!(logs.part(), first, "as long as it is not removed");
        logs.write_all(b"c\n").unwrap();
        logs.remove(&first);
        assert_eq!(logs.part().0.len(), half + 2);
    }

    #[test]
    fn what_does_not_fit_is_counted_and_told_behind_the_rest() {
        let mut logs = LogBuffer::new();
        logs.open();
        for _ in 0..6 {
            logs.write_all(&line(b'a', PART)).unwrap();
        }
        logs.write_all(b"short\n").unwrap();
        let mut parts = Vec::new();
        loop {
            let part = logs.part();
            if part.0.is_empty() {
                break;
            }
            logs.remove(&part);
            parts.push((part.0.len(), part.1));
        }
        assert_eq!(parts, [(PART, 0), (PART, 0), (PART, 0), (PART, 3)]);
        logs.write_all(b"again\n").unwrap();
        assert_eq!(logs.part(), (b"again\n".to_vec(), 0));
    }
}
