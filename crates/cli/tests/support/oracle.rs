//! What Campaign must hold, worked out from the rows of both control APIs by hand: nothing here knows the mapping crate.

use std::collections::BTreeMap;

use serde_json::Value;

/// Every difference between what the contacts demand and what the profiles are. Holds for a mapping in which every field is
/// updated, deletes are applied and filtered-out records deleted.
pub(crate) fn differences(contacts: &[Value], profiles: &[Value]) -> Vec<String> {
    let mut differences = Vec::new();
    let mut by_id: BTreeMap<&str, &Value> = BTreeMap::new();
    for profile in profiles {
        let id = profile["externalId"].as_str().unwrap_or_default();
        if by_id.insert(id, profile).is_some() {
            differences.push(format!("{id} is there twice"));
        }
    }
    for contact in contacts {
        let Some(id) = contact["contactid"].as_str() else {
            differences.push("a contact has no id".to_owned());
            continue;
        };
        let profile = by_id.remove(id);
        if contact["statecode"] != 0 {
            if profile.is_some() {
                differences.push(format!("{id} is inactive and must not be there"));
            }
            continue;
        }
        let Some(profile) = profile else {
            differences.push(format!("{id} is missing"));
            continue;
        };
        let expected = [
            (text(&contact["firstname"]), &profile["firstName"], "firstName"),
            (text(&contact["lastname"]), &profile["lastName"], "lastName"),
            (text(&contact["emailaddress1"]), &profile["email"], "email"),
            (text(&contact["telephone1"]), &profile["phone"], "phone"),
            (text(&contact["birthdate"]), &profile["birthDate"], "birthDate"),
            (gender(&contact["gendercode"]), &profile["gender"], "gender"),
            (text(&contact["address1_city"]), &profile["location"]["city"], "location.city"),
        ];
        for (wanted, found, attribute) in expected {
            if found.as_str() != Some(wanted.as_str()) {
                differences.push(format!("{id}: {attribute} is {found}, expected {wanted:?}"));
            }
        }
    }
    differences.extend(by_id.into_keys().map(|id| format!("{id} is in Campaign alone")));
    differences
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn gender(value: &Value) -> String {
    match value.as_i64() {
        Some(1) => "male",
        Some(2) => "female",
        _ => "unknown",
    }
    .to_owned()
}
