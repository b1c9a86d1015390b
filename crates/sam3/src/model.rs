//! A loaded checkpoint: weights, tokenizer and the shape of pictures. Immutable; sessions share it.

use std::path::Path;

use candle_core::{DType, Device};

use crate::config::VideoConfig;
use crate::detector::Detector;
use crate::error::Result;
use crate::preprocess::Preprocess;
use crate::tokenizer::PromptTokenizer;
use crate::tracker::Tracker;
use crate::weights::Weights;

/// How large weights are stored in memory. Arithmetic on the CPU is f32 either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Storage {
    /// 4 bytes for each weight.
    #[default]
    F32,
    /// 2 bytes; weights are rounded to bfloat16 and widened where they are used.
    Bf16,
}

impl Storage {
    pub(crate) fn dtype(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::Bf16 => DType::BF16,
        }
    }
}

/// `Sam3VideoModel` with its processor.
pub struct Model {
    pub(crate) config: VideoConfig,
    pub(crate) detector: Detector,
    pub(crate) tracker: Tracker,
    pub(crate) tokenizer: PromptTokenizer,
    pub(crate) preprocess: Preprocess,
    pub(crate) device: Device,
    /// Tells one checkpoint and its storage from another when a saved session is read.
    pub(crate) fingerprint: String,
}

impl Model {
    /// Loads a checkpoint folder as Hugging Face lays it out: `config.json`, `model.safetensors` or shards
    /// with their index, `tokenizer.json`, `processor_config.json`. Weight files are memory-mapped.
    ///
    /// # Errors
    /// [`crate::Error::Checkpoint`] for a missing or unreadable file, [`crate::Error::Config`] for a value
    /// that is not implemented, [`crate::Error::Tensors`] listing every missing, unused or misshapen tensor.
    pub fn load(folder: &Path, storage: Storage, device: &Device) -> Result<Self> {
        Self::open(folder, storage, device, false)
    }

    /// Everything [`Self::load`] verifies, without reading the weights' data.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn check(folder: &Path) -> Result<VideoConfig> {
        Ok(Self::open(folder, Storage::F32, &Device::Cpu, true)?.config)
    }

    fn open(folder: &Path, storage: Storage, device: &Device, check_only: bool) -> Result<Self> {
        let config_path = folder.join("config.json");
        let config = VideoConfig::from_file(&config_path)?;
        let tokenizer = PromptTokenizer::open(folder)?;
        let preprocess = Preprocess::open(folder, config.image_size())?;
        let weights = Weights::open(folder, storage.dtype(), device, check_only)?;
        Self::build(config, storage, tokenizer, preprocess, &weights)
    }

    /// A model of random numbers: the same arithmetic as a real one, for benchmarks.
    ///
    /// # Errors
    /// [`crate::Error::Config`] for a config that is not implemented.
    pub fn random(config: VideoConfig, seed: u64, storage: Storage, device: &Device) -> Result<Self> {
        config.validate()?;
        let vocab_size = config.detector_config.text_config.vocab_size as u32;
        let preprocess = Preprocess::standard(config.image_size());
        let weights = Weights::random(seed, storage.dtype(), device);
        Self::build(config, storage, PromptTokenizer::Bytes { vocab_size }, preprocess, &weights)
    }

    fn build(
        config: VideoConfig,
        storage: Storage,
        tokenizer: PromptTokenizer,
        preprocess: Preprocess,
        weights: &Weights,
    ) -> Result<Self> {
        let detector = Detector::new(&config.detector_config, &weights.pp("detector_model"))?;
        let tracker = Tracker::new(&config, weights)?;
        weights.finish()?;
        let settings = format!("{config:?} {storage:?} {preprocess:?}");
        let fingerprint = format!("{:016x}", weights.digest().add(settings.as_bytes()).value());
        let device = weights.device().clone();
        Ok(Self { config, detector, tracker, tokenizer, preprocess, device, fingerprint })
    }

    /// The checkpoint's configuration.
    pub fn config(&self) -> &VideoConfig {
        &self.config
    }

    /// The device that the model runs on.
    pub fn device(&self) -> &Device {
        &self.device
    }
}
