//! A loaded model: weights, tokenizer and image preprocessing. Immutable; sessions share it.

use std::path::Path;

use candle_core::{Device, Tensor};

use crate::detector::Detector;
use crate::error::Result;
use crate::model_files::Weights;
use crate::model_files::config::VideoConfig;
use crate::precision::Precision;
use crate::preprocess::Preprocess;
use crate::tokenizer::PromptTokenizer;
use crate::tracker::Tracker;
use crate::vision::batch::VisionBatch;

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
    /// Distinguishes models and precisions; a saved session can only be restored with an equal one.
    pub(crate) fingerprint: String,
}

impl Model {
    /// Loads a model folder in Hugging Face's layout: `config.json`, `model.safetensors` or shards with their index,
    /// `tokenizer.json`, `processor_config.json`. Weight files are memory-mapped.
    ///
    /// # Errors
    /// [`crate::Error::Model`] for a missing or unreadable file, [`crate::Error::Config`] for a value that is not
    /// implemented, [`crate::Error::Tensors`] with every missing, unused or misshapen tensor.
    pub fn load(folder: &Path, precision: Precision, device: &Device) -> Result<Self> {
        Self::open(folder, precision, device, false)
    }

    /// Runs all checks of [`Self::load`] without reading the data of the weights.
    ///
    /// # Errors
    /// Same as [`Self::load`].
    pub fn check(folder: &Path) -> Result<VideoConfig> {
        Ok(Self::open(folder, Precision::F32, &Device::Cpu, true)?.config)
    }

    fn open(folder: &Path, precision: Precision, device: &Device, check_only: bool) -> Result<Self> {
        let config = VideoConfig::from_file(&folder.join("config.json"))?;
        let tokenizer = PromptTokenizer::open(folder)?;
        let preprocess = Preprocess::open(folder, config.image_size())?;
        let weights = Weights::open(folder, config.family(), precision, device, check_only)?;
        Self::build(config, precision, tokenizer, preprocess, &weights)
    }

    /// Writes the weights of a model folder to one safetensors file with half the bytes. What the engine computes with in
    /// bfloat16 on a GPU is rounded to it, and everything else is unchanged, so that the results on a GPU are the same.
    ///
    /// # Errors
    /// Those of [`Self::check`]; [`crate::Error::Model`] if the file cannot be written.
    pub fn write_bf16_weights(folder: &Path, file: &Path) -> Result<()> {
        let config = VideoConfig::from_file(&folder.join("config.json"))?;
        let weights = Weights::open(folder, config.family(), Precision::Bf16, &Device::Cpu, true)?;
        Detector::new(&config.detector_config, &weights.pp("detector_model"))?;
        Tracker::new(&config, &weights)?;
        weights.finish()?;
        weights.write_bf16(file)
    }

    /// A model of random weights, for benchmarks: it computes what a real one does.
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
        // `Debug` output: renaming a type or field in it makes saved sessions unreadable.
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

    /// Runs the vision encoder on an image `[1, size, size, 3]` → `[1, g, g, c]`. On a GPU, the images of concurrent
    /// sessions are encoded as one batch.
    pub(crate) fn encode_image(&self, pixel_values: &Tensor) -> candle_core::Result<Tensor> {
        let encode = |images: &Tensor| self.detector.backbone.forward(images);
        // On a CPU a batch is not faster, and without batches results do not depend on other sessions.
        if self.device.is_cpu() {
            encode(pixel_values)
        } else {
            self.vision_batch.encode(pixel_values, encode)
        }
    }

    /// Where sessions register while they are alive, so that their images can be batched.
    pub(crate) fn vision_batch(&self) -> &VisionBatch {
        &self.vision_batch
    }

    /// The configuration that the model was loaded with.
    pub fn config(&self) -> &VideoConfig {
        &self.config
    }

    /// Number types of the weights and activations.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// The device that the model runs on.
    pub fn device(&self) -> &Device {
        &self.device
    }
}
