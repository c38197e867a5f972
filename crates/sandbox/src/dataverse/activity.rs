//! The four activities of an email campaign on a contact's timeline: sends, opens, clicks, bounces. They are custom activity
//! tables (learn.microsoft.com, "Create a table that is an activity"), so an environment may have them under other names.

use super::builtin::{primary_key, system, text};
use super::scenario::ActivityScenario;
use super::schema::{Choice, Column, Kind, Table};

/// A table: logical name, schema name, and its own columns beside those that all four have.
type Own = (&'static str, &'static str, &'static str, bool);

const TABLES: [Own; 4] = [
    ("adobe_campaignemailsend", "adobe_CampaignEmailSend", "adobe_datesent", false),
    ("adobe_campaignemailopen", "adobe_CampaignEmailOpen", "adobe_dateopened", false),
    ("adobe_campaignemailurlclick", "adobe_CampaignEmailUrlClick", "adobe_dateclicked", true),
    ("adobe_campaignemailbounce", "adobe_CampaignEmailBounce", "adobe_datebounced", false),
];

/// The first of their type codes.
const CODE: u32 = 10_900;

/// The tables, as a scenario wants them.
pub(super) fn tables(wanted: &[ActivityScenario]) -> Result<Vec<Table>, String> {
    if let Some(unknown) = wanted.iter().find(|w| !TABLES.iter().any(|(name, ..)| *name == w.table)) {
        return Err(format!("there is no activity {} to change", unknown.table));
    }
    if let Some(twice) = wanted.iter().enumerate().find(|(nth, w)| wanted.iter().take(*nth).any(|o| o.table == w.table))
    {
        return Err(format!("the activity {} is there twice", twice.1.table));
    }
    let mut made = Vec::new();
    for (own, code) in TABLES.iter().zip(CODE..) {
        let wanted = wanted.iter().find(|w| w.table == own.0).cloned().unwrap_or_default();
        if !wanted.removed {
            made.push(table(own, code, &wanted)?);
        }
    }
    Ok(made)
}

fn table((name, schema_name, date, click): &Own, code: u32, wanted: &ActivityScenario) -> Result<Table, String> {
    let logical = wanted.name.as_deref().unwrap_or(name);
    let schema_name = wanted.name.as_deref().unwrap_or(schema_name);
    let set = wanted.set.clone().unwrap_or_else(|| format!("{logical}s"));
    let mut columns = common(logical, wanted.navigation.as_deref());
    for column in ["adobe_campaignname", "adobe_deliveryname"] {
        columns.push(text(column, 200));
    }
    columns.push(Column::new(date, Kind::DateTime { zoneless: false }).format("DateAndTime"));
    if *click {
        columns.push(text("adobe_trackingurl", 4000).format("Url"));
    }
    columns.push(text("adobe_mirrorpageurl", 4000).format("Url"));
    for without in &wanted.without {
        let at = columns.iter().position(|column| column.name == *without && column.name.starts_with("adobe_"));
        columns.remove(at.ok_or_else(|| format!("the activity {name} has no column {without} to take away"))?);
    }
    let mut table = Table::new(logical, &set, schema_name, code, columns);
    table.is_activity = !wanted.not_an_activity;
    Ok(table)
}

/// The columns of every activity table, inherited from `activitypointer`.
fn common(table: &str, navigation: Option<&str>) -> Vec<Column> {
    let moment = Kind::DateTime { zoneless: false };
    let to_contact = navigation.map_or_else(|| format!("regardingobjectid_contact_{table}"), str::to_owned);
    let to_account = format!("regardingobjectid_account_{table}");
    let targets = [("contact", "contacts", to_contact.as_str()), ("account", "accounts", to_account.as_str())];
    let mut columns = vec![
        primary_key("activityid"),
        text("subject", 400).schema_name("Subject").required("ApplicationRequired"),
        Column::new("description", Kind::Memo { max: 2000 }),
        Column::new("regardingobjectid", Kind::Lookup).schema_name("RegardingObjectId").targets("Lookup", &targets),
    ];
    for name in ["scheduledstart", "scheduledend", "actualstart", "actualend"] {
        columns.push(Column::new(name, moment).format("DateAndTime"));
    }
    let priorities = [(0, "Low"), (1, "Normal"), (2, "High")];
    columns.push(Column::new("prioritycode", Kind::Picklist).choices(&priorities).default_cell(b"1"));
    columns.extend(system());
    let states = [(0, "Open"), (1, "Completed"), (2, "Canceled"), (3, "Scheduled")];
    for column in &mut columns {
        match column.kind {
            Kind::State => *column = column.clone().choices(&states),
            Kind::Status => {
                let status = |(state, label): &(i32, &str)| Choice {
                    value: state + 1,
                    label: (*label).to_owned(),
                    state: Some(*state),
                };
                column.choices = states.iter().map(status).collect();
            }
            _ => {}
        }
    }
    columns
}
