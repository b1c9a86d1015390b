//! The nested objects of a manifest: claim, heartbeat, checkpoint, results, video, events.

use serde::{Deserialize, Serialize};

use super::{Stage, Timestamp};

/// The claim of the worker that owns the job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Claim {
    /// Random id of this claim. A worker owns the job exactly while its own claim's id is in the manifest.
    pub id: String,
    /// Name of the worker.
    pub worker_id: String,
    /// Name of the worker's machine.
    #[serde(default)]
    pub host: Option<String>,
    /// When the job was claimed, by the worker's clock.
    pub claimed_at: Timestamp,
}

/// The owner's latest heartbeat, with its progress.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// Number of heartbeats in this attempt.
    pub seq: u64,
    /// What the owner is doing.
    #[serde(default)]
    pub stage: Stage,
    /// Progress within the stage: frames, or bytes while downloading.
    #[serde(default)]
    pub current: u64,
    /// Value of `current` at the end of the stage; `None` if unknown.
    #[serde(default)]
    pub total: Option<u64>,
    /// Tracking speed of this attempt, in frames per second.
    #[serde(default)]
    pub fps: Option<f64>,
}

/// A reference to an object, with the content it must have.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoredObject {
    /// Key of the object.
    pub key: String,
    /// Expected size of the object.
    pub size_bytes: u64,
    /// Expected SHA-256, in hexadecimal.
    pub sha256: String,
}

/// A state from which a later attempt can resume.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Source frame to track next.
    pub next_frame: u64,
    /// Number of frames tracked so far.
    pub n_frames: u64,
    /// The attempt that wrote the checkpoint.
    pub attempt: u32,
    /// Files of the checkpoint; only the worker interprets them.
    pub files: Vec<StoredObject>,
}

/// A reference to the results, with the content they must have.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ResultPointer {
    /// Key of the results.
    pub key: String,
    /// Entity tag of the results object.
    #[serde(default)]
    pub etag: Option<String>,
    /// Size of the stored file.
    pub size_bytes: u64,
    /// SHA-256 of the stored file, in hexadecimal.
    pub sha256: String,
    /// Number of detections in the file.
    pub detections: u64,
    /// The attempt that produced the results.
    pub attempt: u32,
}

/// The properties of the video, as far as the submitter knows them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct VideoInfo {
    /// Name of the source file, for display.
    #[serde(default)]
    pub name: Option<String>,
    /// Size of the file.
    #[serde(default)]
    pub size_bytes: Option<u64>,
    /// SHA-256 of the file, in hexadecimal.
    #[serde(default)]
    pub sha256: Option<String>,
    /// Number of frames in the video.
    #[serde(default)]
    pub n_frames: Option<u64>,
    /// Frame rate, in frames per second.
    #[serde(default)]
    pub fps: Option<f64>,
    /// Width of a frame in pixels.
    #[serde(default)]
    pub width: Option<u32>,
    /// Height of a frame in pixels.
    #[serde(default)]
    pub height: Option<u32>,
}

/// An entry in a job's history, shown by `courtside logs`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// When it happened, by the writer's clock.
    pub at: Timestamp,
    /// What happened, such as "claimed".
    pub what: String,
    /// The worker that owned the job at the time.
    #[serde(default)]
    pub worker_id: Option<String>,
    /// The attempt in which it happened; 0 before the first.
    #[serde(default)]
    pub attempt: u32,
}
