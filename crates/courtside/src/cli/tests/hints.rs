//! Command lines in messages, hints and comments of the source: each must work when it is typed.

use clap::error::ErrorKind;
use clap::{Command, CommandFactory};

use super::{parse, read_files};
use crate::cli::Cli;

/// Flags of other programs in messages.
const FLAGS_OF_OTHERS: [&str; 3] = ["--env-file", "--features", "--release"];

/// The part of a source that is in the program: all before its unit tests.
fn program(source: &str) -> &str {
    source.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default()
}

/// The source files of the program, except these tests, whose code looks like command lines.
fn sources() -> Vec<(String, String)> {
    let files = read_files(&["crates"], "rs").into_iter();
    let is_program =
        |file: &str| file.contains("/src/") && !file.contains("cli/tests/") && !file.contains("s3-fixture");
    files.filter(|(file, _)| is_program(file)).collect()
}

/// The string literals of a source, with continued lines joined.
fn literals(source: &str) -> Vec<String> {
    let mut literals = Vec::new();
    let trimmed: Vec<&str> = source.lines().map(str::trim_start).collect();
    // A quotation mark that is no literal's shifts those that follow, up to the next paragraph.
    for paragraph in trimmed.join("\n").split("\n\n") {
        let is_code = |line: &&str| !line.starts_with("//");
        let code: String = paragraph.lines().filter(is_code).map(|line| format!("{line}\n")).collect();
        let mut rest = &*code;
        while let Some(start) = rest.find('"') {
            // A quotation mark as a character.
            if rest[..start].ends_with('\'') {
                rest = &rest[start + 1..];
                continue;
            }
            let (literal, n_bytes) = literal(&rest[start + 1..]);
            literals.push(literal);
            rest = &rest[(start + 1 + n_bytes).min(rest.len())..];
        }
    }
    literals
}

/// The literal that begins here, after its quotation mark, and its length in the source.
fn literal(text: &str) -> (String, usize) {
    let mut literal = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (literal, at + 1),
            '\\' => match chars.next() {
                // The line continues; its indentation was removed.
                Some((_, '\n')) => {}
                Some((_, 'n')) => literal.push('\n'),
                Some((_, other)) => literal.push(other),
                None => break,
            },
            c => literal.push(c),
        }
    }
    (literal, text.len())
}

/// What is in backticks in a text and begins with `courtside `, without that word.
fn command_lines(text: &str) -> Vec<String> {
    let spans = text.split("`courtside ").skip(1).filter_map(|rest| rest.split_once('`'));
    spans.map(|(span, _)| span.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

/// The text of comments, with their lines joined.
fn comments(source: &str) -> String {
    let lines = source.lines().map(str::trim);
    let texts = lines.filter_map(|line| ["//!", "///", "//"].iter().find_map(|mark| line.strip_prefix(mark)));
    texts.collect::<Vec<_>>().join("\n")
}

/// The command line with values for placeholders: `{id}`, `JOB`, `N` and the like.
fn words(command_line: &str) -> Vec<String> {
    let value = |word: &str| match word {
        "JOB" | "ID" | "N" | "VIDEO_ID" => "1".to_owned(),
        word if word.contains('{') => "1".to_owned(),
        word => word.to_owned(),
    };
    let own = command_line.split(" | ").flat_map(|part| part.split(" > ")).next().unwrap_or_default();
    let given = own.split_whitespace().filter(|word| !["…", "..."].contains(word)).map(value);
    std::iter::once("courtside".to_owned()).chain(given).collect()
}

/// Whether the words only name a command, as in "resume with the same `courtside submit` command".
fn names_a_command(words: &[String]) -> bool {
    let root = Cli::command();
    words[1..].iter().try_fold(&root, |command, word| command.find_subcommand(word)).is_some()
}

fn parses(words: &[String]) -> Result<(), ErrorKind> {
    match parse(&words.iter().map(String::as_str).collect::<Vec<_>>()) {
        Ok(_) | Err(ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => Ok(()),
        Err(kind) => Err(kind),
    }
}

fn has_flag(command: &Command, name: &str) -> bool {
    let is_own = command.get_arguments().any(|arg| arg.get_long() == Some(name));
    is_own || ["help", "version"].contains(&name) || command.get_subcommands().any(|sub| has_flag(sub, name))
}

#[test]
fn command_lines_in_messages_work_when_they_are_typed() {
    let (mut n, mut wrong) = (0, Vec::new());
    for (file, source) in sources() {
        for command_line in literals(program(&source)).iter().flat_map(|literal| command_lines(literal)) {
            let words = words(&command_line);
            // The meanings of settings are documentation, which may name a command.
            let may_name = file.ends_with("settings/variables.rs") && names_a_command(&words);
            if let Err(kind) = parses(&words)
                && !may_name
            {
                wrong.push(format!("{file}: `courtside {command_line}`: {kind}"));
            }
            n += 1;
        }
    }
    assert!(n > 30, "only {n} command lines found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn command_lines_in_comments_parse() {
    let (mut n, mut wrong) = (0, Vec::new());
    for (file, source) in sources() {
        for command_line in command_lines(&comments(&source)) {
            let words = words(&command_line);
            match parses(&words) {
                Err(kind) if !names_a_command(&words) => {
                    wrong.push(format!("{file}: `courtside {command_line}`: {kind}"));
                }
                _ => n += 1,
            }
        }
    }
    assert!(n > 10, "only {n} command lines found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn flags_in_messages_exist() {
    let root = Cli::command();
    let (mut n, mut wrong) = (0, Vec::new());
    for (file, source) in sources() {
        // Single words are arguments of child processes.
        let sentences = literals(program(&source)).into_iter().filter(|literal| literal.contains(' '));
        for sentence in sentences {
            for word in sentence.split(|c: char| c.is_whitespace() || "(),;`'\"".contains(c)) {
                let flag = word.split(['=', '.', '{', ':']).next().unwrap_or_default();
                let Some(name) = flag.strip_prefix("--").filter(|name| !name.is_empty()) else { continue };
                n += 1;
                if !FLAGS_OF_OTHERS.contains(&flag) && !has_flag(&root, name) {
                    wrong.push(format!("{file}: {flag} in {sentence:?}"));
                }
            }
        }
    }
    assert!(n > 30, "only {n} flags found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A command of another program in a hint must be one that the user has, or is told to install.
#[test]
fn hints_name_known_programs() {
    let known = [
        "courtside",
        "mkdir",
        "ulimit",
        "apt-get",
        "brew",
        "timedatectl",
        "nvidia-smi",
        "ffmpeg",
        "pip",
        "openssl",
    ];
    let mut n = 0;
    for (file, source) in sources() {
        for literal in literals(program(&source)) {
            for (i, span) in literal.split('`').enumerate().filter(|(i, _)| i % 2 == 1) {
                let first = span.split_whitespace().next().unwrap_or_default();
                let is_name = |c: char| c.is_ascii_lowercase() || c == '-';
                let is_command = span.contains(' ') && !first.starts_with('-') && first.chars().all(is_name);
                assert!(!is_command || known.contains(&first), "{file}: `{span}` in {literal:?} ({i})");
                n += usize::from(is_command);
            }
        }
    }
    assert!(n > 30, "only {n} commands found");
}
