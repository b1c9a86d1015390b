//! How the library's job table records a submission before its manifest exists.

use jobs::JobId;
use jobs::manifest::{DEFAULT_MAX_ATTEMPTS, Parameters, Target};
use store::{JobFilter, JobRow, JobStatus, JobUpdate, Library, SubmissionState};

use crate::failure::{Failure, Kind, Outcome};
use crate::{LIST_JOBS, target};

/// Progress message of a job whose video is not completely uploaded. Stored in the library.
pub const UPLOADING: &str = "uploading";
/// Progress message of a job whose video could not be uploaded. Stored in the library.
pub const UPLOAD_FAILED: &str = "the upload failed";
/// Progress message of a job that is in the queue. Stored in the library.
pub const WAITING: &str = "waiting for a worker";

/// Key of the number of attempts in the `parameters` column.
const MAX_ATTEMPTS: &str = "max_attempts";

/// A request to track a video.
#[derive(Debug, Clone)]
pub struct Submission {
    /// Id of the video in the library.
    pub video_id: i64,
    /// Where the job is to run. `None`: [`Client::default_target`](crate::Client::default_target).
    pub target: Option<Target>,
    /// What to track, and how.
    pub parameters: Parameters,
    /// How many attempts may fail before the job does.
    pub max_attempts: u32,
}

/// Restores the submission of a job whose video is still to be uploaded; `None` for any other job.
pub fn unfinished_submission(row: &JobRow) -> Option<Submission> {
    row.is_uploading().then(|| submission_of(row)).flatten()
}

/// Restores the submission that created a row; `None` if another program wrote the row.
pub fn submission_of(row: &JobRow) -> Option<Submission> {
    let target = target::from_store(row.target?);
    let mut parameters: Parameters = serde_json::from_value(row.parameters.clone()?).ok()?;
    let max_attempts = parameters.rest.remove(MAX_ATTEMPTS).and_then(|n| u32::try_from(n.as_u64()?).ok());
    let max_attempts = max_attempts.unwrap_or(DEFAULT_MAX_ATTEMPTS);
    Some(Submission { video_id: row.video_id?, target: Some(target), parameters, max_attempts })
}

/// The `parameters` column of a submission: those of the manifest, and the number of attempts if it is not the default.
pub(super) fn row_parameters(submission: &Submission) -> serde_json::Value {
    let mut parameters = submission.parameters.clone();
    if submission.max_attempts != DEFAULT_MAX_ATTEMPTS {
        parameters.rest.insert(MAX_ATTEMPTS.to_owned(), submission.max_attempts.into());
    }
    serde_json::to_value(parameters).unwrap_or_default()
}

/// Whether a job of the library does the work of a submission, wherever it runs and however often it may fail.
pub(super) fn same_work(row: &JobRow, submission: &Submission) -> bool {
    submission_of(row).is_some_and(|other| {
        other.video_id == submission.video_id && other.parameters == submission.parameters
    })
}

/// The update that makes a job one whose video is to be uploaded.
pub(crate) fn reopened() -> JobUpdate {
    JobUpdate {
        status: Some(JobStatus::Pending),
        progress_message: Some(UPLOADING.to_owned()),
        submission: Some(SubmissionState::Uploading),
        ..JobUpdate::default()
    }
}

/// The row of a job.
///
/// # Errors
/// With [`jobs::Error::NoJob`] as its cause if the library does not have it.
pub(super) fn find(library: &Library, id: &JobId) -> Outcome<JobRow> {
    let row = library.job(id.as_str())?;
    row.ok_or_else(|| Failure::from(jobs::Error::NoJob { id: id.clone() }).hint(LIST_JOBS))
}

/// The failure for a job without an unfinished upload.
pub(super) fn not_resumable(row: &JobRow) -> Failure {
    let id = &row.id;
    let failure = Failure::msg(Kind::Failed, format!("job {id} has no unfinished upload"));
    let hint = match row.status {
        JobStatus::Failed | JobStatus::Cancelled => format!("run `courtside retry {id}`"),
        _ => format!("run `courtside status {id}` to see what it does"),
    };
    failure.hint(hint)
}

/// Finds a submission whose upload is unfinished or failed, with the same video, target and parameters.
pub(super) fn find_unfinished(
    library: &Library,
    video_id: i64,
    target: Target,
    parameters: &serde_json::Value,
) -> Outcome<Option<JobRow>> {
    let filter = JobFilter {
        video_id: Some(video_id),
        statuses: &[JobStatus::Pending, JobStatus::Failed],
        ..JobFilter::default()
    };
    let is_same = |job: &JobRow| {
        (job.is_uploading() || job.has_failed_upload())
            && job.target == Some(target::to_store(target))
            && job.parameters.as_ref() == Some(parameters)
    };
    Ok(library.jobs(&filter)?.into_iter().find(is_same))
}
