//! Whether the application user may write what a run writes in Dynamics 365.

use std::collections::BTreeMap;

use d365_client::{D365Client, Error, ErrorKind};

use super::findings::Findings;
use super::name::Name;
use crate::config::Config;
use crate::error::Problem;

/// What a run needs of each table, with the place in the configuration that asks for it.
fn needed(config: &Config) -> BTreeMap<&str, (&'static str, Vec<&'static str>)> {
    let mut needed: BTreeMap<&str, (&'static str, Vec<&'static str>)> = BTreeMap::new();
    let events = &config.events;
    let kinds = [
        (events.sends, "events.activities.send", &events.activities.send),
        (events.opens, "events.activities.open", &events.activities.open),
        (events.clicks, "events.activities.click", &events.activities.click),
        (events.bounces, "events.activities.bounce", &events.activities.bounce),
    ];
    for (_, place, names) in kinds.into_iter().filter(|(on, ..)| *on) {
        // An activity that comes again is written over itself, and each is regarding a contact.
        needed.insert(&names.table, (place, vec!["Create", "Write", "Append"]));
    }
    let contact =
        [(events.is_on(), "events", "AppendTo"), (config.opt_out.direction.reads_campaign(), "opt_out", "Write")];
    for (_, place, right) in contact.into_iter().filter(|(on, ..)| *on) {
        needed.entry("contact").or_insert((place, Vec::new())).1.push(right);
    }
    needed
}

/// Asks for each privilege by its name.
pub(super) async fn look(config: &Config, client: &D365Client) -> Findings {
    let mut findings = Findings::default();
    let needed = needed(config);
    if needed.is_empty() {
        findings.unasked(Name::WritePrivilege);
        return findings;
    }
    for (table, (place, rights)) in needed {
        match lacking(client, table, &rights).await {
            Ok(lacking) => {
                findings.good(Name::WritePrivilege, format!("{table}."));
                for name in lacking {
                    let message = format!("The application user has no role with the privilege {name}.");
                    let remedy = format!("Give its security role {name}, at organization level.");
                    findings.fault(Name::WritePrivilege, Problem::new(place, message, remedy));
                }
            }
            // Its own check says so.
            Err(error) if error.kind() == ErrorKind::UnknownTable => {}
            Err(error) => {
                let message = format!("Whether {table} can be written cannot be asked: {error}.");
                let remedy = "Check that its security role may create and write these rows.";
                findings.warning(Name::WritePrivilege, Problem::new(place, message, remedy));
            }
        }
    }
    findings
}

/// The names of the privileges of a table that allow this and that the user does not hold.
async fn lacking(client: &D365Client, table: &str, rights: &[&str]) -> Result<Vec<String>, Error> {
    let user = client.who_am_i().await?.user_id;
    let mut lacking = Vec::new();
    for privilege in client.table_privileges(table).await? {
        if rights.contains(&privilege.allows.as_str()) && !client.holds(user, &privilege.name).await? {
            lacking.push(privilege.name);
        }
    }
    Ok(lacking)
}
