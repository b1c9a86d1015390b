//! Jobs as they are read, added, updated and listed.

use serde_json::Value;
use time::OffsetDateTime;

use crate::enums::{JobStatus, JobType, StoredTarget, SubmissionState};

/// A row of the jobs table, with the state of its submission.
#[derive(Debug, Clone, PartialEq)]
pub struct JobRow {
    /// Primary key: the id of the job.
    pub id: String,
    /// The kind of work.
    pub job_type: JobType,
    /// Status as of the last update from the manifest.
    pub status: JobStatus,
    /// The video that it processes.
    pub video_id: Option<i64>,
    /// The parameters that the job was submitted with.
    pub parameters: Option<Value>,
    /// Number of processed frames.
    pub progress_current: i64,
    /// Total number of frames; 0 or -1 if unknown.
    pub progress_total: i64,
    /// Progress message for the user.
    pub progress_message: Option<String>,
    /// Result as a JSON object, once completed.
    pub result: Option<Value>,
    /// Error message, if it failed.
    pub error: Option<String>,
    /// When it was submitted.
    pub created_at: Option<OffsetDateTime>,
    /// When a worker started it.
    pub started_at: Option<OffsetDateTime>,
    /// When it completed, failed or was cancelled.
    pub completed_at: Option<OffsetDateTime>,
    /// The worker that claimed it last.
    pub worker_id: Option<String>,
    /// Where it runs; `None` in rows of the app.
    pub target: Option<StoredTarget>,
    /// Key of the video in the bucket, if it is uploaded.
    pub r2_video_key: Option<String>,
    /// Whether its results were imported into the library.
    pub imported: bool,
    /// State of its submission to the bucket; `None` if this library did not submit it.
    pub submission: Option<SubmissionState>,
    /// Values that cannot be read and are left out, such as `created_at is "soon"`. The file keeps them.
    pub unreadable: Vec<String>,
}

impl JobRow {
    /// Whether its video is being uploaded, or the upload was interrupted and can be resumed.
    pub fn is_uploading(&self) -> bool {
        self.status == JobStatus::Pending && self.submission == Some(SubmissionState::Uploading)
    }

    /// Whether it failed because its video could not be uploaded.
    pub fn has_failed_upload(&self) -> bool {
        self.status == JobStatus::Failed && self.submission == Some(SubmissionState::UploadFailed)
    }
}

/// A job to add, with status `Pending`.
#[derive(Debug, Clone, PartialEq)]
pub struct NewJob {
    /// Id of the job, 1 to 36 characters.
    pub id: String,
    /// The kind of work.
    pub job_type: JobType,
    /// The video to process.
    pub video_id: i64,
    /// Parameters: a JSON object.
    pub parameters: Value,
    /// When it was submitted.
    pub created_at: OffsetDateTime,
    /// Total number of frames; 0 if unknown.
    pub progress_total: i64,
    /// Progress message for the user.
    pub progress_message: String,
    /// Where it will run.
    pub target: Option<StoredTarget>,
    /// Key of the video in the bucket, if it is uploaded.
    pub r2_video_key: Option<String>,
    /// State of its submission to the bucket; `None` for a job that this library does not submit.
    pub submission: Option<SubmissionState>,
}

impl NewJob {
    /// A detection job for a video, submitted now, without parameters.
    pub fn new(id: impl Into<String>, video_id: i64) -> Self {
        Self {
            id: id.into(),
            job_type: JobType::VideoDetection,
            video_id,
            parameters: Value::Object(serde_json::Map::new()),
            created_at: OffsetDateTime::now_utc(),
            progress_total: 0,
            progress_message: String::new(),
            target: None,
            r2_video_key: None,
            submission: None,
        }
    }
}

/// Changes to a job. Columns whose field is `None` keep their value, except where a new status clears them:
/// an open status clears the error, the result and the completion time; `Pending` also clears the start
/// time and the worker; `Completed` clears the error of an earlier attempt.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct JobUpdate {
    /// The status to set.
    pub status: Option<JobStatus>,
    /// Number of processed frames.
    pub progress_current: Option<i64>,
    /// Total number of frames.
    pub progress_total: Option<i64>,
    /// Progress message for the user.
    pub progress_message: Option<String>,
    /// Error message for a failed job.
    pub error: Option<String>,
    /// When a worker started it.
    pub started_at: Option<OffsetDateTime>,
    /// When it completed, failed or was cancelled.
    pub completed_at: Option<OffsetDateTime>,
    /// The worker that claimed it.
    pub worker_id: Option<String>,
    /// Key of the video in the bucket, if it is uploaded.
    pub r2_video_key: Option<String>,
    /// Result: a JSON object.
    pub result: Option<Value>,
    /// State of its submission to the bucket.
    pub submission: Option<SubmissionState>,
}

/// A filter on the list of jobs. The default matches all of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct JobFilter<'a> {
    /// Only jobs of this video.
    pub video_id: Option<i64>,
    /// Only jobs with one of these statuses; empty for all.
    pub statuses: &'a [JobStatus],
    /// Only jobs whose results were (`true`) or were not (`false`) imported.
    pub imported: Option<bool>,
    /// Maximum number of jobs.
    pub limit: Option<u32>,
}
