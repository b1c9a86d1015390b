//! What callers pass to an import, and what it reports.

use serde_json::Value;
use time::OffsetDateTime;

use crate::enums::StoredTarget;
use crate::stored::StoredTotals;

/// A job whose results to import. The first three fields identify the results. The others describe a job
/// that is not in the library yet, such as one submitted from another machine, and fill columns that are
/// still null in a job that is.
#[derive(Debug, Clone, PartialEq)]
pub struct ImportJob {
    /// Id of the job.
    pub job_id: String,
    /// Id of its video, which must be in the library.
    pub video_id: i64,
    /// SHA-256 of the results file, which distinguishes different results of the same job.
    pub sha256: String,
    /// Parameters of the job: a JSON object.
    pub parameters: Value,
    /// When the job was submitted. `None` stores the time of the import.
    pub created_at: Option<OffsetDateTime>,
    /// When a worker started it.
    pub started_at: Option<OffsetDateTime>,
    /// The worker that completed it.
    pub worker_id: Option<String>,
    /// Where it ran, if that is known.
    pub target: Option<StoredTarget>,
    /// Key of the video in the bucket, if that is known.
    pub r2_video_key: Option<String>,
}

impl ImportJob {
    /// A job of which nothing else is known.
    pub fn new(job_id: impl Into<String>, video_id: i64, sha256: impl Into<String>) -> Self {
        Self {
            job_id: job_id.into(),
            video_id,
            sha256: sha256.into(),
            parameters: Value::Object(serde_json::Map::new()),
            created_at: None,
            started_at: None,
            worker_id: None,
            target: None,
            r2_video_key: None,
        }
    }
}

/// The other contents of the results file, known after its detections were read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ResultsSummary {
    /// Number of processed frames, if the results have it.
    pub frames_processed: Option<i64>,
    /// When the job ended. `None` stores the time of the import.
    pub completed_at: Option<OffsetDateTime>,
}

/// What an import changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImportOutcome {
    /// This was the first import of the job.
    Imported,
    /// The library had other results of the job, or not all rows of these; they were replaced.
    Replaced {
        /// Number of rows that were deleted.
        n_removed: i64,
    },
    /// The library had the same results already, and nothing was read.
    AlreadyImported,
}

/// The report on an import.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportReport {
    /// Id of the job.
    pub job_id: String,
    /// Id of its video.
    pub video_id: i64,
    /// What the import changed.
    pub outcome: ImportOutcome,
    /// Number of detections of the job that are now in the library.
    pub n_detections: i64,
    /// Number of processed frames, if the results had it.
    pub frames_processed: Option<i64>,
}

/// A row of the imports table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportRow {
    /// Primary key.
    pub id: i64,
    /// Id of the job.
    pub job_id: String,
    /// Id of its video.
    pub video_id: i64,
    /// SHA-256 of the results file.
    pub sha256: String,
    /// Number of detections that it inserted.
    pub n_detections: i64,
    /// Number of processed frames, if the results had it.
    pub frames_processed: Option<i64>,
    /// When the import ran.
    pub imported_at: Option<OffsetDateTime>,
    /// The write that inserted its rows; `None` if they are not known any more.
    pub(crate) write_id: Option<i64>,
    /// Its totals, if they are stored.
    pub(crate) stored: Option<StoredTotals>,
}

/// An import of which the app has deleted rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IncompleteImport {
    /// The import.
    pub import: ImportRow,
    /// How many of its detections are left.
    pub n_left: i64,
}
