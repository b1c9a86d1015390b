//! The command line against everything that mentions it: hints in the source, the documentation, old scripts.

mod documents;
mod hints;

use clap::{ArgMatches, CommandFactory, error::ErrorKind};

use super::Cli;

/// Files of the repository whose name ends with `.extension`, in these files and folders.
fn read_files(roots: &[&str], extension: &str) -> Vec<(String, String)> {
    let repository = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap();
    let mut pending: Vec<_> = roots.iter().map(|root| repository.join(root)).collect();
    let mut files = Vec::new();
    while let Some(path) = pending.pop() {
        if path.is_dir() {
            pending.extend(path.read_dir().unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|e| e == extension) {
            let name = path.strip_prefix(&repository).unwrap().display().to_string();
            files.push((name, std::fs::read_to_string(path).unwrap()));
        }
    }
    assert!(!files.is_empty());
    files.sort();
    files
}

fn parse(words: &[&str]) -> Result<ArgMatches, ErrorKind> {
    Cli::command().try_get_matches_from(words).map_err(|error| error.kind())
}

#[test]
fn definitions_are_consistent() {
    Cli::command().debug_assert();
}

/// Scripts written for earlier versions use these names.
#[test]
fn old_flag_names_still_work() {
    let number = |words: &[&str], name: &str| -> String {
        let matches = parse(words).unwrap();
        let (_, command) = matches.subcommand().unwrap();
        let values = command.get_raw(name).unwrap();
        values.map(|value| value.to_str().unwrap()).collect::<Vec<_>>().join(",")
    };
    assert_eq!(number(&["courtside", "track", "a.mp4", "--max-objects", "7"], "max_tracks"), "7");
    assert_eq!(number(&["courtside", "worker", "--max-objects", "7"], "max_tracks"), "7");
    assert_eq!(number(&["courtside", "worker", "--faster", "7"], "speed_up"), "7");
    assert_eq!(number(&["courtside", "bench", "--objects", "1,7"], "tracks"), "1,7");
    assert_eq!(number(&["courtside", "bench", "--verify", "--on-trial"], "exit_with_stdin"), "true");
}

/// `track` and `submit` have different names for the same setting; each accepts both.
#[test]
fn every_and_sample_interval_are_synonyms() {
    for words in [["track", "a.mp4"], ["submit", "a.mp4"]] {
        for flag in ["--every", "--sample-interval"] {
            parse(&[&["courtside"], &words[..], &[flag, "7"]].concat()).unwrap();
        }
    }
}
