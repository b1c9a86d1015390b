//! Step 5: which detections match which tracks (reference: `_associate_det_trk`).

use std::collections::BTreeMap;

use crate::mask::Bitmap;
use crate::tracker::Rules;

/// A detection of the current frame, with its mask.
pub(super) struct DetectedMask {
    pub prompt: usize,
    /// Probability from 0 to 1.
    pub score: f32,
    /// The logits of the mask, `low_res_mask_size`².
    pub logits: Vec<f32>,
    /// The pixels whose logit is above 0.
    pub mask: Bitmap,
}

/// Matches between detections and tracks, both given by their index.
#[derive(Debug, Default)]
pub(super) struct Association {
    /// Detections that may start tracks: certain enough, and matching no track.
    pub new: Vec<usize>,
    /// Tracks with a mask that no detection confirms.
    pub unmatched: Vec<usize>,
    /// Tracks with an empty mask.
    pub empty: Vec<usize>,
    /// The tracks that each detection matches; empty if there are no tracks.
    pub matched: Vec<Vec<usize>>,
    /// Tracks that fit a confident detection well, with that detection; of several, the last.
    pub confident: BTreeMap<usize, usize>,
}

/// Matches detections with tracks of the same prompt by the overlap of their masks. A track is given by its prompt and
/// its mask.
pub(super) fn associate(
    detections: &[DetectedMask],
    tracks: &[(usize, &Bitmap)],
    rules: &Rules,
) -> Association {
    if tracks.is_empty() {
        return Association { new: (0..detections.len()).collect(), ..Association::default() };
    }
    let (empty, visible): (Vec<usize>, Vec<usize>) = (0..tracks.len()).partition(|&t| tracks[t].1.is_empty());
    if detections.is_empty() {
        return Association { unmatched: visible, empty, ..Association::default() };
    }
    let overlap = |d: &DetectedMask, (prompt, mask): &(usize, &Bitmap)| {
        if d.prompt == *prompt { (rules.overlap)(&d.mask, mask) } else { 0.0 }
    };
    let overlaps: Vec<Vec<f32>> =
        detections.iter().map(|d| tracks.iter().map(|t| overlap(d, t)).collect()).collect();
    let is_confirmed = |t: usize| overlaps.iter().any(|row| row[t] >= rules.confirm_overlap);
    let mut association = Association {
        unmatched: visible.into_iter().filter(|&t| !is_confirmed(t)).collect(),
        empty,
        ..Association::default()
    };
    for (d, (detection, row)) in detections.iter().zip(&overlaps).enumerate() {
        let matched: Vec<usize> = (0..row.len()).filter(|&t| row[t] >= rules.match_overlap).collect();
        let is_new = detection.score >= rules.birth_score && matched.is_empty();
        let best = (1..row.len()).fold(0, |best, t| if row[t] > row[best] { t } else { best });
        if !is_new && detection.score >= rules.recondition_score && row[best] >= rules.recondition_overlap {
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
    use crate::model_files::config::VideoConfig;
    use crate::options::{Mode, SessionOptions};
    use crate::tracker::per_object;

    fn mask(pixels: std::ops::Range<usize>) -> (Vec<f32>, Bitmap) {
        let logits: Vec<f32> = (0..64).map(|i| if pixels.contains(&i) { 1.0 } else { -1.0 }).collect();
        let bits = Bitmap::positive(&logits);
        (logits, bits)
    }

    fn rules() -> Rules {
        let options = SessionOptions::new(Mode::Streaming, (1080, 1920));
        per_object::rules(&VideoConfig::default(), &options)
    }

    fn detection(prompt: usize, score: f32, pixels: std::ops::Range<usize>) -> DetectedMask {
        let (logits, mask) = mask(pixels);
        DetectedMask { prompt, score, logits, mask }
    }

    #[test]
    fn without_tracks_every_detection_is_new() {
        let found = associate(&[detection(0, 0.51, 0..9)], &[], &rules());
        assert_eq!(found.new, [0]);
        assert!(found.matched.is_empty());
    }

    #[test]
    fn prompts_do_not_match_each_other() {
        let (_, track) = mask(0..10);
        let found = associate(&[detection(1, 0.9, 0..10)], &[(0, &track)], &rules());
        assert_eq!((found.new, found.unmatched), (vec![0], vec![0]));
    }

    #[test]
    fn a_small_overlap_matches_but_does_not_confirm() {
        let (_, track) = mask(0..10);
        let (_, empty) = mask(0..0);
        let tracks = [(0, &track), (0, &empty)];
        let found = associate(&[detection(0, 0.9, 8..16)], &tracks, &rules());
        assert_eq!(found.matched, [vec![0]]);
        assert_eq!((found.unmatched, found.empty), (vec![0], vec![1]));
        assert!(found.new.is_empty() && found.confident.is_empty());
    }

    #[test]
    fn a_confident_detection_that_fits_may_recondition() {
        let (_, track) = mask(0..10);
        let found = associate(&[detection(0, 0.9, 0..9)], &[(0, &track)], &rules());
        assert_eq!(found.confident.into_iter().collect::<Vec<_>>(), [(0, 0)]);
    }
}
