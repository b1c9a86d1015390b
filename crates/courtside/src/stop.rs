//! Ctrl-C and SIGTERM: the first asks to stop after the current frame, the second ends the program.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::failure::{Failure, Kind, Outcome};

/// Whether the user asked to stop.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Listens for the signals of this process. At most once in a process.
    pub fn on_signal() -> Outcome<Self> {
        let stop = Self::default();
        let flag = stop.0.clone();
        ctrlc::set_handler(move || {
            if flag.swap(true, Ordering::SeqCst) {
                end_now();
            }
            eprintln!("stopping after this frame; press Ctrl-C again to end at once");
        })
        .map_err(|e| Failure::new(Kind::Failed, e).context("cannot listen for Ctrl-C"))?;
        Ok(stop)
    }

    /// Whether to stop.
    pub fn requested(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

#[expect(clippy::exit, reason = "the user asked twice; nothing that counts is only in memory")]
fn end_now() -> ! {
    std::process::exit(130)
}
