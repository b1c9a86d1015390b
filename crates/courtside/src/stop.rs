//! Ctrl-C, SIGTERM and SIGHUP: the first asks to stop after the current frame, the second ends the program.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::failure::{Failure, Kind, Outcome};
use crate::say::say;

/// Whether the user asked to stop.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Listens for the signals of this process. At most once in a process.
    pub fn on_signal() -> Outcome<Self> {
        let stop = Self::default();
        let flag = stop.0.clone();
        let hangups_ignored = ignore_hangups();
        ctrlc::set_handler(move || {
            if flag.swap(true, Ordering::SeqCst) {
                end_now();
            }
            say("stopping after this frame; press Ctrl-C again to end at once");
        })
        .map_err(|e| Failure::new(Kind::Failed, e).context("cannot listen for Ctrl-C"))?;
        if hangups_ignored {
            ignore_hangups();
        }
        Ok(stop)
    }

    /// Whether to stop.
    pub fn requested(&self) -> bool {
        self.0.load(Ordering::SeqCst)
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
