//! Ctrl-C, SIGTERM and SIGHUP: the first asks to stop after the current frame, the second ends the program.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::failure::{Failure, Kind, Outcome};
use crate::say::say;

/// How soon a waiting task notices.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Whether somebody asked to stop: the user, or whoever made this flag.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    flag: Arc<AtomicBool>,
    parent: Option<Arc<Stop>>,
}

impl Stop {
    /// Listens for the signals of this process. At most once in a process.
    pub fn on_signal() -> Outcome<Self> {
        let stop = Self::default();
        let flag = stop.flag.clone();
        let hangups_ignored = ignore_hangups();
        ctrlc::set_handler(move || {
            if flag.swap(true, Ordering::SeqCst) {
                end_now();
            }
            say("stopping as soon as nothing is lost by it; press Ctrl-C again to end at once");
        })
        .map_err(|e| Failure::new(Kind::Failed, e).context("cannot listen for Ctrl-C"))?;
        if hangups_ignored {
            ignore_hangups();
        }
        Ok(stop)
    }

    /// A flag that is also set when this one is.
    pub fn child(&self) -> Self {
        Self { flag: Arc::default(), parent: Some(Arc::new(self.clone())) }
    }

    /// Asks to stop.
    pub fn request(&self) {
        self.flag.store(true, Ordering::SeqCst);
    }

    /// Whether to stop.
    pub fn requested(&self) -> bool {
        self.flag.load(Ordering::SeqCst) || self.parent.as_ref().is_some_and(|parent| parent.requested())
    }

    /// Waits until somebody asks.
    pub async fn wait(&self) {
        while !self.requested() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
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
