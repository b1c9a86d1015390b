//! Running a short external program with a time limit and bounded output.

use std::io::{self, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Bytes kept of each output stream. The rest is read and discarded, so that the program does not block.
const MAX_OUTPUT_BYTES: u64 = 1 << 20;

/// How long to wait for a killed program to exit.
const KILL_TIMEOUT: Duration = Duration::from_secs(1);

/// A running program whose output is collected. Dropping it kills the program.
#[derive(Debug)]
pub struct Subprocess {
    child: Child,
    stdout: Option<JoinHandle<String>>,
    stderr: Option<JoinHandle<String>>,
    started: Instant,
}

/// The exit status and the output of a program.
#[derive(Debug, Clone)]
pub struct Output {
    /// `None` if it exceeded its time limit and was killed.
    pub status: Option<ExitStatus>,
    /// Standard output; empty if it was killed.
    pub stdout: String,
    /// Standard error; empty if it was killed.
    pub stderr: String,
}

impl Output {
    /// Whether the program exited with status 0.
    pub fn succeeded(&self) -> bool {
        self.status.is_some_and(|status| status.success())
    }
}

impl Subprocess {
    /// Starts a program. The caller chooses its standard input; a pipe stays open until this is dropped.
    ///
    /// # Errors
    /// If the program cannot be started.
    pub fn start(mut command: Command) -> io::Result<Self> {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let (stdout, stderr) = (child.stdout.take().map(collect), child.stderr.take().map(collect));
        Ok(Self { child, stdout, stderr, started: Instant::now() })
    }

    /// Waits for the program to exit, and kills it `limit` after its start.
    ///
    /// # Errors
    /// If the operating system cannot report its status.
    pub fn wait(mut self, limit: Duration) -> io::Result<Output> {
        // The standard library has no wait with a time limit.
        let status = loop {
            match self.child.try_wait()? {
                Some(status) => break Some(status),
                None if self.started.elapsed() > limit => break None,
                None => thread::sleep(Duration::from_millis(10)),
            }
        };
        if status.is_none() {
            // Its own children may still hold the pipes open: do not wait for the readers.
            return Ok(Output { status, stdout: String::new(), stderr: String::new() });
        }
        let text =
            |reader: Option<JoinHandle<String>>| reader.and_then(|r| r.join().ok()).unwrap_or_default();
        Ok(Output { status, stdout: text(self.stdout.take()), stderr: text(self.stderr.take()) })
    }
}

impl Drop for Subprocess {
    fn drop(&mut self) {
        // Fails if it has exited already.
        let _ = self.child.kill();
        let killed = Instant::now();
        // A process blocked in a driver does not exit even when killed.
        while killed.elapsed() < KILL_TIMEOUT && matches!(self.child.try_wait(), Ok(None)) {
            thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Reads a stream to its end on a separate thread, so that neither stream blocks the other.
fn collect(output: impl Read + Send + 'static) -> JoinHandle<String> {
    thread::spawn(move || {
        let (mut kept, mut output) = (Vec::new(), output);
        let read = output.by_ref().take(MAX_OUTPUT_BYTES).read_to_end(&mut kept);
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
    fn collects_both_streams_and_the_status() {
        let output = sh("echo out; echo err >&2; exit 3", MINUTE);
        assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("out\n", "err\n"));
        assert_eq!(output.status.unwrap().code(), Some(3));
        assert!(!output.succeeded());
    }

    #[test]
    fn excess_output_is_discarded_without_blocking() {
        let output = sh("head -c 3000000 /dev/zero; head -c 3000000 /dev/zero >&2", MINUTE);
        assert!(output.succeeded());
        assert_eq!(output.stdout.len() as u64, MAX_OUTPUT_BYTES);
    }

    #[test]
    fn kills_a_program_that_exceeds_its_limit() {
        let started = Instant::now();
        let output = sh("echo begun; sleep 600", Duration::from_millis(100));
        assert!(output.status.is_none() && !output.succeeded());
        assert!(started.elapsed() < Duration::from_secs(300));
    }
}
