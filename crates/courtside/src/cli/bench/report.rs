//! The report of `courtside bench`: one table of stages per number of tracks.

use std::fmt;

use client::terminal::counted;
use sam3::bench::{Frames, Stage};
use sam3::device::DeviceMemory;
use serde::Serialize;

#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) config: String,
    pub(super) device: String,
    /// Kernels used on an NVIDIA GPU: `fused` or `library`.
    pub(super) kernels: Option<&'static str>,
    pub(super) threads: usize,
    /// Measured rate of a large matrix product.
    pub(super) matmul_gflops: f64,
    pub(super) peak_memory_bytes: Option<u64>,
    /// Largest size of all tensors on a GPU.
    pub(super) device_memory_bytes: Option<u64>,
    /// With `--model`: time from the start of the command to the boxes of the first frame.
    pub(super) first_frame_ms: Option<f64>,
    #[serde(rename = "counts")]
    pub(super) tables: Vec<Table>,
}

/// The stages of a frame with one number of tracks.
#[derive(Debug, Serialize)]
pub(super) struct Table {
    #[serde(rename = "objects")]
    n_tracks: usize,
    ms_per_frame: f64,
    fps: f64,
    /// Complete frames, with `--frames`.
    frames: Option<FrameTimes>,
    stages: Vec<StageRow>,
}

#[derive(Debug, Serialize)]
struct StageRow {
    name: &'static str,
    ms: f64,
    gflop: f64,
    gflops: f64,
    /// Rate of this stage as a fraction of `matmul_gflops`.
    share_of_matmul: f64,
}

impl Table {
    pub(super) fn new(
        n_tracks: usize,
        stages: &[Stage],
        frames: Option<FrameTimes>,
        matmul_gflops: f64,
    ) -> Self {
        let ms_per_frame: f64 = stages.iter().map(|s| s.ms).sum();
        let row = |s: &Stage| {
            let gflops = s.gflop / s.ms * 1e3;
            let share_of_matmul = gflops / matmul_gflops;
            StageRow { name: s.name, ms: s.ms, gflop: s.gflop, gflops, share_of_matmul }
        };
        let stages = stages.iter().map(row).collect();
        Self { n_tracks, ms_per_frame, fps: 1e3 / ms_per_frame, frames, stages }
    }
}

/// Times of complete frames, tracked one after the other.
#[derive(Debug, Serialize)]
pub(super) struct FrameTimes {
    n: usize,
    median_ms: f64,
    p95_ms: f64,
    fps: f64,
    device_memory: Vec<MemoryAt>,
}

/// GPU memory in use after a frame.
#[derive(Debug, Serialize)]
struct MemoryAt {
    frame: usize,
    bytes: u64,
}

impl FrameTimes {
    pub(super) fn new(frames: &Frames) -> Self {
        let mut sorted = frames.ms.clone();
        sorted.sort_by(f64::total_cmp);
        let quantile = |q: f64| sorted[((sorted.len() - 1) as f64 * q) as usize];
        let n = sorted.len();
        let memory_at =
            |&(frame, DeviceMemory { used, .. }): &(usize, DeviceMemory)| MemoryAt { frame, bytes: used };
        Self {
            n,
            median_ms: quantile(0.5),
            p95_ms: quantile(0.95),
            fps: 1e3 * n as f64 / frames.ms.iter().sum::<f64>(),
            device_memory: frames.memory.iter().map(memory_at).collect(),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (config, device, threads) = (&self.config, &self.device, self.threads);
        let matmul = self.matmul_gflops;
        let kernels = self.kernels.map_or_else(String::new, |kernels| format!(", {kernels} kernels"));
        writeln!(
            f,
            "{config} model, {device}{kernels}, {threads} threads, matrix product {matmul:.0} GFLOP/s"
        )?;
        self.tables.iter().try_for_each(|table| write!(f, "\n{table}"))?;
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

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<18} {:>11} {:>10} {:>9} {:>10}", "STAGE", "MS", "GFLOP", "GFLOP/S", "OF MATMUL")?;
        for s in &self.stages {
            let percent = 100.0 * s.share_of_matmul;
            writeln!(f, "{:<18} {:>11.1} {:>10.2} {:>9.0} {percent:>9.0}%", s.name, s.ms, s.gflop, s.gflops)?;
        }
        let (n, ms, fps) = (self.n_tracks, self.ms_per_frame, self.fps);
        writeln!(f, "{}: {ms:.1} ms per frame, {fps:.3} fps", counted(n, "track"))?;
        match &self.frames {
            Some(FrameTimes { n, median_ms, p95_ms, fps, .. }) => {
                writeln!(f, "{n} complete frames: median {median_ms:.1} ms, p95 {p95_ms:.1} ms, {fps:.3} fps")
            }
            None => Ok(()),
        }
    }
}

/// Largest resident set size of this process; `None` on systems other than Linux.
pub(super) fn peak_memory_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|l| l.starts_with("VmHWM:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}
