//! Text that fits the terminal.

use std::fmt;

use client::terminal::width;

/// A paragraph, indented, and wrapped to the width of the terminal. A command in backticks is not broken. On one line
/// if standard output is no terminal.
pub(super) struct Wrapped<'a> {
    text: &'a str,
    indent: usize,
    width: Option<usize>,
}

impl<'a> Wrapped<'a> {
    pub(super) fn new(text: &'a str, indent: usize) -> Self {
        Self { text, indent, width: width() }
    }
}

impl fmt::Display for Wrapped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let available = self.width.map_or(usize::MAX, |width| width.saturating_sub(self.indent));
        let mut line = String::new();
        for word in words(self.text) {
            let length = line.chars().count() + 1 + word.chars().count();
            if !line.is_empty() && length > available {
                writeln!(f, "{:indent$}{line}", "", indent = self.indent)?;
                line.clear();
            }
            line += if line.is_empty() { "" } else { " " };
            line += &word;
        }
        writeln!(f, "{:indent$}{line}", "", indent = self.indent)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_paragraph_is_wrapped_without_breaking_a_command() {
        let text = "the worker died; retry with `courtside retry 0b8e6c5a` to resume";
        let wrapped = Wrapped { text, indent: 2, width: Some(32) }.to_string();
        assert_eq!(wrapped, "  the worker died; retry with\n  `courtside retry 0b8e6c5a` to\n  resume\n");
        let one_line = Wrapped { text, indent: 0, width: None }.to_string();
        assert_eq!(one_line, format!("{text}\n"));
    }
}
