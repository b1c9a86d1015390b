//! Step 1, preparing a frame; step 2, detections; and their part of step 4.

use candle_core::Tensor;
use rayon::prelude::*;

use super::association::DetectedMask;
use super::state::Session;
use crate::detector::PromptQueries;
use crate::error::{Error, Result};
use crate::mask::{Bitmap, suppress_overlapping};
use crate::ops::Download;
use crate::tracker::Features;
use crate::vision::neck::Pyramid;

/// A frame to track.
pub enum Frame<'a> {
    /// An image of the session's frame size, `height · width · 3` bytes.
    Rgb(&'a [u8]),
    /// Pixel values `[1, size, size, 3]`, resized and normalised as the model requires.
    PixelValues(&'a Tensor),
}

/// A frame after step 1: everything that does not depend on the tracks.
pub struct Prepared {
    pub(super) features: Features,
    pyramid: Pyramid,
    /// The detector's output for each prompt.
    queries: Vec<PromptQueries>,
}

/// Detections of one prompt whose masks are being downloaded.
pub(super) struct PromptDetections {
    prompt: usize,
    scores: Vec<f32>,
    masks: Download,
}

impl Session {
    /// Step 1: runs the vision encoder, both necks and the detector. On a GPU the work is queued, and this returns
    /// without waiting for it.
    ///
    /// # Errors
    /// [`Error::Frame`] for a frame of the wrong size; [`Error::Tensor`] if the device fails.
    pub fn prepare(&self, frame: &Frame<'_>) -> Result<Prepared> {
        self.prepare_pixel_values(&self.pixel_values(frame)?)
    }

    /// The frame as the vision encoder reads it, `[1, size, size, 3]`, on the device.
    pub(super) fn pixel_values(&self, frame: &Frame<'_>) -> Result<Tensor> {
        let wrong = |what: String| Error::Frame { frame_idx: self.state.n_frames, what };
        match frame {
            Frame::Rgb(rgb) => {
                let (height, width) = self.options.frame_size;
                let expected = height * width * 3;
                if expected == 0 || rgb.len() != expected {
                    let got = rgb.len();
                    return Err(wrong(format!("got {got} bytes, but {width}x{height} RGB has {expected}")));
                }
                let dtype = self.model.precision.activations();
                self.model.preprocess.pixel_values(rgb, (height, width), dtype, &self.model.device)
            }
            Frame::PixelValues(values) => {
                let size = self.model.config.image_size();
                if values.dims() != [1, size, size, 3] {
                    let got = values.shape();
                    return Err(wrong(format!("got pixel values {got:?}, expected [1, {size}, {size}, 3]")));
                }
                Ok(values.to_dtype(self.model.precision.activations())?.to_device(&self.model.device)?)
            }
        }
    }

    /// Step 1 after preprocessing.
    pub(super) fn prepare_pixel_values(&self, pixel_values: &Tensor) -> Result<Prepared> {
        let detector = &self.model.detector;
        let image = self.model.encode_image(pixel_values)?;
        let pyramid = detector.neck.forward(&image)?;
        let queries = self.prompt_features.iter().map(|prompt| detector.run(&pyramid, prompt));
        let queries = queries.collect::<candle_core::Result<_>>()?;
        Ok(Prepared { features: self.model.tracker.features(&image)?, pyramid, queries })
    }

    /// Step 2, for the prompts that have detections.
    pub(super) fn detect(&self, frame: &Prepared) -> Result<Vec<PromptDetections>> {
        let mut detections = Vec::new();
        for (prompt, (features, queries)) in self.prompt_features.iter().zip(&frame.queries).enumerate() {
            let scores = queries.scores.numbers()?;
            let (which, scores) = match &self.synthetic {
                Some(scene) => scene.detections(scores.len()),
                None => {
                    let is_detection = |i: &usize| scores[*i] > self.rules.detection_score;
                    let which: Vec<usize> = (0..scores.len()).filter(is_detection).collect();
                    let scores = which.iter().map(|&i| scores[i]).collect();
                    (which, scores)
                }
            };
            if which.is_empty() {
                continue;
            }
            let masks = self.model.detector.masks(&frame.pyramid, features, queries, &which)?;
            detections.push(PromptDetections { prompt, scores, masks: Download::of(&masks)? });
        }
        Ok(detections)
    }

    /// Step 4 for detections. Where two of a prompt overlap, the one with the lower score is dropped.
    pub(super) fn download_detections(&self, queued: Vec<PromptDetections>) -> Result<Vec<DetectedMask>> {
        let mut all = Vec::new();
        for PromptDetections { prompt, scores, masks } in queued {
            let mut masks = masks.rows()?;
            if let Some(scene) = &self.synthetic {
                scene.replace_masks(&mut masks);
            }
            let mut detections: Vec<DetectedMask> = masks
                .into_par_iter()
                .zip(scores)
                .map(|(logits, score)| DetectedMask {
                    prompt,
                    score,
                    mask: Bitmap::positive(&logits),
                    logits,
                })
                .collect();
            if let Some(threshold) = self.rules.duplicate_iou {
                let bits: Vec<Bitmap> = detections.iter().map(|d| d.mask.clone()).collect();
                let scores: Vec<f32> = detections.iter().map(|d| d.score).collect();
                let kept = suppress_overlapping(&bits, &scores, threshold);
                let mut i = 0;
                detections.retain(|_| {
                    i += 1;
                    kept.binary_search(&(i - 1)).is_ok()
                });
            }
            all.append(&mut detections);
        }
        Ok(all)
    }
}
