//! What became of rows, change after change, in one order over both services. Kept only where somebody asks for it: it grows with
//! every change.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::service::Side;

/// Who changed a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    /// A request of the service.
    Request,
    /// The control interface.
    Control,
}

/// The changes of single rows since the keeping began.
#[derive(Debug, Default)]
pub struct History {
    kept: AtomicBool,
    lines: Mutex<Vec<String>>,
}

impl History {
    /// Begins anew, or ends.
    pub(crate) fn keep(&self, keep: bool) {
        self.kept.store(keep, Ordering::SeqCst);
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Whether changes are to be noted.
    pub(crate) fn is_kept(&self) -> bool {
        self.kept.load(Ordering::Relaxed)
    }

    /// A row is now this, as JSON; or is gone. To be called under the lock under which it was changed: so the order is that of the
    /// changes.
    pub(crate) fn note(&self, side: Side, table: &str, id: &str, by: By, row: Option<&[u8]>) {
        let side = match side {
            Side::Dataverse => "dataverse",
            Side::Campaign => "campaign",
            Side::Journal => return,
        };
        let by = match by {
            By::Request => "request",
            By::Control => "control",
        };
        let id = serde_json::Value::from(id);
        let row = row.map_or_else(|| "null".into(), String::from_utf8_lossy);
        let line = format!("{{\"side\":\"{side}\",\"table\":\"{table}\",\"id\":{id},\"by\":\"{by}\",\"row\":{row}}}\n");
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }

    /// The changes so far, one JSON object a line, the oldest first.
    pub(crate) fn lines(&self) -> String {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).concat()
    }
}
