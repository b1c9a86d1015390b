//! State shared by the decoding thread and the owner of the stream: the running child, a
//! cancellation flag, and the damage report.

use std::process::{Child, Command, ExitStatus};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::damage::Damage;
use crate::process;
use crate::sandbox::policy::Sandbox;

/// Shared state of one [`FrameStream`](crate::decode::stream::FrameStream).
#[derive(Debug, Default)]
pub(crate) struct DecodeState {
    slot: Mutex<ChildSlot>,
    damage: Mutex<Damage>,
}

#[derive(Debug, Default)]
struct ChildSlot {
    child: Option<Child>,
    cancelled: bool,
}

impl DecodeState {
    fn slot(&self) -> MutexGuard<'_, ChildSlot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The damage report, locked.
    pub(crate) fn damage(&self) -> MutexGuard<'_, Damage> {
        self.damage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a child that [`Self::cancel`] can kill, and passes it to `take_outputs` to take its
    /// pipes. Returns `None` without starting it if the stream is already cancelled.
    pub(crate) fn spawn<T>(
        &self,
        command: Command,
        sandbox: &Sandbox,
        take_outputs: impl FnOnce(&mut Child) -> T,
    ) -> std::io::Result<Option<T>> {
        let mut slot = self.slot();
        if slot.cancelled {
            return Ok(None);
        }
        let mut child = process::spawn(command, sandbox)?;
        let outputs = take_outputs(&mut child);
        slot.child = Some(child);
        Ok(Some(outputs))
    }

    /// The exit status of the child; `None` while it runs.
    pub(crate) fn try_wait(&self) -> std::io::Result<Option<ExitStatus>> {
        self.slot().child.as_mut().map_or(Ok(None), Child::try_wait)
    }

    /// Kills the child, if there is one. It stays in its slot, so that [`Self::try_wait`] still
    /// returns its exit status.
    pub(crate) fn kill(&self) {
        if let Some(child) = &mut self.slot().child {
            // Both fail only if the child has already been waited for.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Kills the child and prevents the next one from starting.
    pub(crate) fn cancel(&self) {
        self.slot().cancelled = true;
        self.kill();
    }

    /// Whether [`Self::cancel`] was called.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.slot().cancelled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn does_not_start_a_child_after_cancel() {
        let state = DecodeState::default();
        state.cancel();
        let sandbox =
            Sandbox { read: Vec::new(), write: None, memory_bytes: 1 << 30, restricts_access: false };
        let started = state.spawn(Command::new("/nonexistent"), &sandbox, |_| ()).unwrap();
        assert!(started.is_none());
    }
}
