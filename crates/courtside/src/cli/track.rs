//! `courtside track`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;
use jobs::manifest::{DEFAULT_MAX_MISSING, DEFAULT_PROMPT};
use sam3::Compat;

use super::model_args::{EngineArgs, ModelArgs};
use super::values::{fraction, positive, seconds};
use client::atomic_file::{check_name, folder_of};
use client::export::check_video_name;
use client::failure::{Failure, Kind, Outcome};
use client::stop::Stop;
use client::terminal::{counted, notify};
use worker::engine::Engine;
use worker::model_folder;
use worker::track::{Source, TrackRequest, results_of_other_video, track_to_files};

/// Default of `--max-tracks`: far more than there are players on a court, but few enough that a model that detects
/// something everywhere does not exhaust the machine.
pub(super) const DEFAULT_MAX_TRACKS: usize = 100;

const OUTPUT: &str = "Output";
const TRACKING: &str = "Tracking";
const CHECKPOINTS: &str = "Checkpoints";

/// Track a video on this machine
///
/// On Ctrl-C, the command finishes the current frame, writes the results so far and exits. With --checkpoint, running
/// the same command again resumes there, and the final results are the same as those of an uninterrupted run.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Video file
    video: PathBuf,
    /// Phrase that describes what to track (repeatable)
    #[arg(
        long = "prompt", value_name = "PHRASE", env = "SAM3_PROMPT", default_value = DEFAULT_PROMPT,
        help_heading = TRACKING
    )]
    prompts: Vec<String>,
    /// Video stream to track, of a file with several, as ffmpeg numbers them [default: the one that players show]
    #[arg(long, value_name = "N", help_heading = TRACKING)]
    stream: Option<u32>,
    /// Track only every Nth frame
    #[arg(
        long, alias = "sample-interval", value_name = "N", default_value_t = 1, help_heading = TRACKING,
        value_parser = clap::value_parser!(u64).range(1..)
    )]
    every: u64,
    /// First frame to track, counted from 0
    #[arg(long, value_name = "FRAME", default_value_t = 0, help_heading = TRACKING)]
    from: u64,
    /// Last frame to track [default: the last frame of the video]
    #[arg(long, value_name = "FRAME", help_heading = TRACKING)]
    to: Option<u64>,
    /// Largest number of tracks at the same time, to limit memory and time [default: 100]
    ///
    /// When the limit is reached, tracks that have had no matching detection for long are replaced by new detections,
    /// the most confident first. With --compat reference, the default is the model's own limit.
    #[arg(long, alias = "max-objects", value_name = "N", value_parser = positive, help_heading = TRACKING)]
    max_tracks: Option<usize>,
    /// Drop a track after this many frames without a matching detection (0: never)
    #[arg(long, value_name = "FRAMES", default_value_t = sam3::DEFAULT_RETIRE_AFTER, help_heading = TRACKING)]
    retire_after: usize,
    /// Fail if a larger share of the frames cannot be decoded
    #[arg(
        long, value_name = "0..1", default_value_t = DEFAULT_MAX_MISSING, value_parser = fraction,
        help_heading = TRACKING
    )]
    max_missing: f64,
    /// When to report a frame
    #[arg(long, value_enum, default_value_t = ModeArg::Offline, help_heading = TRACKING)]
    mode: ModeArg,
    /// Which implementation to agree with
    #[arg(long, value_enum, default_value_t = CompatArg::Fixed, help_heading = TRACKING)]
    compat: CompatArg,
    /// Write the results to this JSON file
    ///
    /// The results of an earlier run of the same video are replaced. Those of another video are not, unless --force is
    /// given.
    #[arg(long, value_name = "FILE", default_value = "tracks.json", help_heading = OUTPUT)]
    out: PathBuf,
    /// Replace the results of another video
    #[arg(long, help_heading = OUTPUT)]
    force: bool,
    /// Also write a copy of the video with boxes and track numbers
    #[arg(long, value_name = "FILE.mp4", help_heading = OUTPUT)]
    annotated: Option<PathBuf>,
    /// Also write MOT Challenge text, with frames counted from 1
    #[arg(long, value_name = "FILE", help_heading = OUTPUT)]
    mot: Option<PathBuf>,
    /// Also write raw masks and scores, to compare implementations
    ///
    /// The file is in safetensors format, with {t}.ids, {t}.low_res_masks and {t}.scores for each frame t.
    #[arg(long, value_name = "FILE.safetensors", conflicts_with = "checkpoint", help_heading = OUTPUT)]
    dump: Option<PathBuf>,
    /// Save the state of the run in this file, to resume it later
    ///
    /// Detections are saved next to it, in FILE.detections. Both files are deleted when the run is complete.
    #[arg(long, value_name = "FILE", help_heading = CHECKPOINTS)]
    checkpoint: Option<PathBuf>,
    /// Time between checkpoints
    #[arg(
        long, value_name = "SECONDS", default_value_t = 60.0, value_parser = seconds, requires = "checkpoint",
        help_heading = CHECKPOINTS
    )]
    checkpoint_interval: f64,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    engine: EngineArgs,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ModeArg {
    /// After a delay of a few frames, without tracks that turned out to be wrong
    Offline,
    /// Immediately
    Streaming,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum CompatArg {
    /// The Python implementation, with flaws that affect users fixed
    Fixed,
    /// The Python implementation, including its flaws
    Reference,
    /// The Python implementation with its CUDA kernels installed
    ReferenceKernels,
}

impl Args {
    pub(super) fn run(self, json: bool) -> Outcome<()> {
        let engine_options = self.engine.into();
        let model_folder = self.model.model.clone();
        let replaces_others = self.force;
        let request = self.into_request();
        check_outputs(&request)?;
        let source = Source::open(&request)?;
        if !replaces_others {
            check_replaced(&request, &source)?;
        }
        let engine = Engine::open(engine_options)?;
        let folder = model_folder::find(model_folder.as_deref())?;
        let model = Arc::new(engine.load(&folder)?);
        if engine.is_gpu() {
            notify(format!("tracking on {}", engine.describe()));
        }
        // Ctrl-C before this point ends the program immediately, since there is nothing to save.
        let stop = Stop::on_signal("finishing this frame and saving")?;
        let hint = match &request.checkpoint {
            Some(_) => "run the same command again to resume",
            None => "add --checkpoint FILE to make a run resumable",
        };
        let summary =
            track_to_files(&request, source, model, &stop).map_err(|failure| match failure.kind {
                Kind::Interrupted => failure.hint(hint),
                _ => failure,
            })?;
        super::print(&summary, json)?;
        if !summary.interrupted {
            return Ok(());
        }
        let message =
            format!("tracked {}; partial results are written", counted(summary.frames_processed, "frame"));
        Err(Failure::msg(Kind::Interrupted, message).hint(hint))
    }

    fn into_request(self) -> TrackRequest {
        TrackRequest {
            video: self.video,
            stream: self.stream,
            prompts: self.prompts,
            out: self.out,
            annotated: self.annotated,
            mot: self.mot,
            dump: self.dump,
            checkpoint: self.checkpoint,
            checkpoint_interval: Duration::from_secs_f64(self.checkpoint_interval),
            from: self.from,
            to: self.to,
            max_seconds: None,
            max_missing: self.max_missing,
            every: self.every,
            streaming: matches!(self.mode, ModeArg::Streaming),
            compat: match self.compat {
                CompatArg::Fixed => Compat::Fixed,
                CompatArg::Reference => Compat::Reference,
                CompatArg::ReferenceKernels => Compat::ReferenceKernels,
            },
            max_objects: self
                .max_tracks
                .or(matches!(self.compat, CompatArg::Fixed).then_some(DEFAULT_MAX_TRACKS)),
            retire_after: (self.retire_after > 0).then_some(self.retire_after),
        }
    }
}

/// Rejects output files that could not be written at the end of the run, or that would overwrite the video.
fn check_outputs(request: &TrackRequest) -> Outcome<()> {
    let video = request.video.canonicalize().ok();
    let mut outputs: Vec<PathBuf> = Vec::new();
    for path in request.files() {
        let cannot_write = |reason: &str| {
            let message = format!("cannot write {}: {reason}", path.display());
            Err(Failure::msg(Kind::Failed, message).hint("choose another file name"))
        };
        check_name(&path)?;
        if video.is_some() && path.canonicalize().ok() == video {
            return cannot_write("it is the input video");
        }
        let absolute = folder_of(&path).canonicalize()?.join(path.file_name().unwrap_or_default());
        if outputs.contains(&absolute) {
            return cannot_write("it is named for two outputs");
        }
        outputs.push(absolute);
    }
    request.annotated.as_deref().map_or(Ok(()), check_video_name)
}

/// Rejects an output file that has the results of another video.
fn check_replaced(request: &TrackRequest, source: &Source) -> Outcome<()> {
    let Some(other) = results_of_other_video(request, source)? else { return Ok(()) };
    let (out, video) = (request.out.display(), request.video.display());
    let message = format!("{out} has the results of another video or stream ({other}), not of {video}");
    let stem = request.video.file_stem().unwrap_or_default().to_string_lossy();
    let hint = format!("write to another file with --out {stem}-tracks.json, or replace it with --force");
    Err(Failure::msg(Kind::Failed, message).hint(hint))
}
