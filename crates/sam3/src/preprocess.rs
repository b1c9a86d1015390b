//! Converts frames to pixel values: resizes them to the model's square and normalises them (reference:
//! `Sam3VideoProcessor`, whose resize is torchvision's antialiased bilinear resize of uint8).

use std::path::Path;

use candle_core::{DType, Device, Tensor};
use serde::Deserialize;

use crate::error::{Error, Result};
use crate::ops;

/// Input size of the model, and the normalisation of its pixel values.
#[derive(Debug, Clone)]
pub(crate) struct Preprocess {
    size: usize,
    mean: [f32; 3],
    std: [f32; 3],
}

/// The part of `processor_config.json` that describes images.
#[derive(Debug, Deserialize)]
struct ProcessorFile {
    video_processor: Option<ImageProcessor>,
    image_processor: Option<ImageProcessor>,
}

#[derive(Debug, Deserialize)]
struct ImageProcessor {
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
    /// Normalises with mean and standard deviation 0.5, as in SAM3's training.
    pub(crate) fn standard(size: usize) -> Self {
        Self { size, mean: [127.5; 3], std: [127.5; 3] }
    }

    /// Reads `processor_config.json`, or `preprocessor_config.json` of older exports.
    pub(crate) fn open(folder: &Path, size: usize) -> Result<Self> {
        let current = folder.join("processor_config.json");
        let older = folder.join("preprocessor_config.json");
        let (path, nested) = if current.is_file() { (current, true) } else { (older, false) };
        let wrong = |what: String| Error::Model { path: path.clone(), what };
        let text = std::fs::read_to_string(&path).map_err(|e| wrong(e.to_string()))?;
        let parsed = if nested {
            serde_json::from_str::<ProcessorFile>(&text).map(|f| f.video_processor.or(f.image_processor))
        } else {
            serde_json::from_str(&text).map(Some)
        };
        let processor: ImageProcessor = parsed
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

    /// Converts an RGB image of `height · width · 3` bytes to pixel values `[1, size, size, 3]`.
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
        // Converted before the upload, to transfer fewer bytes.
        Ok(on_host.to_dtype(dtype)?.to_device(device)?)
    }
}
