//! A loaded checkpoint: weights, tokenizer and the shape of pictures. Immutable; sessions share it.

use std::path::Path;

use candle_core::{DType, Device, Tensor};

use crate::config::VideoConfig;
use crate::detector::Detector;
use crate::error::Result;
use crate::preprocess::Preprocess;
use crate::tokenizer::PromptTokenizer;
use crate::tracker::Tracker;
use crate::vision_batch::VisionBatch;
use crate::weights::Weights;

/// The numbers that a model is made of and computes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// Weights and activations in f32.
    #[default]
    F32,
    /// Weights rounded to bfloat16 and widened where they are used; activations in f32. Half the memory on a
    /// CPU.
    Bf16Weights,
    /// Weights and activations in bfloat16; sums, softmax, norms, rotary angles, boxes, scores and mask
    /// logits in f32. What GPUs run; a CPU does the same arithmetic, slowly.
    Bf16,
}

impl Precision {
    /// Of large weights.
    pub(crate) fn weights(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::Bf16Weights | Self::Bf16 => DType::BF16,
        }
    }

    /// Of activations and of the small parameters that are added to them.
    pub(crate) fn activations(self) -> DType {
        match self {
            Self::F32 | Self::Bf16Weights => DType::F32,
            Self::Bf16 => DType::BF16,
        }
    }
}

/// `Sam3VideoModel` with its processor.
pub struct Model {
    pub(crate) config: VideoConfig,
    pub(crate) precision: Precision,
    pub(crate) detector: Detector,
    pub(crate) tracker: Tracker,
    pub(crate) tokenizer: PromptTokenizer,
    pub(crate) preprocess: Preprocess,
    pub(crate) device: Device,
    vision_batch: VisionBatch,
    /// Tells one checkpoint and its precision from another when a saved session is read.
    pub(crate) fingerprint: String,
}

impl Model {
    /// Loads a checkpoint folder as Hugging Face lays it out: `config.json`, `model.safetensors` or shards
    /// with their index, `tokenizer.json`, `processor_config.json`. Weight files are memory-mapped.
    ///
    /// # Errors
    /// [`crate::Error::Checkpoint`] for a missing or unreadable file, [`crate::Error::Config`] for a value
    /// that is not implemented, [`crate::Error::Tensors`] listing every missing, unused or misshapen tensor.
    pub fn load(folder: &Path, precision: Precision, device: &Device) -> Result<Self> {
        Self::open(folder, precision, device, false)
    }

    /// Everything [`Self::load`] verifies, without reading the weights' data.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn check(folder: &Path) -> Result<VideoConfig> {
        Ok(Self::open(folder, Precision::F32, &Device::Cpu, true)?.config)
    }

    fn open(folder: &Path, precision: Precision, device: &Device, check_only: bool) -> Result<Self> {
        let config_path = folder.join("config.json");
        let config = VideoConfig::from_file(&config_path)?;
        let tokenizer = PromptTokenizer::open(folder)?;
        let preprocess = Preprocess::open(folder, config.image_size())?;
        let weights = Weights::open(folder, precision, device, check_only)?;
        Self::build(config, precision, tokenizer, preprocess, &weights)
    }

    /// A model of random numbers: the same arithmetic as a real one, for benchmarks.
    ///
    /// # Errors
    /// [`crate::Error::Config`] for a config that is not implemented.
    pub fn random(config: VideoConfig, seed: u64, precision: Precision, device: &Device) -> Result<Self> {
        config.validate()?;
        let vocab_size = config.detector_config.text_config.vocab_size as u32;
        let preprocess = Preprocess::standard(config.image_size());
        let weights = Weights::random(seed, precision, device);
        Self::build(config, precision, PromptTokenizer::Bytes { vocab_size }, preprocess, &weights)
    }

    fn build(
        config: VideoConfig,
        precision: Precision,
        tokenizer: PromptTokenizer,
        preprocess: Preprocess,
        weights: &Weights,
    ) -> Result<Self> {
        let detector = Detector::new(&config.detector_config, &weights.pp("detector_model"))?;
        let tracker = Tracker::new(&config, weights)?;
        weights.finish()?;
        let settings = format!("{config:?} {precision:?} {preprocess:?}");
        let fingerprint = format!("{:016x}", weights.digest().add(settings.as_bytes()).value());
        let device = weights.device().clone();
        let vision_batch = VisionBatch::default();
        Ok(Self {
            config,
            precision,
            detector,
            tracker,
            tokenizer,
            preprocess,
            device,
            vision_batch,
            fingerprint,
        })
    }

    /// The vision encoder on a picture `[1, size, size, 3]` of one of the model's sessions → `[1, g, g, c]`. On a
    /// GPU, sessions of several threads go through it together.
    pub(crate) fn encode_picture(&self, pixel_values: &Tensor) -> candle_core::Result<Tensor> {
        let encode = |pictures: &Tensor| self.detector.backbone.forward(pictures);
        // On a CPU nothing is gained, and results stay the same whoever else is at work.
        if self.device.is_cpu() {
            encode(pixel_values)
        } else {
            self.vision_batch.encode(pixel_values, encode)
        }
    }

    /// How many sessions there are.
    pub(crate) fn vision_batch(&self) -> &VisionBatch {
        &self.vision_batch
    }

    /// The checkpoint's configuration.
    pub fn config(&self) -> &VideoConfig {
        &self.config
    }

    /// The numbers that it computes in.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// The device that the model runs on.
    pub fn device(&self) -> &Device {
        &self.device
    }
}
