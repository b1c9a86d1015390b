//! `status/{job_id}.json`: progress for people and pollers. Advice only: it may be missing, late, or of an
//! attempt that is over.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::bucket::{Bucket, Condition};
use crate::error::Result;
use crate::keys::JobId;
use crate::manifest::Timestamp;

const MAX_BYTES: u64 = 64 << 10;

/// A status object. Fields that are not ours are ignored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StatusObject {
    /// The job.
    pub job_id: JobId,
    /// Frames done.
    pub current: i64,
    /// Of so many; -1 when unknown.
    pub total: i64,
    /// A sentence.
    #[serde(default)]
    pub message: String,
    /// When, by the worker's clock.
    pub updated_at: Timestamp,
    /// The attempt that wrote it; `None` from a worker that does not count.
    #[serde(default)]
    pub attempt: Option<u32>,
    /// Frames per second.
    #[serde(default)]
    pub fps: Option<f64>,
}

/// Writes a status object.
pub async fn write(bucket: &dyn Bucket, status: &StatusObject) -> Result<()> {
    let body = serde_json::to_vec(status).unwrap_or_default();
    bucket.put(&status.job_id.status(), Bytes::from(body), Condition::Always).await.map(|_| ())
}

/// Reads a status object; `None` if there is none, or none that can be understood.
pub async fn read(bucket: &dyn Bucket, id: &JobId) -> Result<Option<StatusObject>> {
    let object = bucket.get(&id.status(), MAX_BYTES).await?;
    Ok(object.and_then(|object| serde_json::from_slice(&object.bytes).ok()))
}
