//! How attempts end, and what an error means: for the job, for this worker, for this machine.

use jobs::lease::LeaseError;
use jobs::{Error, Refusal};

use client::failure::{Failure, Kind};

/// How an attempt ended, after its outcome was written to the manifest.
#[derive(Debug)]
pub(crate) enum AttemptOutcome {
    /// Results are in the bucket.
    Completed,
    /// The attempt failed for this reason; the manifest has it.
    Failed(String),
    /// Another worker may claim the job; the attempt does not count.
    Released,
    /// The job was claimed by another worker, cancelled or removed.
    Lost,
    /// The attempt failed for this reason, and one of its threads does not return.
    Hung(String),
}

/// Why an attempt did not complete its job.
#[derive(Debug)]
pub(super) enum AttemptError {
    /// The worker was asked to stop.
    Stopped,
    /// The job was claimed by another worker, cancelled or removed.
    LeaseLost(Refusal),
    /// The attempt failed. It counts as a failure of the job.
    Failed {
        /// What failed, for the manifest and the log.
        reason: String,
        /// Whether another attempt may succeed.
        retryable: bool,
    },
    /// The attempt failed for this reason, and one of its threads does not return.
    Hung(String),
    /// This worker's settings do not work for any job: the job is released, and the worker exits.
    Misconfigured(Failure),
    /// This machine fails, for example because its disk is full. The attempt counts, since the next machine may be no
    /// better for this job, and the worker exits before it fails other jobs.
    MachineFault(Failure),
}

impl AttemptError {
    /// Classifies an error of tracking: a problem of the video or the parameters is not retryable, unlike one of the
    /// machine.
    pub(super) fn of_tracking(failure: Failure) -> Self {
        match failure.kind {
            Kind::Failed if !failure.is_local_io() => {
                Self::Failed { reason: failure.message(), retryable: false }
            }
            _ => failure.into(),
        }
    }
}

impl From<LeaseError> for AttemptError {
    fn from(error: LeaseError) -> Self {
        match error {
            LeaseError::Lost { refusal, .. } => Self::LeaseLost(refusal),
            LeaseError::Bucket(error) => error.into(),
        }
    }
}

impl From<Error> for AttemptError {
    fn from(error: Error) -> Self {
        match &error {
            refused if refused.is_misconfiguration() => Self::Misconfigured(error.into()),
            Error::File { .. } => Self::MachineFault(error.into()),
            // The bucket's content does not change by itself.
            Error::Missing { .. } | Error::Mismatch { .. } | Error::Name(_) => {
                Self::Failed { reason: Failure::from(error).message(), retryable: false }
            }
            _ => Self::Failed { reason: Failure::from(error).message(), retryable: true },
        }
    }
}

impl From<Failure> for AttemptError {
    fn from(failure: Failure) -> Self {
        match failure.kind {
            Kind::Config => Self::Misconfigured(failure),
            _ if failure.is_local_io() => Self::MachineFault(failure),
            _ => Self::Failed { reason: failure.message(), retryable: true },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use super::*;

    #[test]
    fn errors_are_attributed_to_job_worker_or_machine() {
        let full = || Failure::from(std::io::Error::from(ErrorKind::StorageFull)).context("cannot write");
        assert!(matches!(AttemptError::of_tracking(full()), AttemptError::MachineFault(_)));
        assert!(matches!(AttemptError::from(full()), AttemptError::MachineFault(_)));
        let corrupt = Failure::msg(Kind::Failed, "that is not a video");
        assert!(matches!(AttemptError::of_tracking(corrupt), AttemptError::Failed { retryable: false, .. }));
        let denied = Error::Denied { location: "b".into(), action: "read".into(), detail: "403".into() };
        assert!(matches!(AttemptError::from(denied), AttemptError::Misconfigured(_)));
        let missing = Error::Missing { location: "b".into(), key: "videos/a.mp4".into() };
        assert!(matches!(AttemptError::from(missing), AttemptError::Failed { retryable: false, .. }));
        let timed_out = Error::Unavailable { location: "b".into(), detail: "timed out".into() };
        assert!(matches!(AttemptError::from(timed_out), AttemptError::Failed { retryable: true, .. }));
    }
}
