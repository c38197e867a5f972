//! Seeded rows: the same seed, the same ids and values.

use std::collections::HashMap;

use super::row::{guid, reference_cell, text_cell};
use super::schema::{Column, Kind, Table};
use super::store::{Changes, Rows, Stamp, Store};
use crate::prng::Prng;

const FIRST: [&str; 24] = [
    "Ada",
    "Grace",
    "José",
    "Søren",
    "Zoë",
    "Łukasz",
    "Aylin",
    "Ngọc",
    "Amélie",
    "Oliver",
    "Иван",
    "Мария",
    "Дмитрий",
    "Ελένη",
    "Γιώργος",
    "محمد",
    "فاطمة",
    "美咲",
    "伟",
    "지훈",
    "Noor",
    "Björn",
    "Siobhán",
    "Renée",
];
const LAST: [&str; 24] = [
    "Byron",
    "Hopper",
    "García",
    "Nørgaard",
    "Müller",
    "Żak",
    "Yılmaz",
    "Trần",
    "O'Neill",
    "de Vries",
    "Петров",
    "Иванова",
    "Соколов",
    "Παπάς",
    "Νικολάου",
    "الأحمد",
    "حسن",
    "佐藤",
    "王",
    "김",
    "Lindqvist",
    "Ó Briain",
    "Van \"Duke\" Dyck",
    "Smith-Jones",
];
const CITIES: [&str; 12] = [
    "Aarhus",
    "Málaga",
    "İzmir",
    "Zürich",
    "Łódź",
    "Καβάλα",
    "札幌",
    "Oslo",
    "Москва",
    "القاهرة",
    "São Paulo",
    "Leeds",
];
const COUNTRIES: [&str; 6] = ["Denmark", "España", "Türkiye", "Schweiz", "Polska", "日本"];
const STREETS: [&str; 6] = ["High Street", "Hauptstraße", "Rue de l'Église", "Calle Mayor", "Nygade", "ул. Ленина"];
const JOBS: [&str; 5] = ["Engineer", "Buyer", "Head of \"Things\"", "Directrice", "Инженер"];
const WORDS: [&str; 10] = ["amber", "brisk", "cedar", "delta", "ember", "fjord", "grand", "hazel", "ivory", "jolly"];

/// How often other values are tried where an alternate key is taken.
pub(super) const TRIES: u32 = 100;

/// Makes rows and values.
pub(super) struct Seeder {
    pub(super) draws: Prng,
    /// Draws for the columns that no mapping is likely to read.
    rare: Prng,
    targets: Targets,
}

/// Ids that the lookups of a table may lead to, by table.
#[derive(Debug, Default)]
pub(super) struct Targets(HashMap<String, Vec<u128>>);

impl Targets {
    /// Looks at one table after the other, before the lock of `table` is taken: whoever made rows of contact while looking for
    /// accounts, and the other way round, would wait for the other without end.
    pub(super) fn of(store: &Store, table: &Table) -> Self {
        let mut found = HashMap::new();
        for target in table.columns.iter().flat_map(|column| &column.targets) {
            let Some(other) = store.schema.by_name(&target.table).filter(|other| other.index != table.index) else {
                continue;
            };
            found.entry(other.name.clone()).or_insert_with(|| store.read(other).by_id.keys().copied().collect());
        }
        Self(found)
    }
}

impl Seeder {
    pub(super) fn new(seed: u64, purpose: &str, targets: Targets) -> Self {
        let rare = Prng::stream(seed, &format!("{purpose} rare"));
        Self { draws: Prng::stream(seed, purpose), rare, targets }
    }

    /// Fills all tables; tables that others lead to come first.
    pub(super) fn fill(store: &Store, seed: u64, contacts: u64, now: i64) -> Result<(), String> {
        for table in &store.schema.tables {
            let wanted = table.rows.unwrap_or(contacts);
            let mut seeder = Self::new(seed, &table.name, Targets::of(store, table));
            let mut rows = store.write(table);
            for number in 0..wanted {
                let mut id = seeder.draws.guid();
                while rows.used(id) {
                    id = seeder.draws.guid();
                }
                seeder.insert(store, &mut rows, table, (id, number), now)?;
            }
        }
        Ok(())
    }

    /// Adds a row; where an alternate key is taken, with other values.
    pub(super) fn insert(
        &mut self,
        store: &Store,
        rows: &mut Rows,
        table: &Table,
        (id, number): (u128, u64),
        now: i64,
    ) -> Result<(), String> {
        let mut problem = String::new();
        for _ in 0..TRIES {
            let changes = self.row(table, number);
            match store.insert(rows, table, id, changes, Stamp::from(now).by_control()) {
                Ok(()) => return Ok(()),
                Err(refusal) => problem = refusal.message,
            }
        }
        Err(problem)
    }

    fn of(&mut self, list: &[&'static str]) -> &'static str {
        self.draws.pick(list).copied().unwrap_or_default()
    }

    /// Cells of a new row. Optional columns are null in about one row of five; about one row of ten is inactive.
    pub(super) fn row(&mut self, table: &Table, number: u64) -> Changes {
        let mut changes = Changes::new();
        for (at, column) in table.columns.iter().enumerate() {
            let given = column.create && column.update && !matches!(column.kind, Kind::Status | Kind::PrimaryKey);
            if !given || column.name == "ownerid" || is_plumbing(&column.name) {
                continue;
            }
            if is_rare(&column.name) {
                std::mem::swap(&mut self.draws, &mut self.rare);
                changes.extend(self.rare_cell(table, column, number).map(|cell| (at, cell)));
                std::mem::swap(&mut self.draws, &mut self.rare);
                continue;
            }
            let required = column.required != "None" && column.required != "Recommended";
            if !required && self.skipped(column) {
                continue;
            }
            let cell = self.cell(table, column, number);
            changes.push((at, cell));
        }
        if self.draws.one_in(10) {
            toggle(table, true, &mut changes);
        }
        changes
    }

    /// A value of a column that mostly has its default. Null where the default is none, too.
    fn rare_cell(&mut self, table: &Table, column: &Column, number: u64) -> Option<Vec<u8>> {
        if column.default != b"null" && self.draws.one_in(5) {
            return Some(b"null".to_vec());
        }
        self.draws.one_in(8).then(|| self.cell(table, column, number))
    }

    /// Whether an optional column stays null. Columns that no mapping is likely to read stay null mostly, to keep rows small.
    fn skipped(&mut self, column: &Column) -> bool {
        let rare = [
            "middlename",
            "suffix",
            "nickname",
            "department",
            "description",
            "fax",
            "telephone2",
            "telephone3",
            "emailaddress2",
            "emailaddress3",
        ];
        let rarer = rare.contains(&column.name.as_str())
            || matches!(
                column.name.as_str(),
                "address1_line2" | "address1_line3" | "anniversary" | "governmentid" | "employeeid"
            );
        if rarer { !self.draws.one_in(8) } else { self.draws.one_in(5) }
    }

    /// A value that fits the column, and the default Campaign profile where a column has a counterpart there.
    pub(super) fn cell(&mut self, table: &Table, column: &Column, number: u64) -> Vec<u8> {
        let name = column.name.as_str();
        match column.kind {
            Kind::Text { max } => {
                let at = table.column(name);
                let keyed = table.keys.iter().any(|key| key.columns.iter().any(|c| Some(*c) == at));
                let text = if keyed && name != "accountnumber" {
                    format!("{:010X}", self.draws.below(1 << 40))
                } else {
                    self.text(name, number)
                };
                // Cut at a character, and within UTF-16 units: none of the texts leaves the basic plane.
                text_cell(&text.chars().take(max as usize).collect::<String>())
            }
            Kind::Memo { .. } => text_cell(&format!("{} {}\n{}", self.of(&WORDS), self.of(&WORDS), self.of(&LAST))),
            Kind::Integer { min, max } => self.between(window((min, max), (-1000, 1_000_000))).to_string().into_bytes(),
            Kind::BigInt => self.draws.below(1 << 60).to_string().into_bytes(),
            Kind::Decimal { money, min, max } => {
                let zeros = if money { "00" } else { "" };
                match self.within(min, max, 100_000) {
                    Some(whole) => format!("{whole}.{:02}{zeros}", self.draws.below(100)).into_bytes(),
                    None => self.narrow(min, max).into_bytes(),
                }
            }
            Kind::Double { min, max } => match self.within(min, max, 1000) {
                Some(whole) => format!("{whole}.5").into_bytes(),
                None => self.narrow(min, max).into_bytes(),
            },
            Kind::Boolean => {
                if self.draws.one_in(4) {
                    b"true".to_vec()
                } else {
                    b"false".to_vec()
                }
            }
            Kind::DateTime { .. } => {
                let seconds = 1_262_304_000 + i64::try_from(self.draws.below(500_000_000)).unwrap_or(0);
                text_cell(&crate::clock::iso_seconds(seconds))
            }
            Kind::DateOnly => {
                let (year, month, day) =
                    (1930 + self.draws.below(80), 1 + self.draws.below(12), 1 + self.draws.below(28));
                text_cell(&format!("{year:04}-{month:02}-{day:02}"))
            }
            Kind::Picklist => {
                let value = self.draws.pick(&column.choices).map_or(0, |c| c.value);
                value.to_string().into_bytes()
            }
            Kind::MultiSelect => {
                let mut values: Vec<i32> =
                    column.choices.iter().map(|c| c.value).filter(|_| self.draws.one_in(2)).collect();
                values.sort_unstable();
                text_cell(&values.iter().map(i32::to_string).collect::<Vec<_>>().join(","))
            }
            Kind::Lookup => {
                let place = column.targets.iter().position(|t| t.table != table.name).unwrap_or(0);
                let Some(target) = column.targets.get(place).map(|t| t.table.clone()) else { return Vec::new() };
                let ids = self.targets.0.get(&target).map_or(&[][..], Vec::as_slice);
                self.draws.pick(ids).map_or_else(Vec::new, |id| reference_cell(*id, place))
            }
            Kind::Guid => text_cell(&guid(self.draws.guid())),
            Kind::PrimaryKey | Kind::Version | Kind::State | Kind::Status => column.default.clone(),
        }
    }

    fn between(&mut self, (low, high): (i64, i64)) -> i64 {
        let span = u64::try_from(high.saturating_sub(low)).unwrap_or(0) + 1;
        low + i64::try_from(self.draws.below(span)).unwrap_or(0)
    }

    /// A whole number from zero on that leaves room for a fraction below the bound; `None` where there is no such number.
    fn within(&mut self, min: f64, max: f64, most: u64) -> Option<i64> {
        #[expect(clippy::cast_possible_truncation, reason = "bounds beyond a million mean no bound here")]
        let (low, high) = (min.max(0.0).ceil() as i64, max.min(1_000_000.0).floor() as i64);
        let span = u64::try_from(high.saturating_sub(low)).ok().filter(|span| *span > 0)?.min(most);
        Some(low + i64::try_from(self.draws.below(span)).unwrap_or(0))
    }

    /// A number of a range that lies below zero or holds no whole number.
    fn narrow(&mut self, min: f64, max: f64) -> String {
        #[expect(clippy::cast_possible_truncation, reason = "a bound beyond 64 bits means no bound")]
        let (low, high) = ((min * 100.0).ceil() as i64, (max * 100.0).floor() as i64);
        if low > high {
            return rust_decimal::Decimal::try_from(min).unwrap_or_default().to_string();
        }
        let hundredths = self.between(window((low, high), (-100_000, 100_000_000)));
        rust_decimal::Decimal::new(hundredths, 2).to_string()
    }

    fn text(&mut self, name: &str, number: u64) -> String {
        let phone = |draws: &mut Prng| {
            format!(
                "+{} {} {:04} {:04}",
                30 + draws.below(60),
                10 + draws.below(90),
                draws.below(10_000),
                draws.below(10_000)
            )
        };
        match name {
            "firstname" | "middlename" | "nickname" => self.of(&FIRST).to_owned(),
            "lastname" => self.of(&LAST).to_owned(),
            "emailaddress1" | "emailaddress2" | "emailaddress3" => {
                format!(
                    "{}.{}{}@example.{}",
                    self.of(&WORDS),
                    self.of(&WORDS),
                    self.draws.below(10_000_000),
                    self.of(&["org", "com", "net"])
                )
            }
            "telephone1" | "telephone2" | "telephone3" | "mobilephone" | "fax" => phone(&mut self.draws),
            "jobtitle" => self.of(&JOBS).to_owned(),
            "salutation" => self.of(&["Ms", "Mr", "Dr", "Señora", "Herr"]).to_owned(),
            "suffix" => self.of(&["Jr", "Sr", "III"]).to_owned(),
            "address1_city" => self.of(&CITIES).to_owned(),
            "address1_country" => self.of(&COUNTRIES).to_owned(),
            "address1_line1" => format!("{} {}", self.of(&STREETS), 1 + self.draws.below(300)),
            "address1_postalcode" => format!("{:05}", self.draws.below(100_000)),
            "accountnumber" => format!("A{number:06}-{:06}", self.draws.below(1_000_000)),
            "name" => format!("{} & {}", self.of(&LAST), self.of(&LAST)),
            _ => format!("{} {} {}", self.of(&WORDS), self.of(&WORDS), self.draws.below(100_000)),
        }
    }
}

/// The part of a range that lies in another; where they do not meet, the end of the range that is nearer.
fn window((min, max): (i64, i64), (low, high): (i64, i64)) -> (i64, i64) {
    match (min.max(low), max.min(high)) {
        (from, to) if from <= to => (from, to),
        _ if max < low => (max.saturating_sub(1000).max(min), max),
        _ => (min, min.saturating_add(1000).min(max)),
    }
}

/// Columns that seeding leaves alone.
fn is_plumbing(name: &str) -> bool {
    matches!(name, "timezoneruleversionnumber" | "utcconversiontimezonecode" | "transactioncurrencyid")
}

/// Columns that mostly have their default.
fn is_rare(name: &str) -> bool {
    matches!(
        name,
        "leadsourcecode"
            | "customertypecode"
            | "educationcode"
            | "preferredcontactmethodcode"
            | "address1_latitude"
            | "address1_longitude"
            | "creditlimit"
            | "externaluseridentifier"
    )
}

/// Sets state and status together.
pub(super) fn toggle(table: &Table, inactive: bool, changes: &mut Changes) {
    let (Some(state), Some(status)) = (table.column("statecode"), table.column("statuscode")) else { return };
    let (state_cell, status_cell): (&[u8], &[u8]) = if inactive { (b"1", b"2") } else { (b"0", b"1") };
    changes.push((state, state_cell.to_vec()));
    changes.push((status, status_cell.to_vec()));
}
