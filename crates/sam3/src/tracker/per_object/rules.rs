//! The session rules of SAM 3, from its config and the session's options.

use crate::mask::Bitmap;
use crate::model_files::config::VideoConfig;
use crate::options::SessionOptions;
use crate::tracker::rules::{Quirks, Rules};

/// The rules that SAM 3 was published with, and the corrections of [`crate::Compat::Fixed`].
pub(crate) fn rules(config: &VideoConfig, options: &SessionOptions) -> Rules {
    let is_reference = options.compat.is_reference();
    let cleans = options.compat.cleans_masks();
    let above_0 = |threshold: f32| Some(threshold).filter(|&t| t > 0.0);
    Rules {
        detection_score: config.score_threshold_detection,
        duplicate_iou: above_0(config.det_nms_thresh).filter(|_| cleans),
        max_cleaned_area: if cleans { config.fill_hole_area } else { 0 },
        overlap: Bitmap::iou,
        match_overlap: config.assoc_iou_thresh,
        confirm_overlap: config.trk_assoc_iou_thresh,
        birth_score: config.new_det_thresh,
        recondition_every: config.recondition_every_nth_frame,
        recondition_score: config.high_conf_thresh,
        recondition_overlap: config.high_iou_thresh,
        recondition_replaces_mask: !config.recondition_on_trk_masks,
        hotstart_delay: config.hotstart_delay,
        hotstart_unmatched: config.hotstart_unmatch_thresh,
        hotstart_duplicates: config.hotstart_dup_thresh,
        first_keep_alive: config.init_trk_keep_alive,
        keep_alive: config.min_trk_keep_alive..=config.max_trk_keep_alive,
        hides_unmatched: !config.suppress_unmatched_only_within_hotstart,
        empty_mask_costs_keep_alive: config.decrease_trk_keep_alive_for_empty_masklets,
        occlusion_iou: above_0(config.suppress_overlapping_based_on_recent_occlusion_threshold),
        max_tracks: options.max_objects.unwrap_or(usize::MAX).min(config.max_num_objects),
        evicts: !is_reference,
        retire_after: options.retire_after.filter(|&frames| frames > 0 && !is_reference),
        quirks: Quirks {
            repeats_equal_prompts: is_reference,
            shifts_ids: is_reference,
            shows_raw_reconditioning: is_reference,
            freezes_scores: is_reference,
            shortens_boxes: is_reference,
        },
    }
}
