//! The same job again: each costs the time of a worker, so it is made only on request.

use jobs::manifest::Status;
use store::{JobFilter, JobRow, JobStatus, Library};

use super::row::{Submission, same_work};
use crate::failure::{Failure, Kind, Outcome};
use crate::overview::{Closed, is_own};
use crate::{Client, parse_job_id, target};

/// Refuses a submission whose video has the same job already: one that waits or runs, or whose results are available. An
/// unfinished upload is no reason, because a submission resumes it; neither is a job that failed or was cancelled.
///
/// # Errors
/// Of kind [`Kind::Failed`], naming the job.
pub async fn check_not_submitted(client: &Client, library: &Library, submission: &Submission) -> Outcome<()> {
    let filter = JobFilter { video_id: Some(submission.video_id), ..JobFilter::default() };
    let rows = library.jobs(&filter)?;
    for row in rows.iter().filter(|row| is_own(row) && same_work(row, submission)) {
        if let Some(what) = describe(client, row).await {
            let (id, video) = (&row.id, submission.video_id);
            let message = format!("job {id} tracks video {video} with the same parameters already: {what}");
            return Err(Failure::msg(Kind::Failed, message)
                .hint("add --again to track the video once more, or change a parameter"));
        }
    }
    Ok(())
}

/// The job of a bucket that does the work of a submission and has not ended; `None` if there is none.
pub fn open_job_like(client: &Client, library: &Library, submission: &Submission) -> Outcome<Option<JobRow>> {
    let target = submission.target.unwrap_or_else(|| client.default_target());
    let filter =
        JobFilter { video_id: Some(submission.video_id), statuses: JobStatus::OPEN, ..JobFilter::default() };
    let is_like = |row: &JobRow| {
        let is_there = row.target.map(target::from_store) == Some(target) && !row.is_uploading();
        is_there && same_work(row, submission)
    };
    Ok(library.jobs(&filter)?.into_iter().find(is_like))
}

/// What a job is doing that makes another one useless; `None` in any other state.
async fn describe(client: &Client, row: &JobRow) -> Option<&'static str> {
    if row.imported {
        return Some("its results are in the library");
    }
    let may_have_manifest = row.status.is_open() || row.status == JobStatus::Completed;
    if row.is_uploading() || !may_have_manifest || Closed::of(row).is_some() {
        return None;
    }
    let id = parse_job_id(&row.id).ok()?;
    // If the bucket does not respond, neither will the upload.
    let (_, manifest) = client.find_job_from(&id, client.likely_target(Some(row))).await.ok()?;
    match manifest.status {
        Status::Pending => Some("it waits for a worker"),
        Status::Processing => Some("a worker has it"),
        Status::Completed => Some("its results are ready to import"),
        Status::Imported | Status::Failed | Status::Cancelled => None,
    }
}
