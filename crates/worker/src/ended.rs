//! How attempts end, and whose fault it is: the job's, this machine's, or nobody's.

use jobs::lease::LeaseError;
use jobs::{Error, Refusal};

use client::failure::{Failure, Kind};

/// How an attempt ended.
#[derive(Debug)]
pub(super) enum End {
    /// Results are in the bucket.
    Completed,
    /// Badly; the register says why.
    Failed(String),
    /// Given back.
    Released,
    /// The job is somebody else's, or nobody's.
    Lost,
    /// Badly, with a thread that does not come back.
    Stuck(String),
}

/// Why the work on a job ended before its end.
#[derive(Debug)]
pub(super) enum Ended {
    /// The worker was told to stop.
    Stopped,
    /// The job is somebody else's, or nobody's.
    Lost(Refusal),
    /// The attempt failed. Unless `retryable`, so would any other.
    Failed {
        /// Why.
        reason: String,
        /// Whether another attempt may succeed.
        retryable: bool,
    },
    /// A thread does not come back.
    Stuck(String),
    /// This worker is not set up for any job: the attempt does not count, and the worker ends.
    Unfit(Failure),
    /// This machine fails, as one whose disk is full: the attempt counts, since the next machine may be no
    /// better for this job, and the worker ends before it spoils others.
    Broken(Failure),
}

impl Ended {
    /// What is wrong with the video or the parameters stays wrong; what is wrong with the machine does not.
    pub(super) fn of_tracking(failure: Failure) -> Self {
        match failure.kind {
            Kind::Failed if !failure.is_local_io() => {
                Self::Failed { reason: failure.message(), retryable: false }
            }
            _ => failure.into(),
        }
    }
}

impl From<LeaseError> for Ended {
    fn from(error: LeaseError) -> Self {
        match error {
            LeaseError::Lost { refusal, .. } => Self::Lost(refusal),
            LeaseError::Bucket(error) => error.into(),
        }
    }
}

impl From<Error> for Ended {
    fn from(error: Error) -> Self {
        match &error {
            Error::Denied { .. } | Error::NoBucket { .. } | Error::Settings(_) => Self::Unfit(error.into()),
            Error::File { .. } => Self::Broken(error.into()),
            // What is wrong with the bucket's content stays wrong.
            Error::Missing { .. } | Error::Mismatch { .. } | Error::Name(_) => {
                Self::Failed { reason: Failure::from(error).message(), retryable: false }
            }
            _ => Self::Failed { reason: Failure::from(error).message(), retryable: true },
        }
    }
}

impl From<Failure> for Ended {
    fn from(failure: Failure) -> Self {
        match failure.kind {
            Kind::Config => Self::Unfit(failure),
            _ if failure.is_local_io() => Self::Broken(failure),
            _ => Self::Failed { reason: failure.message(), retryable: true },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use super::*;

    #[test]
    fn a_job_is_not_blamed_for_its_machine() {
        let full = || Failure::from(std::io::Error::from(ErrorKind::StorageFull)).context("cannot write");
        assert!(matches!(Ended::of_tracking(full()), Ended::Broken(_)));
        assert!(matches!(Ended::from(full()), Ended::Broken(_)));
        let spoiled = Failure::msg(Kind::Failed, "that is no video");
        assert!(matches!(Ended::of_tracking(spoiled), Ended::Failed { retryable: false, .. }));
        let denied = Error::Denied { location: "b".into(), action: "read".into(), detail: "403".into() };
        assert!(matches!(Ended::from(denied), Ended::Unfit(_)));
        let gone = Error::Missing { location: "b".into(), key: "videos/a.mp4".into() };
        assert!(matches!(Ended::from(gone), Ended::Failed { retryable: false, .. }));
        let silent = Error::Unavailable { location: "b".into(), detail: "timed out".into() };
        assert!(matches!(Ended::from(silent), Ended::Failed { retryable: true, .. }));
    }
}
