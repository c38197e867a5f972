//! A running sandbox: listeners, services, the end.

use std::net::SocketAddr;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware::from_fn_with_state;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::campaign::{CampaignScenarioError, CampaignService};
use crate::clock::SandboxClock;
use crate::connection::{Connection, Gate};
use crate::control::{self, Control};
use crate::dataverse::{DataverseService, Limits};
use crate::journal::{JournalAddress, JournalService};
use crate::scenario::Scenario;
use crate::service::{ServiceConfig, Shared, Side, serve};
use crate::sftp::control::FileControl;
use crate::sftp::{SftpInfo, SftpService};
use crate::tls;

/// What a sandbox is started with.
#[derive(Debug, Clone)]
pub struct SandboxConfig {
    /// Address of Dataverse; port 0 means a free one.
    pub dataverse: SocketAddr,
    /// Address of Campaign.
    pub campaign: SocketAddr,
    /// Address of the events journal.
    pub journal: SocketAddr,
    /// Address of the file exchange.
    pub sftp: SocketAddr,
    /// Address of the control interface.
    pub control: SocketAddr,
    /// Seeded contacts.
    pub contacts: u64,
    /// Seed: the same seed gives the same data and ids.
    pub seed: u64,
    /// Tables, resources, switches.
    pub scenario: Scenario,
    /// Service protection limits of Dataverse; none when absent.
    pub limits: Option<Limits>,
    /// Delay of each answer of Dataverse.
    pub dataverse_latency: Duration,
    /// Delay of each answer of Campaign.
    pub campaign_latency: Duration,
    /// Folder that gets `ca.pem`; https in place of http when given.
    pub tls: Option<PathBuf>,
    /// Where clients reach Dataverse when something stands in front of it: its links, and the resource that tokens are asked for,
    /// name this address. The token endpoint stays at the listener.
    pub dataverse_front: Option<SocketAddr>,
    /// The same for Campaign; IMS stays at the listener.
    pub campaign_front: Option<SocketAddr>,
}

impl Default for SandboxConfig {
    fn default() -> Self {
        let free = SocketAddr::from(([127, 0, 0, 1], 0));
        Self {
            dataverse: free,
            campaign: free,
            journal: free,
            sftp: free,
            control: free,
            contacts: 1000,
            seed: 42,
            scenario: Scenario::default(),
            limits: None,
            dataverse_latency: Duration::ZERO,
            campaign_latency: Duration::ZERO,
            tls: None,
            dataverse_front: None,
            campaign_front: None,
        }
    }
}

/// Why a sandbox did not start.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// An address that cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
    /// The control interface has no authentication, so it stays on loopback.
    #[error("the sandbox listens on loopback addresses only, and {0} is none")]
    NotLoopback(SocketAddr),
    /// The Dataverse half of the scenario does not fit together.
    #[error("the scenario's dataverse section: {0}")]
    Dataverse(String),
    /// The Campaign half of the scenario does not fit together.
    #[error("the scenario's campaign section: {0}")]
    Campaign(#[from] CampaignScenarioError),
    /// No certificate could be made.
    #[error("{0}")]
    Tls(String),
    /// The keys of the file exchange could not be written.
    #[error("the keys of the file exchange: {0}")]
    Sftp(String),
}

/// Where Dataverse is, and who may enter.
#[derive(Debug, Clone)]
pub struct DataverseInfo {
    /// Origin; the Web API is under `/api/data/v9.2/`.
    pub url: String,
    /// Tenant.
    pub tenant: String,
    /// Origin of the token endpoint.
    pub authority: String,
    /// Application id.
    pub client_id: String,
    /// Its secret.
    pub client_secret: String,
}

/// Where Campaign is, and who may enter.
#[derive(Debug, Clone)]
pub struct CampaignInfo {
    /// Address with the organization; `/campaign/...` follows.
    pub url: String,
    /// Origin of IMS.
    pub ims_url: String,
    /// Application id (API key).
    pub client_id: String,
    /// Its secret.
    pub client_secret: String,
    /// `...@AdobeOrg`.
    pub org_id: String,
}

/// Where the events journal is. It takes Campaign's tokens and credentials.
#[derive(Debug, Clone)]
pub struct JournalInfo {
    /// Address of the registration.
    pub url: String,
}

/// What a client needs to know of a running sandbox.
#[derive(Debug, Clone)]
pub struct SandboxInfo {
    /// Dataverse.
    pub dataverse: DataverseInfo,
    /// Campaign.
    pub campaign: CampaignInfo,
    /// The events journal.
    pub journal: JournalInfo,
    /// The file exchange.
    pub sftp: SftpInfo,
    /// Origin of the control interface.
    pub control: String,
}

impl SandboxInfo {
    /// The object that the program prints.
    pub fn to_json(&self) -> Value {
        let (d, c) = (&self.dataverse, &self.campaign);
        json!({
            "dataverse": {"url": d.url, "tenant": d.tenant, "authority": d.authority, "client_id": d.client_id, "client_secret": d.client_secret},
            "campaign": {"url": c.url, "ims_url": c.ims_url, "client_id": c.client_id, "client_secret": c.client_secret, "org_id": c.org_id},
            "journal": {"url": self.journal.url},
            "sftp": self.sftp.to_json(),
            "control": self.control,
        })
    }
}

/// A running sandbox. Dropping it stops it without waiting; [`Sandbox::shutdown`] waits.
#[derive(Debug)]
pub struct Sandbox {
    info: SandboxInfo,
    shared: Arc<Shared>,
    dataverse: Arc<DataverseService>,
    campaign: Arc<CampaignService>,
    sftp: Arc<SftpService>,
    servers: JoinSet<()>,
    stop: CancellationToken,
}

async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), SandboxError> {
    if !address.ip().is_loopback() {
        return Err(SandboxError::NotLoopback(address));
    }
    let failed = |source| SandboxError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

impl Sandbox {
    /// Starts everything; when this returns, all addresses answer.
    ///
    /// # Errors
    /// An address that cannot be had, a scenario that does not fit together, no certificate. Nothing is left running then.
    pub async fn start(config: SandboxConfig) -> Result<Self, SandboxError> {
        let (dataverse_listener, dataverse_at) = listen(config.dataverse).await?;
        let (campaign_listener, campaign_at) = listen(config.campaign).await?;
        let (journal_listener, journal_at) = listen(config.journal).await?;
        let (sftp_listener, sftp_at) = listen(config.sftp).await?;
        let (control_listener, control_at) = listen(config.control).await?;
        let host = dataverse_at.ip().to_string();
        let tls = config.tls.as_deref().map(|dir| tls::acceptor(dir, &host)).transpose().map_err(SandboxError::Tls)?;
        let scheme = if tls.is_some() { "https" } else { "http" };
        let dataverse_front = config.dataverse_front.unwrap_or(dataverse_at);
        let campaign_front = config.campaign_front.unwrap_or(campaign_at);
        let journal_address = JournalAddress { origin: format!("{scheme}://{journal_at}") };
        let stop = CancellationToken::new();
        let mut servers = JoinSet::new();
        let clock = Arc::new(SandboxClock::new());
        let sftp = SftpService::start(sftp_listener, sftp_at, config.seed, clock.clone(), stop.clone(), &mut servers)
            .map_err(SandboxError::Sftp)?;
        let sftp = Arc::new(sftp);
        let info = SandboxInfo {
            dataverse: DataverseInfo {
                url: format!("{scheme}://{dataverse_front}"),
                tenant: "contoso.example".to_owned(),
                authority: format!("{scheme}://{dataverse_at}"),
                client_id: "6d1f0c52-8c2e-4f7a-9a53-0d6a3b1c2e4f".to_owned(),
                // Characters that must be encoded in a form, as real secrets have them.
                client_secret: "sbx~D8Q+/Secret.of.Dataverse==".to_owned(),
            },
            campaign: CampaignInfo {
                url: format!("{scheme}://{campaign_front}/acme"),
                ims_url: format!("{scheme}://{campaign_at}"),
                client_id: "0f9e8d7c6b5a49388d7e6f5a4b3c2d1e".to_owned(),
                client_secret: "p8e-Sandbox+Secret/of~Campaign".to_owned(),
                org_id: "5A4D0C1E2B3F4A5D0A495E0B@AdobeOrg".to_owned(),
            },
            journal: JournalInfo { url: journal_address.url() },
            sftp: sftp.info().clone(),
            // Control stays plain: it is on loopback and belongs to the tests.
            control: format!("http://{control_at}"),
        };
        let shared = Arc::new(Shared::with_clock(service_config(&config, &info), clock, stop.clone()));
        // Seeding a million rows takes seconds: not on a thread that serves.
        let made = {
            let (shared, scenario, limits) = (shared.clone(), config.scenario.clone(), config.limits);
            tokio::task::spawn_blocking(move || {
                let dataverse = DataverseService::new(&scenario.dataverse, limits, shared.clone())
                    .map_err(SandboxError::Dataverse)?;
                let campaign = CampaignService::new(&scenario.campaign, shared)?;
                Ok::<_, SandboxError>((dataverse, campaign))
            })
        };
        let (dataverse, campaign) = made.await.map_err(|_| SandboxError::Dataverse("seeding failed".to_owned()))??;
        let journal = JournalService::new(&config.scenario.journal, journal_address, shared.clone());
        let layered = |router: Router, side: Side| router.layer(from_fn_with_state((side, shared.clone()), serve));
        let control = Control {
            shared: shared.clone(),
            dataverse: dataverse.clone(),
            campaign: campaign.clone(),
            journal: journal.clone(),
            sftp: sftp.clone(),
            info: info.to_json(),
        };
        let told = journal.clone();
        let events =
            Arc::new(move |of: Range<usize>| told.log().records(of).iter().map(|event| event.payload()).collect());
        let files = Arc::new(FileControl::new(sftp.clone(), campaign.clone(), shared.clock.clone(), events));
        let daily = Arc::downgrade(&files);
        campaign.on_workflow_run(move |_| {
            if let Some(files) = daily.upgrade() {
                crate::sftp::control::daily(&files);
            }
        });
        let control = control::router(Arc::new(control))
            .merge(crate::sftp::control::router(files))
            .layer(axum::extract::DefaultBodyLimit::max(64 * 1024 * 1024));
        let services = [
            (dataverse_listener, tls.clone(), layered(dataverse.router(), Side::Dataverse), dataverse_at),
            (campaign_listener, tls.clone(), layered(campaign.router(), Side::Campaign), campaign_at),
            (journal_listener, tls, layered(journal.router(), Side::Journal), journal_at),
            (control_listener, None, control, control_at),
        ];
        for (listener, tls, router, address) in services {
            let gate =
                Gate::open(listener, tls, stop.clone()).map_err(|source| SandboxError::Listen { address, source })?;
            let service = router.into_make_service_with_connect_info::<Connection>();
            let stopped = stop.clone();
            servers.spawn(async move {
                let served = axum::serve(gate, service).with_graceful_shutdown(stopped.cancelled_owned()).await;
                if let Err(error) = served {
                    tracing::warn!(%error, "a listener ended");
                }
            });
        }
        Ok(Self { info, shared, dataverse, campaign, sftp, servers, stop })
    }

    /// Addresses and credentials.
    pub fn info(&self) -> &SandboxInfo {
        &self.info
    }

    /// Clock, faults, counters, tokens.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Dataverse's rows, past HTTP.
    pub fn dataverse(&self) -> &Arc<DataverseService> {
        &self.dataverse
    }

    /// Campaign's rows, past HTTP.
    pub fn campaign(&self) -> &Arc<CampaignService> {
        &self.campaign
    }

    /// The file exchange, past SSH.
    pub fn sftp(&self) -> &Arc<SftpService> {
        &self.sftp
    }

    /// Stops: no new connections, at most a second for requests in flight, then the end. Safe to cancel: dropping stops at once.
    pub async fn shutdown(mut self) {
        self.stop.cancel();
        let ended = async { while self.servers.join_next().await.is_some() {} };
        if tokio::time::timeout(Duration::from_secs(1), ended).await.is_err() {
            self.servers.shutdown().await;
        }
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn service_config(config: &SandboxConfig, info: &SandboxInfo) -> ServiceConfig {
    ServiceConfig {
        dataverse_url: info.dataverse.url.clone(),
        authority: info.dataverse.authority.clone(),
        tenant: info.dataverse.tenant.clone(),
        dataverse_client_id: info.dataverse.client_id.clone(),
        dataverse_client_secret: info.dataverse.client_secret.clone(),
        campaign_url: info.campaign.url.clone(),
        organization: "acme".to_owned(),
        ims_url: info.campaign.ims_url.clone(),
        campaign_client_id: info.campaign.client_id.clone(),
        campaign_client_secret: info.campaign.client_secret.clone(),
        org_id: info.campaign.org_id.clone(),
        control_url: info.control.clone(),
        seed: config.seed,
        contacts: config.contacts,
        dataverse_latency: config.dataverse_latency,
        campaign_latency: config.campaign_latency,
    }
}
