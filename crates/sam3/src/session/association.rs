//! Which detection belongs to which track (reference: `_associate_det_trk`).

use std::collections::BTreeMap;

use crate::config::VideoConfig;
use crate::mask::Bitmap;

/// A detection of the current frame.
pub(crate) struct Detection {
    pub prompt: usize,
    pub score: f32,
    /// Mask logits.
    pub logits: Vec<f32>,
    pub mask: Bitmap,
}

/// Outcome of matching. Tracks are named by their place in the list of tracks, detections by theirs.
#[derive(Debug, Default)]
pub(crate) struct Association {
    /// Detections that start tracks.
    pub new: Vec<usize>,
    /// Tracks with a mask that no detection confirms.
    pub unmatched: Vec<usize>,
    /// Tracks without a mask.
    pub empty: Vec<usize>,
    /// For each detection, the tracks it overlaps; empty if there were no tracks or no detections.
    pub matched: Vec<Vec<usize>>,
    /// Tracks that a confident detection fits well, and which; the last such detection counts.
    pub confident: BTreeMap<usize, usize>,
}

/// Matches detections with track masks by mask IoU, within prompts.
pub(crate) fn associate(
    detections: &[Detection],
    tracks: &[(usize, &Bitmap)],
    cfg: &VideoConfig,
) -> Association {
    if tracks.is_empty() {
        return Association { new: (0..detections.len()).collect(), ..Association::default() };
    }
    let (empty, visible): (Vec<usize>, Vec<usize>) = (0..tracks.len()).partition(|&t| tracks[t].1.is_empty());
    if detections.is_empty() {
        return Association { unmatched: visible, empty, ..Association::default() };
    }
    let iou = |d: &Detection, (prompt, mask): &(usize, &Bitmap)| {
        if d.prompt == *prompt { d.mask.iou(mask) } else { 0.0 }
    };
    let ious: Vec<Vec<f32>> = detections.iter().map(|d| tracks.iter().map(|t| iou(d, t)).collect()).collect();
    let confirmed = |t: usize| ious.iter().any(|row| row[t] >= cfg.trk_assoc_iou_thresh);
    let mut association = Association {
        unmatched: visible.into_iter().filter(|&t| !confirmed(t)).collect(),
        empty,
        ..Association::default()
    };
    for (d, (detection, row)) in detections.iter().zip(&ious).enumerate() {
        let matched: Vec<usize> = (0..row.len()).filter(|&t| row[t] >= cfg.assoc_iou_thresh).collect();
        let is_new = detection.score >= cfg.new_det_thresh && matched.is_empty();
        let best = (1..row.len()).fold(0, |best, t| if row[t] > row[best] { t } else { best });
        if !is_new && detection.score >= cfg.high_conf_thresh && row[best] >= cfg.high_iou_thresh {
            association.confident.insert(best, d);
        }
        if is_new {
            association.new.push(d);
        }
        association.matched.push(matched);
    }
    association
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(pixels: std::ops::Range<usize>) -> (Vec<f32>, Bitmap) {
        let logits: Vec<f32> = (0..64).map(|i| if pixels.contains(&i) { 1.0 } else { -1.0 }).collect();
        let bits = Bitmap::positive(&logits);
        (logits, bits)
    }

    fn detection(prompt: usize, score: f32, pixels: std::ops::Range<usize>) -> Detection {
        let (logits, mask) = mask(pixels);
        Detection { prompt, score, logits, mask }
    }

    #[test]
    fn without_tracks_every_detection_is_new() {
        let found = associate(&[detection(0, 0.51, 0..9)], &[], &VideoConfig::default());
        assert_eq!(found.new, [0]);
        assert!(found.matched.is_empty());
    }

    #[test]
    fn prompts_do_not_match_each_other() {
        let (_, track) = mask(0..10);
        let found = associate(&[detection(1, 0.9, 0..10)], &[(0, &track)], &VideoConfig::default());
        assert_eq!((found.new, found.unmatched), (vec![0], vec![0]));
    }

    #[test]
    fn a_weak_overlap_is_a_match_but_not_a_confirmation() {
        let (_, track) = mask(0..10);
        let (_, gone) = mask(0..0);
        let tracks = [(0, &track), (0, &gone)];
        let found = associate(&[detection(0, 0.9, 8..16)], &tracks, &VideoConfig::default());
        assert_eq!(found.matched, [vec![0]]);
        assert_eq!((found.unmatched, found.empty), (vec![0], vec![1]));
        assert!(found.new.is_empty() && found.confident.is_empty());
    }

    #[test]
    fn a_confident_detection_may_recondition() {
        let (_, track) = mask(0..10);
        let found = associate(&[detection(0, 0.9, 0..9)], &[(0, &track)], &VideoConfig::default());
        assert_eq!(found.confident.into_iter().collect::<Vec<_>>(), [(0, 0)]);
    }
}
