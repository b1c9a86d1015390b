//! The status object `status/{job_id}.json`: progress for users and pollers. It is advisory: it may be
//! missing, late, or from an attempt that has ended.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::bucket::{Bucket, Condition};
use crate::error::Result;
use crate::keys::JobId;
use crate::manifest::Timestamp;

const MAX_BYTES: u64 = 64 << 10;

/// A status object. Unknown fields are ignored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StatusObject {
    /// Id of the job that this describes.
    pub job_id: JobId,
    /// Frames tracked so far.
    pub current: i64,
    /// Frames to track in total; -1 when unknown.
    pub total: i64,
    /// What the worker is doing: the heartbeat's stage, or free text from other workers.
    #[serde(default)]
    pub message: String,
    /// When it was written, by the worker's clock.
    pub updated_at: Timestamp,
    /// The attempt that wrote it; `None` from workers that do not number attempts.
    #[serde(default)]
    pub attempt: Option<u32>,
    /// Tracking speed in frames per second.
    #[serde(default)]
    pub fps: Option<f64>,
}

/// Writes a status object, unconditionally.
pub async fn write(bucket: &dyn Bucket, status: &StatusObject) -> Result<()> {
    let body = serde_json::to_vec(status).unwrap_or_default();
    bucket.put(&status.job_id.status_key(), Bytes::from(body), Condition::Always).await.map(|_| ())
}

/// Reads a status object; `None` if it is missing or invalid.
pub async fn read(bucket: &dyn Bucket, id: &JobId) -> Result<Option<StatusObject>> {
    let object = bucket.get(&id.status_key(), MAX_BYTES).await?;
    Ok(object.and_then(|object| serde_json::from_slice(&object.bytes).ok()))
}
