//! What a job is doing, derived from its manifest.

use std::fmt;
use std::time::Duration;

use jobs::manifest::{Heartbeat, Manifest, Stage, Status};
use serde::Serialize;
use store::JobStatus;
use time::OffsetDateTime;

use super::missing::Closed;
use crate::progress::clock;
use crate::submit::{UPLOADING, WAITING};
use crate::terminal::counted;

/// Time without a heartbeat after which a job is shown as stalled. For display only: workers judge a lease by
/// their own clocks.
const STALLED_AFTER: Duration = Duration::from_secs(90);

/// What a job is doing. Serialized names are part of the output of `status --json` and of the HTTP API.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    /// The client uploads its video.
    Uploading,
    /// It is in the queue.
    Waiting {
        /// Frames in the checkpoint from which the next attempt resumes.
        frames_kept: u64,
    },
    /// A worker downloads the video.
    Downloading {
        /// Bytes of the video that the worker has downloaded.
        current: u64,
        /// Size of the video in bytes; `None` if unknown.
        total: Option<u64>,
    },
    /// A worker loads the model.
    Starting,
    /// A worker tracks the video.
    Tracking {
        /// Frames tracked, including those of earlier attempts.
        current: u64,
        /// Frames to track in total; `None` if unknown.
        total: Option<u64>,
        /// Tracking speed of this attempt, in frames per second.
        fps: Option<f64>,
    },
    /// A worker uploads the results.
    Publishing,
    /// Its worker stopped sending heartbeats. Another worker takes over when the lease expires.
    Stalled {
        /// Frames tracked, including those of earlier attempts.
        current: u64,
        /// Frames to track in total; `None` if unknown.
        total: Option<u64>,
        /// Seconds since the last heartbeat.
        silent_seconds: u64,
    },
    /// Results are in the bucket.
    ReadyToImport {
        /// Number of frames that could not be decoded.
        missing_frames: u64,
    },
    /// Results are in the library.
    Imported {
        /// Number of detections, if the manifest has it.
        detections: Option<u64>,
        /// Number of frames that could not be decoded.
        missing_frames: u64,
    },
    /// Results are in the bucket, and cannot be imported.
    ResultsCorrupt {
        /// What is wrong with them.
        reason: String,
    },
    /// The user cancelled it, and an older worker overwrote that.
    CancelOverridden {
        /// Whether that worker has completed it.
        is_completed: bool,
    },
    /// Another program imported the results, and removed the job from its bucket.
    ImportedElsewhere,
    /// Another program removed the job from its bucket before it was completed.
    RemovedFromBucket,
    /// Every allowed attempt failed, or one failed in a way that is not retryable.
    Failed,
    /// The user cancelled it.
    Cancelled,
}

impl State {
    /// Derives the state from a manifest at the time `now`.
    pub(super) fn of(manifest: &Manifest, now: OffsetDateTime) -> Self {
        let result = manifest.result.as_ref();
        let missing = result.and_then(|result| result.missing_frames.as_ref());
        let missing_frames = missing.map_or(0, |missing| missing.count);
        match manifest.status {
            Status::Pending => {
                Self::Waiting { frames_kept: manifest.checkpoint.as_ref().map_or(0, |kept| kept.n_frames) }
            }
            Status::Processing => processing(manifest, now),
            Status::Completed => Self::ReadyToImport { missing_frames },
            Status::Imported => Self::imported(manifest),
            Status::Failed => Self::Failed,
            Status::Cancelled => Self::Cancelled,
        }
    }

    /// The state of a job whose results are in the library.
    pub(super) fn imported(manifest: &Manifest) -> Self {
        let result = manifest.result.as_ref();
        let missing_frames =
            result.and_then(|result| result.missing_frames.as_ref()).map_or(0, |missing| missing.count);
        Self::Imported { detections: result.map(|r| r.detections), missing_frames }
    }
}

fn processing(manifest: &Manifest, now: OffsetDateTime) -> State {
    let heartbeat = manifest.heartbeat.clone().unwrap_or_else(|| Heartbeat {
        stage: Stage::Tracking,
        current: manifest.frames_processed.unwrap_or(0),
        total: n_frames(manifest),
        ..Heartbeat::default()
    });
    let Heartbeat { stage, current, total, fps, .. } = heartbeat;
    let age = manifest.last_heartbeat.as_ref().and_then(|at| Duration::try_from(now - at.moment()).ok());
    match age.filter(|&age| age > STALLED_AFTER && !manifest.is_foreign()) {
        Some(age) => {
            let current = manifest.frames_processed.unwrap_or(0);
            State::Stalled { current, total: n_frames(manifest), silent_seconds: age.as_secs() }
        }
        None => match stage {
            Stage::Tracking => State::Tracking { current, total: total.or(n_frames(manifest)), fps },
            Stage::Publishing => State::Publishing,
            Stage::Starting => State::Starting,
            Stage::Claimed | Stage::Downloading | Stage::Other(_) => State::Downloading { current, total },
        },
    }
}

/// The number of frames that a job tracks; `None` if the manifest does not have the video's length.
pub fn n_frames(manifest: &Manifest) -> Option<u64> {
    let video = manifest.video.as_ref()?;
    Some(manifest.parameters.n_tracked_frames(video.n_frames?, video.fps.unwrap_or(0.0)))
}

/// The library's status for a manifest's.
pub fn job_status(status: Status) -> JobStatus {
    match status {
        Status::Pending => JobStatus::Pending,
        Status::Processing => JobStatus::Processing,
        Status::Completed | Status::Imported => JobStatus::Completed,
        Status::Failed => JobStatus::Failed,
        Status::Cancelled => JobStatus::Cancelled,
    }
}

/// The manifest's status for the library's, which does not distinguish imported jobs.
pub(crate) fn manifest_status(status: JobStatus) -> Status {
    match status {
        JobStatus::Pending => Status::Pending,
        JobStatus::Processing => Status::Processing,
        JobStatus::Completed => Status::Completed,
        JobStatus::Failed => Status::Failed,
        JobStatus::Cancelled => Status::Cancelled,
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uploading => f.write_str(UPLOADING),
            Self::Waiting { frames_kept: 0 } => f.write_str(WAITING),
            Self::Waiting { frames_kept } => write!(f, "{} kept, {WAITING}", counted(frames_kept, "frame")),
            Self::Downloading { current, total: Some(total) } if *total > 0 => {
                write!(f, "downloading {}%", current * 100 / total)
            }
            Self::Downloading { .. } => f.write_str("downloading"),
            Self::Starting => f.write_str("starting"),
            Self::Tracking { current, total, fps } => {
                write!(f, "{} frames", of_total(*current, *total))?;
                let Some(fps) = fps.filter(|&fps| fps > 0.0) else { return Ok(()) };
                write!(f, ", {fps:.1} fps")?;
                let left = total.map_or(0.0, |total| total.saturating_sub(*current) as f64 / fps);
                // A corrupt manifest may give a number that no duration holds.
                let left = Duration::try_from_secs_f64(left).unwrap_or(Duration::MAX);
                write!(f, ", {} left", clock(left))
            }
            Self::Publishing => f.write_str("uploading results"),
            Self::Stalled { current, total, silent_seconds } => {
                let silence = clock(Duration::from_secs(*silent_seconds));
                write!(f, "{} frames, stalled: no heartbeat for {silence}", of_total(*current, *total))
            }
            Self::ReadyToImport { missing_frames } => {
                f.write_str("ready to import")?;
                write_missing(f, *missing_frames)
            }
            Self::Imported { detections, missing_frames } => {
                match detections {
                    Some(n) => f.write_str(&counted(n, "detection")),
                    None => f.write_str("in the library"),
                }?;
                write_missing(f, *missing_frames)
            }
            Self::ResultsCorrupt { reason } => write!(f, "results corrupt: {reason}"),
            Self::CancelOverridden { is_completed: true } => {
                f.write_str("cancelled, but an older worker completed it")
            }
            Self::CancelOverridden { is_completed: false } => {
                f.write_str("cancelled, but an older worker tracks it anyway")
            }
            Self::ImportedElsewhere => Closed::ImportedElsewhere.fmt(f),
            Self::RemovedFromBucket => Closed::RemovedFromBucket.fmt(f),
            Self::Failed => f.write_str("failed"),
            Self::Cancelled => f.write_str("cancelled"),
        }
    }
}

fn write_missing(f: &mut fmt::Formatter<'_>, missing_frames: u64) -> fmt::Result {
    match missing_frames {
        0 => Ok(()),
        1 => f.write_str(", 1 frame missing"),
        n => write!(f, ", {} missing", counted(n, "frame")),
    }
}

fn of_total(current: u64, total: Option<u64>) -> String {
    total.map_or_else(|| format!("{current}/?"), |total| format!("{current}/{total}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_released_job_is_shown_with_the_frames_that_are_kept() {
        let json = r#"{"job_id":"j","video_id":1,"status":"pending","created_at":"2025-01-02T03:04:05Z",
            "parameters":{},"checkpoint":{"next_frame":990,"n_frames":990,"attempt":1,"files":[]}}"#;
        let mut manifest = Manifest::parse("jobs/j.json", json.as_bytes()).unwrap();
        let shown = |manifest: &Manifest| State::of(manifest, OffsetDateTime::UNIX_EPOCH).to_string();
        assert_eq!(shown(&manifest), "990 frames kept, waiting for a worker");
        manifest.checkpoint = None;
        assert_eq!(shown(&manifest), "waiting for a worker");
    }
}
