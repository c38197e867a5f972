//! Seeded rows and seeded changes: the same seed, the same values.

use std::collections::HashSet;

use crate::prng::Prng;

use super::render;
use super::schema::{Column, FilterField, Resource, Schema};
use super::table::{Row, Tables};
use super::value::{self, Kind};
use super::write::{self, Changes, Created};

const FIRST: [&str; 12] =
    ["Ida", "José", "Aylin", "Søren", "Zoë", "Иван", "Ελένη", "美咲", "Łukasz", "Noor", "Ngọc", "Amélie"];
const LAST: [&str; 12] =
    ["Holm", "García", "Yılmaz", "Nørgaard", "Müller", "Петров", "Παπάς", "佐藤", "Żak", "de Vries", "Trần", "O'Neill"];
const TOWNS: [&str; 8] = ["Aarhus", "Málaga", "İzmir", "Zürich", "Łódź", "Καβάλα", "札幌", "Oslo"];

/// Throws of the sandbox's generator.
struct Dice(Prng);

impl Dice {
    fn new(seed: u64, purpose: &str) -> Self {
        Self(Prng::stream(seed, purpose))
    }

    /// Below `limit`; 0 when there is nothing below it.
    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.0.below(limit as u64)).unwrap_or(0)
    }

    fn of<'a>(&mut self, all: &[&'a str]) -> &'a str {
        self.0.pick(all).copied().unwrap_or_default()
    }

    fn guid(&mut self) -> String {
        uuid::Uuid::from_u128(self.0.guid()).to_string()
    }
}

/// What a seeded mutation did, by custom key; the three lists have no key in common.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CampaignMutation {
    /// New rows.
    pub created: Vec<String>,
    /// Rows with a changed value.
    pub updated: Vec<String>,
    /// Rows that are gone.
    pub deleted: Vec<String>,
}

/// How many changes of each kind, where and from which seed.
#[derive(Debug, Clone, Copy)]
pub struct CampaignMutationPlan<'a> {
    /// Resource.
    pub resource: &'a str,
    /// New rows.
    pub create: usize,
    /// Changed rows.
    pub update: usize,
    /// Deleted rows.
    pub delete: usize,
    /// Columns that updates may change, as paths (`location.city`); when empty all that hold plain values, keys, joins and opt-outs
    /// left out. New rows get a value in each of these whatever stands here.
    pub fields: &'a [String],
    /// Seed.
    pub seed: u64,
}

/// Most rows of a kind in one mutation.
const LARGEST_MUTATION: usize = 1_000_000;
/// Throws for a key that is free; where keys are so short that this is not enough, there are hardly any left.
const THROWS: usize = 1000;

/// Carries out a mutation. Nothing is changed when it is refused.
pub(super) fn mutate(
    schema: &Schema,
    tables: &mut Tables,
    plan: &CampaignMutationPlan<'_>,
    now: i64,
) -> Result<CampaignMutation, String> {
    let resource = schema.find(plan.resource).ok_or_else(|| format!("no resource {}", plan.resource))?;
    let (_, key) = resource.key.ok_or_else(|| format!("{} has no key of one column", resource.name))?;
    if [plan.create, plan.update, plan.delete].iter().any(|count| *count > LARGEST_MUTATION) {
        return Err(format!("more than {LARGEST_MUTATION} rows of a kind at once"));
    }
    let fields = fields(resource, plan.fields)?;
    let all = self::fields(resource, &[])?;
    let mut dice = Dice::new(plan.seed, "campaign mutation");
    let columns = &resource.columns;
    let mut live: Vec<u32> = tables
        .of(resource)
        .rows_from(0)
        .filter(|(_, row)| !row.get(columns, key).is_empty())
        .map(|(at, _)| at)
        .collect();
    if plan.update + plan.delete > live.len() {
        return Err(format!("{} has {} rows, fewer than are to be changed", resource.name, live.len()));
    }
    if plan.update > 0 && fields.is_empty() {
        return Err(format!("{} has no column to change", resource.name));
    }
    let mut done = CampaignMutation::default();
    let mut updates = Vec::with_capacity(plan.update);
    let mut deletes = Vec::with_capacity(plan.delete);
    for number in 0..plan.update + plan.delete {
        let at = live.swap_remove(dice.below(live.len()));
        let Some(row) = tables.of(resource).row(at) else { continue };
        let id = String::from_utf8_lossy(row.get(columns, key)).into_owned();
        if number < plan.update {
            let changes = change(resource, row, &fields, &mut dice, now)
                .ok_or_else(|| format!("{}: a row has no named column that can hold another value", resource.name))?;
            updates.push((at, changes));
            done.updated.push(id);
        } else {
            deletes.push(at);
            done.deleted.push(id);
        }
    }
    // Another seed for each mutation: the keys of rows that are gone again must not come back either.
    let mut keys = Dice::new(plan.seed, &format!("keys of campaign mutation {}", tables.mutations));
    let mut used: HashSet<String> = done.deleted.iter().cloned().collect();
    for _ in 0..plan.create {
        let id = free_key(tables, resource, &mut keys, |id| used.contains(id))?;
        used.insert(id.clone());
        done.created.push(id);
    }
    for (at, changes) in &updates {
        write::update(tables, resource, *at, changes, now).map_err(|refusal| refusal.text)?;
    }
    for at in deletes {
        tables.of_mut(resource).remove(columns, at);
    }
    for id in &done.created {
        add(schema, tables, resource, id, &all, &mut dice, now)?;
    }
    tables.mutations += 1;
    Ok(done)
}

/// A key that no row has and `used` does not know.
fn free_key(
    tables: &Tables,
    resource: &Resource,
    dice: &mut Dice,
    used: impl Fn(&String) -> bool,
) -> Result<String, String> {
    let (_, key) = resource.key.ok_or_else(|| format!("{} has no key of one column", resource.name))?;
    (0..THROWS)
        .map(|_| new_key(&resource.columns, key, dice))
        .find(|id| !used(id) && tables.of(resource).by_key(resource, id).is_none())
        .ok_or_else(|| format!("{} has hardly a key left that no row has", resource.name))
}

/// Adds so many rows.
pub(super) fn fill(
    schema: &Schema,
    tables: &mut Tables,
    resource: &Resource,
    rows: u64,
    seed: u64,
    now: i64,
) -> Result<(), String> {
    let fields = fields(resource, &[])?;
    let mut dice = Dice::new(seed, &resource.name);
    for _ in 0..rows {
        let id = free_key(tables, resource, &mut dice, |_| false)?;
        add(schema, tables, resource, &id, &fields, &mut dice, now)?;
    }
    Ok(())
}

fn add(
    schema: &Schema,
    tables: &mut Tables,
    resource: &Resource,
    id: &str,
    fields: &[u8],
    dice: &mut Dice,
    now: i64,
) -> Result<(), String> {
    let key = resource.key.map_or(0, |(_, column)| column);
    let mut changes: Changes =
        fields.iter().filter_map(|at| Some((*at, make(resource.columns.get(usize::from(*at))?, dice, now)))).collect();
    changes.push((key, id.as_bytes().to_vec()));
    match write::create(schema, tables, resource, changes, now) {
        Ok(Created::New(_)) => Ok(()),
        Ok(Created::Exists(..)) => Err(format!("{id} is there already")),
        Err(refusal) => Err(refusal.text),
    }
}

/// New values for some of the columns, each of which differs from what the row holds. None: none of them can.
fn change(resource: &Resource, row: &Row, fields: &[u8], dice: &mut Dice, now: i64) -> Option<Changes> {
    let other = |at: u8, dice: &mut Dice| {
        let column = resource.columns.get(usize::from(at))?;
        let held = row.get(&resource.columns, at);
        // A few dozen throws find another value where there is one; a column may have one value only.
        let new = (0..64).map(|_| make(column, dice, now)).find(|new| new != held)?;
        Some((at, new))
    };
    let (before, from) = fields.split_at(dice.below(fields.len()));
    let mut order = from.iter().chain(before);
    let mut changes: Changes = vec![order.by_ref().find_map(|at| other(*at, dice))?];
    for at in order {
        if dice.below(3) == 0 {
            changes.extend(other(*at, dice));
        }
    }
    Some(changes)
}

fn fields(resource: &Resource, named: &[String]) -> Result<Vec<u8>, String> {
    if named.is_empty() {
        let joined: Vec<u8> = resource.links.iter().map(|l| l.column).collect();
        let keys: Vec<u8> = resource.uniques.iter().flatten().copied().collect();
        let skipped = |path: &str| {
            matches!(path, "thumbnail" | "isExternal" | "timeZone" | "preferredLanguage")
                || path.contains("List")
                || path == "ccpaOptOut"
        };
        return Ok((0_u8..)
            .zip(&resource.columns)
            .filter(|(at, c)| {
                !(c.read_only || joined.contains(at) || keys.contains(at) || (resource.is_profile && skipped(&c.path)))
            })
            .map(|(at, _)| at)
            .collect());
    }
    let mut found = Vec::with_capacity(named.len());
    for name in named {
        match resource.filter_field(name) {
            Some(FilterField::Column(column)) if !resource.uniques.iter().flatten().any(|part| *part == column) => {
                if !found.contains(&column) {
                    found.push(column);
                }
            }
            _ => return Err(format!("{}: {name} is no column that can change", resource.name)),
        }
    }
    Ok(found)
}

fn new_key(columns: &[Column], key: u8, dice: &mut Dice) -> String {
    match columns.get(usize::from(key)).map(|c| &c.kind) {
        Some(Kind::Text { length }) if *length < 36 => {
            let text = dice.guid().replace('-', "");
            text.chars().take(*length as usize).collect()
        }
        Some(Kind::Number { .. }) => (dice.below(1 << 31)).to_string(),
        _ => dice.guid(),
    }
}

/// A valid value of a column.
fn make(column: &Column, dice: &mut Dice, now: i64) -> Vec<u8> {
    match &column.kind {
        Kind::Text { length } => {
            let text = match column.path.rsplit('.').next().unwrap_or_default() {
                "firstName" | "middleName" => dice.of(&FIRST).to_owned(),
                "lastName" => dice.of(&LAST).to_owned(),
                "city" => dice.of(&TOWNS).to_owned(),
                "salutation" => dice.of(&["Ms", "Mr", "Dr", ""]).to_owned(),
                "countryCode" => dice.of(&["DK", "ES", "TR", "CH", "PL", "GR", "JP", "NO"]).to_owned(),
                "stateCode" => String::new(),
                "phone" | "mobilePhone" | "fax" => format!("+45 {:08}", dice.below(100_000_000)),
                "zipCode" => format!("{:04}", dice.below(10_000)),
                "email" => format!("contact{}@example.org", dice.below(1 << 40)),
                _ => format!("{} {}", dice.of(&TOWNS), dice.below(10_000)),
            };
            text.chars().take(*length as usize).collect::<String>().into_bytes()
        }
        Kind::Number { bits: Some(bits) } => {
            let limit = if *bits <= 8 { 100 } else { 10_000 };
            dice.below(limit).to_string().into_bytes()
        }
        Kind::Number { bits: None } => format!("{}.{}", dice.below(100_000), 1 + dice.below(9)).into_bytes(),
        Kind::Boolean => vec![u8::from(dice.below(2) == 1)],
        Kind::Date => {
            let year = render::year(now) - 18 - i32::try_from(dice.below(60)).unwrap_or(0);
            format!("{year:04}-{:02}-{:02}", 1 + dice.below(12), 1 + dice.below(28)).into_bytes()
        }
        Kind::DateTime => {
            let back = i64::try_from(dice.below(31_536_000)).unwrap_or(0);
            let second = now.div_euclid(1000) - back;
            (second * 1000).to_le_bytes().to_vec()
        }
        Kind::Enumeration(choices) => u16::try_from(dice.below(choices.len())).unwrap_or(0).to_le_bytes().to_vec(),
    }
}

/// Row numbers in the order of the custom key, rows without one last.
pub(super) fn in_key_order(tables: &Tables, resource: &Resource) -> Vec<u32> {
    let columns = &resource.columns;
    let mut all: Vec<(u32, &Row)> = tables.of(resource).rows_from(0).collect();
    if let Some((_, key)) = resource.key
        && let Some(column) = columns.get(usize::from(key))
    {
        all.sort_by_cached_key(|(_, row)| {
            let held = row.get(columns, key);
            (held.is_empty(), value::sort_key(&column.kind, held))
        });
    }
    all.into_iter().map(|(at, _)| at).collect()
}
