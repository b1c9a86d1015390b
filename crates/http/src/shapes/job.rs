//! Jobs.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

/// A job that was taken on.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DetectBody {
    /// The job.
    pub(crate) job_id: String,
    /// The video.
    pub(crate) video_id: i64,
    /// What happens next.
    pub(crate) message: String,
}

/// How far a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum JobState {
    /// Its video is uploaded, or it waits for a worker.
    Pending,
    /// A worker has it, or its results are being imported.
    Processing,
    /// Its results are in the library; without automatic import, in the bucket.
    Completed,
    /// It was given up, or its results cannot be imported.
    Failed,
    /// Somebody cancelled it.
    Cancelled,
}

impl JobState {
    /// Every state and its word.
    pub(crate) const WORDS: [(&str, Self); 5] = [
        ("pending", Self::Pending),
        ("processing", Self::Processing),
        ("completed", Self::Completed),
        ("failed", Self::Failed),
        ("cancelled", Self::Cancelled),
    ];

    /// Whether it ends unless somebody retries it.
    pub(crate) fn is_over(self) -> bool {
        !matches!(self, Self::Pending | Self::Processing)
    }
}

/// A job.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct JobBody {
    /// Its id.
    pub(crate) id: String,
    /// `video_detection`.
    pub(crate) job_type: String,
    /// How far it is.
    pub(crate) status: JobState,
    /// The same in numbers and words.
    pub(crate) progress: ProgressBody,
    /// What came of it, once its results are in the library.
    #[schema(required, value_type = Option<Object>)]
    pub(crate) result: Option<Value>,
    /// Why it failed, or why its last attempt did.
    #[schema(required)]
    pub(crate) error: Option<String>,
    /// When it was submitted, RFC 3339.
    #[schema(required)]
    pub(crate) created_at: Option<String>,
    /// When the present or last attempt began.
    #[schema(required)]
    pub(crate) started_at: Option<String>,
    /// When it ended.
    #[schema(required)]
    pub(crate) completed_at: Option<String>,
    /// More about it.
    pub(crate) metadata: MetadataBody,
}

/// Progress of a job, in frames.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
pub(crate) struct ProgressBody {
    /// Frames done.
    pub(crate) current: i64,
    /// Of so many; 0 when unknown.
    pub(crate) total: i64,
    /// 0 to 100.
    pub(crate) percentage: f64,
    /// What it is doing.
    pub(crate) message: String,
}

/// More about a job.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
pub(crate) struct MetadataBody {
    /// The video.
    #[schema(required)]
    pub(crate) video_id: Option<i64>,
    /// Where it runs: `local` or `cloud`.
    #[schema(required)]
    pub(crate) target: Option<String>,
    /// Attempts so far.
    #[schema(required)]
    pub(crate) attempt: Option<u32>,
    /// Who has or had it.
    #[schema(required)]
    pub(crate) worker_id: Option<String>,
    /// What it is doing, in one word: `uploading`, `waiting`, `downloading`, `starting`, `tracking`, `publishing`,
    /// `stalled`, `ready_to_import`, `importing`, `imported`, `failed`, `cancelled`.
    pub(crate) state: String,
    /// Frames per second, while it is tracked.
    #[schema(required)]
    pub(crate) fps: Option<f64>,
    /// What was asked for.
    #[schema(required, value_type = Option<Object>)]
    pub(crate) parameters: Option<Value>,
    /// The upload, while this server does it.
    #[schema(required)]
    pub(crate) upload: Option<UploadBody>,
    /// Why this may be out of date.
    #[schema(required)]
    pub(crate) warning: Option<String>,
}

/// An upload under way.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub(crate) struct UploadBody {
    /// Bytes in the bucket.
    pub(crate) sent_bytes: u64,
    /// Of so many; 0 before it has begun.
    pub(crate) total_bytes: u64,
}

/// An event, as `EventSource` has it.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "only described: events are written as they come")]
pub(crate) struct EventBody {
    /// `message`; `error` when the job cannot be looked at any more, and then the data are `{"detail": …}`.
    event: Option<String>,
    /// The job, as `GET /api/jobs/{job_id}` has it: JSON.
    data: String,
    /// `end` on the last event.
    id: Option<String>,
}

/// Jobs, the newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct JobsBody {
    /// At most `limit` of them.
    pub(crate) jobs: Vec<JobBody>,
    /// Jobs that match.
    pub(crate) total: usize,
    /// Registers that cannot be understood.
    pub(crate) unreadable: Vec<String>,
    /// Why this may be out of date.
    #[schema(required)]
    pub(crate) warning: Option<String>,
}
