//! What a person does with a job that was submitted: cancel it, put it back in the queue. The library is told.

use jobs::manifest::{Manifest, Status, Target};
use jobs::{JobId, Refusal};
use store::{JobRow, JobStatus, JobUpdate, Library};

use super::submit::{self, Submission, UPLOADING};
use super::{Client, import, overview};
use crate::failure::{Failure, Kind, Outcome};

/// What a retry comes to.
#[derive(Debug)]
pub enum Retried {
    /// The job is in the queue.
    Waits(Box<Manifest>),
    /// It never came into the bucket: its video has to be uploaded.
    Upload(Box<Submission>),
}

/// Cancels a job, be its video still on the way or a worker at it. A job that is cancelled already stays so.
///
/// # Errors
/// [`jobs::Error::NoJob`]; [`jobs::Error::Refused`] for a job that is over, or that another program uploads.
pub async fn cancel(client: &Client, library: &mut Library, id: &JobId) -> Outcome<JobStatus> {
    let row = library.job(id.as_str())?;
    let refused = |refusal| Err(jobs::Error::Refused { id: id.clone(), refusal }.into());
    match client.find_from(id, likely_place(client, row.as_ref())).await {
        Ok((admin, _)) => {
            let manifest = admin.cancel(id).await?;
            note(library, &manifest)?;
            return Ok(overview::job_status(manifest.status));
        }
        Err(failure) if is_unknown(&failure) => {}
        Err(failure) => return Err(failure),
    }
    match row {
        Some(row) if submit::unfinished_submission(&row).is_some() => {
            submit::abandon(client, library, &row).await?;
            Ok(JobStatus::Cancelled)
        }
        Some(row) if row.status == JobStatus::Cancelled => Ok(JobStatus::Cancelled),
        Some(row) if row.status.is_open() => refused(Refusal::NotInBucket),
        Some(row) => refused(Refusal::NotCancellable { status: overview::manifest_status(row.status) }),
        None => Err(jobs::Error::NoJob { id: id.clone() }.into()),
    }
}

/// Puts a failed or cancelled job back in the queue. One that waits or is processed stays as it is.
///
/// # Errors
/// [`jobs::Error::NoJob`]; [`jobs::Error::Refused`] for a job that was completed.
pub async fn retry(client: &Client, library: &mut Library, id: &JobId) -> Outcome<Retried> {
    let row = library.job(id.as_str())?;
    match client.find_from(id, likely_place(client, row.as_ref())).await {
        Ok((admin, _)) => {
            let manifest = admin.retry(id).await?;
            note(library, &manifest)?;
            return Ok(Retried::Waits(Box::new(manifest)));
        }
        Err(failure) if is_unknown(&failure) => {}
        Err(failure) => return Err(failure),
    }
    let Some(row) = row else { return Err(jobs::Error::NoJob { id: id.clone() }.into()) };
    let again = matches!(row.status, JobStatus::Failed | JobStatus::Cancelled)
        || submit::unfinished_submission(&row).is_some();
    match submit::submission_of(&row).filter(|_| again) {
        Some(submission) => {
            let reopened = JobUpdate {
                status: Some(JobStatus::Pending),
                progress_message: Some(UPLOADING.to_owned()),
                ..JobUpdate::default()
            };
            library.update_job(id.as_str(), &reopened)?;
            Ok(Retried::Upload(Box::new(submission)))
        }
        None => {
            let refusal = Refusal::NotRetryable { status: overview::manifest_status(row.status) };
            Err(jobs::Error::Refused { id: id.clone(), refusal }.into())
        }
    }
}

/// Removes a job from its bucket, or gives its unfinished submission up. The library keeps what was imported.
///
/// # Errors
/// [`jobs::Error::NoJob`]; without `force`, for a job that is not finished, or whose results are in no library.
pub async fn remove(client: &Client, library: &mut Library, id: &JobId, force: bool) -> Outcome<()> {
    let row = library.job(id.as_str())?;
    let refused = |what: &str| {
        let hint = format!("`courtside rm --force {id}` removes it all the same");
        Err(Failure::msg(Kind::Failed, format!("job {id} {what}")).hint(hint))
    };
    let (admin, manifest) = match client.find_from(id, likely_place(client, row.as_ref())).await {
        Ok(found) => found,
        Err(failure) if is_unknown(&failure) => {
            return match row {
                Some(row) if submit::unfinished_submission(&row).is_some() => match force {
                    true => submit::abandon(client, library, &row).await,
                    false => refused("is not uploaded yet"),
                },
                Some(row) if submit::has_failed_to_upload(&row) => {
                    submit::abandon(client, library, &row).await
                }
                // The library's alone: the app's, or one that was removed before.
                _ => Err(failure),
            };
        }
        Err(failure) if failure.cause().is_some_and(|e| matches!(e, jobs::Error::Unreadable { .. })) => {
            if !force {
                return refused("has a register that cannot be read");
            }
            client.admin(likely_place(client, row.as_ref()))?.remove(id).await?;
            return Ok(());
        }
        Err(failure) => return Err(failure),
    };
    let waits_for_import = jobs::admin::is_importable(&manifest);
    if waits_for_import && !force {
        return refused("is not imported yet");
    }
    if !manifest.status.is_finished() && !force {
        return refused("is not finished");
    }
    if admin.remove(id).await? {
        import::forget_bucket_video(library, manifest.video_id, &manifest)?;
    }
    let status = if manifest.status.is_finished() { manifest.status } else { Status::Cancelled };
    note(library, &Manifest { status, ..manifest })
}

/// Where a job probably is.
pub fn likely_place(client: &Client, row: Option<&JobRow>) -> Target {
    match row.and_then(|row| row.target) {
        Some(store::Target::Local) => Target::Local,
        Some(store::Target::Cloud) => Target::Cloud,
        None => client.default_target(),
    }
}

/// Whether a failure says that no bucket has the job.
pub fn is_unknown(failure: &Failure) -> bool {
    matches!(failure.cause::<jobs::Error>(), Some(jobs::Error::NoJob { .. }))
}

/// Notes a job's new status in the library, where the job is known.
fn note(library: &mut Library, manifest: &Manifest) -> Outcome<()> {
    overview::note(library, |id| (*id == manifest.job_id).then_some(manifest))
}
