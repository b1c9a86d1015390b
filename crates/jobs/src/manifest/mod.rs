//! The manifest of a job: the contract's fields, this program's additional fields, and unknown fields, which
//! are preserved.

mod parameters;
mod parts;
mod stage;
pub(crate) mod state;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use time::OffsetDateTime;

use crate::error::{Error, Result};
use crate::keys::{JobId, check_key};
use crate::quote::bounded;

pub use self::parameters::{
    DEFAULT_CONFIDENCE, DEFAULT_MAX_MISSING, DEFAULT_PROMPT, InvalidParameter, MAX_PROMPT_CHARS,
    MAX_PROMPT_WORDS, Parameters, frames_within,
};
pub use self::parts::{
    Checkpoint, Claim, Event, Heartbeat, MissingFrames, RentedMachine, ResultPointer, StoredObject,
    Submitter, VideoInfo,
};
pub use self::stage::Stage;
pub use self::state::{Status, Target, UnknownTarget};
pub use crate::timestamp::Timestamp;

/// The newest schema version that this program understands.
pub const SCHEMA: u32 = 1;
/// Number of failed attempts after which a job fails, if its manifest does not specify it.
pub const DEFAULT_MAX_ATTEMPTS: u32 = 3;
/// Number of failed attempts after which a job fails at the latest, whatever its manifest specifies: by then it has cost
/// a hundred machines their time, and no number of further attempts will complete it.
pub const MAX_ATTEMPTS: u32 = 100;
/// Objects larger than this are not read as manifests.
pub const MAX_MANIFEST_BYTES: u64 = 1 << 20;
/// Largest manifest of a job that is processed: the rest of [`MAX_MANIFEST_BYTES`] is for what workers add to it.
pub(crate) const MAX_CLAIMED_BYTES: u64 = MAX_MANIFEST_BYTES - (128 << 10);
/// Fields for which `null` means the same as absent.
const NEVER_NULL: [&str; 7] = ["schema", "rev", "write_id", "attempt", "failures", "max_attempts", "events"];
/// Events kept in a manifest; the oldest are dropped.
const MAX_EVENTS: usize = 40;

/// The content of `jobs/{job_id}.json`: the state of a job, and how to process its video.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Id of the job.
    pub job_id: JobId,
    /// Id of the video in the submitter's library.
    pub video_id: i64,
    /// State of the job.
    pub status: Status,
    /// When the job was submitted.
    pub created_at: Timestamp,
    /// How to process the video.
    pub parameters: Parameters,
    /// When the current or last attempt started.
    #[serde(default)]
    pub started_at: Option<Timestamp>,
    /// When the job was completed, failed or was cancelled.
    #[serde(default)]
    pub completed_at: Option<Timestamp>,
    /// Why the job, or its last attempt, failed.
    #[serde(default)]
    pub error: Option<String>,
    /// Number of frames tracked.
    #[serde(default)]
    pub frames_processed: Option<u64>,
    /// Name of the current or last worker.
    #[serde(default)]
    pub worker_id: Option<String>,
    /// When the owner last wrote the manifest, by the owner's clock. For display only; the protocol never
    /// uses it.
    #[serde(default)]
    pub last_heartbeat: Option<Timestamp>,

    /// Schema version of the fields below; see [`SCHEMA`].
    #[serde(default = "first_schema")]
    pub schema: u32,
    /// Number of writes so far. Each write adds one.
    #[serde(default)]
    pub rev: u64,
    /// Random id of the last write.
    #[serde(default)]
    pub write_id: String,
    /// Number of claims: the fencing token, which only grows.
    #[serde(default)]
    pub attempt: u32,
    /// Attempts that died or failed since a user submitted or last retried the job.
    #[serde(default)]
    pub failures: u32,
    /// Number of failures after which the job fails; at most [`MAX_ATTEMPTS`] count.
    #[serde(default = "default_max_attempts")]
    pub max_attempts: u32,
    /// Where the job is meant to run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
    /// The owner's claim. Kept after completion, to show which claim completed the job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim: Option<Claim>,
    /// The owner's latest heartbeat; `None` while no worker owns the job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heartbeat: Option<Heartbeat>,
    /// Where the next attempt resumes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<Checkpoint>,
    /// The results, once the job is completed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<ResultPointer>,
    /// Properties of the video.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub video: Option<VideoInfo>,
    /// The library that submitted the job; `None` if another program did.
    #[serde(default, rename = "courtside_submitter", skip_serializing_if = "Option::is_none")]
    pub submitter: Option<Submitter>,
    /// The job's history, the latest event last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<Event>,
    /// Fields that this version does not know, preserved on write.
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
    /// Creates the manifest of a new, pending job.
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
            submitter: None,
            events: Vec::new(),
            rest: Map::new(),
        }
    }

    /// Parses the manifest stored under `key`.
    ///
    /// # Errors
    /// [`Error::Unreadable`] if it is not a valid manifest, belongs to another job, or has a newer schema.
    pub fn parse(key: &str, bytes: &[u8]) -> Result<Self> {
        let unreadable =
            |detail: String| Error::Unreadable { key: key.to_owned(), detail: bounded(&detail).into_owned() };
        let mut value: Value =
            serde_json::from_slice(bytes).map_err(|e| unreadable(format!("it is not JSON ({e})")))?;
        let Some(fields) = value.as_object_mut() else {
            return Err(unreadable("it is not a JSON object".to_owned()));
        };
        if let Some(schema) = fields.get("schema").and_then(Value::as_u64).filter(|&s| s > u64::from(SCHEMA))
        {
            let detail =
                format!("it has schema {schema}, but this courtside only knows {SCHEMA}; update courtside");
            return Err(unreadable(detail));
        }
        // Other writers may write null for a field that this program always gives a value.
        fields.retain(|name, field| !(field.is_null() && NEVER_NULL.contains(&name.as_str())));
        let manifest: Self = serde_json::from_value(value).map_err(|e| unreadable(e.to_string()))?;
        if manifest.job_id.manifest_key() != key {
            return Err(unreadable(format!("its job_id is {}", manifest.job_id)));
        }
        check_key(&manifest.video_key()).map_err(|e| unreadable(e.to_string()))?;
        Ok(manifest)
    }

    /// Serializes the manifest as JSON: indented, unless that makes it too large.
    pub fn to_bytes(&self) -> Vec<u8> {
        // Cannot fail: all maps have string keys.
        let indented = serde_json::to_vec_pretty(self).unwrap_or_default();
        match indented.len() as u64 > MAX_MANIFEST_BYTES {
            true => serde_json::to_vec(self).unwrap_or_default(),
            false => indented,
        }
    }

    /// Key of the video.
    pub fn video_key(&self) -> String {
        self.parameters.video_key.clone().unwrap_or_else(|| self.job_id.video_key(None))
    }

    /// Whether the video's key is that of a video which was uploaded for this job, or for another one that this program
    /// submitted. Other jobs may use it too. Any other key is that of another program.
    pub fn is_video_from_submitter(&self) -> bool {
        let uploaded_for = self.video.as_ref().and_then(|video| video.uploaded_for.as_ref());
        let is_of = |id: &JobId| self.video_key().starts_with(&format!("videos/{id}."));
        is_of(&self.job_id) || uploaded_for.is_some_and(is_of)
    }

    /// The phrase to track; see [`Parameters::prompt_or_default`].
    pub fn prompt(&self) -> &str {
        self.parameters.prompt_or_default()
    }

    /// Whether the job is owned by a program that does not use leases.
    pub fn is_foreign(&self) -> bool {
        self.status == Status::Processing && self.claim.is_none()
    }

    /// Adds an event to the history: something that the job's worker did, or that happened to it.
    pub fn note(&mut self, what: impl Into<String>, now: OffsetDateTime) {
        let worker_id = self.worker_id.clone();
        self.add_event(&what.into(), worker_id, now);
    }

    /// Adds an event to the history: something that the user did, on the machine with this name.
    pub fn note_by_user(&mut self, what: &str, host: Option<&str>, now: OffsetDateTime) {
        let place = host.map(|host| format!(" on {host}")).unwrap_or_default();
        self.add_event(&format!("{what} by the user{place}"), None, now);
    }

    fn add_event(&mut self, what: &str, worker_id: Option<String>, now: OffsetDateTime) {
        let event = Event {
            at: Timestamp::of(now),
            what: bounded(what).into_owned(),
            worker_id,
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
    fn reads_an_older_writers_manifest_and_keeps_its_fields() {
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
    fn names_what_is_wrong_with_an_invalid_manifest() {
        let change = |from: &str, to: &str| OLD.replace(from, to);
        for (bytes, want) in [
            ("nonsense".to_owned(), "not JSON"),
            ("[]".to_owned(), "not a JSON object"),
            (change("\"schema\":null", "\"schema\":2"), "update courtside"),
            (change("\"j1\"", "\"j2\""), "its job_id is j2"),
            (change("pending", "sleeping"), "sleeping"),
            (change("\"sample_interval\":2", "\"sample_interval\":0"), "at least 1"),
            (change("0.4", "1.4"), "0 to 1"),
            (change("\"team\":\"home\"", "\"video_key\":\"../secret\""), "../secret"),
            (change("\"video_id\":3,", ""), "video_id"),
            (change("pending", &"sleep".repeat(100_000)), "sleepsleep"),
            (change("\"team\":\"home\"", &format!("\"video_key\":\"//{}\"", "x".repeat(100_000))), "//xxx"),
            (change("2025-01-02T03:04:05.678901+00:00", &"2".repeat(100_000)), "222"),
        ] {
            let error = Manifest::parse("jobs/j1.json", bytes.as_bytes()).unwrap_err().to_string();
            assert!(error.len() < 2000, "an error of {} bytes", error.len());
            assert!(error.contains(want) && error.contains("jobs/j1.json"), "{error}");
        }
    }

    #[test]
    fn drops_the_oldest_events() {
        let mut manifest = Manifest::parse("jobs/j1.json", OLD.as_bytes()).unwrap();
        (0..100).for_each(|i| manifest.note(format!("{i}"), OffsetDateTime::UNIX_EPOCH));
        assert_eq!(manifest.events.len(), MAX_EVENTS);
        assert_eq!(manifest.events.last().unwrap().what, "99");
    }
}
