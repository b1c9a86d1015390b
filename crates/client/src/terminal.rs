//! Messages to the user on standard error.

use std::fmt;
use std::io::{IsTerminal, Write};

use crate::progress::above_bars;

/// Prints a line on standard error. If it is closed (a terminal that exited, `2>&1 | tee` after Ctrl-C), the line
/// is dropped and the program continues.
pub fn notify(line: impl fmt::Display) {
    let line = replace_controls(&line.to_string(), &['\n', '\t']);
    above_bars(|| drop(writeln!(std::io::stderr(), "{line}")));
}

/// Columns of the terminal that standard output is; `None` if it is something else.
pub fn width() -> Option<usize> {
    let size = std::io::stdout().is_terminal().then(terminal_size::terminal_size).flatten();
    size.map(|(width, _)| usize::from(width.0)).filter(|width| *width > 0)
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
}
