//! `courtside track`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;
use jobs::manifest::DEFAULT_PROMPT;
use sam3::Compat;

use super::engine_args::EngineArgs;
use client::atomic_file::{check_name, folder_of};
use client::failure::{Failure, Kind, Outcome};
use client::stop::Stop;
use client::terminal::notify;
use worker::engine::Engine;
use worker::model_folder;
use worker::track::{Request, Source, run as track};

/// Far more than are on any court; a model that sees objects everywhere must not take the machine down.
const DEFAULT_MAX_OBJECTS: usize = 100;

/// Tracks everything that a phrase names through a video, on this machine.
///
/// Ctrl-C finishes the frame and writes what there is; with --checkpoint, the same command goes on from
/// there, and the final files are the same as of a run that was never stopped.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The video file.
    video: PathBuf,
    /// Folder of a SAM3 checkpoint. Without it: CLOUD_MODEL_PATH, /models/sam3, the Hugging Face cache, and
    /// at last a download of facebook/sam3 with HF_TOKEN.
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// What to track; several phrases are tracked side by side.
    #[arg(long = "prompt", value_name = "PHRASE", env = "SAM3_PROMPT", default_value = DEFAULT_PROMPT)]
    prompts: Vec<String>,
    /// Results in JSON.
    #[arg(long, value_name = "FILE", default_value = "tracks.json")]
    out: PathBuf,
    /// Also writes a copy of the video with boxes and ids.
    #[arg(long, value_name = "FILE.mp4")]
    annotated: Option<PathBuf>,
    /// Also writes MOT Challenge text (frames from 1).
    #[arg(long, value_name = "FILE")]
    mot: Option<PathBuf>,
    /// Tracks every N-th frame only.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    every: u64,
    /// First frame, from 0.
    #[arg(long, value_name = "F", default_value_t = 0)]
    from: u64,
    /// Last frame; the video's last if not given.
    #[arg(long, value_name = "F")]
    to: Option<u64>,
    /// Most objects at a time, which bounds memory and time in a crowd. Objects long unconfirmed give way to
    /// new ones; of new ones the surest are taken. 100 if not given, and the checkpoint's own limit with
    /// --compat reference.
    #[arg(long, value_name = "N", value_parser = positive)]
    max_objects: Option<usize>,
    /// Gives an object up after so many tracked frames without any detection of it; 0 never does.
    #[arg(long, value_name = "FRAMES", default_value_t = sam3::DEFAULT_RETIRE_AFTER)]
    retire_after: usize,
    /// Keeps the state of the run in this file (and detections beside it), so that it can be stopped and
    /// continued.
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
    /// Seconds between checkpoints.
    #[arg(long, value_name = "SECONDS", default_value_t = 60.0, value_parser = seconds, requires = "checkpoint")]
    checkpoint_interval: f64,
    /// `offline` waits a few frames before it reports one, and withdraws tracks that turn out wrong;
    /// `streaming` reports every frame at once and withdraws nothing.
    #[arg(long, value_enum, default_value_t = ModeArg::Offline)]
    mode: ModeArg,
    /// `reference` reproduces the Python implementation, flaws included; `reference-kernels` does so as
    /// with its CUDA kernels installed.
    #[arg(long, value_enum, default_value_t = CompatArg::Fixed)]
    compat: CompatArg,
    #[command(flatten)]
    engine: EngineArgs,
    /// Writes raw masks and scores for comparison with another implementation: safetensors with {t}.ids,
    /// {t}.low_res_masks and {t}.scores for each frame t.
    #[arg(long, value_name = "FILE.safetensors", conflicts_with = "checkpoint")]
    dump: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ModeArg {
    Offline,
    Streaming,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum CompatArg {
    Fixed,
    Reference,
    ReferenceKernels,
}

/// Runs the command.
pub(super) fn run(args: Args, json: bool) -> Outcome<()> {
    let engine_args = args.engine;
    let model_folder = args.model.clone();
    let request = request(args);
    check_outputs(&request)?;
    let source = Source::open(&request)?;
    let engine = Engine::open(engine_args.into())?;
    let folder = model_folder::find(model_folder.as_deref())?;
    let model = Arc::new(engine.load(&folder)?);
    if engine.is_gpu() {
        notify(format!("tracking on {}", engine.describe()));
    }
    // Until here nothing is lost by ending at once.
    let stop = Stop::on_signal()?;
    let go_on = match &request.checkpoint {
        Some(_) => "run the same command again to go on from here",
        None => "next time add --checkpoint FILE, and the same command goes on where it was stopped",
    };
    let summary = track(&request, source, model, &stop).map_err(|failure| match failure.kind {
        Kind::Interrupted => failure.hint(go_on),
        _ => failure,
    })?;
    super::print(&summary, json)?;
    if !summary.interrupted {
        return Ok(());
    }
    let message = format!("after {} frames; the files hold what there is", summary.frames_processed);
    Err(Failure::msg(Kind::Interrupted, message).hint(go_on))
}

fn request(args: Args) -> Request {
    Request {
        video: args.video,
        prompts: args.prompts,
        out: args.out,
        annotated: args.annotated,
        mot: args.mot,
        dump: args.dump,
        checkpoint: args.checkpoint,
        checkpoint_interval: Duration::from_secs_f64(args.checkpoint_interval),
        from: args.from,
        to: args.to,
        max_seconds: None,
        every: args.every,
        streaming: matches!(args.mode, ModeArg::Streaming),
        compat: match args.compat {
            CompatArg::Fixed => Compat::Fixed,
            CompatArg::Reference => Compat::Reference,
            CompatArg::ReferenceKernels => Compat::ReferenceKernels,
        },
        max_objects: args
            .max_objects
            .or(matches!(args.compat, CompatArg::Fixed).then_some(DEFAULT_MAX_OBJECTS)),
        retire_after: (args.retire_after > 0).then_some(args.retire_after),
    }
}

/// Refuses file names that would fail after an hour of tracking, or overwrite the video.
fn check_outputs(request: &Request) -> Outcome<()> {
    let video = request.video.canonicalize().ok();
    let mut seen: Vec<PathBuf> = Vec::new();
    for path in request.files() {
        let wrong = |what: &str| Err(Failure::msg(Kind::Failed, format!("{}: {what}", path.display())));
        check_name(&path)?;
        if video.is_some() && path.canonicalize().ok() == video {
            return wrong("is the video itself; choose another name");
        }
        let place = folder_of(&path).canonicalize()?.join(path.file_name().unwrap_or_default());
        if seen.contains(&place) {
            return wrong("is named twice; give every output its own file");
        }
        seen.push(place);
    }
    Ok(())
}

fn positive(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|&n: &usize| n > 0)
        .ok_or_else(|| "must be a whole number of at least 1".to_owned())
}

pub(super) fn seconds(text: &str) -> Result<f64, String> {
    let fits = |s: &f64| s.is_finite() && (0.0..=86_400.0).contains(s);
    text.parse().ok().filter(fits).ok_or_else(|| "must be a number of seconds from 0 to 86400".to_owned())
}
