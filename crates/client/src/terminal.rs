//! Lines for people, on standard error.

use std::fmt;
use std::io::Write;

/// Prints a line. Where nobody reads any more (`2>&1 | tee` after Ctrl-C, a closed terminal) it is lost, and
/// the run goes on.
pub fn notify(line: impl fmt::Display) {
    let _ = writeln!(std::io::stderr(), "{}", harmless(&line.to_string(), &['\n', '\t']));
}

/// Text from the bucket in one line: it is not to be trusted with a terminal.
pub fn printable(text: &str) -> String {
    harmless(text, &['\t'])
}

/// Control characters can drive a terminal: those that are not `kept` go.
fn harmless(text: &str, kept: &[char]) -> String {
    text.chars().map(|c| if c.is_control() && !kept.contains(&c) { '\u{fffd}' } else { c }).collect()
}
