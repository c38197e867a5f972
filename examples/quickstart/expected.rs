//! What Campaign must hold, worked out from Dataverse rows by hand: an opinion of its own, without the mapping crate.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// The expected rows of one resource, by key.
#[derive(Debug, Default)]
pub(crate) struct Expected {
    rows: BTreeMap<String, Map<String, Value>>,
}

impl Expected {
    /// Brings the profiles up to date with the contacts as they are now. Called whenever both sides have come to rest, because
    /// what is written once only depends on when a record was created.
    pub(crate) fn contacts(&mut self, contacts: &[Value]) {
        let before = std::mem::take(&mut self.rows);
        for contact in contacts {
            let passes = contact["statecode"] == 0
                && !contact["lastname"].as_str().is_some_and(|name| name.eq_ignore_ascii_case("nobody"));
            let Some(id) = contact["contactid"].as_str().filter(|_| passes) else { continue };
            let old = before.get(id);
            let once = |name: &str, now: Value| old.map_or(now, |old| old[name].clone());
            let gender = match contact["gendercode"].as_i64() {
                Some(1) => "male",
                Some(2) => "female",
                _ => "unknown",
            };
            let status = match contact["familystatuscode"].as_i64() {
                Some(1) => "Single",
                Some(2) => "Spouse",
                Some(3) => "Divorced",
                Some(4) => "Widowed",
                _ => "",
            };
            let phone = match (contact["telephone1"].as_str(), old) {
                (Some(phone), _) => json!(phone),
                (None, Some(old)) => old["phone"].clone(),
                (None, None) => json!(""),
            };
            let row = [
                ("firstName", text(&contact["firstname"])),
                ("lastName", text(&contact["lastname"])),
                ("email", text(&contact["emailaddress1"])),
                ("phone", phone),
                ("birthDate", text(&contact["birthdate"])),
                ("gender", json!(gender)),
                ("cusFamilyStatus", json!(status)),
                ("cusNoBulk", json!(contact["donotbulkemail"] == true)),
                ("cusCreditLimit", json!(contact["creditlimit"].as_f64().unwrap_or_default())),
                ("cusCreatedAt", once("cusCreatedAt", instant(&contact["createdon"]))),
                ("location.city", once("location.city", text(&contact["address1_city"]))),
            ];
            self.rows.insert(id.to_owned(), row.into_iter().map(|(name, value)| (name.to_owned(), value)).collect());
        }
    }

    /// Brings the boats up to date. A boat that no longer matches stays as it was.
    pub(crate) fn boats(&mut self, boats: &[Value]) {
        let before = std::mem::take(&mut self.rows);
        for boat in boats {
            let Some(id) = boat["new_boatid"].as_str() else { continue };
            let passes = matches!(boat["new_kind"].as_i64(), Some(1 | 2)) || boat["new_sailing"] == true;
            if !passes {
                if let Some(old) = before.get(id) {
                    self.rows.insert(id.to_owned(), old.clone());
                }
                continue;
            }
            let number = |column: &str| json!(boat[column].as_f64().unwrap_or_default());
            let row = [
                ("cusName", text(&boat["new_name"])),
                ("cusBerths", number("new_berths")),
                ("cusLength", number("new_length")),
                ("cusPrice", number("new_price")),
                ("cusSailing", json!(boat["new_sailing"] == true)),
                ("cusLaunched", text(&boat["new_launched"])),
                ("cusSurveyedAt", instant(&boat["new_surveyed"])),
                ("cusKind", number("new_kind")),
                ("cusCode", json!(digits(&boat["new_code"]))),
                ("cusLengthText", decimals(&boat["new_length"])),
                ("cusSailingNumber", json!(i32::from(boat["new_sailing"] == true))),
                ("cusSurveyedOn", day(&boat["new_surveyed"])),
            ];
            self.rows.insert(id.to_owned(), row.into_iter().map(|(name, value)| (name.to_owned(), value)).collect());
        }
    }

    /// Every difference to the rows that Campaign holds.
    pub(crate) fn differences(&self, resource: &str, key: &str, found: &[Value]) -> Vec<String> {
        let mut differences = Vec::new();
        let mut missing: BTreeMap<&str, &Map<String, Value>> =
            self.rows.iter().map(|(id, row)| (id.as_str(), row)).collect();
        for row in found {
            let id = row[key].as_str().unwrap_or_default();
            let Some(expected) = missing.remove(id) else {
                differences.push(format!("{resource} {id} is there and should not be, or is there twice"));
                continue;
            };
            for (attribute, wanted) in expected {
                let have = attribute.split('.').fold(row, |value, part| &value[part]);
                if !same(wanted, have) {
                    differences.push(format!("{resource} {id}: {attribute} differs"));
                }
            }
        }
        differences.extend(missing.into_keys().map(|id| format!("{resource} {id} is missing")));
        differences
    }

    /// How many rows there must be.
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }
}

/// Numbers compare as numbers: the two services write the same amount with different numbers of zeros.
fn same(wanted: &Value, have: &Value) -> bool {
    if let Some(number) = wanted.get("text of").and_then(Value::as_f64) {
        let text = have.as_str().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.'));
        return text.and_then(|text| text.parse::<f64>().ok()).is_some_and(|have| (number - have).abs() < 1e-9);
    }
    match (wanted.as_f64(), have.as_f64()) {
        (Some(wanted), Some(have)) => (wanted - have).abs() < 1e-9,
        _ => wanted == have,
    }
}

fn text(value: &Value) -> Value {
    json!(value.as_str().unwrap_or_default())
}

/// A text of digits as a number.
fn digits(value: &Value) -> u64 {
    value.as_str().unwrap_or_default().bytes().fold(0, |number, digit| number * 10 + u64::from(digit - b'0'))
}

/// A number as text. With how many zeros at its end is the service's affair, so that the text is compared as a number.
fn decimals(value: &Value) -> Value {
    value.as_f64().map_or_else(|| json!(""), |number| json!({ "text of": number }))
}

/// The day of a moment.
fn day(value: &Value) -> Value {
    json!(value.as_str().unwrap_or_default().chars().take(10).collect::<String>())
}

/// `2026-01-05T10:00:00Z` is `2026-01-05 10:00:00.000Z` in Campaign.
fn instant(value: &Value) -> Value {
    json!(
        value
            .as_str()
            .map_or_else(String::new, |text| format!("{}.000Z", text.trim_end_matches('Z').replace('T', " ")))
    )
}
