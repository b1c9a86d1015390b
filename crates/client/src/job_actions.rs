//! Cancelling, retrying and removing a job, in its bucket and in the library.
//!
//! A job may not be in its bucket yet: then its unfinished submission is what these act on.

use jobs::admin::Admin;
use jobs::manifest::{Manifest, Status};
use jobs::{JobId, Refusal};
use store::{JobRow, JobStatus, JobUpdate, Library, SubmissionState};

use crate::failure::{Failure, Kind, Outcome};
use crate::overview::Closed;
use crate::submit;
use crate::{Client, import, is_unknown_job, overview, videos};

/// The outcome of [`retry`].
#[derive(Debug)]
pub enum Retried {
    /// The job is in the queue.
    Queued(Box<Manifest>),
    /// The bucket does not have the job: the caller must submit it, with [`submit::prepare_again`].
    NeedsUpload,
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
        Ok((_, manifest)) if manifest.status == Status::Imported => {
            Err(refused(id, Refusal::NotCancellable { status: manifest.status }))
        }
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
        // Another program removed it, so that no worker has it.
        Some(row) if row.status.is_open() && overview::is_own(&row) => {
            close_as_cancelled(client, library, &row)?;
            Ok(JobStatus::Cancelled)
        }
        // A job of the app, whose worker reads the row.
        Some(row) if row.status.is_open() => cancel_row(client, library, &row),
        Some(row) => {
            Err(refused(id, Refusal::NotCancellable { status: overview::manifest_status(row.status) }))
        }
        None => Err(jobs::Error::NoJob { id: id.clone() }.into()),
    }
}

/// Cancels a job that only the library has, unless it ends meanwhile.
fn cancel_row(client: &Client, library: &mut Library, row: &JobRow) -> Outcome<JobStatus> {
    if library.update_job_if(&row.id, JobStatus::OPEN, &cancelled(client))? {
        return Ok(JobStatus::Cancelled);
    }
    let id = JobId::new(&*row.id).map_err(jobs::Error::from)?;
    let ended = library.job(&row.id)?.map_or(JobStatus::Cancelled, |row| row.status);
    Err(refused(&id, Refusal::NotCancellable { status: overview::manifest_status(ended) }))
}

fn close_as_cancelled(client: &Client, library: &mut Library, row: &JobRow) -> Outcome<()> {
    overview::closing(row).record(library, row)?;
    Ok(library.update_job(&row.id, &cancelled(client))?)
}

/// The change to the row of a job that is cancelled now.
fn cancelled(client: &Client) -> JobUpdate {
    JobUpdate {
        status: Some(JobStatus::Cancelled),
        completed_at: Some(client.env.utc()),
        ..JobUpdate::default()
    }
}

/// Puts a failed or cancelled job back in the queue. A job that waits or is being processed is left as it is. A job that
/// another program removed from its bucket is submitted again.
///
/// # Errors
/// With [`jobs::Error::NoJob`] as its cause for an unknown job, and [`jobs::Error::Refused`] for a completed one.
pub async fn retry(client: &Client, library: &mut Library, id: &JobId) -> Outcome<Retried> {
    let row = library.job(id.as_str())?;
    match client.find_job_from(id, client.likely_target(row.as_ref())).await {
        Ok((_, manifest)) if manifest.status == Status::Imported => {
            return Err(not_retryable(id, manifest.status, row.and_then(|row| row.video_id)));
        }
        Ok((admin, manifest)) => {
            if manifest.status == Status::Completed {
                return retry_results(client, library, &admin, &manifest, row.as_ref()).await;
            }
            if lacks_video(&admin, &manifest, row.as_ref()).await? {
                library.update_job(id.as_str(), &submit::reopened())?;
                return Ok(Retried::NeedsUpload);
            }
            let manifest = admin.retry(id).await?;
            record(library, &manifest)?;
            return Ok(Retried::Queued(Box::new(manifest)));
        }
        Err(failure) if is_unknown_job(&failure) => {}
        Err(failure) => return Err(failure),
    }
    let Some(row) = row else { return Err(jobs::Error::NoJob { id: id.clone() }.into()) };
    let can_retry = matches!(row.status, JobStatus::Failed | JobStatus::Cancelled)
        || submit::unfinished_submission(&row).is_some()
        || is_gone(&row);
    if row.imported {
        return Err(not_retryable(id, Status::Imported, row.video_id));
    }
    if !can_retry || submit::submission_of(&row).is_none() {
        return Err(refused(id, Refusal::NotRetryable { status: overview::manifest_status(row.status) }));
    }
    library.update_job(id.as_str(), &submit::reopened())?;
    Ok(Retried::NeedsUpload)
}

/// The failure for a job that was imported. Its video can be tracked again.
fn not_retryable(id: &JobId, status: Status, video_id: Option<i64>) -> Failure {
    let again = |video| format!("run `courtside submit --video-id {video} --again` to track its video again");
    refused(id, Refusal::NotRetryable { status }).hint_if(video_id.map(again))
}

/// Puts a completed job whose results cannot be imported back in the queue.
async fn retry_results(
    client: &Client,
    library: &mut Library,
    admin: &Admin,
    manifest: &Manifest,
    row: Option<&JobRow>,
) -> Outcome<Retried> {
    let id = &manifest.job_id;
    let Some(why) = import::refusal(client, library, admin, manifest, row).await? else {
        return Err(refused(id, Refusal::NotRetryable { status: manifest.status })
            .hint(format!("its results are as they should be: run `courtside import --job-id {id}`")));
    };
    let queued = admin.retry_results(id, &why).await?;
    record(library, &queued)?;
    if lacks_video(admin, manifest, row).await? {
        library.update_job(id.as_str(), &submit::reopened())?;
        return Ok(Retried::NeedsUpload);
    }
    Ok(Retried::Queued(Box::new(queued)))
}

/// Whether a job that ended must get its video again, which this library submitted: the bucket no longer has it.
async fn lacks_video(admin: &Admin, manifest: &Manifest, row: Option<&JobRow>) -> Outcome<bool> {
    let is_ours = row.is_some_and(|row| submit::submission_of(row).is_some());
    if !is_ours
        || !manifest.is_video_from_submitter()
        || !matches!(manifest.status, Status::Failed | Status::Cancelled | Status::Completed)
    {
        return Ok(false);
    }
    Ok(admin.bucket().head(&manifest.video_key()).await?.is_none())
}

/// Whether a job that no bucket has was in one, and is not imported.
fn is_gone(row: &JobRow) -> bool {
    overview::may_be_missing(row) || (Closed::of(row).is_some() && !row.imported)
}

/// Replaces the failure for an unknown job by what the library knows of a job that no bucket has.
pub fn explain_missing(failure: Failure, row: Option<&JobRow>) -> Failure {
    let Some(row) = row.filter(|_| is_unknown_job(&failure)) else { return failure };
    let id = &row.id;
    let again = row
        .video_id
        .map(|video| format!("run `courtside submit --video-id {video} --again` to track its video again"));
    if row.imported {
        let hint = again
            .map(|again| format!("{again}, or `courtside rm {id} --detections` to remove its detections"));
        let message = format!("job {id} is no longer in the bucket; its detections are in the library");
        return Failure::msg(Kind::Failed, message).hint_if(hint);
    }
    if Closed::of(row) == Some(Closed::RemovedByUser) {
        return Failure::msg(Kind::Failed, format!("job {id} was removed")).hint_if(again);
    }
    if !is_gone(row) {
        return failure;
    }
    let closed = Closed::of(row).unwrap_or_else(|| overview::closing(row));
    let hint = format!("run `courtside retry {id}` to submit it again, or `courtside rm {id}` to forget it");
    Failure::msg(Kind::Failed, format!("job {id}: {closed}")).hint(hint)
}

/// Removes a job from its bucket, or abandons its unfinished submission. Imported detections stay in the library. A job
/// whose manifest is gone is removed from the library.
///
/// # Errors
/// With [`jobs::Error::NoJob`] as its cause for an unknown job. Unless `force`: for a job that has not ended, is
/// not imported, was submitted from another library, or has an unreadable manifest.
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
            let admin = client.admin(likely)?;
            admin.remove(id).await?;
            let Some(row) = row else { return Ok(()) };
            // The manifest does not say which video is the job's.
            if let Some(key) = &row.r2_video_key
                && JobId::from_video_key(key).is_some_and(|owner| owner == *id)
                && !admin.is_video_needed(key, id).await?
            {
                admin.bucket().delete(key).await?;
            }
            return Closed::RemovedByUser.record(library, &row);
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
    if import::is_of_other_library(client, library, &manifest)? && !force {
        return Err(needs_force(id, "was submitted from another library"));
    }
    if admin.remove(id).await? {
        videos::forget_bucket_copy(library, manifest.video_id, &manifest)?;
    }
    let status = if manifest.status.is_finished() { manifest.status } else { Status::Cancelled };
    record(library, &Manifest { status, ..manifest })?;
    match library.job(id.as_str())? {
        Some(row) => Closed::RemovedByUser.record(library, &row),
        None => Ok(()),
    }
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
        // It was cancelled before it was in the bucket.
        Some(row)
            if row.status == JobStatus::Cancelled && row.submission == Some(SubmissionState::Uploading) =>
        {
            library.remove_job(id.as_str(), true)?;
            Ok(())
        }
        // Another program removed the manifest. Other objects of the job may be left.
        Some(row) if is_gone(&row) && Closed::of(&row) != Some(Closed::RemovedByUser) => {
            client.admin(client.likely_target(Some(&row)))?.remove_leftovers(id).await?;
            library.remove_job(id.as_str(), true)?;
            Ok(())
        }
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
