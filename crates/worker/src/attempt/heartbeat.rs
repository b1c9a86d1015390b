//! Heartbeats during an attempt. They stop the attempt when the lease is lost.

use std::time::Duration;

use super::RunningAttempt;
use super::outcome::AttemptError;
use crate::shared_model::SharedModel;

impl RunningAttempt<'_> {
    /// Processes the job while heartbeats are sent, until it is done, the lease is lost or the time has passed.
    pub(super) async fn process_with_heartbeat(
        &self,
        model: &SharedModel,
        time_left: Option<Duration>,
    ) -> Result<(), AttemptError> {
        let mut work = std::pin::pin!(self.process(model));
        let mut lease_lost = std::pin::pin!(self.lease.keep_alive(|| self.progress.get()));
        let mut time_over = std::pin::pin!(sleep_or_never(time_left));
        let mut has_time = true;
        loop {
            tokio::select! {
                result = &mut work => return result,
                refusal = &mut lease_lost => {
                    self.stop.request();
                    // A thread cannot be ended from outside: the current frame is tracked to its end.
                    return match tokio::time::timeout(self.options.stall_timeout, &mut work).await {
                        Ok(Err(hung @ AttemptError::Hung(_))) => Err(hung),
                        Ok(_) => Err(AttemptError::LeaseLost(refusal)),
                        Err(_) => Err(AttemptError::Hung(format!("lost ({refusal}), and its tracking does not end"))),
                    };
                }
                () = &mut time_over, if has_time => {
                    has_time = false;
                    self.stop.request();
                    self.log_line("stopping: --max-runtime has passed");
                }
            }
        }
    }
}

/// Sleeps for `time`; `None` means forever.
async fn sleep_or_never(time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => std::future::pending().await,
    }
}
