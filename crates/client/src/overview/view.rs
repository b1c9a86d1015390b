//! A job as it is shown to the user.

use jobs::manifest::{Manifest, MissingFrames, RentedMachine, Status, Target, Timestamp};
use serde::Serialize;
use store::{JobRow, Video};
use time::OffsetDateTime;

use super::origin::Origin;
use super::state::State;
use crate::{target, videos};

/// One job of an [`Overview`](super::Overview). Times are RFC 3339.
#[derive(Debug, Clone, Serialize)]
pub struct JobView {
    /// Id of the job.
    pub job_id: String,
    /// Id of the video in this library; `None` if this library does not have it.
    pub video_id: Option<i64>,
    /// File name of the video.
    pub video: Option<String>,
    /// SHA-256 of the video, in hexadecimal.
    pub video_sha256: Option<String>,
    /// The library that submitted it, if it is another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub other_library: Option<OtherLibrary>,
    /// Where the job runs.
    pub target: Target,
    /// The manifest's status; `uploading` before there is a manifest.
    pub status: String,
    /// What it is doing.
    #[serde(flatten)]
    pub state: State,
    /// Why the job failed, or why its last attempt did.
    pub error: Option<String>,
    /// Number of attempts so far.
    pub attempt: u32,
    /// Name of the worker that has the job.
    pub worker_id: Option<String>,
    /// Number of frames tracked.
    pub frames_processed: Option<u64>,
    /// Frames that could not be decoded, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing_frames: Option<MissingFrames>,
    /// What is unusual about the video or the results.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Name of the device that tracks it, while a worker does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// The machine that tracks or tracked it, if a provider rents it out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub machine: Option<RentedMachine>,
    /// Seconds from the start of the last attempt to the results.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_seconds: Option<f64>,
    /// Frames per second in that time, downloading included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub average_fps: Option<f64>,
    /// When the job was submitted.
    pub created_at: Option<String>,
    /// When the current or the last attempt began.
    pub started_at: Option<String>,
    /// When the job ended.
    pub completed_at: Option<String>,
}

/// A library that shares the bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OtherLibrary {
    /// Its random id; `None` for one of an older program.
    pub id: Option<String>,
    /// Name of its machine.
    pub host: Option<String>,
    /// Number of the video there.
    pub video_id: i64,
}

impl OtherLibrary {
    fn of(manifest: &Manifest) -> Self {
        let submitter = manifest.submitter.clone();
        Self {
            id: submitter.as_ref().map(|submitter| submitter.library_id.clone()),
            host: submitter.and_then(|submitter| submitter.host),
            video_id: manifest.video_id,
        }
    }
}

/// The view of a manifest at the time `now`. `target` is that of the bucket, for manifests that name none.
pub fn view(manifest: &Manifest, origin: Origin, target: Target, now: OffsetDateTime) -> JobView {
    let (duration_seconds, average_fps) = duration_and_fps(manifest);
    JobView {
        job_id: manifest.job_id.to_string(),
        video_id: origin.video_id,
        video: manifest.video.as_ref().and_then(|v| v.name.clone()),
        video_sha256: manifest.video.as_ref().and_then(|v| v.sha256.clone()),
        other_library: origin.is_foreign.then(|| OtherLibrary::of(manifest)),
        target: manifest.target.unwrap_or(target),
        status: status(manifest, origin.known_state.as_ref()).to_owned(),
        state: origin.known_state.unwrap_or_else(|| State::of(manifest, now)),
        error: manifest.error.clone(),
        attempt: manifest.attempt,
        worker_id: manifest.worker_id.clone(),
        frames_processed: manifest.frames_processed,
        missing_frames: manifest.result.as_ref().and_then(|result| result.missing_frames.clone()),
        warnings: warnings(manifest),
        device: manifest.heartbeat.as_ref().and_then(|heartbeat| heartbeat.device.clone()),
        machine: manifest.claim.as_ref().and_then(|claim| claim.machine.clone()),
        duration_seconds,
        average_fps,
        created_at: Some(manifest.created_at.as_str().to_owned()),
        started_at: manifest.started_at.as_ref().map(|t| t.as_str().to_owned()),
        completed_at: manifest.completed_at.as_ref().map(|t| t.as_str().to_owned()),
    }
}

/// What is unusual: of the results, or until there are any, of the video and of what the worker has seen so far.
fn warnings(manifest: &Manifest) -> Vec<String> {
    if let Some(result) = &manifest.result {
        return result.warnings.clone();
    }
    let of_video = manifest.video.iter().flat_map(|video| video.warnings.clone());
    of_video.chain(manifest.heartbeat.as_ref().and_then(|heartbeat| heartbeat.notice.clone())).collect()
}

/// Seconds from the start of the last attempt to its end, and the frames per second in that time; the latter only if
/// there was no other attempt. `None` for a job that has not completed.
fn duration_and_fps(manifest: &Manifest) -> (Option<f64>, Option<f64>) {
    let ends = manifest.started_at.as_ref().zip(manifest.completed_at.as_ref());
    let seconds = ends.map(|(start, end)| (end.moment() - start.moment()).as_seconds_f64());
    let seconds = seconds.filter(|seconds| manifest.result.is_some() && *seconds > 0.0);
    let frames = manifest.frames_processed.filter(|frames| *frames > 0 && manifest.attempt == 1);
    (seconds, seconds.zip(frames).map(|(seconds, frames)| frames as f64 / seconds))
}

/// The status as it is shown: the manifest's, unless the library knows better.
fn status(manifest: &Manifest, known: Option<&State>) -> &'static str {
    match known {
        Some(State::CancelOverridden { .. }) => Status::Cancelled.as_str(),
        Some(State::ResultsCorrupt { .. }) => Status::Failed.as_str(),
        Some(State::Imported { .. }) => Status::Imported.as_str(),
        _ => manifest.status.as_str(),
    }
}

/// The view of a job without a manifest. `video` is its video.
pub(super) fn of_row(row: &JobRow, video: Option<&Video>, status: &str, state: State) -> JobView {
    let text = |at: Option<OffsetDateTime>| at.map(|at| Timestamp::of(at).as_str().to_owned());
    JobView {
        job_id: row.id.clone(),
        video_id: row.video_id,
        video: video.and_then(videos::file_name),
        video_sha256: video.and_then(|video| video.file.sha256.clone()),
        other_library: None,
        target: row.target.map_or(Target::Local, target::from_store),
        status: status.to_owned(),
        state,
        error: row.error.clone(),
        attempt: 0,
        worker_id: row.worker_id.clone(),
        frames_processed: u64::try_from(row.progress_current).ok().filter(|&n| n > 0),
        missing_frames: None,
        warnings: Vec::new(),
        device: None,
        machine: None,
        duration_seconds: None,
        average_fps: None,
        created_at: text(row.created_at),
        started_at: text(row.started_at),
        completed_at: text(row.completed_at),
    }
}
