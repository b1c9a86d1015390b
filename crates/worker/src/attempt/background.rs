//! Threads for work that blocks for minutes: the runtime does not wait for them when it ends, so one that hangs does
//! not keep the process alive.

use tokio::sync::oneshot;

use super::outcome::AttemptError;

/// Runs `work` on a new thread with this name.
pub(super) fn in_thread<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> oneshot::Receiver<std::thread::Result<T>> {
    let (done, result) = oneshot::channel();
    let run = move || {
        let _ = done.send(std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)));
    };
    // If the thread cannot be started, the sender is dropped, and the receiver reports it.
    let _ = std::thread::Builder::new().name(name.to_owned()).spawn(run);
    result
}

/// Waits for the result of [`in_thread`].
pub(super) async fn joined<T>(result: oneshot::Receiver<std::thread::Result<T>>) -> Result<T, AttemptError> {
    let failed = |reason: &str| AttemptError::Failed { reason: reason.to_owned(), retryable: true };
    match result.await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(_)) => {
            Err(failed("internal error: a thread panicked; the worker's standard error has details"))
        }
        Err(_) => Err(failed("cannot start a thread")),
    }
}
