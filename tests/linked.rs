//! Random graphs of linked rows, several tables deep: created, changed and deleted in random order under faults, through the connector
//! and against the sandbox.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use d365_campaign::RunMode;
use serde_json::{Value, json};
use tokio::sync::watch::{Sender, channel};

use crate::draw::Rng;
use crate::{AT_REST, Stage, clock_faster, connected};

/// How many tables lie above each other, unless said otherwise.
pub const DEPTH: usize = 6;
/// Campaign is looked at so many times while rows are made, and as often while they are changed.
const LOOKS: usize = 10;
/// The clock of the connector is faster than the machine's by this.
const FASTER: u32 = 20;

/// The size of a run.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// Rows at the beginning.
    pub rows: usize,
    /// Tables that lie above each other.
    pub depth: usize,
    /// Rows that are changed, moved, added, or deleted (with all below them) after that.
    pub changes: usize,
    /// What is drawn depends on this alone.
    pub seed: u64,
    /// Whether the services fail now and then.
    pub faults: bool,
}

/// What a run saw.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Rows at the end.
    pub rows: usize,
    /// Rows deleted.
    pub deleted: usize,
    /// Faults that fired.
    pub faults: u64,
    /// Looks at all of Campaign's rows while the connector wrote.
    pub looks: u64,
    /// Rows that a look found hidden: a child without its parent.
    pub hidden: Vec<String>,
    /// Rows in which the sides differ at the end.
    pub different: Vec<String>,
    /// Children that Campaign has had for longer than the parents they always had.
    pub too_early: Vec<String>,
    /// Dead letters.
    pub dead: u64,
}

impl Outcome {
    /// Whether nothing was lost, hidden or too early.
    pub fn holds(&self) -> bool {
        self.hidden.is_empty() && self.different.is_empty() && self.too_early.is_empty() && self.dead == 0
    }
}

/// A row of Dataverse as it is meant to be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Row {
    name: String,
    up: Option<String>,
    peer: Option<String>,
    /// It was given another parent once.
    moved: bool,
}

/// The tables of Dataverse as they are meant to be, and how they come to be so.
#[derive(Debug)]
struct Graph {
    levels: Vec<BTreeMap<String, Row>>,
    rng: Rng,
    deleted: usize,
}

impl Graph {
    fn depth(&self) -> usize {
        self.levels.len()
    }

    fn any(&mut self, level: usize) -> Option<String> {
        let at = self.rng.below(self.levels[level].len());
        self.levels[level].keys().nth(at).cloned()
    }

    fn add(&mut self, level: usize) -> String {
        let id = self.rng.id();
        let up = if level > 0 && self.rng.below(10) > 0 { self.any(level - 1) } else { None };
        let name = format!("row {}", self.rng.below(1_000_000));
        self.levels[level].insert(id.clone(), Row { name, up, peer: None, moved: false });
        if level == with_peers(self.depth()) && self.rng.below(2) == 0 {
            let peer = self.any(level);
            self.levels[level].entry(id.clone()).and_modify(|row| row.peer = peer);
        }
        id
    }

    /// A row and all below it, the deepest first, as Dataverse's cascade leaves them; and those whose references it clears.
    fn below(&self, level: usize, id: &str) -> Vec<(usize, String)> {
        let mut all = vec![(level, id.to_owned())];
        for deeper in level + 1..self.depth() {
            let above: HashSet<String> =
                all.iter().filter(|(at, _)| at + 1 == deeper).map(|(_, id)| id.clone()).collect();
            let children =
                self.levels[deeper].iter().filter(|(_, row)| row.up.as_ref().is_some_and(|up| above.contains(up)));
            all.extend(children.map(|(id, _)| (deeper, id.clone())));
        }
        all.reverse();
        all
    }

    async fn put(&self, stage: &Stage, level: usize, id: &str) {
        let Some(row) = self.levels[level].get(id) else { return };
        let mut body = json!({"new_name": row.name});
        if level > 0 {
            body["_new_up_value"] = json!(row.up);
        }
        if level == with_peers(self.depth()) {
            body["_new_peer_value"] = json!(row.peer);
        }
        stage.put(&format!("/records/dataverse/new_l{level}/{id}"), &body).await;
    }

    async fn change(&mut self, stage: &Stage) {
        let level = self.rng.below(self.depth());
        let Some(id) = self.any(level) else { return };
        match self.rng.below(8) {
            0 | 1 => {
                let id = self.add(level);
                self.put(stage, level, &id).await;
            }
            2 | 3 => self.delete(stage, level, &id).await,
            4 | 5 if level > 0 => {
                let up = self.any(level - 1);
                self.levels[level].entry(id.clone()).and_modify(|row| (row.up, row.moved) = (up, true));
                self.put(stage, level, &id).await;
            }
            _ => {
                let name = format!("changed {}", self.rng.below(1_000_000));
                self.levels[level].entry(id.clone()).and_modify(|row| row.name = name);
                self.put(stage, level, &id).await;
            }
        }
    }

    async fn delete(&mut self, stage: &Stage, level: usize, id: &str) {
        for (level, id) in self.below(level, id) {
            let referring: Vec<String> = self.levels[level]
                .iter()
                .filter(|(other, row)| **other != id && row.peer.as_ref() == Some(&id))
                .map(|(other, _)| other.clone())
                .collect();
            for other in referring {
                self.levels[level].entry(other.clone()).and_modify(|row| row.peer = None);
                self.put(stage, level, &other).await;
            }
            self.levels[level].remove(&id);
            stage.delete(&format!("/records/dataverse/new_l{level}/{id}")).await;
            self.deleted += 1;
        }
    }
}

/// Rows of this table refer to rows of the same table too, in circles as it comes.
fn with_peers(depth: usize) -> usize {
    depth / 2
}

fn scenario(depth: usize) -> String {
    let mut text = String::new();
    for level in 0..depth {
        let lookup = |name: &str, to: usize| {
            format!(
                "{{ name = \"new_{}\", type = \"lookup\", schema_name = \"new_{name}\", targets = [\"new_l{to}\"] }}, ",
                name.to_lowercase()
            )
        };
        let link = |name: &str, field: &str, to: usize, cardinality: &str| {
            format!(
                "{{ name = \"{name}\", field = \"{field}\", target = \"cusL{to}\", target_field = \"cusKey\", cardinality = \"{cardinality}\" }}, "
            )
        };
        let (mut columns, mut links) = (String::new(), String::new());
        if let Some(above) = level.checked_sub(1) {
            columns += &lookup("Up", above);
            links += &link("cusParent", "cusUp", above, "one");
        }
        if level == with_peers(depth) {
            columns += &lookup("Peer", level);
            links += &link("cusMate", "cusPeer", level, "zero_or_one");
        }
        let _ = write!(
            text,
            "[[dataverse.tables]]\nname = \"new_l{level}\"\nrows = 0\ncolumns = [ {columns} ]\n\
             [[campaign.resources]]\nname = \"cusL{level}\"\nunique_keys = [[\"cusKey\"]]\nlinks = [ {links} ]\n\
             fields = [ {{ name = \"cusKey\", length = 100 }}, {{ name = \"cusName\" }}, {{ name = \"cusUp\", length = 100 }}, \
             {{ name = \"cusPeer\", length = 100 }} ]\n"
        );
    }
    text
}

fn tables(depth: usize) -> String {
    let mut text = String::new();
    // The children come first: nothing depends on the order of the sections.
    for level in (0..depth).rev() {
        let mut links = String::new();
        if let Some(above) = level.checked_sub(1) {
            links += &format!("{{ from = \"new_up\", to = \"cusUp\", parent = \"new_l{above}\" }}, ");
        }
        if level == with_peers(depth) {
            links += &format!("{{ from = \"new_peer\", to = \"cusPeer\", parent = \"new_l{level}\" }}, ");
        }
        let _ = write!(
            text,
            "[[table]]\ntable = \"new_l{level}\"\nresource = \"cusL{level}\"\nkey = \"cusKey\"\napply_deletes = true\n\
             fields = [ {{ from = \"new_name\", to = \"cusName\" }} ]\nlinks = [ {links} ]\n"
        );
    }
    text
}

fn faults(seed: u64) -> Value {
    let rule = |side: &str, method: &str, fault: &str, probability: f64, at: u64| json!({"side": side, "method": method, "fault": fault, "probability": probability, "seed": seed * 16 + at, "times": 1_000_000});
    json!([
        rule("campaign", "POST", "reset_before", 0.01, 1),
        rule("campaign", "POST", "reset_after_commit", 0.08, 2),
        rule("campaign", "PATCH", "reset_after_commit", 0.08, 3),
        rule("campaign", "DELETE", "reset_after_commit", 0.08, 4),
        rule("campaign", "POST", "duplicate", 0.06, 5),
        rule("campaign", "PATCH", "duplicate", 0.06, 6),
        rule("campaign", "POST", "throttle", 0.005, 7),
        rule("dataverse", "GET", "resend_rows", 0.1, 8),
        rule("dataverse", "GET", "reset_before", 0.02, 9),
    ])
}

async fn campaign(stage: &Stage, depth: usize) -> Vec<BTreeMap<String, Value>> {
    let mut levels = Vec::new();
    for level in 0..depth {
        let rows = stage.records("campaign", &format!("cusL{level}")).await;
        levels.push(rows.into_iter().map(|row| (row["cusKey"].as_str().unwrap_or_default().to_owned(), row)).collect());
    }
    levels
}

fn hidden(levels: &[BTreeMap<String, Value>]) -> impl Iterator<Item = String> {
    let rows = levels.iter().enumerate().flat_map(|(level, rows)| rows.iter().map(move |(key, row)| (level, key, row)));
    rows.filter(|(_, _, row)| row["_hidden"] == true).map(|(level, key, _)| format!("cusL{level} {key}"))
}

/// Looks at all rows of Campaign again and again, counts the looks, and ends when nobody waits for them any more.
async fn watch(stage: Arc<Stage>, depth: usize, looks: Sender<u64>) -> Vec<String> {
    let mut seen = Vec::new();
    while !looks.is_closed() {
        for level in 1..depth {
            let each = |row: Value| {
                if row["_hidden"] == true {
                    seen.push(format!("cusL{level} {}", row["cusKey"]));
                }
            };
            stage.each_line(&format!("/records/campaign/cusL{level}"), each).await;
        }
        looks.send_modify(|looks| *looks += 1);
    }
    seen
}

/// Runs it; what it saw is for the caller to judge.
pub async fn run(size: Size) -> Outcome {
    let depth = size.depth.max(1);
    let stage = Arc::new(Stage::new(0, &scenario(depth)).await);
    let rng = Rng::new(size.seed);
    let mut graph = Graph { levels: vec![BTreeMap::new(); depth], rng, deleted: 0 };
    let mut order: Vec<(usize, String)> = Vec::new();
    for row in 0..size.rows {
        let level = row * depth / size.rows.max(1);
        order.push((level, graph.add(level)));
    }
    for at in (1..order.len()).rev() {
        let other = graph.rng.below(at + 1);
        order.swap(at, other);
    }
    if size.faults {
        stage.post("/faults", &faults(size.seed)).await;
    }
    let config = || stage.config("", &tables(depth));
    let clock = clock_faster(FASTER);
    let running = Box::pin(connected(config(), clock.clone())).await.start(RunMode::Continuous);
    let (sender, mut looks) = channel(0);
    let watching = tokio::spawn(watch(stage.clone(), depth, sender));
    for (at, (level, id)) in order.iter().enumerate() {
        graph.put(&stage, *level, id).await;
        if at % order.len().div_ceil(LOOKS) == 0 {
            looks.changed().await.unwrap();
        }
    }
    for at in 0..size.changes {
        graph.change(&stage).await;
        if at % size.changes.div_ceil(LOOKS) == 0 {
            looks.changed().await.unwrap();
        }
    }
    running.stopper().stop();
    let during = running.join().await;
    // The faults go on while the rest is written, so that however slow the machine is, most writes were under them.
    let limit = AT_REST + Duration::from_millis(20) * u32::try_from(size.rows).unwrap_or(u32::MAX);
    let last = stage.run_by(config(), clock.clone(), limit).await;
    let fired = stage.faults_fired().await;
    stage.clear_faults().await;
    let quiet = stage.run_by(config(), clock.clone(), limit).await;
    let looked = *looks.borrow();
    drop(looks);
    let mut seen = watching.await.unwrap();
    let levels = campaign(&stage, depth).await;
    seen.extend(hidden(&levels));
    Outcome {
        rows: graph.levels.iter().map(BTreeMap::len).sum(),
        deleted: graph.deleted,
        faults: fired,
        looks: looked,
        hidden: seen,
        different: differences(&graph, &levels),
        too_early: too_early(&graph, &levels),
        dead: during.total().dead + last.total().dead + quiet.total().dead,
    }
}

fn differences(graph: &Graph, levels: &[BTreeMap<String, Value>]) -> Vec<String> {
    let mut different = Vec::new();
    for (level, (wanted, found)) in graph.levels.iter().zip(levels).enumerate() {
        for (id, row) in wanted {
            let same = found.get(id).is_some_and(|there| {
                there["cusName"] == row.name.as_str()
                    && there["cusUp"] == row.up.as_deref().unwrap_or_default()
                    && there["cusPeer"] == row.peer.as_deref().unwrap_or_default()
            });
            if !same {
                different.push(format!("cusL{level} {id} is {:?}, not {row:?}", found.get(id)));
            }
        }
        different.extend(
            found.keys().filter(|id| !wanted.contains_key(*id)).map(|id| format!("cusL{level} {id} is too many")),
        );
    }
    different
}

fn too_early(graph: &Graph, levels: &[BTreeMap<String, Value>]) -> Vec<String> {
    let created =
        |level: usize, id: &str| levels[level].get(id).and_then(|row| row["created"].as_str().map(str::to_owned));
    let mut early = Vec::new();
    for level in 1..graph.depth() {
        for (id, row) in graph.levels[level].iter().filter(|(_, row)| !row.moved) {
            let Some(up) = &row.up else { continue };
            if let (Some(child), Some(parent)) = (created(level, id), created(level - 1, up))
                && child < parent
            {
                early.push(format!("cusL{level} {id}: {child}, its parent {parent}"));
            }
        }
    }
    early
}
