//! What to track: the request, and the opened video with the range of frames.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jobs::manifest::frames_within;
use sam3::Compat;
use video::{GrowingFile, Limits, Tools, Video};

use super::checkpoint::{RunIdentity, VideoIdentity, spool_path};
use super::incoming::{IncomingVideo, WaitOutcome};
use client::failure::{Failure, Kind, Outcome};
use client::stop::Stop;
use client::videos::open_video;

/// What to track, how, and which files to write.
#[derive(Debug, Clone)]
pub struct TrackRequest {
    /// Path of the video file.
    pub video: PathBuf,
    /// Number of the video stream to track, as [`Video::open_with`] takes it.
    pub stream: Option<u32>,
    /// Phrases that name what to track, at least one.
    pub prompts: Vec<String>,
    /// Results file (JSON) to write.
    pub out: PathBuf,
    /// Copy of the video with boxes to write, if any.
    pub annotated: Option<PathBuf>,
    /// MOT Challenge text to write, if any.
    pub mot: Option<PathBuf>,
    /// Safetensors file with raw masks and scores to write, if any.
    pub dump: Option<PathBuf>,
    /// Checkpoint to resume from and to write. `None` for a run that cannot be resumed.
    pub checkpoint: Option<PathBuf>,
    /// Time between checkpoints; not used without [`Self::checkpoint`].
    pub checkpoint_interval: Duration,
    /// First source frame to track, from 0.
    pub from: u64,
    /// Last source frame; `None` for the video's last.
    pub to: Option<u64>,
    /// Seconds to track from the beginning of the video; `None` for all.
    pub max_seconds: Option<f64>,
    /// Share of the frames that may be missing because they cannot be decoded, 0 to 1. The run fails if more are.
    pub max_missing: f64,
    /// Distance between tracked frames in source frames, at least 1.
    pub every: u64,
    /// Whether to report every frame immediately, so that no track is removed later.
    pub streaming: bool,
    /// Which quirks of the reference implementation to reproduce.
    pub compat: Compat,
    /// Largest number of tracks at the same time; `None` for the model's own limit.
    pub max_objects: Option<usize>,
    /// Frames without a matching detection after which a track is retired; `None` for never.
    pub retire_after: Option<usize>,
}

impl TrackRequest {
    /// Every file that the run writes.
    pub fn files(&self) -> Vec<PathBuf> {
        let spool = self.checkpoint.as_deref().map(spool_path);
        let optional = [&self.annotated, &self.mot, &self.dump, &self.checkpoint, &spool];
        [&self.out].into_iter().chain(optional.into_iter().flatten()).cloned().collect()
    }
}

/// An opened video and the range of its frames to track.
#[derive(Clone)]
pub struct Source {
    pub(super) tools: Tools,
    pub(super) video: Video,
    /// Present while the file is still being downloaded.
    pub(super) incoming: Option<(Arc<GrowingFile>, Arc<IncomingVideo>)>,
    pub(super) run: RunIdentity,
}

impl Source {
    /// Opens the video of a request and checks its frame range.
    ///
    /// # Errors
    /// If ffmpeg is missing, the file is not a readable video, or no frame is in the range.
    pub fn open(request: &TrackRequest) -> Outcome<Self> {
        let tools = Tools::find()?;
        let video = open_video(&tools, &request.video, request.stream)?;
        Self::of(request, tools, video, None)
    }

    /// As [`Self::open`] for a file that is still being downloaded. Blocks until its frames can be located, or else until
    /// it is complete. `None` if the download is abandoned or a stop is requested.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_incoming(
        request: &TrackRequest,
        incoming: &Arc<IncomingVideo>,
        stop: &Stop,
    ) -> Outcome<Option<Self>> {
        let tools = Tools::find()?;
        let open = |partial: PathBuf| GrowingFile::open(&tools, &partial, request.stream, &Limits::default());
        let file = incoming.wait_for_ends(stop).and_then(open);
        // Only if the partial file's own count agrees with the manifest's, which is of the complete file.
        match file.filter(|file| incoming.n_frames() == Some(file.video().n_frames())) {
            Some(file) => {
                let video = file.video().clone();
                Self::of(request, tools, video, Some((Arc::new(file), incoming.clone()))).map(Some)
            }
            None if incoming.wait_for_all(stop) == WaitOutcome::Complete => {
                incoming.set_verified();
                Self::open(request).map(Some)
            }
            None => Ok(None),
        }
    }

    fn of(
        request: &TrackRequest,
        tools: Tools,
        video: Video,
        incoming: Option<(Arc<GrowingFile>, Arc<IncomingVideo>)>,
    ) -> Outcome<Self> {
        let n_frames = video.n_frames();
        let to = request.to.map_or(n_frames, |last| last.saturating_add(1).min(n_frames));
        let to = request.max_seconds.map_or(to, |seconds| to.min(frames_within(seconds, video.fps())));
        if request.from >= to {
            let (name, last) = (request.video.display(), n_frames.saturating_sub(1));
            let range = match request.to {
                Some(to) => format!("from {} to {to}", request.from),
                None => format!("from {}", request.from),
            };
            let message = format!("{name} has frames 0 to {last}: none {range}");
            return Err(Failure::msg(Kind::Failed, message).hint("choose other --from and --to"));
        }
        let identity = VideoIdentity::of(video.path())?;
        let run = RunIdentity {
            video: identity,
            stream: video.stream(),
            from: request.from,
            to,
            every: request.every,
        };
        Ok(Self { tools, video, incoming, run })
    }

    /// Whether the file is still being downloaded.
    pub fn is_incoming(&self) -> bool {
        self.incoming.is_some()
    }

    /// Number of frames to track.
    pub fn n_frames(&self) -> u64 {
        (self.run.to - self.run.from).div_ceil(self.run.every)
    }
}
