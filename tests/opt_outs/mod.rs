//! Random opt-outs: both sides are changed by hand while the connector runs, fails, is stopped and is cut off, in all four directions,
//! and what became of every row is judged by an oracle of its own.

mod oracle;

use std::ops::AddAssign;
use std::sync::Arc;
use std::time::Duration;

use d365_campaign::{Config, Connector, RunMode};
use sandbox::SandboxConfig;
use sandbox::scenario::Scenario;
use serde_json::{Value, json};
use timing::SystemClock;

use crate::draw::Rng;
use crate::{Ahead, Stage};
use oracle::Course;

/// The pairs: the column of the contact, the attribute of the profile.
const PAIRS: [(&str, &str); 2] = [("donotemail", "blackListEmail"), ("donotphone", "blackListPhone")];
/// The connector's clock is faster than the machine's by this.
const FASTER: u32 = 20;
/// How long a write may still take effect after it was sent, in seconds of the connector's clock; half a second of the machine's.
const SETTLE: u32 = 10;
/// How late a request is carried out that was answered already, in milliseconds of the machine's clock.
const LATE_MS: u64 = 20;
/// A run has come to rest within this time.
const AT_REST: Duration = Duration::from_secs(60);

/// The directions of requirement R-OPT-2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Nothing moves.
    Disabled,
    /// Dynamics 365 leads.
    D365ToCampaign,
    /// Campaign leads.
    CampaignToD365,
    /// Both, by Adobe's rule.
    Bidirectional,
}

impl Direction {
    /// As the configuration has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::D365ToCampaign => "d365_to_campaign",
            Self::CampaignToD365 => "campaign_to_d365",
            Self::Bidirectional => "bidirectional",
        }
    }

    /// The direction of that name.
    pub fn of(name: &str) -> Option<Self> {
        let all = [Self::Disabled, Self::D365ToCampaign, Self::CampaignToD365, Self::Bidirectional];
        all.into_iter().find(|direction| direction.name() == name)
    }

    fn reads_campaign(self) -> bool {
        matches!(self, Self::CampaignToD365 | Self::Bidirectional)
    }

    /// Most seeds have the direction in which most can go wrong.
    fn drawn(draws: &mut Rng) -> Self {
        match draws.below(16) {
            0 => Self::Disabled,
            1..=3 => Self::D365ToCampaign,
            4..=6 => Self::CampaignToD365,
            _ => Self::Bidirectional,
        }
    }
}

/// By which way the connector hears of Campaign's changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// A published filter, polled.
    Filter,
    /// The file that a workflow of Campaign writes; here right before each run.
    File,
}

impl Channel {
    /// Every fourth seed has the file.
    pub fn of(seed: u64) -> Self {
        if seed % 4 == 3 { Self::File } else { Self::Filter }
    }

    fn source(self) -> &'static str {
        match self {
            Self::Filter => {
                "source = { filter = { name = \"byLastModified\", parameter = \"lastModified_parameter\" } }\n"
            }
            Self::File => "source = { export = { folder = \"d365_loads/exports\" } }\n",
        }
    }

    /// Campaign's workflow does its work, where it is the file.
    async fn export(self, stage: &Stage) {
        if self == Self::File {
            stage.post("/exports/opt-out", &json!({})).await;
        }
    }
}

/// What is run.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// What is drawn depends on this alone.
    pub seed: u64,
    /// Drawn, unless given.
    pub direction: Option<Direction>,
    /// How Campaign's changes are heard of.
    pub channel: Channel,
}

/// What seeds came to.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// Seeds.
    pub seeds: u64,
    /// Changes by hand, on both sides.
    pub by_hand: u64,
    /// Rows that ingress created.
    pub created: u64,
    /// Opt-outs that the connector changed in Dynamics 365 and in Campaign.
    pub written: [u64; 2],
    /// FALSE over TRUE among them.
    pub opted_in: u64,
    /// Writes that Dynamics 365 refused, because the row had changed since it was read.
    pub conflicts: u64,
    /// Faults that fired.
    pub faults: u64,
    /// Runs, the quiet ones at the end not counted.
    pub runs: u64,
    /// Those that were cut off.
    pub cut_off: u64,
    /// What is not as it has to be.
    pub broken: Vec<String>,
}

impl AddAssign for Outcome {
    fn add_assign(&mut self, other: Self) {
        self.seeds += other.seeds;
        self.by_hand += other.by_hand;
        self.created += other.created;
        self.written = [self.written[0] + other.written[0], self.written[1] + other.written[1]];
        self.opted_in += other.opted_in;
        self.conflicts += other.conflicts;
        self.faults += other.faults;
        self.runs += other.runs;
        self.cut_off += other.cut_off;
        self.broken.extend(other.broken);
    }
}

/// A change by hand.
#[derive(Debug, Clone)]
enum Hand {
    /// A new contact, with or without each opt-out.
    Create([bool; 2]),
    /// Columns of a contact.
    Contact(usize, Value),
    /// Attributes of a profile.
    Profile(usize, Value),
    /// The profile is deleted, and the contact is changed after that: ingress makes the profile again.
    Again(usize),
    /// An opt-out in Campaign, and edits of the contact while it is looked at.
    Busy(usize, Value),
    /// Time passes.
    Later(i64),
}

struct World {
    stage: Stage,
    draws: Rng,
    contacts: Vec<String>,
    names: u64,
}

impl World {
    fn path(side: &str, id: &str) -> String {
        let table = if side == "dataverse" { "contact" } else { "profile" };
        format!("/records/{side}/{table}/{id}")
    }

    fn hand(&mut self) -> Hand {
        let at = self.draws.below(self.contacts.len());
        let pair = PAIRS[self.draws.below(PAIRS.len())];
        let value = !self.draws.one_in(3);
        match self.draws.below(20) {
            0..=1 if self.contacts.len() < 4 => Hand::Create([self.draws.one_in(2), self.draws.one_in(3)]),
            0..=6 => Hand::Contact(at, json!({ pair.0: value })),
            7..=12 => Hand::Profile(at, json!({ pair.1: value })),
            13 => Hand::Contact(at, json!({ PAIRS[0].0: value, PAIRS[1].0: value })),
            14 => Hand::Contact(at, json!({"lastname": self.name()})),
            15 => Hand::Profile(at, json!({"firstName": self.name()})),
            16 => Hand::Again(at),
            17 => Hand::Busy(at, json!({ pair.1: value })),
            _ => Hand::Later(1 + i64::try_from(self.draws.below(3)).unwrap_or(0)),
        }
    }

    fn name(&mut self) -> String {
        self.names += 1;
        format!("Name {}", self.names)
    }

    async fn perform(&mut self, hand: Hand) {
        match hand {
            Hand::Create([email, phone]) => {
                let id = self.draws.id();
                let row = json!({"lastname": self.name(), PAIRS[0].0: email, PAIRS[1].0: phone});
                self.stage.put(&Self::path("dataverse", &id), &row).await;
                self.contacts.push(id);
            }
            Hand::Contact(at, fields) => {
                self.stage.patch(&Self::path("dataverse", &self.contacts[at]), &fields).await;
            }
            Hand::Profile(at, fields) => {
                // Where there is no such profile yet, nobody can change it.
                self.stage.patch(&Self::path("campaign", &self.contacts[at]), &fields).await;
            }
            Hand::Again(at) => {
                self.stage.remove(&Self::path("campaign", &self.contacts[at])).await;
                let fields = json!({"lastname": self.name()});
                self.stage.patch(&Self::path("dataverse", &self.contacts[at]), &fields).await;
            }
            Hand::Busy(at, fields) => {
                self.stage.patch(&Self::path("campaign", &self.contacts[at]), &fields).await;
                for _ in 0..10 {
                    tokio::time::sleep(Duration::from_millis(7)).await;
                    let fields = json!({"lastname": self.name()});
                    self.stage.patch(&Self::path("dataverse", &self.contacts[at]), &fields).await;
                }
            }
            Hand::Later(seconds) => self.stage.post("/clock", &json!({"advance_seconds": seconds})).await,
        }
    }

    /// Some changes, with pauses between them of this length at most.
    async fn some(&mut self, most: usize, pause_ms: usize) {
        for _ in 0..self.draws.below(most + 1) {
            let hand = self.hand();
            self.perform(hand).await;
            if pause_ms > 0 {
                let pause = self.draws.below(pause_ms);
                tokio::time::sleep(Duration::from_millis(pause as u64)).await;
            }
        }
    }

    /// Contacts to begin with; some have a profile already.
    async fn begin(&mut self) {
        for _ in 0..1 + self.draws.below(3) {
            let opted_out = [self.draws.one_in(3), self.draws.one_in(3)];
            self.perform(Hand::Create(opted_out)).await;
            if self.draws.one_in(3) {
                let id = self.contacts.last().cloned().unwrap_or_default();
                let row = json!({
                    "lastName": self.name(), PAIRS[0].1: self.draws.one_in(3), PAIRS[1].1: self.draws.one_in(3),
                });
                self.stage.put(&Self::path("campaign", &id), &row).await;
            }
        }
    }

    async fn fail(&mut self) {
        let kinds = [
            ("dataverse", "GET", json!({"fault": "reset_before"})),
            ("dataverse", "GET", json!({"fault": "status", "status": 503})),
            ("dataverse", "GET", json!({"fault": "throttle"})),
            ("dataverse", "GET", json!({"fault": "resend_rows"})),
            ("dataverse", "PATCH", json!({"fault": "reset_before"})),
            ("dataverse", "PATCH", json!({"fault": "reset_after_commit"})),
            ("dataverse", "PATCH", json!({"fault": "status", "status": 500})),
            ("dataverse", "PATCH", json!({"fault": "throttle"})),
            ("dataverse", "PATCH", json!({"fault": "late_execution", "delay_ms": LATE_MS})),
            ("dataverse", "PATCH", json!({"fault": "duplicate"})),
            ("campaign", "GET", json!({"fault": "truncate"})),
            ("campaign", "GET", json!({"fault": "status", "status": 500})),
            ("campaign", "GET", json!({"fault": "throttle"})),
            ("campaign", "POST", json!({"fault": "reset_after_commit"})),
            ("campaign", "POST", json!({"fault": "duplicate"})),
            ("campaign", "POST", json!({"fault": "status", "status": 503})),
            ("campaign", "PATCH", json!({"fault": "reset_before"})),
            ("campaign", "PATCH", json!({"fault": "reset_after_commit"})),
            ("campaign", "PATCH", json!({"fault": "status", "status": 500})),
            ("campaign", "PATCH", json!({"fault": "throttle"})),
            ("campaign", "PATCH", json!({"fault": "late_execution", "delay_ms": LATE_MS})),
            ("campaign", "PATCH", json!({"fault": "duplicate"})),
            ("campaign", "PATCH", json!({"fault": "expire_token"})),
        ];
        let mut rules = Vec::new();
        for _ in 0..self.draws.below(5) {
            let (side, method, mut rule) = kinds[self.draws.below(kinds.len())].clone();
            rule["side"] = json!(side);
            rule["method"] = json!(method);
            rule["nth"] = json!(1 + self.draws.below(3));
            rules.push(rule);
        }
        self.stage.post("/faults", &rules.into()).await;
    }
}

fn config(stage: &Stage, plan: &Plan, direction: Direction) -> Config {
    let mut section = "[[table]]\ntable = \"contact\"\nresource = \"profile\"\nkey = \"externalId\"\n\
                       fields = [ { from = \"lastname\", to = \"lastName\" } ]\n"
        .to_owned();
    section += &format!("[opt_out]\ndirection = \"{}\"\n", direction.name());
    if direction.reads_campaign() {
        section += plan.channel.source();
    }
    section += "pairs = [ { d365 = \"donotemail\", campaign = \"denyListEmail\" }, \
                { d365 = \"donotphone\", campaign = \"denyListPhone\" } ]\n";
    let sftp = &stage.info()["sftp"];
    if plan.channel == Channel::File {
        section += &format!(
            "[sftp]\nhost = {}\nport = {}\nuser = {}\nprivate_key = {{ file = {} }}\nhost_key = {}\n",
            sftp["host"], sftp["port"], sftp["user"], sftp["private_key_file"], sftp["host_key"],
        );
    }
    stage.config_with("", &format!("settle_seconds = {SETTLE}"), "", &section)
}

/// A connector; while services fail, the first one may not come to be.
async fn connect(config: &Config, clock: &Arc<Ahead>) -> Connector {
    for _ in 0..20 {
        if let Ok(connector) = Connector::builder(config.clone()).clock(clock.clone()).connect().await {
            return connector;
        }
    }
    panic!("the connector does not come to be");
}

/// Runs one seed.
pub async fn run(plan: Plan) -> Outcome {
    let mut draws = Rng::new(plan.seed);
    let direction = Direction::drawn(&mut draws);
    let direction = plan.direction.unwrap_or(direction);
    let stage = Stage::with(SandboxConfig {
        contacts: 0,
        scenario: Scenario::default(),
        dataverse_latency: Duration::from_millis(2),
        // Both sides are read one after the other: between a read and a write there is time for others.
        campaign_latency: Duration::from_millis([0, 2, 12][draws.below(3)]),
        ..SandboxConfig::default()
    })
    .await;
    stage.post("/history", &json!({"keep": true})).await;
    let config = config(&stage, &plan, direction);
    let clock = Arc::new(Ahead { clock: SystemClock::new(), ahead: Duration::ZERO, times: FASTER });
    let mut world = World { stage, draws, contacts: Vec::new(), names: 0 };
    let mut outcome = Outcome { seeds: 1, ..Outcome::default() };
    let mut course = Course::new(plan.channel == Channel::File);
    world.begin().await;
    for _ in 0..1 + world.draws.below(3) {
        world.some(3, 0).await;
        plan.channel.export(&world.stage).await;
        world.fail().await;
        course.run_begins(world.stage.history().await.len());
        outcome.runs += 1;
        let running = connect(&config, &clock).await.start(RunMode::UntilIdle);
        let stopper = running.stopper();
        match world.draws.below(4) {
            // Cut off: what is in flight is neither awaited nor settled.
            0 => {
                let joined = tokio::spawn(running.join());
                world.some(4, 20).await;
                joined.abort();
                let _ = joined.await;
                outcome.cut_off += 1;
            }
            1 => {
                world.some(4, 20).await;
                stopper.stop();
                let _ = running.join().await;
            }
            _ => {
                let (ended, ()) = tokio::join!(tokio::time::timeout(AT_REST, running.join()), world.some(4, 20));
                match ended {
                    Ok(_) => course.run_is_idle(world.stage.history().await.len()),
                    Err(_) => outcome.broken.push("a run did not come to rest".to_owned()),
                }
            }
        }
    }
    outcome.faults = world.stage.faults_fired().await;
    world.stage.clear_faults().await;
    // What was sent and not answered is carried out by now.
    tokio::time::sleep(Duration::from_millis(3 * LATE_MS)).await;
    plan.channel.export(&world.stage).await;
    let left = world.stage.history().await.len();
    course.run_begins(left);
    quiet_run(&config, &clock, &mut outcome).await;
    if world.stage.history().await.len() > left {
        // What one workflow wrote when the other had nothing more to do is a change like any other.
        plan.channel.export(&world.stage).await;
        quiet_run(&config, &clock, &mut outcome).await;
    }
    plan.channel.export(&world.stage).await;
    course.is_at_rest(world.stage.history().await.len());
    quiet_run(&config, &clock, &mut outcome).await;
    let history = world.stage.history().await;
    match d365_campaign::consent::verify(&config).await {
        _ if direction == Direction::Disabled => {}
        Ok(Ok(_)) => {}
        other => outcome.broken.push(format!("the ledger: {other:?}")),
    }
    let counters = world.stage.counters().await;
    outcome.conflicts = counters["dataverse"]["status"]["412"].as_u64().unwrap_or(0);
    oracle::judge(direction, &course, &history, &mut outcome);
    for line in &mut outcome.broken {
        *line = format!("seed {} ({}): {line}", plan.seed, direction.name());
    }
    outcome
}

/// Runs until nothing is left.
async fn quiet_run(config: &Config, clock: &Arc<Ahead>, outcome: &mut Outcome) {
    let running = connect(config, clock).await.start(RunMode::UntilIdle);
    match tokio::time::timeout(AT_REST, running.join()).await {
        Ok(summary) => {
            for reason in summary.workflows.iter().filter_map(|workflow| workflow.status.reason.as_ref()) {
                outcome.broken.push(format!("a workflow ended with {reason:?}"));
            }
            if summary.total().dead > 0 {
                outcome.broken.push(format!("{} dead letters", summary.total().dead));
            }
        }
        Err(_) => outcome.broken.push("the quiet run did not come to rest".to_owned()),
    }
}
