//! `courtside bench`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;
use worker::failure::EngineResult;

use sam3::bench::{Frames, Stage, Verified, frame_stages, matmul_gflops, real_layers, verify_kernels};
use sam3::device::{DeviceMemory, memory};
use sam3::{Frame, Mode, Model, Session, SessionOptions, VideoConfig};
use serde::Serialize;

use super::engine_args::EngineArgs;
use client::failure::{Failure, Kind, Outcome};
use client::progress::Progress;
use client::terminal::notify;
use worker::engine::Engine;
use worker::kernel_trial;

/// Measures this machine: milliseconds of every stage of a frame, frames per second and peak memory, with
/// random weights made in memory. The decisions between the stages are not counted; peak memory is that of
/// the whole run, the largest count of objects included.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// `real` (facebook/sam3), `tiny`, or a config.json. One frame at the real configuration is minutes of
    /// work for a CPU.
    #[arg(long, value_name = "real|tiny|FILE", default_value = "real")]
    config: String,
    /// Objects with full memory banks; several counts give a table.
    #[arg(long, value_name = "N,N,...", value_delimiter = ',', default_value = "1")]
    objects: Vec<usize>,
    /// Also tracks so many whole frames with each count of objects, after enough to fill the memory banks.
    #[arg(long, value_name = "N", default_value_t = 0)]
    frames: usize,
    /// A checkpoint's weights instead of random ones; then the time to the first frame is measured, too.
    #[arg(long, value_name = "DIR", conflicts_with = "config")]
    model: Option<PathBuf>,
    /// Compares every fused kernel with the plain operation on the GPU instead, and fails if one is wrong.
    #[arg(long, conflicts_with_all = ["config", "objects", "frames", "model", "layers", "repeat"])]
    verify: bool,
    /// With --verify: end as soon as the input does.
    #[arg(long, hide = true, requires = "verify")]
    on_trial: bool,
    /// Runs of each stage; the best counts.
    #[arg(long, value_name = "N", default_value_t = 1)]
    repeat: usize,
    #[command(flatten)]
    engine: EngineArgs,
    /// Times single layers at the real configuration instead, for comparison with other implementations.
    #[arg(long, conflicts_with_all = ["config", "objects", "frames", "model"])]
    layers: bool,
    /// With --layers: also tracks the clip of a parity fixture from its frames to its masks.
    #[arg(long, value_name = "DIR", requires = "layers")]
    clip: Option<PathBuf>,
}

/// Runs the command.
pub(super) fn run(args: &Args, json: bool) -> Outcome<()> {
    if args.layers {
        return layers(args, json);
    }
    if args.verify {
        return verify(args, json);
    }
    let began = Instant::now();
    let engine = Engine::open(args.engine.into())?;
    let (model, name) = model(args, &engine)?;
    let first_frame_ms = match &args.model {
        Some(_) => {
            first_frame(&model)?;
            Some(began.elapsed().as_secs_f64() * 1e3)
        }
        None => None,
    };
    let gflops = matmul_gflops(&engine.device, engine.precision).or_failure()?;
    let mut counts = Vec::new();
    for &n_objects in &args.objects {
        notify(format!("measuring {n_objects} objects ..."));
        let stages = frame_stages(&model, n_objects, args.repeat).or_failure()?;
        let whole = match args.frames {
            0 => None,
            n => Some(frames(&model, n_objects, n)?),
        };
        counts.push(Count { frames: whole, ..Count::new(n_objects, &stages, gflops) });
    }
    let report = Report {
        config: name,
        device: engine.describe(),
        kernels: engine.kernels(),
        threads: std::thread::available_parallelism().map_or(1, usize::from),
        matmul_gflops: gflops,
        peak_memory_bytes: peak_memory_bytes(),
        device_memory_bytes: memory(&engine.device).map(|memory| memory.peak),
        first_frame_ms,
        counts,
    };
    super::print(&report, json)
}

/// The weights to run, and what they are called.
fn model(args: &Args, engine: &Engine) -> Outcome<(Arc<Model>, String)> {
    if let Some(folder) = &args.model {
        return Ok((Arc::new(engine.load(folder)?), folder.display().to_string()));
    }
    notify(format!("making random weights of {} ...", args.config));
    Ok((Arc::new(engine.random(config(&args.config)?)?), args.config.clone()))
}

/// One frame, as the first of a job.
fn first_frame(model: &Arc<Model>) -> Outcome<()> {
    let options = SessionOptions::new(Mode::Streaming, (1080, 1920));
    let mut session = Session::new(model.clone(), &["basketball player"], options).or_failure()?;
    session.push(Frame::Rgb(&vec![127; 1080 * 1920 * 3])).or_failure()?;
    Ok(())
}

/// Whole frames of a video with so many objects.
fn frames(model: &Arc<Model>, n_objects: usize, n: usize) -> Outcome<FrameTimes> {
    let total = n + sam3::bench::warm_up(model);
    let mut progress = Progress::start("tracking", 0, total as u64);
    let frames = sam3::bench::frames(model, n_objects, n, |t| {
        progress.update(t as u64, &format!("{n_objects} objects"));
    })
    .or_failure()?;
    progress.finish();
    Ok(FrameTimes::of(&frames))
}

/// The configuration that a name or file stands for.
fn config(name: &str) -> Outcome<VideoConfig> {
    match name {
        "real" => Ok(VideoConfig::default()),
        "tiny" => Ok(tiny()),
        path => VideoConfig::from_file(Path::new(path)).or_failure(),
    }
}

/// The real configuration at an eighth of the picture's side and a few layers.
fn tiny() -> VideoConfig {
    let mut config = VideoConfig::default();
    let grid = 8;
    let detector = &mut config.detector_config;
    let vit = &mut detector.vision_config.backbone_config;
    (vit.hidden_size, vit.intermediate_size, vit.num_hidden_layers, vit.num_attention_heads) =
        (96, 192, 4, 4);
    (vit.image_size, vit.window_size, vit.global_attn_indexes) = (grid * vit.patch_size, 4, vec![1, 3]);
    vit.pretrain_image_size = 4 * vit.patch_size;
    detector.vision_config.backbone_feature_sizes = [4, 2, 1].map(|s| [s * grid; 2]).to_vec();
    let text = &mut detector.text_config;
    (text.hidden_size, text.intermediate_size, text.num_hidden_layers, text.num_attention_heads) =
        (64, 128, 2, 4);
    detector.detr_encoder_config.num_layers = 2;
    detector.detr_decoder_config.num_layers = 2;
    let tracker = &mut config.tracker_config;
    tracker.vision_config = detector.vision_config.clone();
    tracker.prompt_encoder_config.image_size = detector.vision_config.backbone_config.image_size;
    tracker.memory_attention_rope_feat_sizes = Some([grid; 2]);
    tracker.memory_attention_num_layers = 2;
    config.low_res_mask_size = 4 * grid;
    config
}

/// The stages at one object count.
#[derive(Debug, Serialize)]
struct Count {
    objects: usize,
    ms_per_frame: f64,
    fps: f64,
    /// Whole frames, if they were asked for.
    frames: Option<FrameTimes>,
    stages: Vec<StageRow>,
}

/// Whole frames, one after the other.
#[derive(Debug, Serialize)]
struct FrameTimes {
    n: usize,
    median_ms: f64,
    p95_ms: f64,
    fps: f64,
    device_memory: Vec<MemoryAt>,
}

#[derive(Debug, Serialize)]
struct MemoryAt {
    frame: usize,
    bytes: u64,
}

impl FrameTimes {
    fn of(frames: &Frames) -> Self {
        let mut sorted = frames.ms.clone();
        sorted.sort_by(f64::total_cmp);
        let at = |share: f64| sorted[((sorted.len() - 1) as f64 * share) as usize];
        let n = sorted.len();
        let memory_at =
            |&(frame, DeviceMemory { used, .. }): &(usize, DeviceMemory)| MemoryAt { frame, bytes: used };
        Self {
            n,
            median_ms: at(0.5),
            p95_ms: at(0.95),
            fps: 1e3 * n as f64 / frames.ms.iter().sum::<f64>(),
            device_memory: frames.memory.iter().map(memory_at).collect(),
        }
    }
}

#[derive(Debug, Serialize)]
struct StageRow {
    name: &'static str,
    ms: f64,
    gflop: f64,
    gflops: f64,
    /// Share of the measured rate of a large matrix product.
    share_of_matmul: f64,
}

impl Count {
    fn new(objects: usize, stages: &[Stage], matmul: f64) -> Self {
        let ms_per_frame: f64 = stages.iter().map(|s| s.ms).sum();
        let row = |s: &Stage| {
            let gflops = s.gflop / s.ms * 1e3;
            StageRow { name: s.name, ms: s.ms, gflop: s.gflop, gflops, share_of_matmul: gflops / matmul }
        };
        Self {
            objects,
            ms_per_frame,
            fps: 1e3 / ms_per_frame,
            frames: None,
            stages: stages.iter().map(row).collect(),
        }
    }
}

#[derive(Debug, Serialize)]
struct Report {
    config: String,
    device: String,
    /// Which kernels an NVIDIA GPU ran: `fused` or `library`.
    kernels: Option<&'static str>,
    threads: usize,
    matmul_gflops: f64,
    peak_memory_bytes: Option<u64>,
    /// The most that tensors took of a GPU.
    device_memory_bytes: Option<u64>,
    /// From the beginning of the command to the first frame's boxes, with a checkpoint's weights.
    first_frame_ms: Option<f64>,
    counts: Vec<Count>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (config, device, threads) = (&self.config, &self.device, self.threads);
        let matmul = self.matmul_gflops;
        let kernels = self.kernels.map_or_else(String::new, |kernels| format!(", {kernels} kernels"));
        writeln!(
            f,
            "{config} configuration, {device}{kernels}, {threads} threads, matrix product {matmul:.0} GFLOP/s"
        )?;
        for count in &self.counts {
            writeln!(
                f,
                "\n{:<18} {:>11} {:>10} {:>9} {:>10}",
                "STAGE", "MS", "GFLOP", "GFLOP/S", "OF MATMUL"
            )?;
            for s in &count.stages {
                let share = 100.0 * s.share_of_matmul;
                writeln!(
                    f,
                    "{:<18} {:>11.1} {:>10.2} {:>9.0} {share:>9.0}%",
                    s.name, s.ms, s.gflop, s.gflops
                )?;
            }
            let (n, ms, fps) = (count.objects, count.ms_per_frame, count.fps);
            writeln!(f, "{n} objects: {ms:.1} ms a frame, {fps:.3} fps")?;
            if let Some(FrameTimes { n, median_ms, p95_ms, fps, .. }) = &count.frames {
                writeln!(f, "{n} whole frames: median {median_ms:.1} ms, p95 {p95_ms:.1} ms, {fps:.3} fps")?;
            }
        }
        if let Some(ms) = self.first_frame_ms {
            writeln!(f, "\nfirst frame after {:.2} s", ms / 1e3)?;
        }
        if let Some(bytes) = self.device_memory_bytes {
            writeln!(f, "\npeak GPU memory {:.2} GB", bytes as f64 / 1e9)?;
        }
        match self.peak_memory_bytes {
            Some(bytes) => writeln!(f, "\npeak memory {:.2} GB", bytes as f64 / 1e9),
            None => Ok(()),
        }
    }
}

/// Largest resident size of this process, where the system tells.
fn peak_memory_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|l| l.starts_with("VmHWM:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}

/// Kernels beside the plain operations.
#[derive(Debug, Serialize)]
struct Verification {
    device: String,
    kernels: Vec<KernelRow>,
}

#[derive(Debug, Serialize)]
struct KernelRow {
    name: String,
    off: f32,
    allowed: f32,
    passed: bool,
}

impl fmt::Display for Verification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.device)?;
        writeln!(f, "{:<64} {:>9} {:>9}", "KERNEL", "OFF BY", "ALLOWED")?;
        self.kernels.iter().try_for_each(|k| {
            let verdict = if k.passed { "" } else { "  WRONG" };
            writeln!(f, "{:<64} {:>9.1e} {:>9.1e}{verdict}", k.name, k.off, k.allowed)
        })
    }
}

fn verify(args: &Args, json: bool) -> Outcome<()> {
    if args.on_trial {
        kernel_trial::end_with_input();
    }
    let engine = Engine::open(args.engine.into())?;
    let row = |v: Verified| KernelRow { passed: v.passed(), name: v.name, off: v.off, allowed: v.allowed };
    let kernels: Vec<KernelRow> = verify_kernels(&engine.device).or_failure()?.into_iter().map(row).collect();
    if kernels.is_empty() {
        let message = format!("{} runs no kernels of courtside's", engine.describe());
        return Err(Failure::msg(Kind::Config, message)
            .hint("a build for CUDA on a machine with an NVIDIA GPU has some: scripts/cuda/build_cuda.sh"));
    }
    let wrong: Vec<&str> = kernels.iter().filter(|k| !k.passed).map(|k| k.name.as_str()).collect();
    let wrong = wrong.join("; ");
    super::print(&Verification { device: engine.describe(), kernels }, json)?;
    if wrong.is_empty() {
        return Ok(());
    }
    let message = format!("kernels that disagree with the plain operation: {wrong}");
    Err(Failure::msg(Kind::Failed, message)
        .hint("--kernels auto and library do without them on this GPU; please report it"))
}

/// Single layers, as a name and milliseconds each.
#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Layers(std::collections::BTreeMap<String, f64>);

impl fmt::Display for Layers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(name, ms)| writeln!(f, "{name:<22} {ms:>10.1} ms"))
    }
}

fn layers(args: &Args, json: bool) -> Outcome<()> {
    let engine = Engine::open(args.engine.into())?;
    engine.choose_kernels()?;
    // One run more than asked for: the first one warms up.
    let stages = real_layers(&engine.device, engine.precision, args.repeat + 1).or_failure()?;
    let mut times = Layers(stages.into_iter().map(|s| (s.name.to_owned(), s.ms)).collect());
    if let Some(folder) = &args.clip {
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        times.0.insert(format!("clip_{name}"), clip_ms(folder, &engine, args.repeat + 1)?);
    }
    super::print(&times, json)
}

/// Milliseconds to stream a fixture's clip, from its frames to its masks: the best of so many runs.
fn clip_ms(folder: &Path, engine: &Engine, runs: usize) -> Outcome<f64> {
    let wrong = |what: &str| {
        let message = format!("{}: {what}", folder.display());
        Failure::msg(Kind::Failed, message).hint("name a folder of fixtures/, like fixtures/wide")
    };
    let clip = sam3::bench::read_clip(folder).map_err(|_| wrong("holds no reference clip"))?;
    let model = Arc::new(engine.load(folder)?);
    let prompts: Vec<&str> = clip.prompts.iter().map(String::as_str).collect();
    let mut best = f64::INFINITY;
    for _ in 0..runs {
        let started = Instant::now();
        let options = SessionOptions::new(Mode::Streaming, clip.frame_size);
        let mut session = Session::new(model.clone(), &prompts, options).or_failure()?;
        for frame in &clip.frames {
            session.push(Frame::Rgb(frame)).or_failure()?;
        }
        best = best.min(started.elapsed().as_secs_f64() * 1e3);
    }
    Ok(best)
}
