//! What a `tracing` layer and an observer saw.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Debug, Write};
use std::panic::{set_hook, take_hook};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, Once, PoisonError};

use sync_core::telemetry::hide_panic_messages;
use sync_core::traits::{Observer, SyncEvent};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// Level and fields of a name.
pub(crate) type Seen = BTreeMap<String, (String, Vec<String>)>;

#[derive(Debug, Clone, Default)]
pub(crate) struct Capture(Arc<Mutex<Log>>);

#[derive(Debug, Default)]
pub(crate) struct Log {
    pub(crate) spans: Seen,
    pub(crate) lines: Seen,
    /// How many spans and lines there were.
    pub(crate) count: usize,
    /// Every field with its value, as text.
    pub(crate) text: String,
}

impl Capture {
    pub(crate) fn take(&self) -> Log {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

struct Writer<'a>(&'a mut String);

impl Visit for Writer<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let _ = write!(self.0, " {}={value:?}", field.name());
    }
}

fn of(metadata: &Metadata<'_>) -> (String, Vec<String>) {
    let fields = metadata.fields().iter().map(|field| field.name().to_owned());
    (metadata.level().to_string(), fields.filter(|name| name != "message").collect())
}

fn of_engine(metadata: &Metadata<'_>) -> bool {
    metadata.target().starts_with("sync_core")
}

impl<S: Subscriber> Layer<S> for Capture {
    fn on_new_span(&self, attributes: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        let mut log = self.0.lock().unwrap();
        let metadata = attributes.metadata();
        log.count += 1;
        if of_engine(metadata) {
            log.spans.insert(metadata.name().to_owned(), of(metadata));
        }
        log.text.push_str(metadata.name());
        attributes.record(&mut Writer(&mut log.text));
        log.text.push('\n');
    }

    fn on_record(&self, _: &Id, values: &Record<'_>, _: Context<'_, S>) {
        values.record(&mut Writer(&mut self.0.lock().unwrap().text));
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut log = self.0.lock().unwrap();
        log.count += 1;
        if of_engine(event.metadata()) {
            log.lines.insert(event.metadata().name().to_owned(), of(event.metadata()));
        }
        log.text.push_str(event.metadata().name());
        event.record(&mut Writer(&mut log.text));
        log.text.push('\n');
    }
}

/// What panics say that are not kept from saying it. The hook is the whole process's, so it is set before the first walk.
pub(crate) fn panics_heard() -> MutexGuard<'static, Vec<String>> {
    static HEARD: LazyLock<Mutex<Vec<String>>> = LazyLock::new(Mutex::default);
    static SET: Once = Once::new();
    SET.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |info| {
            HEARD.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{info}"));
            before(info);
        }));
        hide_panic_messages();
    });
    HEARD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps the events, as values and as text.
#[derive(Debug, Default)]
pub(crate) struct Events(Mutex<Vec<SyncEvent>>);

impl Observer for Events {
    fn on_event(&self, event: &SyncEvent) {
        self.0.lock().unwrap().push(event.clone());
    }
}

impl Events {
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.lock().unwrap().iter().any(|event| event.name() == name)
    }

    pub(crate) fn names(&self) -> BTreeSet<&'static str> {
        self.0.lock().unwrap().iter().map(SyncEvent::name).collect()
    }

    pub(crate) fn text(&self) -> String {
        let events = self.0.lock().unwrap();
        format!("{events:?}\n{events:#?}")
    }
}
