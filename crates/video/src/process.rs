//! Running a child process: sandboxed, killed when its owner drops it, and killed when it makes no
//! progress.

use std::io::Read;
use std::ops::ControlFlow;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use crate::child_log::ChildLog;
use crate::error::VideoError;
use crate::limits::Limits;
use crate::sandbox;
use crate::sandbox::policy::Sandbox;

/// Starts `command` inside `sandbox`. The calling thread must outlive the child.
pub(crate) fn spawn(mut command: Command, sandbox: &Sandbox) -> std::io::Result<Child> {
    sandbox::apply(&mut command, sandbox)?;
    // Dropping the command closes the parent's copies of the pipe ends that it owns.
    command.spawn()
}

/// A child that is killed when it is dropped.
pub(crate) struct ChildGuard(pub(crate) Child);

impl Drop for ChildGuard {
    fn drop(&mut self) {
        // Both fail only if the child has already been waited for.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until `child`, which has closed its outputs, has exited. `progress` returns a value that
/// changes while the child works; the result is `None` if it does not change for `stall`.
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

/// The reason for which [`run`] failed.
#[derive(Debug)]
pub(crate) enum RunError {
    /// The child could not be started or waited for.
    Io(std::io::Error),
    /// The child made no progress for the given time and was killed.
    Stalled,
}

impl RunError {
    /// The error of a child that read a video: `start` failed, such as "cannot run ffprobe on", or it stalled
    /// while the video `action`, such as "was being read".
    pub(crate) fn on_video(
        self,
        path: &Path,
        limits: &Limits,
        start: &'static str,
        action: &'static str,
    ) -> VideoError {
        match self {
            RunError::Io(source) => VideoError::io(path, start, source),
            RunError::Stalled => VideoError::stalled(path, action, limits.stall_timeout),
        }
    }
}

/// How a child ended. `status` is `None` if the reader of its output stopped it.
pub(crate) struct FinishedChild {
    pub(crate) status: Option<ExitStatus>,
    pub(crate) log: ChildLog,
}

/// Runs `command` to its end and passes its standard output to `on_chunk` piece by piece.
pub(crate) fn run(
    mut command: Command,
    sandbox: &Sandbox,
    stall: Duration,
    on_chunk: &mut dyn FnMut(&[u8]) -> ControlFlow<()>,
) -> Result<FinishedChild, RunError> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = ChildGuard(spawn(command, sandbox).map_err(RunError::Io)?);
    let (Some(mut stdout), Some(stderr)) = (child.0.stdout.take(), child.0.stderr.take()) else {
        return Err(RunError::Io(std::io::Error::other("the child has no output pipes")));
    };
    thread::scope(|scope| {
        let log = scope.spawn(move || ChildLog::read(stderr, &[]));
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
        // Killing the child closes the pipes, so the readers end and the scope joins them.
        drop(child);
        drop(received);
        let log = log.join().unwrap_or_default();
        Ok(FinishedChild { status: status?, log })
    })
}

fn pump(
    child: &mut ChildGuard,
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
