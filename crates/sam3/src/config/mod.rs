//! `config.json` of a SAM3 video checkpoint (reference: `Sam3VideoConfig`), every dimension and threshold.
//!
//! Missing keys take the reference's defaults, unknown keys are ignored, and a value that this code does
//! not implement is refused by name in [`VideoConfig::validate`].

mod detector;
mod tracker;

use std::path::Path;

use serde::Deserialize;

pub use detector::*;
pub use tracker::*;

use crate::error::{Error, Result};
use crate::ops::Activation;

/// The whole configuration: detector, tracker and the thresholds that join them.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct VideoConfig {
    /// Text-prompted detector (`Sam3Config`).
    pub detector_config: DetectorConfig,
    /// Memory tracker (`Sam3TrackerVideoConfig`).
    pub tracker_config: TrackerConfig,
    /// Height and width of low-resolution masks, in pixels.
    pub low_res_mask_size: usize,
    /// A detection below this probability does not exist.
    pub score_threshold_detection: f32,
    /// Mask IoU above which the weaker of two detections of a prompt is dropped; 0 turns it off.
    pub det_nms_thresh: f32,
    /// Mask IoU from which a detection belongs to a track.
    pub assoc_iou_thresh: f32,
    /// Mask IoU from which a track counts as confirmed by a detection.
    pub trk_assoc_iou_thresh: f32,
    /// Probability from which an unmatched detection starts a track.
    pub new_det_thresh: f32,
    /// Recondition with the tracker's mask (true) or with the detection's (false).
    pub recondition_on_trk_masks: bool,
    /// Frames after its birth during which a track may still be withdrawn; also the delay of the output.
    pub hotstart_delay: usize,
    /// Unmatched frames within the hotstart window after which a track is withdrawn.
    pub hotstart_unmatch_thresh: usize,
    /// Shared detections within the hotstart window after which the younger track is withdrawn.
    pub hotstart_dup_thresh: usize,
    /// If false, a track whose keep-alive runs out is hidden at any age.
    pub suppress_unmatched_only_within_hotstart: bool,
    /// Keep-alive of a new track, in frames.
    pub init_trk_keep_alive: i64,
    /// Largest keep-alive.
    pub max_trk_keep_alive: i64,
    /// Smallest keep-alive.
    pub min_trk_keep_alive: i64,
    /// Mask IoU from which the more recently occluded of two tracks is hidden; 0 turns it off.
    pub suppress_overlapping_based_on_recent_occlusion_threshold: f32,
    /// Whether an empty mask also costs keep-alive.
    pub decrease_trk_keep_alive_for_empty_masklets: bool,
    /// Holes and specks of at most this many low-resolution pixels are filled and removed; 0 turns it off.
    pub fill_hole_area: usize,
    /// Most tracks at a time.
    pub max_num_objects: usize,
    /// Frames between reconditionings; 0 turns them off.
    pub recondition_every_nth_frame: usize,
    /// Detection probability, and tracker logit, from which a track may be reconditioned.
    pub high_conf_thresh: f32,
    /// Mask IoU from which a track may be reconditioned.
    pub high_iou_thresh: f32,
}

impl Default for VideoConfig {
    fn default() -> Self {
        Self {
            detector_config: DetectorConfig::default(),
            tracker_config: TrackerConfig::default(),
            low_res_mask_size: 288,
            score_threshold_detection: 0.5,
            det_nms_thresh: 0.1,
            assoc_iou_thresh: 0.1,
            trk_assoc_iou_thresh: 0.5,
            new_det_thresh: 0.7,
            recondition_on_trk_masks: true,
            hotstart_delay: 15,
            hotstart_unmatch_thresh: 8,
            hotstart_dup_thresh: 8,
            suppress_unmatched_only_within_hotstart: true,
            init_trk_keep_alive: 30,
            max_trk_keep_alive: 30,
            min_trk_keep_alive: -1,
            suppress_overlapping_based_on_recent_occlusion_threshold: 0.7,
            decrease_trk_keep_alive_for_empty_masklets: false,
            fill_hole_area: 16,
            max_num_objects: 10000,
            recondition_every_nth_frame: 16,
            high_conf_thresh: 0.8,
            high_iou_thresh: 0.8,
        }
    }
}

impl VideoConfig {
    /// Reads `config.json`.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] if it cannot be read or is not such a file, [`Error::Config`] for a value that
    /// is not implemented.
    pub fn from_file(path: &Path) -> Result<Self> {
        let wrong = |what: String| Error::Checkpoint { path: path.to_owned(), what };
        let text = std::fs::read_to_string(path).map_err(|e| wrong(e.to_string()))?;
        let raw: serde_json::Value =
            serde_json::from_str(&text).map_err(|e| wrong(format!("not JSON: {e}")))?;
        if raw.get("detector_config").is_none() && raw.get("tracker_config").is_none() {
            return Err(wrong(
                "has neither detector_config nor tracker_config: not a SAM3 video checkpoint".into(),
            ));
        }
        let config: Self = serde_json::from_value(raw).map_err(|e| wrong(e.to_string()))?;
        config.validate()?;
        Ok(config)
    }

    /// Height and width of the model's picture, in pixels.
    pub fn image_size(&self) -> usize {
        self.detector_config.vision_config.backbone_config.image_size
    }

    /// Height and width of the patch grid.
    pub fn grid(&self) -> usize {
        self.detector_config.vision_config.backbone_config.grid()
    }

    /// Refuses what this code does not implement.
    ///
    /// # Errors
    /// [`Error::Config`] naming the first such key.
    pub fn validate(&self) -> Result<()> {
        self.detector_config.validate()?;
        self.tracker_config.validate(&self.detector_config)?;
        let grid = self.grid();
        require("low_res_mask_size", self.low_res_mask_size, self.low_res_mask_size == 4 * grid, || {
            format!("masks are four times the patch grid of {grid}")
        })?;
        for (key, thresh) in [
            ("hotstart_unmatch_thresh", self.hotstart_unmatch_thresh),
            ("hotstart_dup_thresh", self.hotstart_dup_thresh),
        ] {
            let ok = self.hotstart_delay == 0 || thresh <= self.hotstart_delay;
            require(key, thresh, ok, || format!("at most hotstart_delay = {}", self.hotstart_delay))?;
        }
        Ok(())
    }
}

/// An [`Error::Config`] unless `ok`.
pub(crate) fn require(
    key: &str,
    value: impl std::fmt::Debug,
    ok: bool,
    why: impl FnOnce() -> String,
) -> Result<()> {
    if ok {
        return Ok(());
    }
    Err(Error::Config { key: key.to_owned(), value: format!("{value:?}"), why: why() })
}

/// The activation that a config names.
pub(crate) fn activation(key: &str, name: &str) -> Result<Activation> {
    match name {
        "gelu" => Ok(Activation::Gelu),
        "relu" => Ok(Activation::Relu),
        _ => Err(Error::Config {
            key: key.to_owned(),
            value: name.to_owned(),
            why: "gelu and relu are implemented".into(),
        }),
    }
}

/// Base of the rotary frequencies (`rope_parameters`).
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct RopeParameters {
    /// Base θ.
    pub rope_theta: f64,
    /// Only `axial` is implemented.
    pub rope_type: String,
}

impl Default for RopeParameters {
    fn default() -> Self {
        Self { rope_theta: 10_000.0, rope_type: "axial".into() }
    }
}

impl RopeParameters {
    fn validate(&self, prefix: &str) -> Result<()> {
        let ok = self.rope_type == "axial";
        require(&format!("{prefix}.rope_parameters.rope_type"), &self.rope_type, ok, || {
            "axial is implemented".into()
        })
    }
}

/// Checks that heads divide a width.
pub(crate) fn require_heads(prefix: &str, width: usize, heads: usize) -> Result<()> {
    let ok = heads > 0 && width > 0 && width.is_multiple_of(heads);
    require(&format!("{prefix}.num_attention_heads"), heads, ok, || {
        format!("a divisor of hidden_size = {width}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_valid_and_empty_config_equals_them() {
        VideoConfig::default().validate().unwrap();
        let empty: VideoConfig = serde_json::from_str("{}").unwrap();
        assert_eq!(format!("{empty:?}"), format!("{:?}", VideoConfig::default()));
        assert_eq!(empty.grid(), 72);
    }

    #[test]
    fn an_unknown_activation_is_named() {
        let mut config = VideoConfig::default();
        config.detector_config.detr_encoder_config.hidden_act = "swish".into();
        let message = config.validate().unwrap_err().to_string();
        assert!(message.contains("detector_config.detr_encoder_config.hidden_act = swish"), "{message}");
    }

    #[test]
    fn a_grid_that_contradicts_itself_is_named() {
        let mut config = VideoConfig::default();
        config.tracker_config.prompt_encoder_config.image_size = 512;
        let message = config.validate().unwrap_err().to_string();
        assert!(message.contains("tracker_config.prompt_encoder_config.image_size"), "{message}");
    }
}
