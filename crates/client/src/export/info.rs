//! What formats need to know about the video and the job of an export.

use std::path::Path;

use jobs::manifest::Parameters;
use store::{ImportRow, Library, Video};

use crate::failure::Outcome;

/// The video and the job that the detections belong to.
#[derive(Debug, Clone, PartialEq)]
pub struct ExportInfo {
    /// Id of the job; `None` for detections that another program wrote.
    pub job_id: Option<String>,
    /// File name of the video, without its folder.
    pub video_name: String,
    /// Average frames per second, if known and positive.
    pub fps: Option<f64>,
    /// Presentation time of each frame in seconds since the start of the file, from its timestamps. Empty if the file
    /// was not read.
    pub frame_times_s: Vec<f64>,
    /// Width and height of the video in pixels.
    pub size: Option<(u32, u32)>,
    /// Number of frames of the video.
    pub n_frames: Option<i64>,
    /// The phrases that name what was tracked.
    pub prompts: Vec<String>,
    /// Frames from one tracked frame to the next, at least 1. Frame 0 is tracked.
    pub sample_interval: usize,
    /// The frame before which tracking ended. `None` unless every frame up to there is known to be tracked.
    pub tracked_until: Option<u64>,
}

impl ExportInfo {
    /// The time of a frame in seconds, rounded to microseconds. Computed from the average frame rate where the video's
    /// own times are not known; `None` if the rate is not known either.
    pub fn time_seconds(&self, frame: i64) -> Option<f64> {
        let own = usize::try_from(frame).ok().and_then(|frame| self.frame_times_s.get(frame)).copied();
        let average = || Some(frame as f64 / self.fps.filter(|fps| *fps > 0.0)?);
        Some((own.or_else(average)? * 1e6).round() / 1e6)
    }

    /// Collects what the library knows about an import; `None` for detections without a job.
    pub(super) fn new(library: &Library, video: &Video, import: Option<&ImportRow>) -> Outcome<Self> {
        let row = import.map(|import| library.job(&import.job_id)).transpose()?.flatten();
        // Another program may have written parameters of another shape: use the defaults.
        let parameters: Parameters =
            row.and_then(|row| serde_json::from_value(row.parameters?).ok()).unwrap_or_default();
        Ok(Self {
            job_id: import.map(|import| import.job_id.clone()),
            video_name: file_name(video),
            fps: video.fps.filter(|fps| fps.is_finite() && *fps > 0.0),
            frame_times_s: Vec::new(),
            size: video.frame_size(),
            n_frames: video.n_frames.filter(|n| *n > 0),
            prompts: vec![parameters.prompt_or_default().to_owned()],
            sample_interval: usize::try_from(parameters.sample_interval).unwrap_or(usize::MAX).max(1),
            tracked_until: import.and_then(|import| tracked_until(video, import, &parameters)),
        })
    }
}

/// The frame before which a job ended, if it processed as many frames as requested.
fn tracked_until(video: &Video, import: &ImportRow, parameters: &Parameters) -> Option<u64> {
    let n_frames = u64::try_from(video.n_frames?).ok()?;
    let fps = video.fps.unwrap_or(0.0);
    let requested = parameters.n_tracked_frames(n_frames, fps);
    let processed = u64::try_from(import.frames_processed?).ok()?;
    (processed == requested).then(|| parameters.end_frame(n_frames, fps))
}

fn file_name(video: &Video) -> String {
    let name = Path::new(&video.file_path).file_name().map(|name| name.to_string_lossy().into_owned());
    name.unwrap_or_else(|| format!("video-{}", video.id))
}
