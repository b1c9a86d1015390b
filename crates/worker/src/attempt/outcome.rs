//! How attempts end, and what an error means: for the job, for this worker, for this machine.

use std::io::ErrorKind;
use std::path::Path;

use jobs::lease::LeaseError;
use jobs::{Error, Refusal};

use client::failure::{Failure, Kind};

use super::workspace;
use crate::failure::{is_about_checkpoint, is_about_detections};

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

/// What is wrong with an attempt's own files, with the reason.
#[derive(Debug)]
pub(super) enum OnDisk {
    /// Detections or results that were written while the attempt ran.
    Damaged(String),
    /// A checkpoint, which cannot be resumed.
    Unusable(String),
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
    /// What the attempt has on disk is not what it wrote. It makes what is missing again; see
    /// [`resume`](super::resume).
    OnDisk(OnDisk),
    /// The attempt failed for this reason, and one of its threads does not return.
    Hung(String),
    /// This worker's settings do not work for any job: the job is released, and the worker exits.
    Misconfigured(Failure),
    /// This machine fails, for example because its disk is full. The attempt counts, since the next machine may be no
    /// better for this job, and the worker exits before it fails other jobs. See [`Self::attributed`].
    MachineFault(Failure),
}

impl AttemptError {
    /// Attributes what looks like a fault of the machine to the job, if the machine turns out to work: a job whose files
    /// cannot be named or opened must not keep the worker from the next one.
    pub(super) fn attributed(self, work_folder: &Path) -> Self {
        match self {
            Self::MachineFault(failure)
                if !is_of_machine(&failure) && workspace::check(work_folder).is_ok() =>
            {
                let retryable = !has_kind(&failure, &[ErrorKind::InvalidFilename, ErrorKind::InvalidInput]);
                Self::Failed { reason: failure.message(), retryable }
            }
            other => other,
        }
    }

    /// Classifies an error of tracking: a problem of the video or the parameters is not retryable, unlike one of the
    /// machine.
    pub(super) fn of_tracking(failure: Failure) -> Self {
        match failure.kind {
            _ if is_about_checkpoint(&failure) => Self::OnDisk(OnDisk::Unusable(failure.message())),
            _ if is_about_detections(&failure) => Self::OnDisk(OnDisk::Damaged(failure.message())),
            Kind::Failed if !failure.is_local_io() => {
                Self::Failed { reason: failure.message(), retryable: false }
            }
            _ => failure.into(),
        }
    }
}

impl AttemptError {
    /// Whether the video or the job's parameters are to blame, as far as tracking can tell.
    pub(super) fn is_about_video(&self) -> bool {
        matches!(self, Self::Failed { retryable: false, .. })
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
            Error::FileChanged { .. } => Self::OnDisk(OnDisk::Damaged(error.to_string())),
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
            _ if is_about_detections(&failure) => Self::OnDisk(OnDisk::Damaged(failure.message())),
            _ if failure.is_local_io() => Self::MachineFault(failure),
            _ => Self::Failed { reason: failure.message(), retryable: true },
        }
    }
}

/// Whether the error says by itself that the machine is at fault.
fn is_of_machine(failure: &Failure) -> bool {
    const KINDS: [ErrorKind; 7] = [
        ErrorKind::StorageFull,
        ErrorKind::QuotaExceeded,
        ErrorKind::FileTooLarge,
        ErrorKind::ReadOnlyFilesystem,
        ErrorKind::PermissionDenied,
        ErrorKind::OutOfMemory,
        ErrorKind::StaleNetworkFileHandle,
    ];
    !failure.is_local_io() || has_kind(failure, &KINDS)
}

fn has_kind(failure: &Failure, kinds: &[ErrorKind]) -> bool {
    failure.cause::<std::io::Error>().is_some_and(|error| kinds.contains(&error.kind()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_cannot_be_named_is_the_jobs_fault_and_a_full_disk_the_machines() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("file/not a folder");
        std::fs::write(folder.path().join("file"), "").unwrap();
        let fault = |kind: ErrorKind| {
            AttemptError::from(Failure::from(std::io::Error::from(kind)).context("cannot write"))
        };
        for (kind, is_retryable) in [
            (ErrorKind::InvalidFilename, false),
            (ErrorKind::InvalidInput, false),
            (ErrorKind::NotADirectory, true),
            (ErrorKind::IsADirectory, true),
            (ErrorKind::NotFound, true),
            (ErrorKind::Other, true),
        ] {
            let on_good_machine = fault(kind).attributed(folder.path());
            assert!(
                matches!(on_good_machine, AttemptError::Failed { retryable, .. } if retryable == is_retryable),
                "{kind}: {on_good_machine:?}"
            );
            let on_bad_machine = fault(kind).attributed(&missing);
            assert!(matches!(on_bad_machine, AttemptError::MachineFault(_)), "{kind}: {on_bad_machine:?}");
        }
        for kind in [ErrorKind::StorageFull, ErrorKind::FileTooLarge, ErrorKind::PermissionDenied] {
            let certain = fault(kind).attributed(folder.path());
            assert!(matches!(certain, AttemptError::MachineFault(_)), "{kind}: {certain:?}");
        }
        let lost = Failure::msg(Kind::Failed, "the disk loses what is written to it");
        let lost = AttemptError::MachineFault(lost).attributed(folder.path());
        assert!(matches!(lost, AttemptError::MachineFault(_)), "{lost:?}");
    }

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
