//! What the documents say is so: configurations parse, keys exist, links lead to functions.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on ends there")]

use std::path::{Path, PathBuf};

use d365_campaign::Config;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn document(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The blocks of a language.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    text.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

#[test]
fn the_configuration_of_the_guide_parses_as_a_whole() {
    let guide = document("docs/configuration.md");
    let blocks = blocks(&guide, "toml");
    assert!(blocks.len() >= 2);
    let config = Config::parse(&blocks.join("\n"), Path::new(".")).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(config.tables[0].table, "contact");
}

#[test]
fn the_guide_explains_every_key() {
    let guide = document("docs/configuration.md");
    let text = blocks(&guide, "toml").join("\n");
    let sections = [
        "[dataverse]",
        "[campaign]",
        "[tls]",
        "[store]",
        "[sync]",
        "[[table]]",
        "[table.filter]",
        "[events]",
        "[opt_out]",
        "[sftp]",
    ];
    let spoiled = sections.iter().fold(text, |text, section| {
        assert!(text.contains(section), "{section} is not in the guide");
        text.replacen(section, &format!("{section}\nno_such_key = 1"), 1)
    });
    let error = Config::parse(&spoiled, Path::new(".")).unwrap_err();
    let mut known = Vec::new();
    for problem in error.problems() {
        assert!(problem.place.ends_with(".no_such_key"), "{problem}");
        let list = problem.remedy.strip_prefix("Known here: ").unwrap().trim_end_matches('.');
        known.extend(list.split(", ").map(str::to_owned));
    }
    assert!(known.len() > 50, "{known:?}");
    for key in known {
        let explained = [format!("`{key}`"), format!("{key} ="), format!(".{key}`")];
        assert!(explained.iter().any(|form| guide.contains(form)), "{key} is not explained");
    }
}

#[test]
fn the_journey_leads_to_functions_that_exist() {
    let text = document("docs/ARCHITECTURE.md");
    let journey = text.split("## The journey of one contact").nth(1).unwrap();
    let stops: Vec<&str> =
        journey.split('\n').filter(|line| line.starts_with(|start: char| start.is_ascii_digit())).collect();
    assert!((5..=12).contains(&stops.len()), "{} stops", stops.len());
    let mut starts: Vec<usize> = stops.iter().map(|stop| journey.find(stop).unwrap()).collect();
    starts.push(journey.len());
    for stop in starts.windows(2).map(|ends| &journey[ends[0]..ends[1]]) {
        let links: Vec<&str> = stop.split("[`").skip(1).collect();
        assert!(!links.is_empty(), "a stop without a link: {stop}");
        for link in links {
            let (name, rest) = link.split_once("`](").unwrap();
            let file = rest.split(')').next().unwrap();
            let source = document(&format!("docs/{file}"));
            let (owner, function) = name.rsplit_once("::").unwrap_or(("", name));
            assert!(source.contains(&format!("fn {function}(")), "{file} has no function {function}");
            assert!(
                owner.is_empty()
                    || source.contains(&format!("for {owner} {{"))
                    || source.contains(&format!("impl {owner} {{")),
                "{file} has no methods of {owner}"
            );
        }
    }
}

/// The numbers of the specification, which is not in the repository: how many each group has, and those of the two lists.
fn numbers() -> Vec<String> {
    let groups = [
        ("SCP", 8),
        ("PRE", 9),
        ("SET", 11),
        ("WF", 18),
        ("MAP", 24),
        ("REP", 4),
        ("FIL", 7),
        ("ADV", 4),
        ("RUN", 12),
        ("WRT", 11),
        ("EVT", 16),
        ("OPT", 19),
        ("SFT", 5),
        ("PRV", 5),
        ("BND", 5),
    ];
    let requirements = groups.into_iter().flat_map(|(group, last)| (1..=last).map(move |n| format!("R-{group}-{n}")));
    let decisions = (1..=12).map(|n| format!("D-{n}"));
    let beyond = [1, 4, 5, 8, 17].map(|n| format!("B-{n}"));
    requirements.chain(decisions).chain(beyond).collect()
}

#[test]
fn every_requirement_has_one_row_and_every_named_test_exists() {
    let page = document("docs/requirements-coverage.md");
    let mut found = Vec::new();
    for line in page.lines().filter(|line| ["| R-", "| D-", "| B-"].iter().any(|start| line.starts_with(start))) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [number, requirement, shown, place] = cells[..] else { panic!("not four cells: {line}") };
        assert!(requirement.len() > 15 && place.len() > 15, "an empty row: {line}");
        let quoted: Vec<&str> = place.split('`').skip(1).step_by(2).collect();
        let tests: Vec<(&str, &str)> =
            quoted.iter().filter_map(|text| text.split_once("::")).filter(|(path, _)| path.ends_with(".rs")).collect();
        for (path, name) in &tests {
            let source = document(path);
            // What stands above a test is its attribute; in a block of properties it is one too.
            let definition = format!("fn {name}(");
            let mut above = source.split(&definition);
            let before = above.next().unwrap();
            assert!(above.next().is_some(), "{number}: {path} has no test {name}");
            let attributes = before.rsplit("\n\n").next().unwrap();
            assert!(attributes.contains("test"), "{number}: {path}::{name} is no test");
        }
        match shown {
            "yes" => assert!(!tests.is_empty(), "{number} names no test"),
            "partly" => {
                assert!(!tests.is_empty(), "{number} names no test");
                assert!(place.contains(". ") || place.contains(" holds"), "{number} does not say what is missing");
            }
            "not yet" | "not ours" => assert!(place.len() > 30, "{number} gives no reason"),
            other => panic!("{number}: {other}"),
        }
        found.push(number.to_owned());
    }
    assert_eq!(found, numbers());
}

#[test]
fn links_between_documents_lead_somewhere() {
    for path in [
        "README.md",
        "docs/ARCHITECTURE.md",
        "docs/configuration.md",
        "docs/embedding.md",
        "docs/operating.md",
        "docs/requirements-coverage.md",
        "docs/file-exchange.md",
        "docs/guide/README.md",
        "docs/guide/events.md",
        "docs/guide/opt-out.md",
        "docs/guide/privacy.md",
        "docs/guide/operating.md",
    ] {
        let folder = Path::new(path).parent().unwrap();
        for link in document(path).split("](").skip(1) {
            let target = link.split(')').next().unwrap().split('#').next().unwrap();
            if !target.starts_with("http") && !target.is_empty() {
                assert!(root().join(folder).join(target).exists(), "{path}: {target}");
            }
        }
    }
}
