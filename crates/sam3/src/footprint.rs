//! What tracking takes of a GPU's memory, told before it begins.
//!
//! Weights and memory banks are counted from the configuration; the working memory of the stages is counted
//! from their largest tensors, as the plain operations hold them. It is an estimate: the bench measures.

use std::fmt;

use crate::config::VideoConfig;
use crate::detector::Detector;
use crate::error::Result;
use crate::model::Precision;
use crate::ops;
use crate::tracker::bank::BankLimits;
use crate::tracker::{OBJECTS_AT_ONCE, Tracker};
use crate::weights::Weights;

/// Bytes of device memory by what they are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Footprint {
    /// Parameters.
    pub weights: u64,
    /// The largest stage at work, and the next frame's features.
    pub working: u64,
    /// What all objects remember, when all their banks are full.
    pub memories: u64,
    /// Objects that this is for.
    pub max_objects: usize,
}

impl Footprint {
    /// For as many objects.
    ///
    /// # Errors
    /// [`crate::Error::Config`] for a configuration that is not implemented.
    pub fn of(config: &VideoConfig, precision: Precision, max_objects: usize) -> Result<Self> {
        let weights = Weights::shapes(precision);
        Detector::new(&config.detector_config, &weights.pp("detector_model"))?;
        Tracker::new(config, &weights)?;
        let sizes = Sizes::new(config, precision);
        Ok(Self {
            weights: weights.n_bytes(),
            working: Sizes::scores()
                + sizes.features()
                + sizes.pictures().max(sizes.objects(max_objects.min(OBJECTS_AT_ONCE))),
            memories: max_objects as u64 * sizes.bank(),
            max_objects,
        })
    }

    /// All of it.
    pub fn total(&self) -> u64 {
        self.weights + self.working + self.memories
    }
}

impl fmt::Display for Footprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gb = |bytes: u64| bytes as f64 / 1e9;
        write!(
            f,
            "about {:.1} GB of GPU memory: {:.1} GB weights, {:.1} GB at work, {:.1} GB memories of at most {} \
             objects",
            gb(self.total()),
            gb(self.weights),
            gb(self.working),
            gb(self.memories),
            self.max_objects
        )
    }
}

/// Shapes that decide.
struct Sizes {
    /// Bytes of an activation.
    bytes: u64,
    /// Cells of the patch grid.
    cells: u64,
    /// Channels of the ViT, of its MLP, of everything behind it, and of memories.
    vit: u64,
    vit_mlp: u64,
    width: u64,
    memory: u64,
    /// Of memory attention's MLP.
    mlp: u64,
    /// Frames and pointers in a full bank.
    bank_frames: u64,
    bank_pointers: u64,
}

impl Sizes {
    fn new(config: &VideoConfig, precision: Precision) -> Self {
        let cfg = &config.tracker_config;
        let vit = &config.detector_config.vision_config.backbone_config;
        let limits = BankLimits::new(cfg, false);
        let n_cond = limits.cond_frames.unwrap_or(0);
        Self {
            bytes: precision.activations().size_in_bytes() as u64,
            cells: (config.grid() * config.grid()) as u64,
            vit: vit.hidden_size as u64,
            vit_mlp: vit.intermediate_size as u64,
            width: config.detector_config.vision_config.fpn_hidden_size as u64,
            memory: cfg.memory_encoder_output_channels as u64,
            mlp: cfg.memory_attention_feed_forward_hidden_size as u64,
            bank_frames: (limits.recent_memories + n_cond) as u64,
            bank_pointers: (limits.recent_pointers + n_cond) as u64,
        }
    }

    /// Two pyramids of this frame and the next: 16, 4 and 1 times the grid.
    fn features(&self) -> u64 {
        2 * 2 * 21 * self.cells * self.width * self.bytes
    }

    /// Pieces of attention's scores in f32: raw, with a bias, as probabilities.
    fn scores() -> u64 {
        3 * ops::SCORES_BYTES as u64
    }

    /// The ViT, or the 3×3 convolution over the finest level with its nine shifted copies.
    fn pictures(&self) -> u64 {
        let vit = self.cells * (8 * self.vit + 2 * self.vit_mlp);
        let neck = 16 * self.cells * self.width * (9 + 4);
        vit.max(neck) * self.bytes
    }

    /// Keys of one object as they are rotated, all objects' keys before and after and joined, their activations and
    /// MLP.
    fn objects(&self, n: usize) -> u64 {
        let keys = self.bank_frames * self.cells + self.bank_pointers * (self.width / self.memory);
        let while_made = keys * self.width * 6 * 4;
        let each = keys * (3 * self.width + 3 * self.memory)
            + self.cells * (10 * self.width + 2 * self.mlp)
            // The memory encoder's masks, 16 times the grid's side, in f32 and in pieces.
            + 256 * self.cells * 8;
        while_made + n as u64 * each * self.bytes
    }

    fn bank(&self) -> u64 {
        self.bank_frames * self.cells * self.memory * 2 + self.bank_pointers * self.width * self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crowd_fits_a_card_of_24_gb_and_a_team_8_gb() {
        let config = VideoConfig::default();
        const CROWD: usize = 1000;
        let of = |n| Footprint::of(&config, Precision::Bf16, n).unwrap();
        assert!(of(12).total() < 8_000_000_000, "{}", of(12));
        assert!(of(CROWD).total() < 24_000_000_000, "{}", of(CROWD));
        // 840 million parameters.
        let weights = of(1).weights;
        assert!((1_500_000_000..1_900_000_000).contains(&weights), "{weights}");
        assert!(of(100).total() > of(12).total());
    }
}
