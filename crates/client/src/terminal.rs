//! Messages to the user on standard error, and text that fits the terminal.

use std::borrow::Cow;
use std::fmt;
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::sync::OnceLock;

use crate::progress::above_bars;

/// Prints a line on standard error. If it is closed (a terminal that exited, `2>&1 | tee` after Ctrl-C), the line
/// is dropped and the program continues.
pub fn notify(line: impl fmt::Display) {
    let text = replace_controls(&typeable(&line.to_string()), &['\n', '\t']);
    let width = std::io::stderr().is_terminal().then(terminal_width).flatten();
    let text = text.lines().map(|line| wrapped(line, width)).collect::<String>();
    above_bars(|| drop(std::io::stderr().write_all(text.as_bytes())));
}

/// A line and the line break, wrapped to `width` columns. What continues is indented further.
fn wrapped(line: &str, width: Option<usize>) -> String {
    if width.is_none_or(|width| line.chars().count() <= width) {
        return format!("{line}\n");
    }
    let text = line.trim_start();
    let indent = line.chars().count() - text.chars().count();
    Wrapped { text: text.into(), indent, hanging: indent + 2, width }.to_string()
}

/// A number with its noun: "1 job", "2 jobs".
pub fn counted(n: impl fmt::Display, noun: &str) -> String {
    let n = n.to_string();
    let ending = if n == "1" { "" } else { "s" };
    format!("{n} {noun}{ending}")
}

/// Columns of the terminal that standard output is; `None` if it is something else.
pub fn width() -> Option<usize> {
    std::io::stdout().is_terminal().then(terminal_width).flatten()
}

fn terminal_width() -> Option<usize> {
    let size = terminal_size::terminal_size();
    size.map(|(width, _)| usize::from(width.0)).filter(|width| *width > 0)
}

/// A paragraph, indented, and wrapped to the width of the terminal. A command in backticks is not broken. On one line
/// if standard output is no terminal.
pub struct Wrapped<'a> {
    text: Cow<'a, str>,
    indent: usize,
    /// Indent of the lines after the first.
    hanging: usize,
    width: Option<usize>,
}

impl<'a> Wrapped<'a> {
    /// Wraps to the width of standard output.
    pub fn new(text: &'a str, indent: usize) -> Self {
        Self { text: typeable(text), indent, hanging: indent, width: width() }
    }
}

impl fmt::Display for Wrapped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut indent = self.indent;
        let mut line = String::new();
        for word in words(&self.text) {
            let length = line.chars().count() + 1 + word.chars().count();
            if !line.is_empty() && self.width.is_some_and(|width| indent + length > width) {
                writeln!(f, "{:indent$}{line}", "")?;
                line.clear();
                indent = self.hanging;
            }
            line += if line.is_empty() { "" } else { " " };
            line += &word;
        }
        writeln!(f, "{:indent$}{line}", "")
    }
}

/// The words of a text; what is in backticks is one word.
fn words(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut is_in_command = false;
    for word in text.split_whitespace() {
        match words.last_mut().filter(|_| is_in_command) {
            Some(command) => *command += &format!(" {word}"),
            None => words.push(word.to_owned()),
        }
        is_in_command ^= word.matches('`').count() % 2 == 1;
    }
    words
}

/// The library that the user named on the command line, as a word of the shell.
static NAMED_LIBRARY: OnceLock<String> = OnceLock::new();

/// Makes the commands in messages name the library `folder`, because the user's commands have to.
pub fn name_library_in_commands(folder: &Path) {
    NAMED_LIBRARY.get_or_init(|| shell_word(folder));
}

/// A message whose commands reach the library of this command when they are typed.
pub fn typeable(text: &str) -> Cow<'_, str> {
    match NAMED_LIBRARY.get() {
        Some(folder) => naming_library(text, folder).into(),
        None => text.into(),
    }
}

/// Adds `--library` to the commands in backticks that lack it.
fn naming_library(text: &str, folder: &str) -> String {
    let mut parts = text.split("`courtside ");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, command| match command.starts_with("--library ") {
        true => text + "`courtside " + command,
        false => text + "`courtside --library " + folder + " " + command,
    })
}

/// A path as it can be typed in a shell.
pub fn shell_word(path: &Path) -> String {
    let text = path.to_string_lossy();
    // Only a NUL byte cannot be quoted, which no path has.
    shlex::try_quote(&text).map_or_else(|_| text.to_string(), |quoted| quoted.into_owned())
}

/// Makes untrusted text, such as a message from the bucket, safe to print on one line of a terminal.
pub fn printable(text: &str) -> String {
    replace_controls(text, &['\t'])
}

/// Replaces control characters except `kept`: escape sequences can take over a terminal.
fn replace_controls(text: &str, kept: &[char]) -> String {
    text.chars().map(|c| if c.is_control() && !kept.contains(&c) { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_and_line_breaks_are_replaced() {
        assert_eq!(printable("a\tb\n\u{1b}[31mc"), "a\tb\u{fffd}\u{fffd}[31mc");
    }

    #[test]
    fn paths_can_be_typed() {
        assert_eq!(shell_word(Path::new("/games/first.mp4")), "/games/first.mp4");
        assert_eq!(shell_word(Path::new("/games/2nd half's.mp4")), r#""/games/2nd half's.mp4""#);
    }

    #[test]
    fn commands_name_the_library_once() {
        let text = "run `courtside status`, or `courtside retry 0b8e` to retry; courtside is fine";
        let named = naming_library(text, "'my games'");
        assert_eq!(
            named,
            "run `courtside --library 'my games' status`, or `courtside --library 'my games' retry 0b8e` to retry; \
             courtside is fine"
        );
        assert_eq!(naming_library(&named, "'my games'"), named);
    }

    #[test]
    fn a_paragraph_is_wrapped_without_breaking_a_command() {
        let text = "the worker died; retry with `courtside retry 0b8e6c5a` to resume";
        let wrapped = Wrapped { text: text.into(), indent: 2, hanging: 2, width: Some(32) }.to_string();
        assert_eq!(wrapped, "  the worker died; retry with\n  `courtside retry 0b8e6c5a` to\n  resume\n");
        let one_line = Wrapped { text: text.into(), indent: 0, hanging: 0, width: None }.to_string();
        assert_eq!(one_line, format!("{text}\n"));
    }

    #[test]
    fn a_long_line_is_wrapped_and_its_continuation_indented() {
        let hint = "  hint: run `courtside status` to list the jobs";
        assert_eq!(wrapped(hint, Some(30)), "  hint: run `courtside status`\n    to list the jobs\n");
        assert_eq!(wrapped(hint, Some(80)), format!("{hint}\n"));
        assert_eq!(wrapped(hint, None), format!("{hint}\n"));
    }
}
