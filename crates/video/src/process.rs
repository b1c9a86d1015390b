//! Running a child process: started confined, killed when forgotten, its complaints kept in a
//! bounded log, its silence noticed.

use std::collections::VecDeque;
use std::io::Read;
use std::ops::ControlFlow;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use crate::sandbox::{self, Sandbox};

/// Longest line of a child's log that is kept, in bytes.
const MAX_LINE: usize = 300;
/// Lines kept from the beginning, and as many from the end.
const MAX_LINES: usize = 8;

/// Starts `command` inside `sandbox`. The thread that calls this must outlive the child.
pub(crate) fn spawn(mut command: Command, sandbox: &Sandbox) -> std::io::Result<Child> {
    sandbox::apply(&mut command, sandbox)?;
    // Dropping the command closes our copies of the pipe ends that it owns.
    command.spawn()
}

/// A child that does not survive its owner.
pub(crate) struct Guard(pub(crate) Child);

impl Drop for Guard {
    fn drop(&mut self) {
        // Both fail only if the child has already been waited for.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until `child`, which has closed its outputs, is gone. `progress` returns a value that
/// changes while the child works; after `stall` without change the answer is `None`.
pub(crate) fn wait_for_exit<P: PartialEq>(
    child: &mut dyn FnMut() -> std::io::Result<Option<ExitStatus>>,
    stall: Duration,
    progress: &dyn Fn() -> P,
) -> std::io::Result<Option<ExitStatus>> {
    let (mut seen, mut since) = (progress(), Instant::now());
    loop {
        if let Some(status) = child()? {
            return Ok(Some(status));
        }
        let now = progress();
        if now != seen {
            (seen, since) = (now, Instant::now());
        } else if since.elapsed() > stall {
            return Ok(None);
        }
        thread::sleep(Duration::from_millis(2));
    }
}

/// The complaints of a child: the first and the last lines, and how many there were.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log {
    first: Vec<String>,
    last: VecDeque<String>,
    pub(crate) n_lines: u64,
}

impl Log {
    /// Reads a child's standard error to its end, leaving out lines that contain one of `ignored`.
    pub(crate) fn read(mut from: impl Read, ignored: &[&str]) -> Log {
        let mut log = Log::default();
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
        let line = tidy(&String::from_utf8_lossy(line));
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

    /// The first line, which tends to name the cause, and the last, which tends to name the
    /// consequence; `otherwise` if the child said nothing.
    pub(crate) fn words(&self, otherwise: &str) -> String {
        match (self.lines().next(), self.lines().last()) {
            (Some(first), Some(last)) if first != last => format!("{first}; {last}"),
            (Some(line), _) => line.clone(),
            _ => otherwise.to_owned(),
        }
    }
}

/// Drops control characters and the addresses in `[h264 @ 0x5581…]`, which differ every time.
fn tidy(line: &str) -> String {
    let mut rest: String = line.chars().filter(|c| !c.is_control()).collect();
    while let Some(start) = rest.find(" @ 0x") {
        let end = rest[start..].find(']').map_or(rest.len(), |n| start + n);
        rest.replace_range(start..end, "");
    }
    rest.trim().to_owned()
}

/// How [`run`] failed.
#[derive(Debug)]
pub(crate) enum RunError {
    Io(std::io::Error),
    Stalled,
}

/// How a child ended. `status` is `None` if the reader of its output asked to stop.
pub(crate) struct Finished {
    pub(crate) status: Option<ExitStatus>,
    pub(crate) log: Log,
}

/// Runs `command` to its end, handing its standard output to `on_chunk` piece by piece.
pub(crate) fn run(
    mut command: Command,
    sandbox: &Sandbox,
    stall: Duration,
    on_chunk: &mut dyn FnMut(&[u8]) -> ControlFlow<()>,
) -> Result<Finished, RunError> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = Guard(spawn(command, sandbox).map_err(RunError::Io)?);
    let (Some(mut stdout), Some(stderr)) = (child.0.stdout.take(), child.0.stderr.take()) else {
        return Err(RunError::Io(std::io::Error::other("the child has no output")));
    };
    thread::scope(|scope| {
        let log = scope.spawn(move || Log::read(stderr, &[]));
        let (chunks, received) = mpsc::sync_channel(4);
        scope.spawn(move || {
            let mut chunk = vec![0; 1 << 16];
            while let Ok(n @ 1..) = stdout.read(&mut chunk) {
                if chunks.send(chunk[..n].to_vec()).is_err() {
                    break;
                }
            }
        });
        let status = pump(&mut child, &received, stall, on_chunk);
        // The readers see the end of the file once the child is gone, and the scope joins them.
        drop(child);
        drop(received);
        let log = log.join().unwrap_or_default();
        Ok(Finished { status: status?, log })
    })
}

fn pump(
    child: &mut Guard,
    received: &mpsc::Receiver<Vec<u8>>,
    stall: Duration,
    on_chunk: &mut dyn FnMut(&[u8]) -> ControlFlow<()>,
) -> Result<Option<ExitStatus>, RunError> {
    loop {
        match received.recv_timeout(stall) {
            Ok(chunk) if on_chunk(&chunk).is_break() => return Ok(None),
            Ok(_) => {}
            Err(RecvTimeoutError::Timeout) => return Err(RunError::Stalled),
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    match wait_for_exit(&mut || child.0.try_wait(), stall, &|| ()) {
        Ok(Some(status)) => Ok(Some(status)),
        Ok(None) => Err(RunError::Stalled),
        Err(error) => Err(RunError::Io(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_keeps_both_ends_and_counts_all() {
        let text: String = (0..100).map(|i| format!("[h264 @ 0x55e{i}] line {i}\n")).collect();
        let log = Log::read(text.as_bytes(), &[]);
        assert_eq!(log.n_lines, 100);
        assert_eq!(log.lines().count(), 2 * MAX_LINES);
        assert_eq!(log.lines().next().unwrap(), "[h264] line 0");
        assert_eq!(log.words(""), "[h264] line 0; [h264] line 99");
        assert_eq!(Log::default().words("nothing"), "nothing");
    }

    #[test]
    fn an_endless_line_is_cut() {
        let log = Log::read(std::io::repeat(b'x').take(1 << 20), &[]);
        assert_eq!(log.words("").len(), MAX_LINE);
    }

    #[test]
    fn lines_to_ignore_are_not_counted() {
        let log = Log::read(&b"one\ntwo thirds\nthree\n"[..], &["third", "four"]);
        assert_eq!(log.lines().collect::<Vec<_>>(), ["one", "three"]);
        assert_eq!(log.n_lines, 2);
    }
}
