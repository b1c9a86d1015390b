//! `courtside bench`: the speed and memory of this machine. `layers` and `verify` are its other modes.

mod config;
mod layers;
mod report;
mod verify;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use sam3::bench::{frame_stages, matmul_gflops};
use sam3::device::memory;
use sam3::{Frame, Mode, Model, Session, SessionOptions};

use super::model_args::EngineArgs;
use client::failure::Outcome;
use client::progress::Progress;
use client::terminal::{counted, notify};
use report::{FrameTimes, Report, Table};
use worker::engine::Engine;
use worker::failure::EngineResult;

/// Measure how fast this machine tracks
///
/// Measures every stage of a frame and the peak memory, by default with random weights, so no model is necessary. The
/// work on the host between the stages is not included, except in --frames. The peak memory is that of the entire run,
/// including the largest number of tracks.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Size of the model: `real` (as facebook/sam3), `tiny`, or a config.json
    ///
    /// One frame with the real model takes minutes on a CPU.
    #[arg(long, value_name = "real|tiny|FILE", default_value = "real")]
    config: String,
    /// Measure with the weights in this model folder, and also measure the time to the first frame
    #[arg(long, value_name = "DIR", conflicts_with = "config")]
    model: Option<PathBuf>,
    /// Number of tracks to measure with; several numbers give a table each
    #[arg(long, alias = "objects", value_name = "N,N,...", value_delimiter = ',', default_value = "1")]
    tracks: Vec<usize>,
    /// Also track this many complete frames, after as many as fill the memory banks
    #[arg(long, value_name = "N", default_value_t = 0)]
    frames: usize,
    /// Measure each stage this many times and report the best
    #[arg(long, value_name = "N", default_value_t = 1)]
    repeat: usize,
    #[command(flatten)]
    engine: EngineArgs,
    /// Only compare Courtside's GPU kernels with the plain operations; fail if one is wrong
    #[arg(
        long, conflicts_with_all = ["config", "tracks", "frames", "model", "layers", "repeat"],
        help_heading = OTHER_MODES
    )]
    verify: bool,
    /// With --verify: exit when standard input is closed. Used by the check of `--kernels auto`.
    #[arg(long, alias = "on-trial", hide = true, requires = "verify")]
    exit_with_stdin: bool,
    /// Only measure single layers of the real model, to compare with other implementations
    #[arg(long, conflicts_with_all = ["config", "tracks", "frames", "model"], help_heading = OTHER_MODES)]
    layers: bool,
    /// With --layers, also track the clip of this parity fixture
    #[arg(long, value_name = "DIR", requires = "layers", help_heading = OTHER_MODES)]
    clip: Option<PathBuf>,
}

const OTHER_MODES: &str = "Other modes";

impl Args {
    pub(super) fn run(self, json: bool) -> Outcome<()> {
        if self.layers {
            return layers::run(&self, json);
        }
        if self.verify {
            return verify::run(&self, json);
        }
        let started = Instant::now();
        let engine = Engine::open(self.engine.into())?;
        let (model, name) = self.load(&engine)?;
        let first_frame_ms = match &self.model {
            Some(_) => {
                track_first_frame(&model)?;
                Some(started.elapsed().as_secs_f64() * 1e3)
            }
            None => None,
        };
        let gflops = matmul_gflops(&engine.device, engine.precision).or_failure()?;
        let mut tables = Vec::new();
        for &n_tracks in &self.tracks {
            notify(format!("measuring with {} ...", counted(n_tracks, "track")));
            let stages = frame_stages(&model, n_tracks, self.repeat).or_failure()?;
            let frames = match self.frames {
                0 => None,
                n => Some(track_frames(&model, n_tracks, n)?),
            };
            tables.push(Table::new(n_tracks, &stages, frames, gflops));
        }
        let report = Report {
            config: name,
            device: engine.describe(),
            kernels: engine.kernels(),
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            matmul_gflops: gflops,
            peak_memory_bytes: report::peak_memory_bytes(),
            device_memory_bytes: memory(&engine.device).map(|memory| memory.peak),
            first_frame_ms,
            tables,
        };
        super::print(&report, json)
    }

    /// The model to measure, and its name in the report.
    fn load(&self, engine: &Engine) -> Outcome<(Arc<Model>, String)> {
        if let Some(folder) = &self.model {
            return Ok((Arc::new(engine.load(folder)?), folder.display().to_string()));
        }
        notify(format!("creating random weights for the {} model ...", self.config));
        Ok((Arc::new(engine.random(config::read(&self.config)?)?), self.config.clone()))
    }
}

/// Tracks one 1080p frame in a new session, as a job does first.
fn track_first_frame(model: &Arc<Model>) -> Outcome<()> {
    let options = SessionOptions::new(Mode::Streaming, (1080, 1920));
    let mut session = Session::new(model.clone(), &["basketball player"], options).or_failure()?;
    session.push(Frame::Rgb(&vec![127; 1080 * 1920 * 3])).or_failure()?;
    Ok(())
}

/// Tracks `n` complete frames with `n_tracks` tracks, after a warm-up.
fn track_frames(model: &Arc<Model>, n_tracks: usize, n: usize) -> Outcome<FrameTimes> {
    let total = n + sam3::bench::warm_up(model);
    let mut progress = Progress::start("tracking", 0, total as u64);
    let frames = sam3::bench::frames(model, n_tracks, n, |t| {
        progress.update(t as u64, &counted(n_tracks, "track"));
    })
    .or_failure()?;
    progress.finish();
    Ok(FrameTimes::new(&frames))
}
