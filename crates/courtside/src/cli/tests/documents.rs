//! Command lines and flags in the documentation: each command and flag must exist, under its current name.

use clap::{Command, CommandFactory};

use super::read_files;
use crate::cli::{Cli, EXIT_CODES};

const DOCUMENTS: [&str; 5] = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "docs", "crates"];

/// Flags of other programs that the documentation mentions by themselves.
const FLAGS_OF_OTHERS: [&str; 5] =
    ["--features", "--no-default-features", "--long", "--bf16", "--fmad=false"];

/// Code in a Markdown text: the lines of code blocks, and code spans.
fn code(text: &str) -> Vec<String> {
    let mut code = Vec::new();
    for (i, part) in text.split("```").enumerate() {
        if i % 2 == 1 {
            code.extend(part.replace("\\\n", " ").lines().skip(1).map(str::to_owned));
        } else {
            let spans = part.split('`').skip(1).step_by(2);
            code.extend(spans.map(|span| span.split_whitespace().collect::<Vec<_>>().join(" ")));
        }
    }
    code
}

/// Checks the words after `courtside`, up to the end of the command.
fn check_words<'a>(words: impl Iterator<Item = &'a str>) -> Result<(), String> {
    let root = Cli::command();
    let mut command = &root;
    for (i, word) in words.enumerate() {
        if ["|", "||", "&&", ";", "#", ">", "&"].contains(&word) || word.chars().any(|c| "─►◄│└".contains(c))
        {
            break;
        }
        let is_lowercase = word.chars().all(|c| c.is_ascii_lowercase());
        let word = word.trim_matches(|c| "[](),;'\"".contains(c));
        if word.starts_with("--") {
            check_flag(command, word)?;
        } else if let Some(found) = command.find_subcommand(word) {
            command = found;
        } else if i == 0 && is_lowercase {
            return Err(format!("there is no command {word:?}"));
        }
    }
    Ok(())
}

fn check_flag(command: &Command, word: &str) -> Result<(), String> {
    let name = word.trim_start_matches("--").split('=').next().unwrap_or_default();
    if has_flag(command, name) { Ok(()) } else { Err(format!("{} has no flag --{name}", command.get_name())) }
}

fn has_flag(command: &Command, name: &str) -> bool {
    let is_own = command.get_arguments().any(|arg| arg.get_long() == Some(name));
    is_own || ["json", "help", "version"].contains(&name)
}

fn any_has_flag(command: &Command, name: &str) -> bool {
    has_flag(command, name) || command.get_subcommands().any(|sub| any_has_flag(sub, name))
}

fn check(code: &str) -> Result<(), String> {
    let words: Vec<&str> = code.split_whitespace().collect();
    let root = Cli::command();
    for (i, word) in words.iter().enumerate() {
        // Not `cargo test -p courtside`.
        let is_argument = i > 0 && words[i - 1].starts_with('-');
        if (*word == "courtside" || word.ends_with("/courtside")) && !is_argument {
            check_words(words[i + 1..].iter().copied())?;
        }
    }
    match words.first() {
        Some(first) if root.find_subcommand(first).is_some() => check_words(words.iter().copied()),
        Some(first) if first.starts_with("--") && !FLAGS_OF_OTHERS.contains(first) => {
            let name = first.trim_start_matches("--").split('=').next().unwrap_or_default();
            if any_has_flag(&root, name) { Ok(()) } else { Err(format!("no command has a flag --{name}")) }
        }
        _ => Ok(()),
    }
}

#[test]
fn commands_and_flags_in_the_documentation_exist() {
    let (mut n, mut wrong) = (0, Vec::new());
    for (file, text) in read_files(&DOCUMENTS, "md") {
        for code in code(&text) {
            n += usize::from(code.contains("courtside ") || code.starts_with("--"));
            if let Err(reason) = check(&code) {
                wrong.push(format!("{file}: `{code}`: {reason}"));
            }
        }
    }
    assert!(n > 50, "only {n} command lines and flags found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_readme_lists_the_exit_codes() {
    let (_, readme) = read_files(&["README.md"], "md").remove(0);
    let readme = readme.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(readme.contains(EXIT_CODES), "README.md does not contain: {EXIT_CODES}");
}
