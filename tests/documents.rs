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
    let sections = ["[dataverse]", "[campaign]", "[tls]", "[store]", "[sync]", "[[table]]", "[table.filter]"];
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
    assert!(known.len() > 30, "{known:?}");
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

#[test]
fn links_between_documents_lead_somewhere() {
    for path in ["README.md", "docs/ARCHITECTURE.md", "docs/configuration.md", "docs/embedding.md", "docs/operating.md"]
    {
        let folder = Path::new(path).parent().unwrap();
        for link in document(path).split("](").skip(1) {
            let target = link.split(')').next().unwrap().split('#').next().unwrap();
            if !target.starts_with("http") && !target.is_empty() {
                assert!(root().join(folder).join(target).exists(), "{path}: {target}");
            }
        }
    }
}
