use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Everything that happened in a run, in order, as one number; the lines too, where they are wanted.
#[derive(Debug, Clone)]
pub struct Trace(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    hasher: DefaultHasher,
    lines: Option<Vec<String>>,
    text: String,
}

impl Trace {
    /// An empty trace; `keep` keeps the lines.
    pub fn new(keep: bool) -> Self {
        let inner = Inner { hasher: DefaultHasher::new(), lines: keep.then(Vec::new), text: String::new() };
        Self(Arc::new(Mutex::new(inner)))
    }

    /// Something happened.
    pub fn note(&self, at: Duration, what: fmt::Arguments<'_>) {
        use fmt::Write;
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let inner = &mut *inner;
        inner.text.clear();
        let _ = write!(inner.text, "{:>12.3} {what}", at.as_secs_f64());
        inner.text.hash(&mut inner.hasher);
        if let Some(lines) = &mut inner.lines {
            lines.push(inner.text.clone());
        }
    }

    /// The number that stands for everything so far.
    pub fn hash(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).hasher.finish()
    }

    /// The lines, where they were kept.
    pub fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).lines.clone().unwrap_or_default()
    }
}
