//! Opt-outs made by hand on either side, and what must have become of them.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::control::{Control, Outcome};

/// Preferences that were changed by hand, on either side, and must hold on both.
#[derive(Debug, Default)]
pub(crate) struct Preferences {
    opted_out: BTreeMap<(String, usize), &'static str>,
}

/// The columns and the attributes that say the same.
const PAIRS: [(&str, &str); 2] = [("donotemail", "blackListEmail"), ("donotphone", "blackListPhone")];

impl Preferences {
    /// People opt out: some are told of in Dynamics 365, some click a link in an email of Campaign.
    pub(crate) async fn opt_out(&mut self, control: &Control, round: u64) -> Outcome<()> {
        let contacts = control.records("dataverse", "contact").await?;
        let stays = |row: &&Value| row["statecode"] == 0 && row["lastname"] != "Nobody";
        let ids: Vec<String> =
            contacts.iter().filter(stays).filter_map(|row| row["contactid"].as_str().map(str::to_owned)).collect();
        let from = ids.len() / 2 + usize::try_from(round)? * 10;
        for (at, id) in ids.iter().skip(from).take(10).enumerate() {
            let pair = at % PAIRS.len();
            let (column, attribute) = PAIRS[pair];
            if at < 5 {
                control.put("dataverse", "contact", id, &json!({ column: true })).await?;
                self.opted_out.insert((id.clone(), pair), "Dynamics 365");
                continue;
            }
            let profiles = control.records("campaign", "profile").await?;
            let Some(mut profile) = profiles.into_iter().find(|row| row["externalId"] == id.as_str()) else { continue };
            // A row is put as a whole, without what the service keeps of it.
            if let Some(fields) = profile.as_object_mut() {
                fields.retain(|name, _| !["lastModified", "href", "PKey"].contains(&name.as_str()));
            }
            profile[attribute] = json!(true);
            control.put("campaign", "profile", id, &profile).await?;
            self.opted_out.insert((id.clone(), pair), "Campaign");
        }
        Ok(())
    }

    /// Preferences that the sides hold differently, and opt-outs that are gone; and how many preferences were compared.
    pub(crate) async fn differences(&self, control: &Control) -> Outcome<(usize, Vec<String>)> {
        let profiles = control.records("campaign", "profile").await?;
        let profiles: BTreeMap<&str, &Value> =
            profiles.iter().filter_map(|row| Some((row["externalId"].as_str()?, row))).collect();
        let (mut compared, mut differences) = (0, Vec::new());
        for contact in control.records("dataverse", "contact").await? {
            let id = contact["contactid"].as_str().unwrap_or_default();
            let Some(profile) = profiles.get(id) else { continue };
            for (pair, (column, attribute)) in PAIRS.into_iter().enumerate() {
                let [d365, campaign] = [&contact[column], &profile[attribute]].map(|value| value == &json!(true));
                compared += 1;
                if d365 != campaign {
                    differences.push(format!("contact {id}: {column} is {d365}, {attribute} is {campaign}"));
                }
                if let (Some(side), false) = (self.opted_out.get(&(id.to_owned(), pair)), d365 && campaign) {
                    differences.push(format!("contact {id}: the opt-out made in {side} is gone"));
                }
            }
        }
        Ok((compared, differences))
    }
}
