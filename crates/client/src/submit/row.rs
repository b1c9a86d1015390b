//! How the library's job table records a submission before its manifest exists.

use jobs::manifest::{DEFAULT_MAX_ATTEMPTS, Parameters, Target};
use store::{JobFilter, JobRow, JobStatus, Library};

use crate::failure::Outcome;
use crate::target;

/// Progress message of a job whose video is not completely uploaded. Stored in the library.
pub const UPLOADING: &str = "uploading";
/// Progress message of a job whose video could not be uploaded. Stored in the library.
pub const UPLOAD_FAILED: &str = "the upload failed";
/// Progress message of a job that is in the queue. Stored in the library.
pub const WAITING: &str = "waiting for a worker";

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
    let parameters = serde_json::from_value(row.parameters.clone()?).ok()?;
    let video_id = row.video_id?;
    Some(Submission { video_id, target: Some(target), parameters, max_attempts: DEFAULT_MAX_ATTEMPTS })
}

/// Finds an unfinished submission with the same video, target and parameters.
pub(super) fn find_unfinished(
    library: &Library,
    video_id: i64,
    target: Target,
    parameters: &serde_json::Value,
) -> Outcome<Option<JobRow>> {
    let filter =
        JobFilter { video_id: Some(video_id), statuses: &[JobStatus::Pending], ..JobFilter::default() };
    let is_same = |job: &JobRow| {
        job.is_uploading()
            && job.target == Some(target::to_store(target))
            && job.parameters.as_ref() == Some(parameters)
    };
    Ok(library.jobs(&filter)?.into_iter().find(is_same))
}
