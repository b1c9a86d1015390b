//! Bodies about jobs.

use client::logs::Logs;
use client::overview::{OtherLibrary, State};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

/// The job that a submission created.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DetectBody {
    /// Id of the job, a UUID for jobs of Courtside.
    pub(crate) job_id: String,
    /// Id of the video in the library.
    pub(crate) video_id: i64,
    /// What happens next, for people.
    pub(crate) message: String,
}

/// The status of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum JobState {
    /// The video is being uploaded, or the job waits for a worker.
    Pending,
    /// A worker has claimed it, or its results are being imported.
    Processing,
    /// The results are in the library or, without automatic import, in the bucket.
    Completed,
    /// All attempts failed, or the results cannot be imported.
    Failed,
    /// The user cancelled it.
    Cancelled,
}

impl JobState {
    /// Every status with its serialized name.
    pub(crate) const WORDS: [(&str, Self); 5] = [
        ("pending", Self::Pending),
        ("processing", Self::Processing),
        ("completed", Self::Completed),
        ("failed", Self::Failed),
        ("cancelled", Self::Cancelled),
    ];

    /// Whether the job stays like this unless the user retries it.
    pub(crate) fn is_finished(self) -> bool {
        !matches!(self, Self::Pending | Self::Processing)
    }
}

/// A job and its progress.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct JobBody {
    /// Id of the job, a UUID for jobs of Courtside.
    pub(crate) id: String,
    /// Always `video_detection` for jobs of Courtside.
    pub(crate) job_type: String,
    /// The status of the job.
    pub(crate) status: JobState,
    /// Progress in frames, and as text.
    pub(crate) progress: ProgressBody,
    /// Summary of the results, once they are in the library.
    #[schema(required, value_type = Option<Object>)]
    pub(crate) result: Option<Value>,
    /// Why it failed, or why its last attempt did.
    #[schema(required)]
    pub(crate) error: Option<String>,
    /// When it was submitted, RFC 3339.
    #[schema(required)]
    pub(crate) created_at: Option<String>,
    /// When the current or last attempt started, RFC 3339.
    #[schema(required)]
    pub(crate) started_at: Option<String>,
    /// When it ended, RFC 3339.
    #[schema(required)]
    pub(crate) completed_at: Option<String>,
    /// Details of the job.
    pub(crate) metadata: MetadataBody,
}

/// Progress of a job, in frames.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct ProgressBody {
    /// Frames tracked so far.
    pub(crate) current: i64,
    /// Frames to track; 0 if unknown.
    pub(crate) total: i64,
    /// Progress in percent, 0 to 100.
    pub(crate) percentage: f64,
    /// What the job is doing, for people.
    pub(crate) message: String,
}

/// Details of a job.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct MetadataBody {
    /// Id of the video in the library; null if the library does not have it.
    #[schema(required)]
    pub(crate) video_id: Option<i64>,
    /// File name of the video, if the manifest has it.
    #[schema(required)]
    pub(crate) video: Option<String>,
    /// SHA-256 of the video, if the manifest has it.
    #[schema(required)]
    pub(crate) video_sha256: Option<String>,
    /// The library that submitted the job, if it is another one that shares the bucket.
    #[schema(required)]
    pub(crate) other_library: Option<OtherLibraryBody>,
    /// Where the job runs: `local` or `cloud`.
    #[schema(required)]
    pub(crate) target: Option<String>,
    /// Number of attempts so far.
    #[schema(required)]
    pub(crate) attempt: Option<u32>,
    /// The worker that has claimed it, or did last.
    #[schema(required)]
    pub(crate) worker_id: Option<String>,
    /// What the job is doing, for programs: `uploading`, `waiting`, `downloading`, `starting`, `tracking`,
    /// `publishing`, `stalled`, `ready_to_import`, `importing`, `imported`, `completed`, `failed`,
    /// `cancelled`.
    #[schema(value_type = String)]
    pub(crate) state: JobActivity,
    /// Frames tracked per second, while a worker tracks.
    #[schema(required)]
    pub(crate) fps: Option<f64>,
    /// The parameters of the submission.
    #[schema(required, value_type = Option<Object>)]
    pub(crate) parameters: Option<Value>,
    /// Progress of the upload, while this server uploads the video.
    #[schema(required)]
    pub(crate) upload: Option<UploadBody>,
    /// Why this information may be out of date.
    #[schema(required)]
    pub(crate) warning: Option<String>,
}

/// A library that shares the bucket.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct OtherLibraryBody {
    /// Its random id; null for one of an older program.
    #[schema(required)]
    pub(crate) id: Option<String>,
    /// Name of its machine.
    #[schema(required)]
    pub(crate) host: Option<String>,
    /// Id of the video there.
    pub(crate) video_id: i64,
}

impl From<OtherLibrary> for OtherLibraryBody {
    fn from(library: OtherLibrary) -> Self {
        let OtherLibrary { id, host, video_id } = library;
        Self { id, host, video_id }
    }
}

/// What a job is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum JobActivity {
    /// Its video is being uploaded to the bucket.
    Uploading,
    /// It waits for a worker.
    Waiting,
    /// A worker downloads the video, or reports a stage that this version does not know.
    Downloading,
    /// A worker prepares to track.
    Starting,
    /// A worker tracks the players.
    Tracking,
    /// A worker uploads the results.
    Publishing,
    /// Its worker stopped sending heartbeats.
    Stalled,
    /// The results are in the bucket.
    ReadyToImport,
    /// This server imports the results, or will soon.
    Importing,
    /// The results are in the library.
    Imported,
    /// Another program completed it.
    Completed,
    /// All attempts failed, or its upload did.
    Failed,
    /// The user cancelled it.
    Cancelled,
}

impl From<&State> for JobActivity {
    fn from(state: &State) -> Self {
        match state {
            State::Uploading => Self::Uploading,
            State::Waiting { .. } => Self::Waiting,
            State::Downloading { .. } => Self::Downloading,
            State::Starting => Self::Starting,
            State::Tracking { .. } => Self::Tracking,
            State::Publishing => Self::Publishing,
            State::Stalled { .. } => Self::Stalled,
            State::ReadyToImport { .. } => Self::ReadyToImport,
            State::Imported { .. } => Self::Imported,
            State::ImportedElsewhere => Self::Completed,
            State::ResultsCorrupt { .. } => Self::ReadyToImport,
            State::CancelOverridden { .. } => Self::Cancelled,
            State::RemovedFromBucket | State::Failed => Self::Failed,
            State::Cancelled => Self::Cancelled,
        }
    }
}

/// Progress of an upload.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub(crate) struct UploadBody {
    /// Bytes uploaded so far.
    pub(crate) sent_bytes: u64,
    /// Bytes to upload; 0 before the upload starts.
    pub(crate) total_bytes: u64,
}

/// A server-sent event, with the fields of `EventSource`.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes the events in the OpenAPI document; they are not serialized from it")]
pub(crate) struct EventBody {
    /// `message`, or `error` if the job can no longer be read; the data is then `{"detail": …}`.
    event: Option<String>,
    /// The job as JSON, as `GET /api/jobs/{job_id}` returns it.
    data: String,
    /// `end` for the last event.
    id: Option<String>,
}

/// A list of jobs, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct JobsBody {
    /// The matching jobs, at most `limit`.
    pub(crate) jobs: Vec<JobBody>,
    /// Number of matching jobs, regardless of `limit`.
    pub(crate) total: usize,
    /// Manifests that cannot be parsed, each with the reason.
    pub(crate) unreadable: Vec<String>,
    /// Why this information may be out of date.
    #[schema(required)]
    pub(crate) warning: Option<String>,
}

/// What happened to a job, and what its workers logged.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LogsBody {
    /// The job's id.
    job_id: String,
    /// What happened to it, oldest first, each with its time.
    events: Vec<String>,
    /// What the worker of each attempt logged.
    attempts: Vec<AttemptLogBody>,
}

/// What the worker of one attempt logged.
#[derive(Debug, Serialize, ToSchema)]
struct AttemptLogBody {
    /// Key of the log in the bucket.
    key: String,
    /// Its lines.
    lines: Vec<String>,
}

impl From<Logs> for LogsBody {
    fn from(logs: Logs) -> Self {
        let attempts = logs.attempts.into_iter();
        Self {
            job_id: logs.job_id,
            events: logs.events,
            attempts: attempts.map(|log| AttemptLogBody { key: log.key, lines: log.lines }).collect(),
        }
    }
}
