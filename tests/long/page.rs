//! A page of which each run writes its own section.

use std::io;
use std::path::Path;

const HEAD: &str = "# Reliability of the flows\n\n\
    What the long forms of the end-to-end tests came to. Each section is written by the command that it names; do not edit it: run the \
    command again, with `--page docs/RELIABILITY-FLOWS.md`.\n\n";

/// Replaces the section of this title, or adds it at the end.
///
/// # Errors
/// The page cannot be read or written.
pub(crate) fn write_section(page: &Path, title: &str, text: &str) -> io::Result<()> {
    let old = match std::fs::read_to_string(page) {
        Ok(old) => old,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error),
    };
    std::fs::write(page, with_section(&old, title, text))
}

fn with_section(old: &str, title: &str, text: &str) -> String {
    let section = format!("## {title}\n\n{}\n", text.trim_end());
    let mut sections: Vec<String> =
        old.split("\n## ").skip(1).map(|section| format!("## {}\n", section.trim_end())).collect();
    let of_title = format!("## {title}\n");
    match sections.iter_mut().find(|section| section.starts_with(&of_title)) {
        Some(place) => *place = section,
        None => sections.push(section),
    }
    format!("{HEAD}{}", sections.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_takes_its_own_place_and_no_other() {
        let one = with_section("", "One", "first\n");
        let both = with_section(&one, "Two", "second");
        assert_eq!(both, format!("{HEAD}## One\n\nfirst\n\n## Two\n\nsecond\n"));
        let again = with_section(&both, "One", "third");
        assert_eq!(again, format!("{HEAD}## One\n\nthird\n\n## Two\n\nsecond\n"));
    }
}
