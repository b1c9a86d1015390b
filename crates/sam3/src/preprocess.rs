//! Pictures to pixel values: resize to the model's square and normalise (reference: `Sam3VideoProcessor`,
//! whose resize is torchvision's antialiased bilinear on uint8).

use std::path::Path;

use candle_core::{DType, Device, Tensor};
use serde::Deserialize;

use crate::error::{Error, Result};
use crate::ops;

/// Size and normalisation of the model's pictures.
#[derive(Debug, Clone)]
pub(crate) struct Preprocess {
    size: usize,
    mean: [f32; 3],
    std: [f32; 3],
}

/// What `processor_config.json` says of pictures.
#[derive(Debug, Deserialize)]
struct ProcessorFile {
    video_processor: Option<PictureProcessor>,
    image_processor: Option<PictureProcessor>,
}

#[derive(Debug, Deserialize)]
struct PictureProcessor {
    image_mean: [f64; 3],
    image_std: [f64; 3],
    #[serde(default = "one_over_255")]
    rescale_factor: f64,
    #[serde(default = "bilinear")]
    resample: u32,
}

fn one_over_255() -> f64 {
    1.0 / 255.0
}

fn bilinear() -> u32 {
    2
}

impl Preprocess {
    /// Mean and standard deviation of 0.5, as SAM3 was trained.
    pub(crate) fn standard(size: usize) -> Self {
        Self { size, mean: [127.5; 3], std: [127.5; 3] }
    }

    /// Reads `processor_config.json`, or `preprocessor_config.json` of older exports.
    pub(crate) fn open(folder: &Path, size: usize) -> Result<Self> {
        let current = folder.join("processor_config.json");
        let older = folder.join("preprocessor_config.json");
        let (path, nested) = if current.is_file() { (current, true) } else { (older, false) };
        let wrong = |what: String| Error::Checkpoint { path: path.clone(), what };
        let text = std::fs::read_to_string(&path).map_err(|e| wrong(e.to_string()))?;
        let parsed = if nested {
            serde_json::from_str::<ProcessorFile>(&text).map(|f| f.video_processor.or(f.image_processor))
        } else {
            serde_json::from_str(&text).map(Some)
        };
        let processor: PictureProcessor = parsed
            .map_err(|e| wrong(e.to_string()))?
            .ok_or_else(|| wrong("has neither video_processor nor image_processor".into()))?;
        if processor.resample != 2 {
            return Err(wrong(format!(
                "resample = {}: only 2 (bilinear) is implemented",
                processor.resample
            )));
        }
        let scaled = |x: f64| (x / processor.rescale_factor) as f32;
        Ok(Self { size, mean: processor.image_mean.map(scaled), std: processor.image_std.map(scaled) })
    }

    /// An RGB picture of `height · width · 3` bytes → pixel values `[1, size, size, 3]`.
    pub(crate) fn pixel_values(
        &self,
        rgb: &[u8],
        (height, width): (usize, usize),
        dtype: DType,
        device: &Device,
    ) -> Result<Tensor> {
        let scale = (self.mean, self.std);
        if let Some(values) = ops::pixel_values(rgb, (height, width), self.size, scale, dtype, device)? {
            return Ok(values);
        }
        let square = ops::resize_rgb(rgb, (height, width), (self.size, self.size));
        let mut data = vec![0f32; square.len()];
        for (out, pixel) in data.chunks_exact_mut(3).zip(square.chunks_exact(3)) {
            for c in 0..3 {
                out[c] = (f32::from(pixel[c]) - self.mean[c]) / self.std[c];
            }
        }
        let on_host = Tensor::from_vec(data, (1, self.size, self.size, 3), &Device::Cpu)?;
        // Narrowed before it travels.
        Ok(on_host.to_dtype(dtype)?.to_device(device)?)
    }
}
