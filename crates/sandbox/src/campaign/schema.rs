//! A scenario compiled: columns by number, names by map, answers by a list of slots in the order in which they are written.

use std::collections::HashMap;

use super::profile;
use super::scenario::{
    CampaignScenario, CampaignSwitches, DataPolicy, FieldScenario, FieldType, FilterOperator, LinkCardinality,
    ResourceFamily, ResourceScenario, TooLong,
};
use super::value::{self, Kind};

/// Every resource.
#[derive(Debug)]
pub(super) struct Schema {
    pub(super) resources: Vec<Resource>,
    by_name: HashMap<String, usize>,
    pub(super) switches: CampaignSwitches,
    pub(super) big_table_threshold: u64,
}

/// One resource.
#[derive(Debug)]
pub(super) struct Resource {
    pub(super) index: usize,
    pub(super) name: String,
    pub(super) label: String,
    /// Name in the engine's messages: `Profile`.
    pub(super) singular: String,
    /// `nms:recipient`.
    pub(super) schema: String,
    /// `nmsrecipient`.
    pub(super) table: String,
    pub(super) family: ResourceFamily,
    pub(super) columns: Vec<Column>,
    pub(super) inputs: HashMap<String, Input>,
    pub(super) slots: Vec<Slot>,
    pub(super) uniques: Vec<Vec<u8>>,
    /// The unique key of one column that stands in paths: its place in `uniques` and its column.
    pub(super) key: Option<(usize, u8)>,
    pub(super) links: Vec<Link>,
    pub(super) collections: Vec<Collection>,
    pub(super) filters: Vec<Filter>,
    pub(super) is_profile: bool,
    pub(super) known: Known,
}

/// One stored column.
#[derive(Debug)]
pub(super) struct Column {
    /// `location.city`.
    pub(super) path: String,
    pub(super) label: String,
    pub(super) kind: Kind,
    pub(super) policy: DataPolicy,
    pub(super) read_only: bool,
    pub(super) mandatory: bool,
    /// Cell of a row that holds none.
    pub(super) default: Vec<u8>,
    /// Columns that take the time of a change of this one.
    pub(super) stamps: Vec<u8>,
}

/// What a name in a body stands for.
#[derive(Debug)]
pub(super) enum Input {
    Column(u8),
    Item(HashMap<String, u8>),
    ReadOnly,
    Link(usize),
    /// Accepted, without effect: a link to what is not imitated.
    Nothing,
    /// `PKey`: must be that of the row.
    Identity,
}

/// One name of an answer.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) name: String,
    /// `"name":`
    pub(super) literal: Vec<u8>,
    pub(super) what: Output,
    /// Shown by the plain family too.
    pub(super) plain: bool,
}

/// What stands behind a name of an answer.
#[derive(Debug)]
pub(super) enum Output {
    PrimaryKey,
    Href,
    Column(u8),
    Item(Vec<(Vec<u8>, u8)>),
    Created,
    LastModified,
    Title,
    Age,
    Domain,
    CryptedId,
    PostalAddress,
    Null,
    Link(usize),
    Collection,
}

/// A join to another resource.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) column: u8,
    pub(super) target: usize,
    /// Place of the target's unique key.
    pub(super) target_unique: usize,
    pub(super) target_column: u8,
    pub(super) hides: bool,
}

/// The way back of a link.
#[derive(Debug)]
pub(super) struct Collection {
    pub(super) name: String,
    /// The resource that holds the link, and which of its links; none: always empty.
    pub(super) from: Option<(usize, usize)>,
}

/// A filter that can stand in a path.
#[derive(Debug)]
pub(super) struct Filter {
    pub(super) name: String,
    pub(super) kind: FilterKind,
}

/// What a filter compares.
#[derive(Debug)]
pub(super) enum FilterKind {
    /// `email` exactly.
    Email(u8),
    /// Prefix of one of these, unless `filterType` names another.
    Text(Vec<u8>),
    /// A published custom filter.
    Custom { field: FilterField, parameter: String, operator: FilterOperator, optional: bool },
}

/// A column or one of the two times that every row has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FilterField {
    Column(u8),
    Created,
    LastModified,
}

/// Columns that computed values are made from.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) first: Option<u8>,
    pub(super) last: Option<u8>,
    pub(super) email: Option<u8>,
    pub(super) birth: Option<u8>,
    pub(super) acs_id: Option<u8>,
    /// address1..4, city, zipCode.
    pub(super) address: Vec<u8>,
    /// The first text column that is not the key.
    pub(super) text: Option<u8>,
}

impl Schema {
    /// Compiles a scenario, or lists everything that is wrong with it.
    pub(super) fn compile(scenario: &CampaignScenario) -> Result<Self, Vec<String>> {
        let mut problems = Vec::new();
        let given = profile::resources(scenario, &mut problems);
        let mut by_name = HashMap::new();
        let mut resources = Vec::with_capacity(given.len());
        for (index, resource) in given.iter().enumerate() {
            if by_name.insert(resource.name.clone(), index).is_some() {
                problems.push(format!("campaign: resource {} stands there twice", resource.name));
            }
            resources.push(Resource::compile(index, resource, &scenario.switches, &mut problems));
        }
        for (index, resource) in given.iter().enumerate() {
            for link in &resource.links {
                match join(&resources, &by_name, index, link) {
                    Ok(join) => {
                        let (target, number) = (join.target, resources[index].links.len());
                        let back = link.collection.as_ref();
                        let taken = back.is_some_and(|name| resources[target].inputs.contains_key(name));
                        if taken || resources[index].inputs.contains_key(&link.name) {
                            problems.push(format!(
                                "campaign: {}.{}: another attribute has the name of the link or of its collection",
                                resource.name, link.name
                            ));
                        }
                        resources[index].inputs.insert(link.name.clone(), Input::Link(number));
                        resources[index].add_slot(&link.name, Output::Link(number), false);
                        resources[index].links.push(join);
                        if let Some(name) = &link.collection {
                            resources[target].inputs.insert(name.clone(), Input::ReadOnly);
                            resources[target].add_slot(name, Output::Collection, false);
                            resources[target]
                                .collections
                                .push(Collection { name: name.clone(), from: Some((index, number)) });
                        }
                    }
                    Err(problem) => problems.push(format!("campaign: {}.{}: {problem}", resource.name, link.name)),
                }
            }
        }
        if let status @ (0..200 | 300..) = scenario.switches.delete_status {
            problems.push(format!("campaign: delete_status {status} is not a success"));
        }
        for (name, status) in [
            ("email_refusal_status", scenario.switches.email_refusal_status),
            ("ims_error_status", scenario.switches.ims_error_status),
        ] {
            if !(400..600).contains(&status) {
                problems.push(format!("campaign: {name} {status} is no status of an error"));
            }
        }
        for resource in &mut resources {
            resource.slots.sort_by(|a, b| a.name.cmp(&b.name));
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Self {
            resources,
            by_name,
            switches: scenario.switches.clone(),
            big_table_threshold: scenario.big_table_threshold,
        })
    }

    /// The resource of that name.
    pub(super) fn find(&self, name: &str) -> Option<&Resource> {
        self.by_name.get(name).and_then(|at| self.resources.get(*at))
    }
}

fn join(
    resources: &[Resource],
    by_name: &HashMap<String, usize>,
    from: usize,
    link: &super::scenario::LinkScenario,
) -> Result<Link, String> {
    let column = resources[from].column(&link.field).ok_or_else(|| format!("no column {}", link.field))?;
    let target = *by_name.get(&link.target).ok_or_else(|| format!("no resource {}", link.target))?;
    let target_column = resources[target]
        .column(&link.target_field)
        .ok_or_else(|| format!("no column {}.{}", link.target, link.target_field))?;
    let target_unique = resources[target]
        .uniques
        .iter()
        .position(|key| key.as_slice() == [target_column])
        .ok_or_else(|| format!("{}.{} is no unique key", link.target, link.target_field))?;
    Ok(Link { column, target, target_unique, target_column, hides: link.cardinality == LinkCardinality::One })
}

impl Resource {
    fn compile(
        index: usize,
        given: &ResourceScenario,
        switches: &CampaignSwitches,
        problems: &mut Vec<String>,
    ) -> Self {
        let is_profile = given.name == "profile";
        let (schema, table) = if is_profile {
            ("nms:recipient".to_owned(), "nmsrecipient".to_owned())
        } else {
            (format!("cus:{}", given.name), format!("cus{}", given.name.to_ascii_lowercase()))
        };
        let mut this = Self {
            index,
            name: given.name.clone(),
            label: given.label.clone().unwrap_or_else(|| given.name.clone()),
            singular: profile::capital(&given.name),
            schema,
            table,
            family: given.family,
            columns: Vec::new(),
            inputs: HashMap::new(),
            slots: Vec::new(),
            uniques: Vec::new(),
            key: None,
            links: Vec::new(),
            collections: Vec::new(),
            filters: Vec::new(),
            is_profile,
            known: Known::default(),
        };
        if given.name.is_empty() || !given.name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            problems.push(format!("campaign: {:?} is no resource name", given.name));
        }
        if given.fields.len() > 250 {
            problems.push(format!("campaign: {}: more than 250 columns", given.name));
            return this;
        }
        for field in &given.fields {
            this.add_column(field, problems);
        }
        if is_profile {
            for (column, stamp) in profile::stamps(switches) {
                if let (Some(column), Some(stamp)) = (this.column(&column), this.column(&stamp)) {
                    this.columns[usize::from(column)].stamps.push(stamp);
                }
            }
        }
        for key in &given.unique_keys {
            let columns: Vec<u8> = key.iter().filter_map(|name| this.column(name)).collect();
            if columns.is_empty() || columns.len() != key.len() {
                problems.push(format!("campaign: {}: unique key {key:?} names a column that is not there", given.name));
                continue;
            }
            this.uniques.push(columns);
        }
        this.key = this.uniques.iter().enumerate().find(|(_, key)| key.len() == 1).map(|(at, key)| (at, key[0]));
        // Paths hold text; dates, times and names of an enumeration are not published as keys.
        let addressable = |column: &Column| matches!(column.kind, Kind::Text { .. } | Kind::Number { .. });
        if let Some(column) = this.key.and_then(|(_, column)| this.columns.get(usize::from(column)))
            && !addressable(column)
        {
            problems.push(format!("campaign: {}.{}: a key is a text or a number", given.name, column.path));
        }
        if this.uniques.is_empty() {
            problems.push(format!("campaign: {}: needs a unique key", given.name));
        }
        this.add_standard(problems);
        this.add_filters(given, problems);
        this
    }

    fn add_column(&mut self, field: &FieldScenario, problems: &mut Vec<String>) {
        let place = format!("campaign: {}.{}", self.name, field.name);
        let Ok(number) = u8::try_from(self.columns.len()) else {
            return;
        };
        let kind = match field.kind.unwrap_or_default() {
            FieldType::String => Kind::Text { length: field.length.unwrap_or(255) },
            FieldType::Number => Kind::Number { bits: (!field.fraction).then_some(32) },
            FieldType::Boolean => Kind::Boolean,
            FieldType::Date => Kind::Date,
            FieldType::Datetime => Kind::DateTime,
            FieldType::Enumeration => {
                if field.values.is_empty() {
                    problems.push(format!("{place}: an enumeration needs values"));
                }
                Kind::Enumeration(profile::choices(field))
            }
        };
        let default = match &field.default {
            Some(value) => value::parse(&kind, DataPolicy::None, TooLong::Error, value.clone()).unwrap_or_else(|_| {
                problems.push(format!("{place}: the default does not fit the column"));
                Vec::new()
            }),
            None => match &kind {
                Kind::Number { .. } => b"0".to_vec(),
                Kind::Boolean => vec![0],
                Kind::Enumeration(_) => vec![0, 0],
                Kind::Text { .. } | Kind::Date | Kind::DateTime => Vec::new(),
            },
        };
        let taken = match field.name.split_once('.') {
            Some((item, name)) => {
                if !self.inputs.contains_key(item) {
                    self.inputs.insert(item.to_owned(), Input::Item(HashMap::new()));
                    self.add_slot(item, Output::Item(Vec::new()), !item.starts_with("cus"));
                }
                if let Some(Slot { what: Output::Item(parts), .. }) = self.slots.iter_mut().find(|s| s.name == item) {
                    parts.push((format!("\"{name}\":").into_bytes(), number));
                    parts.sort();
                }
                match self.inputs.get_mut(item) {
                    Some(Input::Item(parts)) => parts.insert(name.to_owned(), number).is_some(),
                    _ => true,
                }
            }
            None => {
                self.add_slot(&field.name, Output::Column(number), !field.name.starts_with("cus"));
                self.inputs.insert(field.name.clone(), Input::Column(number)).is_some()
            }
        };
        if taken {
            problems.push(format!("{place}: stands there twice"));
        }
        self.columns.push(Column {
            path: field.name.clone(),
            label: field.label.clone().unwrap_or_else(|| field.name.clone()),
            kind,
            policy: field.data_policy.unwrap_or_default(),
            read_only: field.read_only,
            mandatory: field.mandatory,
            default,
            stamps: Vec::new(),
        });
    }

    /// What every resource has, and what the profile has beside its columns.
    fn add_standard(&mut self, problems: &mut Vec<String>) {
        self.add_slot("PKey", Output::PrimaryKey, true);
        self.reserve("PKey", Input::Identity, problems);
        self.reserve("href", Input::Nothing, problems);
        self.add_slot("href", Output::Href, true);
        let mut computed =
            vec![("created", Output::Created), ("lastModified", Output::LastModified), ("title", Output::Title)];
        if self.is_profile {
            computed.extend([
                ("age", Output::Age),
                ("domain", Output::Domain),
                ("cryptedId", Output::CryptedId),
                ("postalAddress", Output::PostalAddress),
                ("subscriptions", Output::Collection),
            ]);
            self.collections.push(Collection { name: "subscriptions".to_owned(), from: None });
            for unit in ["orgUnit", "geoUnit"] {
                self.reserve(unit, Input::Nothing, problems);
                self.add_slot(unit, Output::Null, false);
            }
        }
        for (name, what) in computed {
            self.reserve(name, Input::ReadOnly, problems);
            self.add_slot(name, what, true);
        }
        let key = self.key.map(|(_, column)| column);
        let text = (0_u8..).zip(&self.columns).find(|(at, c)| matches!(c.kind, Kind::Text { .. }) && Some(*at) != key);
        self.known = Known {
            first: self.column("firstName"),
            last: self.column("lastName"),
            email: self.column("email"),
            birth: self.column("birthDate"),
            acs_id: self.column("acsId"),
            address: ["address1", "address2", "address3", "address4", "city", "zipCode"]
                .iter()
                .filter_map(|part| self.column(&format!("location.{part}")))
                .collect(),
            text: text.map(|(at, _)| at),
        };
    }

    /// A name that the service itself has.
    fn reserve(&mut self, name: &str, input: Input, problems: &mut Vec<String>) {
        if self.inputs.insert(name.to_owned(), input).is_some() {
            problems.push(format!("campaign: {}.{name}: every resource has an attribute of this name", self.name));
        }
    }

    fn add_filters(&mut self, given: &ResourceScenario, problems: &mut Vec<String>) {
        let mut texts: Vec<u8> = match (self.is_profile, self.known.email, self.known.last) {
            (true, Some(email), Some(last)) => {
                for name in ["byEmail", "byKeysProfile"] {
                    self.filters.push(Filter { name: name.to_owned(), kind: FilterKind::Email(email) });
                }
                vec![email, last]
            }
            _ => Vec::new(),
        };
        if texts.is_empty() {
            texts = self.key.map(|(_, column)| column).into_iter().chain(self.known.text).collect();
        }
        self.filters.push(Filter { name: "byText".to_owned(), kind: FilterKind::Text(texts) });
        for filter in &given.filters {
            let Some(field) = self.filter_field(&filter.field) else {
                problems.push(format!("campaign: {}/{}: no column {}", given.name, filter.name, filter.field));
                continue;
            };
            let id = filter.name.strip_prefix("by").unwrap_or(&filter.name);
            let mut letters = id.chars();
            let id: String = letters.next().map(|c| c.to_lowercase().chain(letters).collect()).unwrap_or_default();
            self.filters.retain(|f| f.name != filter.name);
            self.filters.push(Filter {
                name: filter.name.clone(),
                kind: FilterKind::Custom {
                    field,
                    parameter: filter.parameter.clone().unwrap_or_else(|| format!("{id}_parameter")),
                    operator: filter.operator,
                    optional: filter.optional,
                },
            });
        }
    }

    fn add_slot(&mut self, name: &str, what: Output, plain: bool) {
        self.slots.push(Slot { name: name.to_owned(), literal: format!("\"{name}\":").into_bytes(), what, plain });
    }

    /// The column of that path.
    pub(super) fn column(&self, path: &str) -> Option<u8> {
        self.columns.iter().position(|c| c.path == path).and_then(|at| u8::try_from(at).ok())
    }

    /// A column, or one of the two times of a row.
    pub(super) fn filter_field(&self, path: &str) -> Option<FilterField> {
        match path {
            "created" => Some(FilterField::Created),
            "lastModified" => Some(FilterField::LastModified),
            _ => self.column(path).map(FilterField::Column),
        }
    }

    /// The slot of that name.
    pub(super) fn slot(&self, name: &str) -> Option<&Slot> {
        self.slots.iter().find(|s| s.name == name)
    }
}
