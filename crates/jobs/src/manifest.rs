//! The register of a job as it lies in the bucket: the contract's fields, ours beside them, and whatever else
//! somebody put there, which is kept.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use time::OffsetDateTime;

use crate::error::{Error, Result};
use crate::keys::{JobId, check_key};

pub use crate::timestamp::Timestamp;

/// The newest layout that this program understands.
pub const SCHEMA: u32 = 1;
/// Attempts that may die or fail, if the register does not say.
pub const DEFAULT_MAX_ATTEMPTS: u32 = 3;
/// What is tracked, if the register does not say.
pub const DEFAULT_PROMPT: &str = "basketball player";
/// Lowest confidence of a detection, if the register does not say.
pub const DEFAULT_CONFIDENCE: f64 = 0.25;
/// A register larger than this is not one.
pub const MAX_REGISTER_BYTES: u64 = 1 << 20;
/// Fields that have a value whether or not a register gives one.
const NEVER_NULL: [&str; 7] = ["schema", "rev", "write_id", "attempt", "failures", "max_attempts", "events"];
/// Events kept in a register; older ones are dropped.
const MAX_EVENTS: usize = 40;

/// State of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Waits for a worker.
    Pending,
    /// A worker has it.
    Processing,
    /// Its results are in the bucket.
    Completed,
    /// Its results are in a library.
    Imported,
    /// It was given up.
    Failed,
    /// Somebody cancelled it.
    Cancelled,
}

impl Status {
    /// The word in the register.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Processing => "processing",
            Self::Completed => "completed",
            Self::Imported => "imported",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether no worker will touch it any more, unless somebody retries it.
    pub fn is_finished(self) -> bool {
        !matches!(self, Self::Pending | Self::Processing)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Where a job is meant to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Target {
    /// On the submitter's machine.
    Local,
    /// On a rented machine.
    Cloud,
}

impl Target {
    /// The word in the register.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Cloud => "cloud",
        }
    }
}

/// What to do with the video.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Parameters {
    /// Every n-th frame is tracked, at least 1.
    #[serde(default = "one", deserialize_with = "sample_interval")]
    pub sample_interval: u64,
    /// Detections below this are left out of the results, 0 to 1.
    #[serde(default = "default_confidence", deserialize_with = "confidence")]
    pub confidence_threshold: f64,
    /// Where the video lies; `videos/{job_id}.mp4` if `None`.
    #[serde(default)]
    pub video_key: Option<String>,
    /// What to track; [`DEFAULT_PROMPT`] if `None`.
    #[serde(default)]
    pub prompt: Option<String>,
    /// Only so much of the beginning of the video, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_seconds: Option<f64>,
    /// Fields of others.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

impl Default for Parameters {
    fn default() -> Self {
        Self {
            sample_interval: 1,
            confidence_threshold: DEFAULT_CONFIDENCE,
            video_key: None,
            prompt: None,
            max_seconds: None,
            rest: Map::new(),
        }
    }
}

fn one() -> u64 {
    1
}

fn default_confidence() -> f64 {
    DEFAULT_CONFIDENCE
}

fn sample_interval<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<u64, D::Error> {
    match Option::<u64>::deserialize(deserializer)? {
        Some(0) => Err(serde::de::Error::custom("sample_interval is 0; it must be at least 1")),
        value => Ok(value.unwrap_or(1)),
    }
}

fn confidence<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<f64, D::Error> {
    match Option::<f64>::deserialize(deserializer)? {
        Some(value) if !(0.0..=1.0).contains(&value) => {
            Err(serde::de::Error::custom(format!("confidence_threshold is {value}; it must be 0 to 1")))
        }
        value => Ok(value.unwrap_or(DEFAULT_CONFIDENCE)),
    }
}

/// Who owns a job, since when.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Claim {
    /// Random; whoever's stands here owns the job.
    pub id: String,
    /// Name of the worker.
    pub worker_id: String,
    /// Its machine.
    #[serde(default)]
    pub host: Option<String>,
    /// When, by the owner's clock.
    pub claimed_at: Timestamp,
}

/// Sign of life and progress.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// Counts an attempt's heartbeats.
    pub seq: u64,
    /// `downloading`, `tracking`, `uploading`.
    #[serde(default)]
    pub stage: String,
    /// Frames done, or bytes while downloading.
    #[serde(default)]
    pub current: u64,
    /// Of so many; `None` when unknown.
    #[serde(default)]
    pub total: Option<u64>,
    /// Frames per second of this attempt.
    #[serde(default)]
    pub fps: Option<f64>,
}

/// An object and what it must be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stored {
    /// Where it lies.
    pub key: String,
    /// Its size.
    pub size_bytes: u64,
    /// SHA-256 in hexadecimal.
    pub sha256: String,
}

/// Where a job can go on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// Next source frame.
    pub next_frame: u64,
    /// Frames tracked so far.
    pub n_frames: u64,
    /// The attempt that made it.
    pub attempt: u32,
    /// Its files; which they are is the worker's affair.
    pub files: Vec<Stored>,
}

/// Where the results are and what they must be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ResultPointer {
    /// Where they lie.
    pub key: String,
    /// Entity tag.
    #[serde(default)]
    pub etag: Option<String>,
    /// Size.
    pub size_bytes: u64,
    /// SHA-256 in hexadecimal.
    pub sha256: String,
    /// Number of detections.
    pub detections: u64,
    /// The attempt that made them.
    pub attempt: u32,
}

/// What the submitter knows of the video.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct VideoFacts {
    /// File name, for people.
    #[serde(default)]
    pub name: Option<String>,
    /// Size.
    #[serde(default)]
    pub size_bytes: Option<u64>,
    /// SHA-256 in hexadecimal.
    #[serde(default)]
    pub sha256: Option<String>,
    /// Number of frames.
    #[serde(default)]
    pub n_frames: Option<u64>,
    /// Frames per second.
    #[serde(default)]
    pub fps: Option<f64>,
    /// Pixels.
    #[serde(default)]
    pub width: Option<u32>,
    /// Pixels.
    #[serde(default)]
    pub height: Option<u32>,
}

/// Something that happened to a job, for `courtside logs`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// When, by the writer's clock.
    pub at: Timestamp,
    /// What.
    pub what: String,
    /// By whom.
    #[serde(default)]
    pub worker_id: Option<String>,
    /// In which attempt.
    #[serde(default)]
    pub attempt: u32,
}

/// The register `jobs/{job_id}.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The job.
    pub job_id: JobId,
    /// The video's number in the submitter's library.
    pub video_id: i64,
    /// Its state.
    pub status: Status,
    /// When it was submitted.
    pub created_at: Timestamp,
    /// What to do.
    pub parameters: Parameters,
    /// When the present or last attempt began.
    #[serde(default)]
    pub started_at: Option<Timestamp>,
    /// When the results were complete.
    #[serde(default)]
    pub completed_at: Option<Timestamp>,
    /// Why it failed, or why the last attempt did.
    #[serde(default)]
    pub error: Option<String>,
    /// Frames tracked.
    #[serde(default)]
    pub frames_processed: Option<u64>,
    /// Who has or had it.
    #[serde(default)]
    pub worker_id: Option<String>,
    /// Last sign of life, by the owner's clock. For people: nobody compares it with a clock.
    #[serde(default)]
    pub last_heartbeat: Option<Timestamp>,

    /// Layout of the fields below.
    #[serde(default = "first_schema")]
    pub schema: u32,
    /// Counts writes.
    #[serde(default)]
    pub rev: u64,
    /// Random, new with every write.
    #[serde(default)]
    pub write_id: String,
    /// Fencing token: counts claims, only grows.
    #[serde(default)]
    pub attempt: u32,
    /// Attempts that died or failed since the job was last put in the queue by a person.
    #[serde(default)]
    pub failures: u32,
    /// How many may.
    #[serde(default = "default_max_attempts")]
    pub max_attempts: u32,
    /// Where it is meant to run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
    /// Who owns it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim: Option<Claim>,
    /// The owner's progress.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heartbeat: Option<Heartbeat>,
    /// Where the next attempt goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<Checkpoint>,
    /// The results.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<ResultPointer>,
    /// The video.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub video: Option<VideoFacts>,
    /// What happened, the latest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<Event>,
    /// Fields of others.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

fn first_schema() -> u32 {
    SCHEMA
}

fn default_max_attempts() -> u32 {
    DEFAULT_MAX_ATTEMPTS
}

impl Manifest {
    /// A new job, waiting.
    pub fn new(job_id: JobId, video_id: i64, parameters: Parameters, now: OffsetDateTime) -> Self {
        Self {
            job_id,
            video_id,
            status: Status::Pending,
            created_at: Timestamp::of(now),
            parameters,
            started_at: None,
            completed_at: None,
            error: None,
            frames_processed: None,
            worker_id: None,
            last_heartbeat: None,
            schema: SCHEMA,
            rev: 0,
            write_id: String::new(),
            attempt: 0,
            failures: 0,
            max_attempts: DEFAULT_MAX_ATTEMPTS,
            target: None,
            claim: None,
            heartbeat: None,
            checkpoint: None,
            result: None,
            video: None,
            events: Vec::new(),
            rest: Map::new(),
        }
    }

    /// Reads the register that lies at `key`.
    ///
    /// # Errors
    /// [`Error::Unreadable`] if it is no register, another job's, or of a newer layout.
    pub fn parse(key: &str, bytes: &[u8]) -> Result<Self> {
        let unreadable = |detail: String| Error::Unreadable { key: key.to_owned(), detail };
        let mut value: Value =
            serde_json::from_slice(bytes).map_err(|e| unreadable(format!("it is not JSON ({e})")))?;
        let Some(fields) = value.as_object_mut() else {
            return Err(unreadable("it is not a JSON object".to_owned()));
        };
        if let Some(schema) = fields.get("schema").and_then(Value::as_u64).filter(|&s| s > u64::from(SCHEMA))
        {
            let detail =
                format!("it has layout {schema} and this courtside knows {SCHEMA}; update courtside");
            return Err(unreadable(detail));
        }
        // Absent and null mean the same, also for fields that are never null when we write them.
        fields.retain(|name, field| !(field.is_null() && NEVER_NULL.contains(&name.as_str())));
        let manifest: Self = serde_json::from_value(value).map_err(|e| unreadable(e.to_string()))?;
        if manifest.job_id.register() != key {
            return Err(unreadable(format!("it says that it is job {}", manifest.job_id)));
        }
        check_key(&manifest.video_key()).map_err(|e| unreadable(e.to_string()))?;
        Ok(manifest)
    }

    /// The register's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        // Cannot fail: every map has text keys.
        serde_json::to_vec_pretty(self).unwrap_or_default()
    }

    /// Where the video lies.
    pub fn video_key(&self) -> String {
        self.parameters.video_key.clone().unwrap_or_else(|| self.job_id.video(None))
    }

    /// What to track.
    pub fn prompt(&self) -> &str {
        self.parameters.prompt.as_deref().filter(|p| !p.trim().is_empty()).unwrap_or(DEFAULT_PROMPT)
    }

    /// Whether a program owns it that knows nothing of leases.
    pub fn is_foreign(&self) -> bool {
        self.status == Status::Processing && self.claim.is_none()
    }

    /// Notes what happened.
    pub fn note(&mut self, what: impl Into<String>, now: OffsetDateTime) {
        let event = Event {
            at: Timestamp::of(now),
            what: what.into(),
            worker_id: self.worker_id.clone(),
            attempt: self.attempt,
        };
        self.events.push(event);
        let excess = self.events.len().saturating_sub(MAX_EVENTS);
        self.events.drain(..excess);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = r#"{"job_id":"j1","video_id":3,"status":"pending","created_at":"2025-01-02T03:04:05.678901+00:00",
        "parameters":{"sample_interval":2,"confidence_threshold":0.4,"team":"home"},
        "started_at":null,"error":null,"priority":{"level":9},"season":null,"claim":null,"schema":null}"#;

    #[test]
    fn an_older_writers_register_is_read_and_its_fields_kept() {
        let manifest = Manifest::parse("jobs/j1.json", OLD.as_bytes()).unwrap();
        assert_eq!((manifest.parameters.sample_interval, manifest.max_attempts), (2, 3));
        assert_eq!(manifest.video_key(), "videos/j1.mp4");
        assert_eq!(manifest.prompt(), "basketball player");
        let again: Value = serde_json::from_slice(&manifest.to_bytes()).unwrap();
        assert_eq!(again["priority"]["level"], 9);
        assert_eq!(again["parameters"]["team"], "home");
        assert_eq!(again.get("season"), Some(&Value::Null));
        assert_eq!(again["created_at"], "2025-01-02T03:04:05.678901+00:00");
        assert_eq!(again["parameters"]["confidence_threshold"], 0.4);
        assert_eq!(Manifest::parse("jobs/j1.json", &manifest.to_bytes()).unwrap(), manifest);
    }

    #[test]
    fn what_is_no_register_is_named() {
        let change = |from: &str, to: &str| OLD.replace(from, to);
        for (bytes, want) in [
            ("nonsense".to_owned(), "not JSON"),
            ("[]".to_owned(), "not a JSON object"),
            (change("\"schema\":null", "\"schema\":2"), "update courtside"),
            (change("\"j1\"", "\"j2\""), "says that it is job j2"),
            (change("pending", "sleeping"), "sleeping"),
            (change("\"sample_interval\":2", "\"sample_interval\":0"), "at least 1"),
            (change("0.4", "1.4"), "0 to 1"),
            (change("\"team\":\"home\"", "\"video_key\":\"../secret\""), "../secret"),
            (change("\"video_id\":3,", ""), "video_id"),
        ] {
            let error = Manifest::parse("jobs/j1.json", bytes.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(want) && error.contains("jobs/j1.json"), "{error}");
        }
    }

    #[test]
    fn events_do_not_pile_up() {
        let mut manifest = Manifest::parse("jobs/j1.json", OLD.as_bytes()).unwrap();
        (0..100).for_each(|i| manifest.note(format!("{i}"), OffsetDateTime::UNIX_EPOCH));
        assert_eq!(manifest.events.len(), MAX_EVENTS);
        assert_eq!(manifest.events.last().unwrap().what, "99");
    }
}
