//! Retries of bucket requests: what was tracked so far is worth waiting for a bucket that does not answer.

use std::future::Future;
use std::time::{Duration, Instant};

use super::RunningAttempt;

/// How long a bucket that does not answer is retried.
const RETRY_TIMEOUT: Duration = Duration::from_secs(3600);
/// The same after a stop was requested: the machine may be shut down soon.
const STOPPING_RETRY_TIMEOUT: Duration = Duration::from_secs(30);
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

impl RunningAttempt<'_> {
    /// Repeats a request while its error is transient and the timeout has not passed.
    pub(super) async fn retry_transient<T, E: std::fmt::Display, F: Future<Output = Result<T, E>>>(
        &self,
        is_transient: impl Fn(&E) -> bool,
        mut request: impl FnMut() -> F,
    ) -> Result<T, E> {
        let started = Instant::now();
        let mut pause = FIRST_PAUSE;
        loop {
            let timeout = if self.stop.requested() { STOPPING_RETRY_TIMEOUT } else { RETRY_TIMEOUT };
            match request().await {
                Err(error) if is_transient(&error) && started.elapsed() < timeout => {
                    self.log_line(format!("{error}; retrying"));
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                other => return other,
            }
        }
    }
}
