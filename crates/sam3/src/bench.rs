//! Timings of the engine's stages with any weights: what a frame costs on a machine, by object count.
//!
//! Random weights do the same arithmetic as trained ones, so that anybody can measure a machine without the
//! gated checkpoint.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use candle_core::{DType, Device, Result as TensorResult, Tensor};

use crate::config::VideoConfig;
use crate::detector::text::PromptFeatures;
use crate::detector::vit;
use crate::device::{self, DeviceMemory};
use crate::error::{Error, Result};
use crate::model::{Model, Precision};
use crate::ops;
pub use crate::ops::Verified;
use crate::position::RopeTable;
use crate::session::{Frame, Session};
use crate::tracker::bank::{At, Bank, BankLimits};
use crate::tracker::memory_attention::{self, MemoryBatch};
use crate::tracker::{FrameFeatures, MemoryMask};
use crate::weights::Weights;

/// Time and work of one stage.
#[derive(Debug, Clone, PartialEq)]
pub struct Stage {
    /// Its name.
    pub name: &'static str,
    /// Milliseconds, the best of the repeats.
    pub ms: f64,
    /// Floating-point operations (two for a multiply-add) in units of 10⁹.
    pub gflop: f64,
}

/// GFLOP/s of a large matrix product of weights on a device.
///
/// # Errors
/// [`crate::Error::Tensor`] if the device fails.
pub fn matmul_gflops(device: &Device, precision: Precision) -> Result<f64> {
    Ok(ops::matmul_gflops(device, precision.weights())?)
}

/// Every fused kernel at the model's real shapes against the plain operation in f32, on the device that is to run
/// it; empty where there are none.
///
/// # Errors
/// [`crate::Error::Tensor`] if the device fails.
pub fn verify_kernels(device: &Device) -> Result<Vec<Verified>> {
    if !device.is_cuda() {
        return Ok(Vec::new());
    }
    Ok(ops::verify_fused(device)?)
}

/// Times stages on one device.
struct Stopwatch<'a> {
    device: &'a Device,
    repeats: usize,
    stages: Vec<Stage>,
}

impl Stopwatch<'_> {
    /// Runs a stage `repeats` times and notes the best; returns the last result.
    fn time<T>(&mut self, name: &'static str, run: impl Fn() -> TensorResult<T>) -> TensorResult<T> {
        let mut best = f64::INFINITY;
        for left in (0..self.repeats.max(1)).rev() {
            ops::take_flops();
            let started = Instant::now();
            let value = run()?;
            self.device.synchronize()?;
            best = best.min(started.elapsed().as_secs_f64() * 1e3);
            if left == 0 {
                let gflop = ops::take_flops() as f64 / 1e9;
                self.stages.push(Stage { name, ms: best, gflop });
                return Ok(value);
            }
        }
        candle_core::bail!("a stage runs at least once")
    }
}

/// Whole frames of a video with `n_objects` objects, one after the other, as a session does them.
#[derive(Debug, Clone, PartialEq)]
pub struct Frames {
    /// Milliseconds of each, from a 1080p picture in memory to boxes and masks.
    pub ms: Vec<f64>,
    /// Frame and memory of the device, now and then; empty where the device does not tell.
    pub memory: Vec<(usize, DeviceMemory)>,
}

/// Frames between two looks at the device's memory.
const MEMORY_EVERY: usize = 100;

/// Tracks `n_frames` pictures after as many as it takes until all memory banks are full.
///
/// # Errors
/// [`crate::Error::Tensor`] if the device fails.
pub fn frames(
    model: &Arc<Model>,
    n_objects: usize,
    n_frames: usize,
    mut done: impl FnMut(usize),
) -> Result<Frames> {
    let mut session = Session::rehearse(model.clone(), n_objects)?;
    let rgb: Vec<u8> = (0..1080 * 1920 * 3usize).map(|i| ((i * 7919) >> 5) as u8).collect();
    let picture = Frame::Rgb(&rgb);
    let mut prepared = session.prepare(&picture)?;
    let n_warm_up = warm_up(model);
    let mut frames = Frames { ms: Vec::with_capacity(n_frames), memory: Vec::new() };
    for t in 0..n_warm_up + n_frames {
        let started = Instant::now();
        let (_, next) = session.push_prepared(&prepared, Some(&picture))?;
        prepared = match next {
            Some(next) => next,
            None => session.prepare(&picture)?,
        };
        done(t + 1);
        let Some(t) = t.checked_sub(n_warm_up) else { continue };
        frames.ms.push(started.elapsed().as_secs_f64() * 1e3);
        let is_last = t + 1 == n_frames;
        if (t % MEMORY_EVERY == 0 || is_last)
            && let Some(memory) = device::memory(&model.device)
        {
            frames.memory.push((t, memory));
        }
    }
    Ok(frames)
}

/// Frames until a bank is full: conditioning frames come every so many.
pub fn warm_up(model: &Model) -> usize {
    let config = &model.config;
    let limits = BankLimits::new(&config.tracker_config, false);
    let cond = limits.cond_frames.unwrap_or(0) * config.recondition_every_nth_frame.max(1);
    cond.max(limits.recent_pointers) + 2
}

/// Every stage of a frame with one prompt and `n_objects` objects whose memory banks are full. Stages of
/// objects are left out when there are none.
///
/// # Errors
/// [`crate::Error::Tensor`] if the device fails.
pub fn frame_stages(model: &Model, n_objects: usize, repeats: usize) -> Result<Vec<Stage>> {
    let device = &model.device;
    let mut watch = Stopwatch { device, repeats, stages: Vec::new() };
    let prompt = prompt(model)?;
    let (height, width) = (1080, 1920);
    let dtype = model.precision.activations();
    let rgb = vec![127u8; height * width * 3];
    let pixels = watch.time("resize 1080p", || {
        let values = model.preprocess.pixel_values(&rgb, (height, width), dtype, device);
        values.map_err(candle_core::Error::wrap)
    })?;
    let detector = &model.detector;
    let picture = watch.time("vision encoder", || detector.backbone.forward(&pixels))?;
    let pyramid = watch.time("detector neck", || detector.neck.forward(&picture))?;
    let n_masks = n_objects.max(1);
    watch.time("detector", || {
        let seen = detector.look(&pyramid, &prompt)?;
        let best: Vec<usize> = (0..n_masks.min(seen.n_queries()?)).collect();
        detector.masks(&pyramid, &prompt, &seen, &best)
    })?;
    let features = watch.time("tracker neck", || model.tracker.features(&picture))?;
    if n_objects > 0 {
        object_stages(model, &mut watch, &features, n_objects)?;
    }
    Ok(watch.stages)
}

fn prompt(model: &Model) -> Result<PromptFeatures> {
    let tokens = model.tokenizer.encode("basketball player")?;
    Ok(model.detector.text_encoder.forward(&tokens.ids, &tokens.is_word)?)
}

fn object_stages(
    model: &Model,
    watch: &mut Stopwatch<'_>,
    features: &FrameFeatures,
    n_objects: usize,
) -> Result<()> {
    const FRAME: usize = 10_000;
    let cfg = &model.config.tracker_config;
    let limits = BankLimits::new(cfg, false);
    let bank = full_bank(model, &limits, FRAME)?;
    let banks = vec![&bank; n_objects];
    let tracker = &model.tracker;
    let max_pointers = cfg.max_object_pointers_in_encoder;
    let conditioned = watch
        .time("memory attention", || tracker.condition(features, &banks, FRAME, max_pointers, &limits))?;
    let read = watch.time("SAM head", || tracker.read_masks(features, &conditioned))?;
    let visible = vec![true; n_objects];
    watch.time("memory encoder", || {
        tracker.encode_memory(features, MemoryMask::Soft(&read.masks), &visible, n_objects)
    })?;
    Ok(())
}

/// A bank as it is at `frame_idx` for a track that has been seen for long.
fn full_bank(model: &Model, limits: &BankLimits, frame_idx: usize) -> Result<Bank> {
    let cfg = &model.config.tracker_config;
    let grid = model.config.grid();
    let (m, c) = (cfg.memory_encoder_output_channels, cfg.vision_config.fpn_hidden_size);
    let memory = Tensor::randn(0f32, 1.0, (grid * grid, m), &model.device)?.to_dtype(DType::BF16)?;
    let pointer = Tensor::randn(0f32, 1.0, c, &model.device)?.to_dtype(model.precision.activations())?;
    let n_cond = limits.cond_frames.unwrap_or(4);
    let cond_frames = (1..=n_cond).rev().map(|i| frame_idx - 100 * i);
    let recent = |n: usize| (1..=n).rev().map(|i| frame_idx - i);
    let at = |value: &Tensor| {
        let value = value.clone();
        move |frame_idx| At { frame_idx, value: value.clone() }
    };
    Ok(Bank {
        cond_memories: cond_frames.clone().map(at(&memory)).collect(),
        memories: recent(limits.recent_memories).map(at(&memory)).collect(),
        cond_pointers: cond_frames.map(at(&pointer)).collect(),
        pointers: recent(limits.recent_pointers).map(at(&pointer)).collect(),
    })
}

/// Single layers at the real configuration, for comparison with other implementations: a window and a
/// global layer of the vision encoder, and a memory-attention layer of one object at 7 memory frames with
/// 16 pointers and at 10 frames with 20.
///
/// # Errors
/// [`crate::Error::Tensor`] if the device fails.
pub fn real_layers(device: &Device, precision: Precision, repeats: usize) -> Result<Vec<Stage>> {
    let (config, dtype) = (VideoConfig::default(), precision.activations());
    let weights = Weights::random(1, precision, device);
    let mut watch = Stopwatch { device, repeats, stages: Vec::new() };
    let vit = &config.detector_config.vision_config.backbone_config;
    let grid = vit.grid();
    let x = Tensor::randn(0f32, 1.0, (1, grid, grid, vit.hidden_size), device)?.to_dtype(dtype)?;
    for (name, global) in [("vit_window", false), ("vit_global", true)] {
        let layer = vit::Layer::new(vit, global, &weights)?;
        watch.time(name, || layer.forward(&x))?;
    }
    let cfg = &config.tracker_config;
    let layer = memory_attention::Layer::new(cfg, &weights)?;
    let width = cfg.memory_attention_hidden_size;
    let theta = cfg.rope_parameters.rope_theta;
    let rope = RopeTable::axial((grid, grid), width, theta, 1.0, device)?;
    let x = Tensor::randn(0f32, 1.0, (1, grid * grid, width), device)?.to_dtype(dtype)?;
    for (name, n_frames, n_pointers) in [("memory_attention_7", 7, 16), ("memory_attention_10", 10, 20)] {
        let memory = memory_batch(cfg.memory_encoder_output_channels, grid, n_frames, n_pointers, &x)?;
        watch.time(name, || layer.forward(&x, &memory, &rope))?;
    }
    Ok(watch.stages)
}

fn memory_batch(
    channels: usize,
    grid: usize,
    n_frames: usize,
    n_pointers: usize,
    x: &Tensor,
) -> TensorResult<MemoryBatch> {
    let width = x.dim(2)?;
    let n_rotated = n_frames * grid * grid;
    let n_keys = n_rotated + n_pointers * (width / channels);
    let values = Tensor::randn(0f32, 1.0, (n_keys, channels), x.device())?.to_dtype(x.dtype())?;
    let keys = (&values + values.flip(&[0])?)?;
    Ok(MemoryBatch { values, keys, key_lens: vec![n_keys], n_rotated: vec![n_rotated] })
}

/// The clip of a parity fixture.
pub struct Clip {
    /// Pictures, `height · width · 3` bytes each.
    pub frames: Vec<Vec<u8>>,
    /// Height and width.
    pub frame_size: (usize, usize),
    /// What to track.
    pub prompts: Vec<String>,
}

/// Reads the clip of a parity fixture: `video` in `reference.safetensors`, `prompts` in `reference.json`.
///
/// # Errors
/// [`crate::Error::Checkpoint`] if the folder is not such a fixture.
pub fn read_clip(folder: &Path) -> Result<Clip> {
    let wrong = |what: String| Error::Checkpoint { path: folder.to_owned(), what };
    let text = std::fs::read_to_string(folder.join("reference.json")).map_err(|e| wrong(e.to_string()))?;
    let json: serde_json::Value = serde_json::from_str(&text).map_err(|e| wrong(e.to_string()))?;
    let prompts = serde_json::from_value(json["prompts"].clone()).map_err(|e| wrong(e.to_string()))?;
    let tensors = candle_core::safetensors::load(folder.join("reference.safetensors"), &Device::Cpu)?;
    let video = tensors.get("video").ok_or_else(|| wrong("has no video".into()))?;
    let (_, height, width, _) = video.dims4()?;
    let frames = video.flatten_from(1)?.to_vec2::<u8>()?;
    Ok(Clip { frames, frame_size: (height, width), prompts })
}
