//! What a run is asked for: the request, and the video it is about.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jobs::manifest::frames_within;
use sam3::Compat;
use video::{GrowingFile, Limits, Tools, Video};

use super::checkpoint::{RunIdentity, VideoIdentity, spool_path};
use super::incoming::{IncomingVideo, Waited};
use client::failure::{Failure, Kind, Outcome};
use client::stop::Stop;

/// What to track and where to put it.
#[derive(Debug, Clone)]
pub struct Request {
    /// The video file.
    pub video: PathBuf,
    /// What to track.
    pub prompts: Vec<String>,
    /// Results in JSON.
    pub out: PathBuf,
    /// Video with boxes.
    pub annotated: Option<PathBuf>,
    /// MOT Challenge text.
    pub mot: Option<PathBuf>,
    /// Raw outputs.
    pub dump: Option<PathBuf>,
    /// State to continue from.
    pub checkpoint: Option<PathBuf>,
    /// Time between checkpoints.
    pub checkpoint_interval: Duration,
    /// First source frame.
    pub from: u64,
    /// Last source frame; `None` for the video's last.
    pub to: Option<u64>,
    /// Only so much of the beginning of the video, in seconds.
    pub max_seconds: Option<f64>,
    /// Frames from one tracked frame to the next, at least 1.
    pub every: u64,
    /// Whether to report every frame at once and withdraw nothing.
    pub streaming: bool,
    /// Which quirks of the reference to keep.
    pub compat: Compat,
    /// Most objects at a time.
    pub max_objects: Option<usize>,
    /// Unconfirmed frames after which an object is retired; `None` for never.
    pub retire_after: Option<usize>,
}

impl Request {
    /// Every file that the run writes.
    pub fn files(&self) -> Vec<PathBuf> {
        let spool = self.checkpoint.as_deref().map(spool_path);
        let optional = [&self.annotated, &self.mot, &self.dump, &self.checkpoint, &spool];
        [&self.out].into_iter().chain(optional.into_iter().flatten()).cloned().collect()
    }
}

/// An opened video and which of its frames are wanted.
#[derive(Clone)]
pub struct Source {
    pub(super) tools: Tools,
    pub(super) video: Video,
    pub(super) arriving: Option<(Arc<GrowingFile>, Arc<IncomingVideo>)>,
    pub(super) run: RunIdentity,
}

impl Source {
    /// Opens the video of a request and checks its frame range.
    pub fn open(request: &Request) -> Outcome<Self> {
        let tools = Tools::find()?;
        let video = Video::open(&tools, &request.video, &Limits::default())?;
        Self::of(request, tools, video, None)
    }

    /// The same with a file that is still arriving: waits until its frames can be told apart, or else until it is
    /// whole. `None` if it never came, or nobody wants it.
    pub fn open_arriving(
        request: &Request,
        arrival: &Arc<IncomingVideo>,
        stop: &Stop,
    ) -> Outcome<Option<Self>> {
        let tools = Tools::find()?;
        let open = |partial: PathBuf| GrowingFile::open(&tools, &partial, &Limits::default());
        let seen = arrival.wait_for_ends(stop).and_then(open);
        // It says how long it is; so did whoever saw it whole.
        match seen.filter(|arriving| arrival.n_frames() == Some(arriving.video().n_frames())) {
            Some(arriving) => {
                let video = arriving.video().clone();
                Self::of(request, tools, video, Some((Arc::new(arriving), arrival.clone()))).map(Some)
            }
            None if arrival.wait_for_all(stop) == Waited::Whole => {
                arrival.verify();
                Self::open(request).map(Some)
            }
            None => Ok(None),
        }
    }

    fn of(
        request: &Request,
        tools: Tools,
        video: Video,
        arriving: Option<(Arc<GrowingFile>, Arc<IncomingVideo>)>,
    ) -> Outcome<Self> {
        let n_frames = video.n_frames();
        let to = request.to.map_or(n_frames, |last| last.saturating_add(1).min(n_frames));
        let to = request.max_seconds.map_or(to, |seconds| to.min(frames_within(seconds, video.fps())));
        if request.from >= to {
            let (name, last) = (request.video.display(), n_frames.saturating_sub(1));
            let wanted = match request.to {
                Some(to) => format!("from {} to {to}", request.from),
                None => format!("from {}", request.from),
            };
            let message = format!("{name} has frames 0 to {last}: none {wanted}");
            return Err(Failure::msg(Kind::Failed, message).hint("choose other --from and --to"));
        }
        let identity = VideoIdentity::of(video.path())?;
        let run = RunIdentity { video: identity, from: request.from, to, every: request.every };
        Ok(Self { tools, video, arriving, run })
    }

    /// Whether the file is not all there yet.
    pub fn is_arriving(&self) -> bool {
        self.arriving.is_some()
    }

    /// Number of frames that will be tracked.
    pub fn n_frames(&self) -> u64 {
        (self.run.to - self.run.from).div_ceil(self.run.every)
    }
}
