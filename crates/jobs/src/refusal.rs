//! Why a transition of a job is refused.

use crate::manifest::state::Status;
use crate::quote::quoted;

/// The reason for which a change to a job is refused. `Display` gives a complete phrase without the job's id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The id belongs to a different job.
    #[error("already exists")]
    AlreadyExists,
    /// The manifest has been removed from the bucket.
    #[error("removed from the bucket")]
    Removed,
    /// Another client changed the manifest first.
    #[error("changed by another client")]
    Conflict,
    /// The job has left the state in which the change would be valid.
    #[error("the job is {status} now")]
    StatusChanged {
        /// The job's current status.
        status: Status,
    },
    /// Another worker owns the job.
    #[error("{} owns the job now", quoted(worker_id))]
    OwnedBy {
        /// Name of the current owner.
        worker_id: String,
    },
    /// The job is finished, so it cannot be cancelled.
    #[error("{status} jobs cannot be cancelled")]
    NotCancellable {
        /// The job's current status.
        status: Status,
    },
    /// The job was completed, so it cannot be retried.
    #[error("{status} jobs cannot be retried; only failed and cancelled jobs can")]
    NotRetryable {
        /// The job's current status.
        status: Status,
    },
    /// The job has no results to import.
    #[error("{status} jobs have no results to import")]
    NotImportable {
        /// The job's current status.
        status: Status,
    },
    /// Another process is uploading the job's video.
    #[error("another courtside process is uploading its video")]
    BeingUploaded,
}
