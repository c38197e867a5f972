//! A workflow: streams that are read and written together, started and stopped as one.

mod handle;
mod supervisor;

use std::sync::Arc;
use std::time::Duration;

use timing::{SharedClock, SharedEntropy, SystemClock, SystemEntropy};

use crate::engine::{EngineOptions, RunMode};
use crate::telemetry::MetricSource;
use crate::traits::{Class, Destination, NoObserver, Observer, OwnerId, Request, Source, Store, Transform};
use crate::{StoreError, StreamId};

pub use handle::{RunReport, StreamReport, WorkflowHandle};

/// One table of a workflow: where its changes come from, what they mean, and where they go.
#[derive(Debug, Clone)]
pub struct StreamConfig {
    /// Its name, unique within the store.
    pub id: StreamId,
    /// Parents have lower ranks: entries are claimed only when no due entry of a lower rank is left, and while a stream of
    /// a lower rank is in its first snapshot, those of higher ranks wait. A replay holds nobody up.
    pub rank: u32,
    /// How urgent its changes are. What is read of the whole table at once is less urgent in any case.
    pub class: Class,
    /// Where changes come from.
    pub source: Arc<dyn Source>,
    /// What they mean.
    pub transform: Arc<dyn Transform>,
    /// Where they go.
    pub destination: Arc<dyn Destination>,
    /// How long to wait before asking a source again that had nothing more.
    pub poll_every: Duration,
    /// Whether records that a pass over the whole table did not meet are looked for and deleted. Deletes that the source
    /// reports are the transform's matter.
    pub apply_deletes: bool,
    /// Rows per page to ask the source for.
    pub page_rows: u32,
}

/// What a workflow is made of.
#[derive(Debug)]
pub(crate) struct Spec {
    pub(crate) name: Arc<str>,
    pub(crate) owner: OwnerId,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: SharedClock,
    pub(crate) entropy: SharedEntropy,
    pub(crate) streams: Vec<StreamConfig>,
    pub(crate) observer: Arc<dyn Observer>,
    pub(crate) clients: Vec<Arc<dyn MetricSource>>,
    pub(crate) options: EngineOptions,
}

/// A workflow that can be started, stopped and started again.
#[derive(Debug, Clone)]
pub struct Workflow {
    spec: Arc<Spec>,
}

/// What is missing in a builder.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// No store was given.
    #[error("the workflow has no store; give it one with `store`")]
    NoStore,
    /// No stream was given.
    #[error("the workflow has no stream; add one with `stream`")]
    NoStream,
    /// Two streams have the same name and would share a checkpoint.
    #[error("the stream {0} is there twice; give each its own name")]
    DuplicateStream(StreamId),
}

impl Workflow {
    /// Starts building. The name is the lease's, too: two workflows of one name never run on one store at a time.
    pub fn builder(name: impl Into<Arc<str>>) -> WorkflowBuilder {
        WorkflowBuilder {
            name: name.into(),
            owner: OwnerId(format!("process {}", std::process::id()).into()),
            store: None,
            clock: SystemClock::shared(),
            entropy: SystemEntropy::shared(),
            streams: Vec::new(),
            observer: Arc::new(NoObserver),
            clients: Vec::new(),
            options: EngineOptions::default(),
        }
    }

    /// Starts a run on the tokio runtime of the caller. The answer is the run's only owner: dropping it ends the run.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn start(&self, mode: RunMode) -> WorkflowHandle {
        supervisor::start(self.spec.clone(), mode)
    }

    /// Leaves a request of an operator in the store. The running workflow, or the next run of it, carries it out. Answers its
    /// number.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn request(&self, request: &Request) -> Result<u64, StoreError> {
        self.spec.store.leave_request(request, self.spec.clock.now().timestamp_millis()).await
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.spec.name
    }
}

/// Builds a [`Workflow`].
#[derive(Debug)]
pub struct WorkflowBuilder {
    name: Arc<str>,
    owner: OwnerId,
    store: Option<Arc<dyn Store>>,
    clock: SharedClock,
    entropy: SharedEntropy,
    streams: Vec<StreamConfig>,
    observer: Arc<dyn Observer>,
    clients: Vec<Arc<dyn MetricSource>>,
    options: EngineOptions,
}

impl WorkflowBuilder {
    /// The store that keeps everything. Required.
    #[must_use]
    pub fn store(mut self, store: Arc<dyn Store>) -> Self {
        self.store = Some(store);
        self
    }

    /// Who holds the lease; this process by default. Two owners never run one workflow on one store at a time, and one owner's
    /// later run takes over from its earlier one.
    #[must_use]
    pub fn owner(mut self, owner: OwnerId) -> Self {
        self.owner = owner;
        self
    }

    /// The clock; the machine's own by default.
    #[must_use]
    pub fn clock(mut self, clock: SharedClock) -> Self {
        self.clock = clock;
        self
    }

    /// Randomness for back-off; the operating system's by default.
    #[must_use]
    pub fn entropy(mut self, entropy: SharedEntropy) -> Self {
        self.entropy = entropy;
        self
    }

    /// Adds a stream. At least one is required.
    #[must_use]
    pub fn stream(mut self, stream: StreamConfig) -> Self {
        self.streams.push(stream);
        self
    }

    /// Who is told of events; nobody by default.
    #[must_use]
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = observer;
        self
    }

    /// Adds clients whose state is shown with the workflow's [metrics](WorkflowHandle::metrics).
    #[must_use]
    pub fn metric_source(mut self, source: Arc<dyn MetricSource>) -> Self {
        self.clients.push(source);
        self
    }

    /// The engine's settings.
    #[must_use]
    pub fn options(mut self, options: EngineOptions) -> Self {
        self.options = options;
        self
    }

    /// The workflow. Nothing is read or written before it is started.
    ///
    /// # Errors
    /// When the store or every stream is missing, or two streams share a name.
    pub fn build(self) -> Result<Workflow, BuildError> {
        let store = self.store.ok_or(BuildError::NoStore)?;
        if self.streams.is_empty() {
            return Err(BuildError::NoStream);
        }
        for (index, stream) in self.streams.iter().enumerate() {
            if self.streams.iter().take(index).any(|earlier| earlier.id == stream.id) {
                return Err(BuildError::DuplicateStream(stream.id.clone()));
            }
        }
        let spec = Spec {
            name: self.name,
            owner: self.owner,
            store,
            clock: self.clock,
            entropy: self.entropy,
            streams: self.streams,
            observer: self.observer,
            clients: self.clients,
            options: self.options,
        };
        Ok(Workflow { spec: Arc::new(spec) })
    }
}
