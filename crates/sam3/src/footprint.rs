//! An estimate of the GPU memory that tracking will take, before it starts.
//!
//! Weights and memory banks are counted from the configuration. Working memory is estimated from the largest tensors
//! of the stages, as the plain operations allocate them; `courtside bench` measures it.

use std::fmt;

use crate::detector::Detector;
use crate::error::Result;
use crate::model_files::Weights;
use crate::model_files::config::VideoConfig;
use crate::ops;
use crate::precision::Precision;
use crate::tracker::Tracker;

/// Estimated bytes of device memory, by purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Footprint {
    /// Bytes of the model's parameters.
    pub weights: u64,
    /// Bytes of the largest stage's intermediate tensors and of the features of two frames.
    pub working: u64,
    /// Bytes of the memory of all tracks once it is full.
    pub memories: u64,
    /// Number of simultaneous tracks that the estimate is for.
    pub max_objects: usize,
}

impl Footprint {
    /// The footprint of a model with at most `max_objects` simultaneous tracks.
    ///
    /// # Errors
    /// [`crate::Error::Config`] for a configuration that is not implemented.
    pub fn of(config: &VideoConfig, precision: Precision, max_objects: usize) -> Result<Self> {
        let weights = Weights::shapes(precision);
        Detector::new(&config.detector_config, &weights.pp("detector_model"))?;
        let tracker = Tracker::new(config, &weights)?;
        let stages = vision_bytes(config, precision).max(tracker.working_bytes(max_objects));
        Ok(Self {
            weights: weights.n_bytes(),
            working: score_bytes() + feature_bytes(config, precision) + stages,
            memories: tracker.memory_bytes(max_objects),
            max_objects,
        })
    }

    /// The sum of all purposes, in bytes.
    pub fn total(&self) -> u64 {
        self.weights + self.working + self.memories
    }
}

impl fmt::Display for Footprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gb = |bytes: u64| bytes as f64 / 1e9;
        write!(
            f,
            "about {:.1} GB of GPU memory: {:.1} GB weights, {:.1} GB working memory, {:.1} GB memories of at most \
             {} objects",
            gb(self.total()),
            gb(self.weights),
            gb(self.working),
            gb(self.memories),
            self.max_objects
        )
    }
}

fn activation_bytes(precision: Precision) -> u64 {
    precision.activations().size_in_bytes() as u64
}

fn cells(config: &VideoConfig) -> u64 {
    (config.grid() * config.grid()) as u64
}

/// The pyramids of detector and tracker for this frame and the next: 16, 4 and 1 times the grid.
fn feature_bytes(config: &VideoConfig, precision: Precision) -> u64 {
    let width = config.detector_config.vision_config.fpn_hidden_size as u64;
    2 * 2 * 21 * cells(config) * width * activation_bytes(precision)
}

/// Parts of attention's scores in f32: raw, with bias, and as probabilities.
fn score_bytes() -> u64 {
    3 * ops::SCORES_BYTES as u64
}

/// The larger of a ViT layer and the 3×3 convolution over the finest pyramid level with its nine shifted copies.
fn vision_bytes(config: &VideoConfig, precision: Precision) -> u64 {
    let vision = &config.detector_config.vision_config;
    let vit = &vision.backbone_config;
    let layer = cells(config) * (8 * vit.hidden_size as u64 + 2 * vit.intermediate_size as u64);
    let neck = 16 * cells(config) * vision.fpn_hidden_size as u64 * (9 + 4);
    layer.max(neck) * activation_bytes(precision)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twelve_tracks_fit_8_gb_and_a_thousand_fit_24_gb() {
        let config = VideoConfig::default();
        let of = |n| Footprint::of(&config, Precision::Bf16, n).unwrap();
        assert!(of(12).total() < 8_000_000_000, "{}", of(12));
        assert!(of(1000).total() < 24_000_000_000, "{}", of(1000));
        // 840 million parameters.
        let weights = of(1).weights;
        assert!((1_500_000_000..1_900_000_000).contains(&weights), "{weights}");
        assert!(of(100).total() > of(12).total());
    }
}
