//! Writes the outcome of an attempt to the manifest: failed, released, or nothing because the lease is lost.

use client::failure::{Failure, Kind, Outcome};
use jobs::lease::LeaseError;
use jobs::{Error, Lease};

use super::log::AttemptLog;
use super::outcome::{AttemptError, AttemptOutcome, OnDisk};

/// Writes the result of an attempt to the manifest. `was_stopped`: a retryable failure may be a consequence of the
/// stop, so it is treated as one.
///
/// # Errors
/// If this worker or its machine cannot process any job, or the bucket refuses the write.
pub(super) async fn conclude(
    lease: &Lease,
    result: Result<(), AttemptError>,
    log: &AttemptLog,
    was_stopped: bool,
) -> Outcome<AttemptOutcome> {
    let id = lease.id();
    let result = result.map_err(|error| match error {
        AttemptError::Failed { retryable: true, .. } if was_stopped => AttemptError::Stopped,
        other => other,
    });
    let written = match &result {
        Ok(()) => {
            log.line(id, "completed");
            return Ok(AttemptOutcome::Completed);
        }
        Err(AttemptError::LeaseLost(refusal)) => {
            log.line(id, format!("lost: {refusal}"));
            return Ok(AttemptOutcome::Lost);
        }
        Err(AttemptError::Stopped) => lease.release("the worker was stopped").await,
        Err(AttemptError::Misconfigured(failure)) => {
            log.line(id, format!("released: {}", failure.message()));
            lease.release("the worker cannot process jobs; its log has the reason").await
        }
        Err(AttemptError::Failed { reason, retryable }) => {
            log.line(id, format!("failed: {reason}"));
            lease.fail(reason, *retryable).await
        }
        Err(
            AttemptError::Hung(reason)
            | AttemptError::OnDisk(OnDisk::Damaged(reason) | OnDisk::Unusable(reason)),
        ) => {
            log.line(id, format!("failed: {reason}"));
            lease.fail(reason, true).await
        }
        Err(AttemptError::MachineFault(failure)) => {
            log.line(id, format!("failed: {}", failure.message()));
            lease.fail(&failure.message(), true).await
        }
    };
    let outcome = match result {
        Err(
            AttemptError::Failed { reason, .. }
            | AttemptError::OnDisk(OnDisk::Damaged(reason) | OnDisk::Unusable(reason)),
        ) => Ok(AttemptOutcome::Failed(reason)),
        Err(AttemptError::Hung(reason)) => Ok(AttemptOutcome::Hung(reason)),
        Err(AttemptError::Misconfigured(failure) | AttemptError::MachineFault(failure)) => Err(failure),
        _ => Ok(AttemptOutcome::Released),
    };
    match (written, outcome) {
        // This worker must exit, whatever the manifest says.
        (_, outcome @ (Ok(AttemptOutcome::Hung(_)) | Err(_))) | (Ok(()), outcome) => outcome,
        (Err(LeaseError::Lost { refusal, .. }), _) => {
            log.line(id, format!("lost: {refusal}"));
            Ok(AttemptOutcome::Lost)
        }
        // The lease expires, and another worker claims the job.
        (Err(LeaseError::Bucket(error)), _) if error.is_transient() => {
            log.line(id, format!("cannot release the job: {error}"));
            Ok(AttemptOutcome::Lost)
        }
        // The manifest was overwritten with something else: other jobs are not concerned.
        (Err(LeaseError::Bucket(error)), _) if is_about_this_job(&error) => {
            log.line(id, format!("lost: {error}"));
            Ok(AttemptOutcome::Lost)
        }
        (Err(error), _) => Err(lease_failure(error)),
    }
}

/// Whether an error concerns a single object, and not the bucket or this worker's access to it.
fn is_about_this_job(error: &Error) -> bool {
    matches!(
        error,
        Error::Unreadable { .. }
            | Error::Mismatch { .. }
            | Error::Missing { .. }
            | Error::NoJob { .. }
            | Error::Refused { .. }
            | Error::Name(_)
    )
}

/// An error of the lease as one of the worker.
pub(crate) fn lease_failure(error: LeaseError) -> Failure {
    match error {
        LeaseError::Bucket(error) => error.into(),
        lost @ LeaseError::Lost { .. } => Failure::new(Kind::Failed, lost),
    }
}
