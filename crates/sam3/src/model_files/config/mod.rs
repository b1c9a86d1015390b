//! `config.json` of a SAM 3 video model (reference: `Sam3VideoConfig`): every dimension and threshold.
//!
//! Missing keys take the reference's defaults and unknown keys are ignored. [`VideoConfig::validate`] rejects values
//! that are not implemented and names their key.

mod detector;
mod shared;
mod tracker;

use std::path::Path;

use serde::Deserialize;

pub use detector::*;
pub use shared::RopeParameters;
pub(crate) use shared::activation;
pub use tracker::*;

use super::family::Family;
use crate::error::{Error, Result};
use shared::require;

/// The complete configuration: detector, tracker, and the thresholds of a session.
///
/// The names of these types and fields are part of a model's fingerprint (by `Debug`), which saved sessions contain.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct VideoConfig {
    /// Dimensions of the text-prompted detector (`Sam3Config`).
    pub detector_config: DetectorConfig,
    /// Dimensions of the tracker (`Sam3TrackerVideoConfig`).
    pub tracker_config: TrackerConfig,
    /// Height and width of low-resolution masks, in pixels: four times the patch grid.
    pub low_res_mask_size: usize,
    /// Probability above which a query is a detection.
    pub score_threshold_detection: f32,
    /// Mask IoU above which the weaker of two detections of a prompt is dropped; 0 turns it off.
    pub det_nms_thresh: f32,
    /// Mask IoU from which a detection matches a track.
    pub assoc_iou_thresh: f32,
    /// Mask IoU from which a detection confirms a track.
    pub trk_assoc_iou_thresh: f32,
    /// Probability from which an unmatched detection starts a track.
    pub new_det_thresh: f32,
    /// Whether a reconditioned track remembers its own mask (true) or the detection's (false).
    pub recondition_on_trk_masks: bool,
    /// Age in frames up to which a track may be removed; also the delay of the output in offline mode.
    pub hotstart_delay: usize,
    /// Unmatched frames within the hotstart window after which a track is removed.
    pub hotstart_unmatch_thresh: usize,
    /// Detections shared within the hotstart window after which the younger of two tracks is removed.
    pub hotstart_dup_thresh: usize,
    /// If false, a track is hidden at any age while its keep-alive is 0 or less.
    pub suppress_unmatched_only_within_hotstart: bool,
    /// Keep-alive of a new track, in frames. A matching detection adds one, an unmatched frame takes one.
    pub init_trk_keep_alive: i64,
    /// Upper limit of the keep-alive.
    pub max_trk_keep_alive: i64,
    /// Lower limit of the keep-alive.
    pub min_trk_keep_alive: i64,
    /// Mask IoU from which the more recently occluded of two tracks is hidden; 0 turns it off.
    pub suppress_overlapping_based_on_recent_occlusion_threshold: f32,
    /// Whether a frame with an empty mask also takes one from the keep-alive.
    pub decrease_trk_keep_alive_for_empty_masklets: bool,
    /// Holes and specks of at most this many low-resolution pixels are filled and removed; 0 turns it off.
    pub fill_hole_area: usize,
    /// Maximum number of simultaneous tracks.
    pub max_num_objects: usize,
    /// Number of frames between reconditionings; 0 turns them off.
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
    /// [`Error::Model`] if the file cannot be read or belongs to another family of models, [`Error::Config`] for a
    /// value that is not implemented.
    pub fn from_file(path: &Path) -> Result<Self> {
        let wrong = |what: String| Error::Model { path: path.to_owned(), what };
        let text = std::fs::read_to_string(path).map_err(|e| wrong(e.to_string()))?;
        let raw: serde_json::Value =
            serde_json::from_str(&text).map_err(|e| wrong(format!("not JSON: {e}")))?;
        let Family::Sam3 = Family::of_config(&raw).map_err(wrong)?;
        let config: Self = serde_json::from_value(raw).map_err(|e| wrong(e.to_string()))?;
        config.validate()?;
        Ok(config)
    }

    /// The family of models that this is a config of.
    pub(crate) fn family(&self) -> Family {
        Family::Sam3
    }

    /// Height and width of the model's input image, in pixels.
    pub fn image_size(&self) -> usize {
        self.detector_config.vision_config.backbone_config.image_size
    }

    /// Height and width of the patch grid, in patches.
    pub fn grid(&self) -> usize {
        self.detector_config.vision_config.backbone_config.grid()
    }

    /// Checks that every value is implemented and that values agree with each other.
    ///
    /// # Errors
    /// [`Error::Config`] with the first key that fails.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_valid_and_equal_an_empty_config() {
        VideoConfig::default().validate().unwrap();
        let empty: VideoConfig = serde_json::from_str("{}").unwrap();
        assert_eq!(format!("{empty:?}"), format!("{:?}", VideoConfig::default()));
        assert_eq!(empty.grid(), 72);
    }

    #[test]
    fn names_an_unknown_activation() {
        let mut config = VideoConfig::default();
        config.detector_config.detr_encoder_config.hidden_act = "swish".into();
        let message = config.validate().unwrap_err().to_string();
        assert!(message.contains("detector_config.detr_encoder_config.hidden_act = swish"), "{message}");
    }

    #[test]
    fn names_an_inconsistent_grid() {
        let mut config = VideoConfig::default();
        config.tracker_config.prompt_encoder_config.image_size = 512;
        let message = config.validate().unwrap_err().to_string();
        assert!(message.contains("tracker_config.prompt_encoder_config.image_size"), "{message}");
    }
}
