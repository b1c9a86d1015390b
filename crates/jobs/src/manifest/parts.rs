//! The nested objects of a manifest: claim, heartbeat, checkpoint, results, video, events.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Stage, Timestamp};
use crate::keys::JobId;

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
    /// The worker's machine, if a provider rents it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<RentedMachine>,
}

/// A machine that a provider rents out, with its price.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RentedMachine {
    /// Name of the provider, such as `RunPod`.
    pub provider: String,
    /// Id of the machine there.
    pub id: String,
    /// Its card, as the provider names it.
    #[serde(default)]
    pub kind: Option<String>,
    /// Dollars per hour.
    #[serde(default)]
    pub price_per_hour: Option<f64>,
    /// Dollars from the claim to the end of the attempt, once it has completed the job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_dollars: Option<f64>,
}

impl RentedMachine {
    /// What the machine costs in this time, to a hundredth of a cent; `None` without a price.
    pub fn cost(&self, seconds: f64) -> Option<f64> {
        let cost = self.price_per_hour? * seconds.max(0.0) / 3600.0;
        Some((cost * 10_000.0).round() / 10_000.0).filter(|cost| cost.is_finite())
    }
}

impl fmt::Display for RentedMachine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.provider, self.id)?;
        match (&self.kind, self.price_per_hour) {
            (Some(kind), Some(price)) => write!(f, " ({kind}, ${price:.2} per hour)"),
            (Some(kind), None) => write!(f, " ({kind})"),
            (None, Some(price)) => write!(f, " (${price:.2} per hour)"),
            (None, None) => Ok(()),
        }
    }
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
    /// What the owner tracks on, such as the name of its GPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// What the user should know while the job can still be stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notice: Option<String>,
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
    /// Frames that could not be decoded; `None` if all were decoded, or the worker does not count them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing_frames: Option<MissingFrames>,
    /// What is unusual about the video or the results, as messages for the user.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// Frames that were to be tracked and could not be decoded.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissingFrames {
    /// Number of missing frames.
    pub count: u64,
    /// Number of frames to track, including the missing ones.
    pub expected: u64,
    /// First and last source frame of each gap, at most [`Self::MAX_RANGES`]; the last range then extends to the last
    /// gap. With a sample interval above 1, a range includes frames that were not to be tracked.
    pub ranges: Vec<[u64; 2]>,
}

impl MissingFrames {
    /// Maximum number of ranges.
    pub const MAX_RANGES: usize = 50;

    /// Adds a gap, which must be after those added before: source frames `first` to `last` (inclusive), `count` of
    /// which were to be tracked.
    pub fn add(&mut self, first: u64, last: u64, count: u64) {
        self.count += count;
        let is_full = self.ranges.len() == Self::MAX_RANGES;
        match self.ranges.last_mut() {
            Some(range) if is_full || range[1] + 1 >= first => range[1] = last,
            _ => self.ranges.push([first, last]),
        }
    }

    /// The share of the frames that is missing, 0 to 1.
    pub fn share(&self) -> f64 {
        if self.expected == 0 { 0.0 } else { self.count as f64 / self.expected as f64 }
    }
}

impl fmt::Display for MissingFrames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// Number of ranges that are written out.
        const SHOWN: usize = 3;
        let percent = self.share() * 100.0;
        write!(f, "{} of {} frames ({percent:.1}%) could not be decoded", self.count, self.expected)?;
        for (i, [first, last]) in self.ranges.iter().take(SHOWN).enumerate() {
            f.write_str(if i == 0 { ": " } else { ", " })?;
            if first == last { write!(f, "{first}") } else { write!(f, "{first} to {last}") }?;
        }
        if self.ranges.len() > SHOWN { f.write_str(", ...") } else { Ok(()) }
    }
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
    /// Number of the video stream to track, of a file with several, as ffmpeg counts all streams; the one that players
    /// show if `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<u32>,
    /// What is irregular about the file, as messages for the user.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// The job that the object was uploaded for, if this job uses the object of another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uploaded_for: Option<JobId>,
}

/// The library that submitted a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Submitter {
    /// Random id of the library.
    pub library_id: String,
    /// Name of the machine, for display.
    #[serde(default)]
    pub host: Option<String>,
}

/// An entry in a job's history, shown by `courtside logs`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// When it happened, by the writer's clock.
    pub at: Timestamp,
    /// What happened, such as "claimed".
    pub what: String,
    /// The worker that did it, or that owned the job at the time; `None` for what the user did.
    #[serde(default)]
    pub worker_id: Option<String>,
    /// The attempt in which it happened; 0 before the first.
    #[serde(default)]
    pub attempt: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_merged_and_bounded() {
        let mut missing = MissingFrames { expected: 1000, ..MissingFrames::default() };
        missing.add(3, 4, 2);
        missing.add(5, 5, 1);
        missing.add(9, 9, 1);
        assert_eq!(missing.ranges, [[3, 5], [9, 9]]);
        assert_eq!(missing.to_string(), "4 of 1000 frames (0.4%) could not be decoded: 3 to 5, 9");
        for i in 10..100 {
            missing.add(i * 10, i * 10, 1);
        }
        assert_eq!(missing.ranges.len(), MissingFrames::MAX_RANGES);
        assert_eq!(missing.ranges.last().map(|range| range[1]), Some(990));
        assert!(missing.to_string().ends_with(": 3 to 5, 9, 100, ..."), "{missing}");
    }
}
