//! Command lines in messages and comments of the source: each must work when it is typed.

use clap::CommandFactory;
use clap::error::ErrorKind;

use super::{parse, read_files};
use crate::cli::Cli;

/// What follows "`courtside " up to the next "`", for each occurrence, with the lines of a string or comment joined.
fn command_lines(source: &str) -> Vec<String> {
    let mut joined = String::new();
    for line in source.lines().map(str::trim) {
        let text = ["//!", "///", "//"].iter().find_map(|mark| line.strip_prefix(mark)).unwrap_or(line);
        joined += text.strip_suffix('\\').unwrap_or(text);
        joined += if line.ends_with('\\') { "" } else { "\n" };
    }
    let spans = joined.split("`courtside ").skip(1).filter_map(|rest| rest.split_once('`'));
    spans.map(|(span, _)| span.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

/// The command line with values for placeholders: `{id}`, `JOB`, `N` and the like.
fn words(command_line: &str) -> Vec<String> {
    let value = |word: &str| match word {
        "JOB" | "ID" | "N" => "1".to_owned(),
        word if word.contains('{') => "1".to_owned(),
        word => word.to_owned(),
    };
    let own = command_line.split(" | ").next().unwrap_or_default();
    let given = own.split_whitespace().filter(|word| !["…", "..."].contains(word)).map(value);
    std::iter::once("courtside".to_owned()).chain(given).collect()
}

/// Whether the words only name a command, as in "resume with the same `courtside submit` command".
fn names_a_command(words: &[String]) -> bool {
    let root = Cli::command();
    words[1..].iter().try_fold(&root, |command, word| command.find_subcommand(word)).is_some()
}

#[test]
fn command_lines_in_the_source_parse() {
    let (mut n, mut wrong) = (0, Vec::new());
    let files = read_files(&["crates"], "rs");
    // Not this file, whose code looks like command lines.
    let is_source = |file: &str| file.contains("/src/") && !file.ends_with("tests/hints.rs");
    for (file, source) in files.into_iter().filter(|(file, _)| is_source(file)) {
        for command_line in command_lines(&source) {
            let words = words(&command_line);
            let parsed = parse(&words.iter().map(String::as_str).collect::<Vec<_>>());
            match parsed {
                Ok(_) | Err(ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {}
                Err(_) if names_a_command(&words) => {}
                Err(kind) => wrong.push(format!("{file}: `courtside {command_line}`: {kind}")),
            }
            n += 1;
        }
    }
    assert!(n > 20, "only {n} command lines found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
