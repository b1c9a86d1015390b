//! Stopping on Ctrl-C, SIGTERM or SIGHUP: the first signal requests a stop after the current frame, the second
//! exits immediately.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::failure::{Failure, Kind, Outcome};
use crate::terminal::notify;

/// A request to stop, from a signal or from the code that created this. Clones share the same state.
#[derive(Debug, Clone, Default)]
pub struct Stop(CancellationToken);

impl Stop {
    /// Installs the signal handlers of the process. The first signal prints `notice`, which says what the command
    /// still does before it exits; the second one exits immediately.
    ///
    /// # Errors
    /// If they were installed before: call this at most once.
    pub fn on_signal(notice: &'static str) -> Outcome<Self> {
        let stop = Self::default();
        let token = stop.0.clone();
        let hangups_ignored = ignore_hangups();
        ctrlc::set_handler(move || {
            if token.is_cancelled() {
                exit_now();
            }
            token.cancel();
            notify(format!("{notice}; press Ctrl-C again to exit immediately"));
        })
        .map_err(|e| Failure::new(Kind::Failed, e).context("cannot listen for Ctrl-C"))?;
        if hangups_ignored {
            ignore_hangups();
        }
        Ok(stop)
    }

    /// Creates a request that is also set when this one is. Setting the child does not affect its parent.
    pub fn child(&self) -> Self {
        Self(self.0.child_token())
    }

    /// Requests a stop, as the first signal does. Repeating it changes nothing.
    pub fn request(&self) {
        self.0.cancel();
    }

    /// Whether a stop was requested.
    pub fn requested(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Blocks until a stop is requested, but no longer than `time`.
    ///
    /// # Errors
    /// If the operating system provides no timer.
    pub fn wait_at_most(&self, time: Duration) -> Outcome<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let runtime = runtime.map_err(|e| Failure::new(Kind::Failed, e).context("cannot start a timer"))?;
        runtime.block_on(async { tokio::time::timeout(time, self.wait()).await }).ok();
        Ok(())
    }

    /// Waits until a stop is requested.
    pub async fn wait(&self) {
        self.0.cancelled().await;
    }
}

/// Ignores SIGHUP and returns whether it was ignored before. It is under `nohup`, where the program must outlive
/// its terminal.
#[cfg(unix)]
#[expect(unsafe_code, reason = "sets a signal disposition; SIG_IGN runs no handler")]
fn ignore_hangups() -> bool {
    unsafe { libc::signal(libc::SIGHUP, libc::SIG_IGN) == libc::SIG_IGN }
}

#[cfg(not(unix))]
fn ignore_hangups() -> bool {
    false
}

#[expect(clippy::exit, reason = "the user pressed Ctrl-C twice; everything worth keeping is on disk")]
fn exit_now() -> ! {
    std::process::exit(130)
}
