//! Benchmarks of the engine's stages: what a frame costs on a machine, by number of objects.
//!
//! Random weights need the same arithmetic as trained ones, so a machine can be measured without the gated model.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use candle_core::{Device, Result as TensorResult, Tensor};

use crate::detector::text::PromptFeatures;
use crate::device::{self, DeviceMemory};
use crate::error::{Error, Result};
use crate::model::Model;
use crate::model_files::Weights;
use crate::model_files::config::VideoConfig;
use crate::ops;
pub use crate::ops::Verified;
use crate::position::RopeTable;
use crate::precision::Precision;
use crate::session::{Frame, Session};
use crate::tracker::parts::memory_attention::{self, MemoryBatch};
use crate::vision::vit;

/// Time and work of one stage of a frame.
#[derive(Debug, Clone, PartialEq)]
pub struct Stage {
    /// Name of the stage, for tables.
    pub name: &'static str,
    /// Milliseconds of the fastest repeat.
    pub ms: f64,
    /// Floating-point operations in units of 10⁹; a multiply-add counts as two.
    pub gflop: f64,
}

/// GFLOP/s of a large matrix product on a device, in the number type of the weights.
///
/// # Errors
/// [`crate::Error::Tensor`] if the device fails.
pub fn matmul_gflops(device: &Device, precision: Precision) -> Result<f64> {
    Ok(ops::matmul_gflops(device, precision.weights())?)
}

/// Compares every fused kernel with the plain operation in f32, at the model's real shapes and on the given device.
/// Empty for a device without fused kernels.
///
/// # Errors
/// [`crate::Error::Tensor`] if the device fails.
pub fn verify_kernels(device: &Device) -> Result<Vec<Verified>> {
    if !device.is_cuda() {
        return Ok(Vec::new());
    }
    Ok(ops::verify_fused(device)?)
}

/// Measures stages on one device.
struct Stopwatch<'a> {
    device: &'a Device,
    repeats: usize,
    stages: Vec<Stage>,
}

impl Stopwatch<'_> {
    /// Runs a stage `repeats` times, at least once, and records the fastest. Returns the last result.
    fn time<T>(&mut self, name: &'static str, run: impl Fn() -> TensorResult<T>) -> TensorResult<T> {
        let mut best = f64::INFINITY;
        let mut run_once = || {
            ops::take_flops();
            let started = Instant::now();
            let value = run()?;
            self.device.synchronize()?;
            best = best.min(started.elapsed().as_secs_f64() * 1e3);
            TensorResult::Ok(value)
        };
        for _ in 1..self.repeats {
            run_once()?;
        }
        let value = run_once()?;
        let gflop = ops::take_flops() as f64 / 1e9;
        self.stages.push(Stage { name, ms: best, gflop });
        Ok(value)
    }
}

/// Measurements of complete frames, tracked by a session one after the other.
#[derive(Debug, Clone, PartialEq)]
pub struct Frames {
    /// Milliseconds of each frame, from 1080p RGB in memory to boxes and masks.
    pub ms: Vec<f64>,
    /// Memory of the device at some frames, with their indices; empty if the device does not report it.
    pub memory: Vec<(usize, DeviceMemory)>,
}

/// Number of frames between two measurements of the device's memory.
const MEMORY_EVERY: usize = 100;

/// Tracks `n_objects` synthetic objects: first [`warm_up`] frames, then `n_frames` that are measured. Calls `done`
/// with the number of frames tracked so far.
///
/// # Errors
/// [`crate::Error::Tensor`] if the device fails.
pub fn frames(
    model: &Arc<Model>,
    n_objects: usize,
    n_frames: usize,
    mut done: impl FnMut(usize),
) -> Result<Frames> {
    let mut session = Session::synthetic(model.clone(), n_objects)?;
    let rgb: Vec<u8> = (0..1080 * 1920 * 3usize).map(|i| ((i * 7919) >> 5) as u8).collect();
    let frame = Frame::Rgb(&rgb);
    let mut prepared = session.prepare(&frame)?;
    let n_warm_up = warm_up(model);
    let mut frames = Frames { ms: Vec::with_capacity(n_frames), memory: Vec::new() };
    for t in 0..n_warm_up + n_frames {
        let started = Instant::now();
        let (_, next) = session.push_prepared(&prepared, Some(&frame))?;
        prepared = match next {
            Some(next) => next,
            None => session.prepare(&frame)?,
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

/// Number of frames after which the memory of a steady track no longer grows.
pub fn warm_up(model: &Model) -> usize {
    model.tracker.warm_up_frames(model.config.recondition_every_nth_frame)
}

/// Measures every stage of a frame with one prompt and `n_objects` tracks whose memory is full. Without objects, the
/// tracker's stages are left out.
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
    let image = watch.time("vision encoder", || detector.backbone.forward(&pixels))?;
    let pyramid = watch.time("detector neck", || detector.neck.forward(&image))?;
    let n_masks = n_objects.max(1);
    watch.time("detector", || {
        let queries = detector.run(&pyramid, &prompt)?;
        let first: Vec<usize> = (0..n_masks.min(queries.len()?)).collect();
        detector.masks(&pyramid, &prompt, &queries, &first)
    })?;
    let features = watch.time("tracker neck", || model.tracker.features(&image))?;
    if n_objects > 0 {
        model.tracker.time_stages(&features, n_objects, &mut |name, run| watch.time(name, run))?;
    }
    Ok(watch.stages)
}

fn prompt(model: &Model) -> Result<PromptFeatures> {
    let tokens = model.tokenizer.encode("basketball player")?;
    Ok(model.detector.text_encoder.forward(&tokens.ids, &tokens.is_word)?)
}

/// Measures single layers at the real configuration, for comparison with other implementations: a window layer and a
/// global layer of the vision encoder, and a memory-attention layer of one object with 7 memory frames and 16
/// pointers, and with 10 and 20.
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

/// The video of a parity fixture, with its prompts.
pub struct Clip {
    /// RGB frames of `height · width · 3` bytes each.
    pub frames: Vec<Vec<u8>>,
    /// Height and width of the frames, in pixels.
    pub frame_size: (usize, usize),
    /// Prompts that the fixture was made with.
    pub prompts: Vec<String>,
}

/// Reads the clip of a parity fixture: `video` in `reference.safetensors`, `prompts` in `reference.json`.
///
/// # Errors
/// [`crate::Error::Model`] if the folder is not such a fixture.
pub fn read_clip(folder: &Path) -> Result<Clip> {
    let wrong = |what: String| Error::Model { path: folder.to_owned(), what };
    let text = std::fs::read_to_string(folder.join("reference.json")).map_err(|e| wrong(e.to_string()))?;
    let json: serde_json::Value = serde_json::from_str(&text).map_err(|e| wrong(e.to_string()))?;
    let prompts = serde_json::from_value(json["prompts"].clone()).map_err(|e| wrong(e.to_string()))?;
    let tensors = candle_core::safetensors::load(folder.join("reference.safetensors"), &Device::Cpu)?;
    let video = tensors.get("video").ok_or_else(|| wrong("has no video".into()))?;
    let (_, height, width, _) = video.dims4()?;
    let frames = video.flatten_from(1)?.to_vec2::<u8>()?;
    Ok(Clip { frames, frame_size: (height, width), prompts })
}
