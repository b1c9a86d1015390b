//! Ctrl-C, SIGTERM and SIGHUP: the first asks to stop after the current frame, the second ends the program.

use tokio_util::sync::CancellationToken;

use crate::failure::{Failure, Kind, Outcome};
use crate::terminal::notify;

/// A request to stop, from the user or from the code that made this flag. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Stop(CancellationToken);

impl Stop {
    /// Listens for the signals of this process. At most once in a process.
    pub fn on_signal() -> Outcome<Self> {
        let stop = Self::default();
        let token = stop.0.clone();
        let hangups_ignored = ignore_hangups();
        ctrlc::set_handler(move || {
            if token.is_cancelled() {
                end_now();
            }
            token.cancel();
            notify("finishing this frame and saving; press Ctrl-C again to exit immediately");
        })
        .map_err(|e| Failure::new(Kind::Failed, e).context("cannot listen for Ctrl-C"))?;
        if hangups_ignored {
            ignore_hangups();
        }
        Ok(stop)
    }

    /// A flag that is also set when this one is.
    pub fn child(&self) -> Self {
        Self(self.0.child_token())
    }

    /// Asks to stop.
    pub fn request(&self) {
        self.0.cancel();
    }

    /// Whether to stop.
    pub fn requested(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Waits until a stop is requested.
    pub async fn wait(&self) {
        self.0.cancelled().await;
    }
}

/// Ignores SIGHUP and returns whether it was ignored before, as under `nohup`: such a run outlives its
/// terminal.
#[cfg(unix)]
#[expect(unsafe_code, reason = "sets how a signal is handled; SIG_IGN is no handler that could go wrong")]
fn ignore_hangups() -> bool {
    unsafe { libc::signal(libc::SIGHUP, libc::SIG_IGN) == libc::SIG_IGN }
}

#[cfg(not(unix))]
fn ignore_hangups() -> bool {
    false
}

#[expect(clippy::exit, reason = "the user asked twice; nothing that counts is only in memory")]
fn end_now() -> ! {
    std::process::exit(130)
}
