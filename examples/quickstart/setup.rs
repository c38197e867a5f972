//! What the quickstart runs on: a scenario for the sandbox and a configuration for the connector.

use serde_json::Value;

/// A custom table on either side, and attributes of the profile that take values of every type.
pub(crate) const SCENARIO: &str = r#"
[[dataverse.tables]]
name = "new_boat"
rows = 500
columns = [
  { name = "new_code", max_length = 40 },
  { name = "new_berths", type = "integer" },
  { name = "new_length", type = "decimal", min = 0, max = 100 },
  { name = "new_price", type = "money", min = 0, max = 1000000 },
  { name = "new_sailing", type = "boolean" },
  { name = "new_launched", type = "date_only" },
  { name = "new_surveyed", type = "date_time" },
  { name = "new_kind", type = "picklist", choices = [ { value = 1, label = "Yacht" }, { value = 2, label = "Ferry" }, { value = 3, label = "Canoe" } ] },
]

[[campaign.resources]]
name = "profile"
fields = [
  { name = "cusFamilyStatus", length = 40 },
  { name = "cusNoBulk", type = "boolean" },
  { name = "cusCreditLimit", type = "number", fraction = true },
  { name = "cusCreatedAt", type = "datetime" },
]

[[campaign.resources]]
name = "cusBoat"
family = "customResources"
unique_keys = [["cusBoatId"]]
fields = [
  { name = "cusBoatId", length = 100 },
  { name = "cusName", length = 255 },
  { name = "cusBerths", type = "number" },
  { name = "cusLength", type = "number", fraction = true },
  { name = "cusPrice", type = "number", fraction = true },
  { name = "cusSailing", type = "boolean" },
  { name = "cusLaunched", type = "date" },
  { name = "cusSurveyedAt", type = "datetime" },
  { name = "cusKind", type = "number" },
  { name = "cusCode", type = "number" },
  { name = "cusLengthText", length = 20 },
  { name = "cusSailingNumber", type = "number" },
  { name = "cusSurveyedOn", type = "date" },
]
"#;

/// Two tables that between them use every feature of a mapping.
const TABLES: &str = r#"
[[table]]
table = "contact"
resource = "profile"
key = "externalId"
apply_deletes = true
fields = [
  { from = "firstname", to = "firstName" },
  { from = "lastname", to = "lastName" },
  { from = "emailaddress1", to = "email" },
  { from = "telephone1", to = "phone", null = "skip" },
  { from = "birthdate", to = "birthDate" },
  { from = "gendercode", to = "gender" },
  { from = "familystatuscode", to = "cusFamilyStatus" },
  { from = "donotbulkemail", to = "cusNoBulk" },
  { from = "creditlimit", to = "cusCreditLimit" },
  { from = "createdon", to = "cusCreatedAt", apply_updates = false },
  { from = "address1_city", to = "location.city", apply_updates = false },
]
replacements = [
  { field = "gendercode", value = 1, with = "male" },
  { field = "gendercode", value = 2, with = "female" },
  { field = "familystatuscode", value = "Married", with = "Spouse", label = true },
]
[table.filter]
operator = "and"
delete_filtered_out = true
rules = [
  { field = "statecode", compare = "equals", value = 0 },
  { field = "lastname", compare = "not_equals", value = "Nobody" },
]

[[table]]
table = "new_boat"
resource = "cusBoat"
key = "cusBoatId"
apply_deletes = true
technical_values = true
fields = [
  { from = "new_name", to = "cusName" },
  { from = "new_berths", to = "cusBerths" },
  { from = "new_length", to = "cusLength" },
  { from = "new_price", to = "cusPrice" },
  { from = "new_sailing", to = "cusSailing" },
  { from = "new_launched", to = "cusLaunched" },
  { from = "new_surveyed", to = "cusSurveyedAt" },
  { from = "new_kind", to = "cusKind" },
  { from = "new_code", to = "cusCode" },
  { from = "new_length", to = "cusLengthText" },
  { from = "new_sailing", to = "cusSailingNumber" },
  { from = "new_surveyed", to = "cusSurveyedOn" },
]
[table.filter]
operator = "or"
rules = [
  { field = "new_kind", compare = "in", value = [1, 2] },
  { field = "new_sailing", compare = "equals", value = true },
]
"#;

/// The configuration for a sandbox that described itself as `info`.
pub(crate) fn configuration(info: &Value) -> String {
    let (d, c) = (&info["dataverse"], &info["campaign"]);
    format!(
        "[dataverse]\nurl = {}\ntenant = {}\nauthority = {}\nclient_id = {}\nclient_secret = {{ plain = {} }}\n\
         page_size = 1000\npoll_seconds = 1\n\
         [campaign]\nurl = {}\nims_url = {}\nclient_id = {}\nclient_secret = {{ plain = {} }}\norg_id = {}\n\
         [store]\nsqlite = \"sync.db\"\n{TABLES}\
         [events]\nsource = {{ journal = {{ url = {} }} }}\npoll_seconds = 1\n\
         sends = true\nopens = true\nclicks = true\nbounces = true\n\
         [opt_out]\ndirection = \"bidirectional\"\npoll_seconds = 1\n\
         source = {{ filter = {{ name = \"byLastModified\", parameter = \"lastModified_parameter\" }} }}\n\
         pairs = [ {{ d365 = \"donotemail\", campaign = \"denyListEmail\" }}, \
         {{ d365 = \"donotphone\", campaign = \"denyListPhone\" }} ]\n",
        d["url"],
        d["tenant"],
        d["authority"],
        d["client_id"],
        d["client_secret"],
        c["url"],
        c["ims_url"],
        c["client_id"],
        c["client_secret"],
        c["org_id"],
        info["journal"]["url"],
    )
}
