//! The crates of the workspace depend on each other only as ARCHITECTURE.md allows.
//!
//! The table under `## Crates` of that file has the columns `crate | may depend on | …`. A crate is named after its
//! folder.

use std::collections::{BTreeMap, BTreeSet};

use crate::sources::{crate_folders, repository};

type Arrows = BTreeMap<String, BTreeSet<String>>;

/// The folder and the package name of every crate.
fn crates() -> Vec<(String, String, String)> {
    crate_folders()
        .into_iter()
        .map(|folder| {
            let manifest = std::fs::read_to_string(folder.join("Cargo.toml")).unwrap();
            let name = manifest.lines().find_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'));
            let package = name.unwrap().to_owned();
            (folder.file_name().unwrap().to_str().unwrap().to_owned(), package, manifest)
        })
        .collect()
}

/// The workspace members under `[dependencies]` of each crate.
fn actual() -> Arrows {
    let crates = crates();
    let mut arrows = Arrows::new();
    for (folder, _, manifest) in &crates {
        let mut section = "";
        let mut targets = BTreeSet::new();
        for line in manifest.lines() {
            if line.starts_with('[') {
                section = line.trim();
            }
            // Also `[target.'cfg(unix)'.dependencies]`; dev-dependencies may be anything.
            if !section.ends_with("dependencies]") || section.contains("-dependencies]") {
                continue;
            }
            let key = line.split(['.', ' ', '=']).next().unwrap_or_default();
            let target = crates.iter().find(|(_, package, _)| package == key);
            targets.extend(target.map(|(folder, ..)| folder.clone()));
        }
        arrows.insert(folder.clone(), targets);
    }
    arrows
}

/// Parses the table of a document.
fn allowed(document: &str, crates: &Arrows) -> Arrows {
    let (_, section) = document.split_once("\n## Crates\n").expect("a section `## Crates`");
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with('|'));
    let mut arrows = Arrows::new();
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let name = cells[0].trim_matches('`');
        if !crates.contains_key(name) {
            continue;
        }
        let may = cells[1].split([',', ' ']).map(|word| word.trim_matches('`'));
        let targets = may.filter(|word| crates.contains_key(*word)).map(str::to_owned).collect();
        arrows.insert(name.to_owned(), targets);
    }
    arrows
}

#[test]
fn crates_depend_on_each_other_only_as_documented() {
    let actual = actual();
    let document = std::fs::read_to_string(repository().join("ARCHITECTURE.md")).unwrap();
    let allowed = allowed(&document, &actual);
    for (name, targets) in &actual {
        let may = allowed.get(name).unwrap_or_else(|| panic!("ARCHITECTURE.md does not list crates/{name}"));
        let forbidden: Vec<_> = targets.difference(may).collect();
        assert!(forbidden.is_empty(), "crates/{name} must not depend on {forbidden:?}");
    }
}
