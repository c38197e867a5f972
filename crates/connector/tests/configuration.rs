//! Every problem of a configuration is told at once, each with its path, its line and its remedy.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on ends there")]

use std::path::Path;
use std::time::Duration;

use d365_campaign::{Config, ErrorKind, Problem, Sweep};

const HEAD: &str = r#"[dataverse]
url = "https://contoso.api.crm.dynamics.com"
tenant = "contoso.onmicrosoft.com"
client_id = "app"
client_secret = { env = "D365_CLIENT_SECRET" }
[campaign]
url = "https://mc.adobe.io/acme"
client_id = "key"
client_secret = { env = "CAMPAIGN_CLIENT_SECRET" }
org_id = "A@AdobeOrg"
[store]
sqlite = "sync.db"
"#;

const CONTACT: &str = r#"[[table]]
table = "contact"
resource = "profile"
key = "externalId"
fields = [
  { from = "firstname", to = "firstName" },
  { from = "gendercode", to = "gender" },
]
replacements = [ { field = "gendercode", value = 1, with = "male" } ]
"#;

/// The lines of the head.
const ABOVE: usize = 12;

fn problems(text: &str) -> Vec<Problem> {
    let error = Config::parse(text, Path::new(".")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    for problem in error.problems() {
        assert!(!problem.remedy.is_empty(), "no remedy: {problem}");
        assert!(problem.line.is_some(), "no line: {problem}");
    }
    error.problems().to_vec()
}

/// Places with their lines, counted from the first line behind the head.
fn places(text: &str) -> Vec<(String, usize)> {
    let found = problems(&format!("{HEAD}{text}"));
    found.into_iter().map(|problem| (problem.place, problem.line.unwrap() - ABOVE)).collect()
}

fn at(place: &str, line: usize) -> (String, usize) {
    (place.to_owned(), line)
}

#[test]
fn a_whole_configuration_of_the_guide_is_taken() {
    let text = format!(
        "{HEAD}{}",
        r#"[tls]
[sync]
delete_brake = { rows = 50, share = 0.005 }
guardrails = "none"
[[table]]
table = "contact"
resource = "profile"
key = "externalId"
key_filter = { name = "byCrmId", parameter = "crmId_parameter" }
apply_deletes = false
technical_values = false
fields = [
  { from = "firstname", to = "firstName" },
  { from = "address1_city", to = "location.city", apply_updates = false, null = "clear" },
  { from = "gendercode", to = "gender", null = "skip" },
]
replacements = [ { field = "gendercode", value = "Male", with = "male", label = true } ]
[table.filter]
operator = "or"
delete_filtered_out = false
rules = [
  { field = "statecode", compare = "in", value = [0, 1] },
  { field = "birthdate", compare = "greater", value = 1970-01-01 },
  { field = "firstname", compare = "is_not_empty" },
]
[[table]]
table = "new_vehicle"
resource = "cusVehicle"
key = "cusVehicleId"
fields = [ { from = "new_name", to = "cusName" } ]
links = [ { from = "new_owner", to = "cusContactId", parent = "contact" } ]
[events]
sends = false
source = { journal = { url = "https://events.example", organization = "1", integration = "2" } }
[opt_out]
direction = "disabled"
source = { filter = { name = "byLastModified", parameter = "lastModified_parameter" } }
pairs = [ { d365 = "donotemail", campaign = "denyListEmail" } ]
workflow = "WKF12"
expect_file_within = "26h"
[sftp]
host = "acme.campaign.adobe.com"
user = "me"
private_key = { file = "no-such-key" }
host_key = "ssh-ed25519 AAAA"
export_logs = false
"#
    );
    let config = Config::parse(&text, Path::new(".")).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(config.tables.len(), 2);
    // Read key by key, a table is what serde makes of the same text.
    #[derive(serde::Deserialize)]
    struct Tables {
        table: Vec<d365_campaign::TableSpec>,
    }
    assert_eq!(config.tables, toml::from_str::<Tables>(&text).unwrap().table);
}

#[test]
fn a_target_taken_twice_has_the_line_of_its_field() {
    let text = CONTACT.replace("to = \"gender\"", "to = \"firstName\"");
    assert_eq!(places(&text), [at("table[0].fields[1].to", 7)]);
}

#[test]
fn all_problems_of_a_table_are_told() {
    let text = r#"[[table]]
tabel = "contact"
resource = 7
key = ""
fields = [
  { form = "firstname", to = "firstName" },
  { from = "a", to = "b", null = "keep", apply_updates = "no" },
  "gendercode",
]
replacements = [ { field = "gendercode", value = { a = 1 } } ]
apply_deletes = "yes"
links = {}
[table.filter]
operator = "xor"
rules = [ { field = "statecode", compare = "is", value = 0 }, { compare = "equals", value = 1 } ]
"#;
    let mut wanted = [
        at("table[0].tabel", 2),
        at("table[0].table", 1),
        at("table[0].resource", 3),
        at("table[0].key", 4),
        at("table[0].fields[0].form", 6),
        at("table[0].fields[0].from", 6),
        at("table[0].fields[1].null", 7),
        at("table[0].fields[1].apply_updates", 7),
        at("table[0].fields[2]", 8),
        at("table[0].replacements[0].value", 10),
        at("table[0].replacements[0].with", 10),
        at("table[0].apply_deletes", 11),
        at("table[0].links", 12),
        at("table[0].filter.operator", 14),
        at("table[0].filter.rules[0].compare", 15),
        at("table[0].filter.rules[1].field", 15),
    ];
    let mut found = places(text);
    wanted.sort();
    found.sort();
    assert_eq!(found, wanted);
}

#[test]
fn a_mistake_in_one_table_hides_nothing_of_the_others() {
    let text = format!(
        "{}{}",
        CONTACT.replace("key =", "kee ="),
        r#"[[table]]
table = "new_vehicle"
resource = "profile"
key = "cusVehicleId"
fields = [ { from = "a", to = "b" }, { from = "c", to = "b" } ]
links = [ { from = "d", to = "e", parent = "nobody" } ]
"#
    );
    let wanted = [
        at("table[0].key", 1),
        at("table[0].kee", 4),
        at("table[1].resource", 12),
        at("table[1].fields[1].to", 14),
        at("table[1].links[0].parent", 15),
    ];
    assert_eq!(places(&text), wanted);
}

#[test]
fn problems_of_sections_and_tables_come_together() {
    let text =
        format!("{HEAD}{CONTACT}").replace("tenant =", "tennant =").replace("to = \"gender\"", "to = \"firstName\"");
    let places: Vec<_> = problems(&text).into_iter().map(|problem| problem.place).collect();
    assert_eq!(places, ["dataverse.tenant", "dataverse.tennant", "table[0].fields[1].to"]);
}

#[test]
fn text_that_is_no_toml_is_told_wherever_it_breaks() {
    let found = problems(&format!("{HEAD}{CONTACT}").replace("tenant = ", "tenant ").replace("org_id = ", "org_id "));
    let lines: Vec<_> = found.iter().map(|problem| problem.line.unwrap()).collect();
    assert!(lines.contains(&3) && lines.contains(&10), "{found:?}");
}

#[test]
fn sections_of_a_later_version_are_checked_while_they_are_off() {
    let text = format!(
        "{CONTACT}{}",
        r#"[events]
send = true
opens = "yes"
source = { jornal = {} }
[opt_out]
direction = "sideways"
source = { export = { folder = 3 } }
pairs = [ { d365 = "donotemail" } ]
[sftp]
hosts = "acme"
private_key = "a-literal-canary"
export_logs = 0
"#
    );
    let wanted = [
        at("events.send", 11),
        at("events.opens", 12),
        at("events.source.jornal", 13),
        at("opt_out.source", 14),
        at("opt_out.direction", 15),
        at("opt_out.source.export.folder", 16),
        at("opt_out.pairs[0].campaign", 17),
        at("sftp.host", 18),
        at("sftp.user", 18),
        at("sftp.host_key", 18),
        at("sftp.hosts", 19),
        at("sftp.private_key", 20),
        at("sftp.export_logs", 21),
    ];
    assert_eq!(places(&text), wanted);
    assert!(!format!("{:?}", problems(&format!("{HEAD}{text}"))).contains("canary"));
}

#[test]
fn the_keys_of_exports_are_checked() {
    let text = format!(
        "{CONTACT}{}",
        r#"[events]
sends = true
source = { export = { folder = "a", stable_for = "1m", complete_ending = ".done", columns = { when = "at" } } }
fill_gaps_from = { export = { folder = "b", header = ["a"], utc_offset = "CET" } }
[opt_out]
direction = "campaign_to_d365"
source = { export = { folder = "c", columns = { denyListFaxLastModified = "faxed", blackListFax = "fax" } } }
pairs = [ { d365 = "donotfax", campaign = "denyListFax" } ]
"#
    );
    let wanted = [
        // No [sftp].
        at("events.source", 10),
        at("events.source.export.columns.when", 12),
        at("events.source.export.complete_ending", 12),
        at("events.fill_gaps_from.export.separator", 13),
        at("events.fill_gaps_from.export.utc_offset", 13),
        // There is no journal whose gaps could be filled.
        at("events.fill_gaps_from", 13),
        // No [sftp].
        at("opt_out.source", 14),
        at("opt_out.source.export.columns.blackListFax", 16),
        at("opt_out.source.export.columns.denyListFaxLastModified", 16),
    ];
    assert_eq!(places(&text), wanted);
}

/// The file is daily, and two hours late at most.
#[test]
fn files_of_opt_outs_are_expected_daily() {
    let expected = |source: &str, more: &str| {
        let section = format!(
            "[opt_out]\ndirection = \"bidirectional\"\nsource = {source}\n{more}\n\
             pairs = [ {{ d365 = \"donotemail\", campaign = \"denyListEmail\" }} ]\n\
             [sftp]\nhost = \"h\"\nuser = \"u\"\nprivate_key = {{ file = \"k\" }}\nhost_key = \"ssh-ed25519 A\"\n"
        );
        let config = Config::parse(&format!("{HEAD}{CONTACT}{section}"), Path::new("."));
        config.unwrap_or_else(|error| panic!("{error}")).opt_out.expect_file_within
    };
    let hours = |hours: u64| Some(std::time::Duration::from_secs(hours * 3600));
    assert_eq!(expected("{ export = { folder = \"d\" } }", ""), hours(26));
    assert_eq!(expected("{ export = { folder = \"d\" } }", "expect_file_within = \"50h\""), hours(50));
    assert_eq!(expected("{ filter = { name = \"by\", parameter = \"p\" } }", ""), None);
}

#[test]
fn what_is_not_available_yet_says_so() {
    let kept_elsewhere = "[store]\npostgres = { env = \"STORE\" }\n";
    let found = problems(&format!("{}{CONTACT}", HEAD.replace("[store]\n", kept_elsewhere)));
    assert_eq!(found[0].place, "store.postgres");
    assert!(found[0].message.contains("not available yet"), "{}", found[0]);
}

#[test]
fn the_stores_key_is_a_secret_of_a_known_form() {
    let with = |key: &str| {
        let text = format!("{}{CONTACT}", HEAD.replace("[store]\n", &format!("[store]\nencryption_key = {key}\n")));
        let text = text.replace("{ env = \"D365_CLIENT_SECRET\" }", "{ plain = \"s\" }");
        let text = text.replace("{ env = \"CAMPAIGN_CLIENT_SECRET\" }", "{ plain = \"s\" }");
        Config::parse_with_references(&text, Path::new("."))
    };
    let digits = "0123456789abcdefABCDEF9876543210".repeat(2);
    with(&format!("{{ plain = \"{digits}\" }}")).unwrap();
    for wrong in [
        format!("\"{digits}\""),
        "{ env = \"NO_SUCH_KEY\" }".to_owned(),
        format!("{{ plain = \"{digits}0\" }}"),
        format!("{{ plain = \"{}\" }}", digits.replace('a', "g")),
        format!("{{ plain = \"{}\" }}", &digits[1..]),
    ] {
        let error = with(&wrong).unwrap_err();
        assert_eq!(
            (error.problems().len(), error.problems()[0].place.as_str()),
            (1, "store.encryption_key"),
            "{wrong}"
        );
        assert!(!format!("{error:?} {error}").contains("456789"), "the key is shown");
    }
}

#[test]
fn passes_and_letters_are_set_by_words_and_days() {
    let of = |sync: &str| Config::parse(&format!("{HEAD}{CONTACT}[sync]\n{sync}\n"), Path::new(".")).unwrap().sync;
    let days = |days: u64| Duration::from_secs(days * 24 * 3600);
    assert_eq!((of("").sweep, of("").dead_letters_kept), (Sweep::Weekly, days(30)));
    let words = [("weekly", Sweep::Weekly), ("daily", Sweep::Daily), ("never", Sweep::Never), ("off", Sweep::Never)];
    for (word, meaning) in words {
        assert_eq!(of(&format!("sweep = \"{word}\"")).sweep, meaning);
    }
    assert_eq!(of("dead_letter_days = 7").dead_letters_kept, days(7));
    for wrong in ["sweep = \"hourly\"", "sweep = true", "dead_letter_days = 0", "dead_letter_days = \"7\""] {
        let found = problems(&format!("{HEAD}{CONTACT}[sync]\n{wrong}\n"));
        let key = wrong.split(' ').next().unwrap();
        assert_eq!((found.len(), found[0].place.as_str()), (1, format!("sync.{key}").as_str()), "{found:?}");
    }
}

#[test]
fn references_are_looked_at_together_with_the_rest() {
    let text =
        format!("{HEAD}[tls]\nca_file = \"no-such.pem\"\n{}", CONTACT.replace("to = \"gender\"", "to = \"firstName\""))
            .replace("D365_CLIENT_SECRET", "NO_SUCH_VARIABLE_ONE")
            .replace("{ env = \"CAMPAIGN_CLIENT_SECRET\" }", "{ file = \"no-such-secret\" }");
    // A command that does not connect needs none of them.
    assert_eq!(problems(&text).len(), 1);
    let error = Config::parse_with_references(&text, Path::new(".")).unwrap_err();
    let found: Vec<_> =
        error.problems().iter().map(|problem| (problem.place.as_str(), problem.line.unwrap())).collect();
    let wanted = [
        ("dataverse.client_secret", 5),
        ("campaign.client_secret", 9),
        ("tls.ca_file", 14),
        ("table[0].fields[1].to", 21),
    ];
    assert_eq!(found, wanted);
}

#[test]
fn the_documented_limits_refuse_when_they_are_asked_to() {
    let fields: String = (0..51).map(|n| format!("{{ from = \"a{n}\", to = \"b{n}\" }}, ")).collect();
    let table = format!(
        "[[table]]\ntable = \"new_boat\"\nresource = \"cusBoat\"\nkey = \"cusBoatId\"\nfields = [ {fields} ]\n"
    );
    assert_eq!(places(&format!("[sync]\nguardrails = \"adobe\"\n{table}")), [at("table[0].fields", 7)]);
    Config::parse(&format!("{HEAD}[sync]\nguardrails = \"none\"\n{table}"), Path::new(".")).unwrap();
}
