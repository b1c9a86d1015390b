//! Jobs.

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

/// A job that was taken on.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct DetectBody {
    /// The job.
    pub(in crate::http) job_id: String,
    /// The video.
    pub(in crate::http) video_id: i64,
    /// What happens next.
    pub(in crate::http) message: String,
}

/// How far a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::http) enum JobState {
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
    pub(in crate::http) const WORDS: [(&str, Self); 5] = [
        ("pending", Self::Pending),
        ("processing", Self::Processing),
        ("completed", Self::Completed),
        ("failed", Self::Failed),
        ("cancelled", Self::Cancelled),
    ];

    /// Whether it ends unless somebody retries it.
    pub(in crate::http) fn is_over(self) -> bool {
        !matches!(self, Self::Pending | Self::Processing)
    }
}

/// A job.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(in crate::http) struct JobBody {
    /// Its id.
    pub(in crate::http) id: String,
    /// `video_detection`.
    pub(in crate::http) job_type: String,
    /// How far it is.
    pub(in crate::http) status: JobState,
    /// The same in numbers and words.
    pub(in crate::http) progress: ProgressBody,
    /// What came of it, once its results are in the library.
    #[schema(required, value_type = Option<Object>)]
    pub(in crate::http) result: Option<Value>,
    /// Why it failed, or why its last attempt did.
    #[schema(required)]
    pub(in crate::http) error: Option<String>,
    /// When it was submitted, RFC 3339.
    #[schema(required)]
    pub(in crate::http) created_at: Option<String>,
    /// When the present or last attempt began.
    #[schema(required)]
    pub(in crate::http) started_at: Option<String>,
    /// When it ended.
    #[schema(required)]
    pub(in crate::http) completed_at: Option<String>,
    /// More about it.
    pub(in crate::http) metadata: MetadataBody,
}

/// Progress of a job, in frames.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
pub(in crate::http) struct ProgressBody {
    /// Frames done.
    pub(in crate::http) current: i64,
    /// Of so many; 0 when unknown.
    pub(in crate::http) total: i64,
    /// 0 to 100.
    pub(in crate::http) percentage: f64,
    /// What it is doing.
    pub(in crate::http) message: String,
}

/// More about a job.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
pub(in crate::http) struct MetadataBody {
    /// The video.
    #[schema(required)]
    pub(in crate::http) video_id: Option<i64>,
    /// Where it runs: `local` or `cloud`.
    #[schema(required)]
    pub(in crate::http) target: Option<String>,
    /// Attempts so far.
    #[schema(required)]
    pub(in crate::http) attempt: Option<u32>,
    /// Who has or had it.
    #[schema(required)]
    pub(in crate::http) worker_id: Option<String>,
    /// What it is doing, in one word: `uploading`, `waiting`, `downloading`, `tracking`, `publishing`, `stalled`,
    /// `ready_to_import`, `importing`, `imported`, `failed`, `cancelled`.
    pub(in crate::http) state: String,
    /// Frames per second, while it is tracked.
    #[schema(required)]
    pub(in crate::http) fps: Option<f64>,
    /// What was asked for.
    #[schema(required, value_type = Option<Object>)]
    pub(in crate::http) parameters: Option<Value>,
    /// The upload, while this server does it.
    #[schema(required)]
    pub(in crate::http) upload: Option<UploadBody>,
    /// Why this may be out of date.
    #[schema(required)]
    pub(in crate::http) warning: Option<String>,
}

/// An upload under way.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub(in crate::http) struct UploadBody {
    /// Bytes in the bucket.
    pub(in crate::http) sent_bytes: u64,
    /// Of so many; 0 before it has begun.
    pub(in crate::http) total_bytes: u64,
}

/// An event, as `EventSource` has it.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "only described: events are written as they come")]
pub(in crate::http) struct EventBody {
    /// `message`; `error` when the job cannot be looked at any more, and then the data are `{"detail": …}`.
    event: Option<String>,
    /// The job, as `GET /api/jobs/{job_id}` has it: JSON.
    data: String,
    /// `end` on the last event.
    id: Option<String>,
}

/// Jobs, the newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct JobsBody {
    /// At most `limit` of them.
    pub(in crate::http) jobs: Vec<JobBody>,
    /// Jobs that match.
    pub(in crate::http) total: usize,
    /// Registers that cannot be understood.
    pub(in crate::http) unreadable: Vec<String>,
    /// Why this may be out of date.
    #[schema(required)]
    pub(in crate::http) warning: Option<String>,
}
