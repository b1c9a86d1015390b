//! Threads for work that blocks for minutes: the runtime does not wait for them when it ends, so one that hangs does
//! not keep the process alive.

use std::panic::AssertUnwindSafe;

use futures::FutureExt;
use tokio::sync::oneshot;

use super::outcome::AttemptError;

/// Runs `work` on a new thread with this name.
pub(super) fn in_thread<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> oneshot::Receiver<std::thread::Result<T>> {
    let (done, result) = oneshot::channel();
    let run = move || {
        let _ = done.send(std::panic::catch_unwind(AssertUnwindSafe(work)));
    };
    // If the thread cannot be started, the sender is dropped, and the receiver reports it.
    let _ = std::thread::Builder::new().name(name.to_owned()).spawn(run);
    result
}

/// Waits for the result of [`in_thread`].
pub(super) async fn joined<T>(result: oneshot::Receiver<std::thread::Result<T>>) -> Result<T, AttemptError> {
    match result.await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(_)) => Err(failed(PANICKED)),
        Err(_) => Err(failed("cannot start a thread")),
    }
}

/// Runs `work`; a panic fails the attempt, and not the worker, which has other jobs to process.
pub(super) async fn caught<T>(
    work: impl Future<Output = Result<T, AttemptError>>,
) -> Result<T, AttemptError> {
    AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(|_| Err(failed(PANICKED)))
}

const PANICKED: &str = "internal error: a thread panicked; the worker's standard error has details";

fn failed(reason: &str) -> AttemptError {
    AttemptError::Failed { reason: reason.to_owned(), retryable: true }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_fails_the_attempt() {
        let in_future = caught::<()>(async { panic!("in a future") }).await;
        let on_thread: Result<(), _> = joined(in_thread("test", || panic!("on a thread"))).await;
        for result in [in_future, on_thread] {
            assert!(matches!(result, Err(AttemptError::Failed { retryable: true, .. })), "{result:?}");
        }
    }
}
