//! Cancelling, retrying and removing a job, in its bucket and in the library.
//!
//! A job may not be in its bucket yet: then its unfinished submission is what these act on.

use jobs::manifest::{Manifest, Status};
use jobs::{JobId, Refusal};
use store::{JobRow, JobStatus, JobUpdate, Library, SubmissionState};

use crate::failure::{Failure, Kind, Outcome};
use crate::submit::{self, Submission, UPLOADING};
use crate::{Client, is_unknown_job, overview, videos};

/// The outcome of [`retry`].
#[derive(Debug)]
pub enum Retried {
    /// The job is in the queue.
    Queued(Box<Manifest>),
    /// The job never reached its bucket: the caller must upload its video.
    NeedsUpload(Box<Submission>),
}

/// Cancels a job, whether its video is being uploaded, it waits, or a worker has it. Cancelling twice is not an
/// error. Returns the status of the job.
///
/// # Errors
/// With [`jobs::Error::NoJob`] as its cause for an unknown job, and [`jobs::Error::Refused`] for a job that has
/// ended or that another process uploads.
pub async fn cancel(client: &Client, library: &mut Library, id: &JobId) -> Outcome<JobStatus> {
    let row = library.job(id.as_str())?;
    match client.find_job_from(id, client.likely_target(row.as_ref())).await {
        Ok((admin, _)) => {
            let manifest = admin.cancel(id).await?;
            record(library, &manifest)?;
            Ok(overview::job_status(manifest.status))
        }
        Err(failure) if is_unknown_job(&failure) => cancel_without_manifest(client, library, id, row).await,
        Err(failure) => Err(failure),
    }
}

async fn cancel_without_manifest(
    client: &Client,
    library: &mut Library,
    id: &JobId,
    row: Option<JobRow>,
) -> Outcome<JobStatus> {
    match row {
        Some(row) if submit::unfinished_submission(&row).is_some() => {
            submit::abandon(client, library, &row).await?;
            Ok(JobStatus::Cancelled)
        }
        Some(row) if row.status == JobStatus::Cancelled => Ok(JobStatus::Cancelled),
        Some(row) if row.status.is_open() => Err(refused(id, Refusal::NotInBucket)),
        Some(row) => {
            Err(refused(id, Refusal::NotCancellable { status: overview::manifest_status(row.status) }))
        }
        None => Err(jobs::Error::NoJob { id: id.clone() }.into()),
    }
}

/// Puts a failed or cancelled job back in the queue. A job that waits or is being processed is left as it is.
///
/// # Errors
/// With [`jobs::Error::NoJob`] as its cause for an unknown job, and [`jobs::Error::Refused`] for a completed one.
pub async fn retry(client: &Client, library: &mut Library, id: &JobId) -> Outcome<Retried> {
    let row = library.job(id.as_str())?;
    match client.find_job_from(id, client.likely_target(row.as_ref())).await {
        Ok((admin, _)) => {
            let manifest = admin.retry(id).await?;
            record(library, &manifest)?;
            return Ok(Retried::Queued(Box::new(manifest)));
        }
        Err(failure) if is_unknown_job(&failure) => {}
        Err(failure) => return Err(failure),
    }
    let Some(row) = row else { return Err(jobs::Error::NoJob { id: id.clone() }.into()) };
    let can_retry = matches!(row.status, JobStatus::Failed | JobStatus::Cancelled)
        || submit::unfinished_submission(&row).is_some();
    let Some(submission) = submit::submission_of(&row).filter(|_| can_retry) else {
        return Err(refused(id, Refusal::NotRetryable { status: overview::manifest_status(row.status) }));
    };
    let reopened = JobUpdate {
        status: Some(JobStatus::Pending),
        progress_message: Some(UPLOADING.to_owned()),
        submission: Some(SubmissionState::Uploading),
        ..JobUpdate::default()
    };
    library.update_job(id.as_str(), &reopened)?;
    Ok(Retried::NeedsUpload(Box::new(submission)))
}

/// Removes a job from its bucket, or abandons its unfinished submission. Imported detections stay in the library.
///
/// # Errors
/// With [`jobs::Error::NoJob`] as its cause for an unknown job. Unless `force`: for a job that has not ended, is
/// not imported, or has an unreadable manifest.
pub async fn remove(client: &Client, library: &mut Library, id: &JobId, force: bool) -> Outcome<()> {
    let row = library.job(id.as_str())?;
    let likely = client.likely_target(row.as_ref());
    let (admin, manifest) = match client.find_job_from(id, likely).await {
        Ok(found) => found,
        Err(failure) if is_unknown_job(&failure) => {
            return remove_without_manifest(client, library, id, row, force, failure).await;
        }
        Err(failure) if failure.cause().is_some_and(|e| matches!(e, jobs::Error::Unreadable { .. })) => {
            if !force {
                return Err(needs_force(id, "has a manifest that cannot be read"));
            }
            client.admin(likely)?.remove(id).await?;
            return Ok(());
        }
        Err(failure) => return Err(failure),
    };
    if jobs::admin::is_importable(&manifest) && !force {
        let hint = format!(
            "run `courtside import --job-id {id}` first; `courtside rm --force {id}` deletes the results for good"
        );
        return Err(
            Failure::msg(Kind::Failed, format!("the results of job {id} are not imported yet")).hint(hint)
        );
    }
    if !manifest.status.is_finished() && !force {
        return Err(needs_force(id, "is not finished"));
    }
    if admin.remove(id).await? {
        videos::forget_bucket_copy(library, manifest.video_id, &manifest)?;
    }
    let status = if manifest.status.is_finished() { manifest.status } else { Status::Cancelled };
    record(library, &Manifest { status, ..manifest })
}

async fn remove_without_manifest(
    client: &Client,
    library: &mut Library,
    id: &JobId,
    row: Option<JobRow>,
    force: bool,
    unknown: Failure,
) -> Outcome<()> {
    match row {
        Some(row) if submit::unfinished_submission(&row).is_some() => match force {
            true => submit::abandon(client, library, &row).await,
            false => Err(needs_force(id, "is not uploaded yet")),
        },
        Some(row) if row.has_failed_upload() => submit::abandon(client, library, &row).await,
        // The job is only in the library: another program wrote the row, or the job was removed before.
        _ => Err(unknown),
    }
}

fn needs_force(id: &JobId, what: &str) -> Failure {
    Failure::msg(Kind::Failed, format!("job {id} {what}"))
        .hint(format!("run `courtside rm --force {id}` to remove it anyway"))
}

fn refused(id: &JobId, refusal: Refusal) -> Failure {
    jobs::Error::Refused { id: id.clone(), refusal }.into()
}

/// Records the new state of one job in the library, if the library has the job.
fn record(library: &mut Library, manifest: &Manifest) -> Outcome<()> {
    overview::record_states(library, |id| (*id == manifest.job_id).then_some(manifest))
}
