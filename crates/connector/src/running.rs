//! A started connector: its workflows watched, stopped and started again one by one.

use std::collections::BTreeMap;
use std::time::Duration;

use sync_core::telemetry::Metrics;
use sync_core::{RunMode, RunReport, StreamId, Tally, WorkflowHandle, WorkflowState, WorkflowStatus};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::connector::{Connector, Member};
#[cfg(feature = "exchange")]
use crate::logs::upload::{Uploader, Uploading};
use crate::reason;
use crate::summary::{RunSummary, TableSummary, Traffic, WorkflowSummary};

/// A started connector. Dropping it stops the workflows; what is in flight is settled by the next run.
#[derive(Debug)]
pub struct Running {
    connector: Connector,
    runs: BTreeMap<String, Run>,
    /// Cancelled when everything is to stop.
    stop: CancellationToken,
    started: Duration,
    gates: Option<AbortOnDropHandle<()>>,
    #[cfg(feature = "exchange")]
    uploading: Option<Uploading>,
}

/// One workflow, from its first start on.
#[derive(Debug, Default)]
struct Run {
    handle: Option<WorkflowHandle>,
    /// Passes a stop of everything on.
    stops: Option<AbortOnDropHandle<()>>,
    last: Option<WorkflowStatus>,
    tallies: BTreeMap<StreamId, Tally>,
}

/// Stops a running connector from elsewhere.
#[derive(Debug, Clone)]
pub struct Stopper(CancellationToken);

impl Stopper {
    /// Asks for a stop in good order: nothing new is sent, what is in flight is finished and settled.
    pub fn stop(&self) {
        self.0.cancel();
    }
}

impl Run {
    fn ended(&mut self, report: RunReport) {
        self.last = Some(report.status);
        for stream in report.streams {
            *self.tallies.entry(stream.id).or_default() += stream.tally;
        }
    }
}

impl Running {
    pub(crate) fn begin(mut connector: Connector, names: &[String], mode: RunMode) -> Self {
        let started = connector.clock.monotonic();
        let gates = connector.gates.take().map(|gates| AbortOnDropHandle::new(tokio::spawn(gates.keep())));
        let stop = CancellationToken::new();
        #[cfg(feature = "exchange")]
        let uploading = connector.uploader.take().map(Uploader::start);
        let mut running = Self {
            connector,
            runs: BTreeMap::new(),
            stop,
            started,
            gates,
            #[cfg(feature = "exchange")]
            uploading,
        };
        for name in names {
            running.start(name, mode);
        }
        running
    }

    /// Starts a workflow that does not run; `false` when it runs already, or is not configured.
    pub fn start(&mut self, workflow: &str, mode: RunMode) -> bool {
        let Some(member) = self.connector.members.iter().find(|member| member.workflow.name() == workflow) else {
            return false;
        };
        let run = self.runs.entry(workflow.to_owned()).or_default();
        if run.handle.as_ref().is_some_and(|handle| !is_over(&handle.status())) {
            return false;
        }
        let handle = member.workflow.start(mode);
        if self.stop.is_cancelled() {
            handle.stop();
        }
        let (all, one) = (self.stop.clone(), handle.stopper());
        run.stops = Some(AbortOnDropHandle::new(tokio::spawn(async move {
            all.cancelled().await;
            one.cancel();
        })));
        run.handle = Some(handle);
        true
    }

    /// Stops one workflow in good order and waits for its end; the others run on. `None` when it does not run.
    ///
    /// # Cancellation safety
    /// Dropping the future ends the workflow at once, like dropping [`Running`] does.
    pub async fn stop(&mut self, workflow: &str) -> Option<WorkflowStatus> {
        let run = self.runs.get_mut(workflow)?;
        let handle = run.handle.take()?;
        handle.stop();
        run.ended(handle.join().await);
        run.last.clone()
    }

    /// Stops everything from elsewhere.
    pub fn stopper(&self) -> Stopper {
        Stopper(self.stop.clone())
    }

    /// The status of a workflow at this moment; `None` when it was never started.
    pub fn status(&self, workflow: &str) -> Option<WorkflowStatus> {
        let run = self.runs.get(workflow)?;
        run.handle.as_ref().map(WorkflowHandle::status).or_else(|| run.last.clone())
    }

    /// Counts, ages and rates of a workflow and of both clients at this moment, also in the text format of Prometheus; `None` when
    /// it does not run.
    pub async fn metrics(&self, workflow: &str) -> Option<Metrics> {
        let handle = self.runs.get(workflow)?.handle.as_ref()?;
        Some(handle.metrics().await)
    }

    /// Waits for the end of all workflows and tells what was done.
    ///
    /// # Cancellation safety
    /// Dropping the future stops the workflows like dropping [`Running`] does.
    pub async fn join(self) -> RunSummary {
        let Self { connector, mut runs, stop, started, gates, .. } = self;
        #[cfg(feature = "exchange")]
        let uploading = self.uploading;
        let ends = runs.values_mut().map(|run| async move {
            if let Some(handle) = run.handle.take() {
                run.ended(handle.join().await);
            }
        });
        futures::future::join_all(ends).await;
        stop.cancel();
        if let Some(gates) = gates {
            gates.abort();
            // It ends in the middle of its wait. Afterwards nobody holds the store but the connector.
            let _ = gates.await;
        }
        if let Some(allowance) = &connector.allowance {
            allowance.close().await;
        }
        if let Some(consent) = &connector.consent {
            consent.close().await;
        }
        #[cfg(feature = "exchange")]
        if let Some(uploading) = uploading {
            uploading.finish().await;
        }
        let sent = Traffic { dataverse: connector.dataverse.stats().sent, campaign: connector.campaign.stats().sent };
        let set_up = connector.set_up;
        let elapsed = connector.clock.monotonic().saturating_sub(started);
        let workflows = connector.members.iter().filter_map(|member| {
            let run = runs.get(member.workflow.name())?;
            Some(summary(&connector, member, run))
        });
        RunSummary {
            workflows: workflows.collect(),
            requests: Traffic {
                dataverse: sent.dataverse - set_up.dataverse,
                campaign: sent.campaign - set_up.campaign,
            },
            // Tokens are asked for throughout a run, and are set-up all the same.
            setup_requests: Traffic {
                dataverse: set_up.dataverse + connector.dataverse_wire.token_requests(),
                campaign: set_up.campaign + connector.campaign_wire.token_requests(),
            },
            elapsed_ms: u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

fn is_over(status: &WorkflowStatus) -> bool {
    matches!(status.state, WorkflowState::Stopped | WorkflowState::Failed)
}

fn summary(connector: &Connector, member: &Member, run: &Run) -> WorkflowSummary {
    let mut status = run.last.clone().unwrap_or(WorkflowStatus { state: WorkflowState::Stopped, reason: None });
    status.reason = status.reason.map(|reason| reason::in_words_of(&connector.config, reason));
    let tables = member.streams.iter().map(|stream| TableSummary {
        table: stream.table.clone(),
        resource: stream.resource.clone(),
        tally: run.tallies.get(&stream.id).copied().unwrap_or_default(),
    });
    WorkflowSummary { workflow: member.workflow.name().to_owned(), status: status.into(), tables: tables.collect() }
}
