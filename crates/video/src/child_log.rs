//! The error output of a child process, kept in bounded memory.

use std::collections::VecDeque;
use std::io::Read;

/// Maximum length of a line that is kept, in bytes.
const MAX_LINE: usize = 300;
/// Lines kept from the beginning, and the same number from the end.
const MAX_LINES: usize = 8;

/// The error lines of a child: the first and the last ones, and how many there were.
#[derive(Clone, Debug, Default)]
pub(crate) struct ChildLog {
    first: Vec<String>,
    last: VecDeque<String>,
    /// Number of lines, including those that were not kept.
    pub(crate) n_lines: u64,
}

impl ChildLog {
    /// Reads a child's standard error to its end. Lines that contain one of `ignored` are skipped.
    pub(crate) fn read(mut from: impl Read, ignored: &[&str]) -> ChildLog {
        let mut log = ChildLog::default();
        let mut line = Vec::with_capacity(MAX_LINE);
        let mut chunk = [0; 4096];
        while let Ok(n @ 1..) = from.read(&mut chunk) {
            for &byte in &chunk[..n] {
                if byte == b'\n' || byte == b'\r' {
                    log.push(&line, ignored);
                    line.clear();
                } else if line.len() < MAX_LINE {
                    line.push(byte);
                }
            }
        }
        log.push(&line, ignored);
        log
    }

    fn push(&mut self, line: &[u8], ignored: &[&str]) {
        let line = clean(&String::from_utf8_lossy(line));
        if line.is_empty() || ignored.iter().any(|part| line.contains(part)) {
            return;
        }
        self.n_lines += 1;
        if self.first.len() < MAX_LINES {
            self.first.push(line);
        } else {
            if self.last.len() == MAX_LINES {
                self.last.pop_front();
            }
            self.last.push_back(line);
        }
    }

    /// The lines kept, oldest first.
    pub(crate) fn lines(&self) -> impl Iterator<Item = &String> {
        self.first.iter().chain(&self.last)
    }

    /// The first line, which usually names the cause, and the last, which usually names the
    /// consequence; `otherwise` if the log is empty.
    pub(crate) fn summary(&self, otherwise: &str) -> String {
        match (self.lines().next(), self.lines().last()) {
            (Some(first), Some(last)) if first != last => format!("{first}; {last}"),
            (Some(line), _) => line.clone(),
            _ => otherwise.to_owned(),
        }
    }
}

/// Removes control characters, and the addresses in `[h264 @ 0x5581…]`, which differ in every run.
fn clean(line: &str) -> String {
    let mut rest: String = line.chars().filter(|c| !c.is_control()).collect();
    while let Some(start) = rest.find(" @ 0x") {
        let end = rest[start..].find(']').map_or(rest.len(), |n| start + n);
        rest.replace_range(start..end, "");
    }
    rest.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_both_ends_and_counts_all_lines() {
        let text: String = (0..100).map(|i| format!("[h264 @ 0x55e{i}] line {i}\n")).collect();
        let log = ChildLog::read(text.as_bytes(), &[]);
        assert_eq!(log.n_lines, 100);
        assert_eq!(log.lines().count(), 2 * MAX_LINES);
        assert_eq!(log.lines().next().unwrap(), "[h264] line 0");
        assert_eq!(log.summary(""), "[h264] line 0; [h264] line 99");
        assert_eq!(ChildLog::default().summary("nothing"), "nothing");
    }

    #[test]
    fn truncates_an_endless_line() {
        let log = ChildLog::read(std::io::repeat(b'x').take(1 << 20), &[]);
        assert_eq!(log.summary("").len(), MAX_LINE);
    }

    #[test]
    fn ignored_lines_are_not_counted() {
        let log = ChildLog::read(&b"one\ntwo thirds\nthree\n"[..], &["third", "four"]);
        assert_eq!(log.lines().collect::<Vec<_>>(), ["one", "three"]);
        assert_eq!(log.n_lines, 2);
    }
}
