//! Lines for people, on standard error.

use std::fmt;
use std::io::Write;

/// Prints a line. Where nobody reads any more (`2>&1 | tee` after Ctrl-C, a closed terminal) it is lost, and
/// the run goes on.
pub fn say(line: impl fmt::Display) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
