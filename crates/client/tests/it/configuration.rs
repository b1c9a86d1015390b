//! `docs/configuration.md` describes exactly the environment variables of the table in `client::settings`, and the
//! table has every variable that the sources read.

use std::collections::BTreeSet;

use client::settings::{Part, Sources, VARIABLES, Variable};

use crate::sources::{crate_folders, repository, rust_files};

fn row(variable: &Variable) -> String {
    let secret = if variable.is_secret() { " Secret: never shown or stored." } else { "" };
    let sources = match variable.sources {
        Sources::Any => String::new(),
        limited => format!(" {limited}"),
    };
    format!("| `{}` | {} | {}{secret}{sources} |", variable.name, variable.default, variable.meaning)
}

/// The section that the document must have for a part of the program.
fn section(part: Part) -> String {
    let rows = VARIABLES.iter().filter(|variable| variable.part == part).map(row);
    let head = [
        format!("## {}", part.title()),
        String::new(),
        "| Variable | Default | Meaning |".to_owned(),
        "|---|---|---|".to_owned(),
    ];
    head.into_iter().chain(rows).map(|line| line + "\n").collect()
}

#[test]
fn the_document_has_the_table_of_every_part() {
    let document = std::fs::read_to_string(repository().join("docs/configuration.md")).unwrap();
    for part in Part::ALL {
        let expected = section(part);
        assert!(document.contains(&expected), "docs/configuration.md must contain\n\n{expected}");
    }
}

#[test]
fn the_document_has_no_other_variables() {
    let document = std::fs::read_to_string(repository().join("docs/configuration.md")).unwrap();
    let known: BTreeSet<String> = VARIABLES.iter().map(row).collect();
    for line in document.lines().filter(|line| line.starts_with("| `")) {
        assert!(known.contains(line), "docs/configuration.md has a row that is not in the table:\n{line}");
    }
}

#[test]
fn names_are_unique() {
    let names: BTreeSet<&str> = VARIABLES.iter().map(|variable| variable.name).collect();
    assert_eq!(names.len(), VARIABLES.len());
}

/// The names in `env::var("X")`, `var_os("X")` and clap's `env = "X"`.
fn names_read(source: &str) -> Vec<String> {
    let mut names = Vec::new();
    for call in ["var(\"", "var_os(\"", "env = \""] {
        for (at, _) in source.match_indices(call) {
            let rest = &source[at + call.len()..];
            let name = rest.split('"').next().unwrap_or_default();
            let is_name = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
            if !name.is_empty() && name.chars().all(is_name) {
                names.push(name.to_owned());
            }
        }
    }
    names
}

#[test]
fn the_table_has_every_variable_that_the_sources_read() {
    let known: BTreeSet<&str> = VARIABLES.iter().map(|variable| variable.name).collect();
    let mut n_found = 0;
    for folder in crate_folders() {
        for file in rust_files(&folder.join("src")) {
            for name in names_read(&std::fs::read_to_string(&file).unwrap()) {
                assert!(
                    known.contains(name.as_str()),
                    "{} reads {name}: add it to the table",
                    file.display()
                );
                n_found += 1;
            }
        }
    }
    assert!(n_found >= 8, "found only {n_found}: does the search still work?");
}
