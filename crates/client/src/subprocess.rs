//! A program that answers soon, or is not waited for.

use std::io::{self, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Enough for anything that is asked for; what comes beyond is not kept.
const MAX_OUTPUT: u64 = 1 << 20;

/// How long a killed program may take to be gone.
const GRACE: Duration = Duration::from_secs(1);

/// A running program whose output is collected. Dropped, it is killed.
#[derive(Debug)]
pub struct Subprocess {
    child: Child,
    stdout: Option<JoinHandle<String>>,
    stderr: Option<JoinHandle<String>>,
    started: Instant,
}

/// How a program ended, and what it said.
#[derive(Debug, Clone)]
pub struct Output {
    /// How; `None` if it had to be killed.
    pub status: Option<ExitStatus>,
    /// What it printed.
    pub stdout: String,
    /// What it printed beside it.
    pub stderr: String,
}

impl Output {
    /// Whether it did what it was asked for.
    pub fn succeeded(&self) -> bool {
        self.status.is_some_and(|status| status.success())
    }
}

impl Subprocess {
    /// Starts a program. What it gets to read is the caller's choice; a pipe stays open until this is dropped.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start(mut command: Command) -> io::Result<Self> {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let (stdout, stderr) = (child.stdout.take().map(collect), child.stderr.take().map(collect));
        Ok(Self { child, stdout, stderr, started: Instant::now() })
    }

    /// Waits until it ends; `limit` after its start it is killed.
    ///
    /// # Errors
    /// If the system does not tell how it stands.
    pub fn wait(mut self, limit: Duration) -> io::Result<Output> {
        let status = loop {
            match self.child.try_wait()? {
                Some(status) => break Some(status),
                None if self.started.elapsed() > limit => break None,
                None => thread::sleep(Duration::from_millis(10)),
            }
        };
        if status.is_none() {
            // Whoever it started may still hold its output open.
            return Ok(Output { status, stdout: String::new(), stderr: String::new() });
        }
        let text =
            |reader: Option<JoinHandle<String>>| reader.and_then(|r| r.join().ok()).unwrap_or_default();
        Ok(Output { status, stdout: text(self.stdout.take()), stderr: text(self.stderr.take()) })
    }
}

impl Drop for Subprocess {
    fn drop(&mut self) {
        // An error says that it has ended.
        let _ = self.child.kill();
        let killed = Instant::now();
        // Who is stuck in a driver does not even die, and is not waited for.
        while killed.elapsed() < GRACE && matches!(self.child.try_wait(), Ok(None)) {
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Reads to the end, on a thread of its own, so that neither output blocks the other.
fn collect(output: impl Read + Send + 'static) -> JoinHandle<String> {
    thread::spawn(move || {
        let (mut kept, mut output) = (Vec::new(), output);
        let read = output.by_ref().take(MAX_OUTPUT).read_to_end(&mut kept);
        if read.is_ok() {
            let _ = io::copy(&mut output, &mut io::sink());
        }
        String::from_utf8_lossy(&kept).into_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str, limit: Duration) -> Output {
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdin(Stdio::null());
        Subprocess::start(command).unwrap().wait(limit).unwrap()
    }

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn both_outputs_and_the_status_come_back() {
        let ended = sh("echo out; echo err >&2; exit 3", MINUTE);
        assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), ("out\n", "err\n"));
        assert_eq!(ended.status.unwrap().code(), Some(3));
        assert!(!ended.succeeded());
    }

    #[test]
    fn more_than_is_kept_does_not_block_it() {
        let ended = sh("head -c 3000000 /dev/zero; head -c 3000000 /dev/zero >&2", MINUTE);
        assert!(ended.succeeded());
        assert_eq!(ended.stdout.len() as u64, MAX_OUTPUT);
    }

    #[test]
    fn whoever_does_not_end_is_killed() {
        let started = Instant::now();
        let ended = sh("echo begun; sleep 600", Duration::from_millis(100));
        assert!(ended.status.is_none() && !ended.succeeded());
        assert!(started.elapsed() < Duration::from_secs(300));
    }
}
