//! Tracks that overlap each other: which of them are hidden (step 9) and what they remember (step 10). Reference:
//! `_suppress_overlapping_based_on_recent_occlusion`, `_suppress_object_pw_area_shrinkage`.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::track::{ALWAYS_OCCLUDED, NEVER_OCCLUDED, Track};
use crate::mask::Bitmap;

/// Mask logit of a hidden track.
const HIDDEN_LOGIT: f32 = -10.0;
/// A mask is remembered if it wins at least this share of its pixels.
const KEPT_SHARE: f32 = 0.3;

/// Of two tracks with a mask IoU of at least `threshold`, empties the mask of the one that was occluded more recently.
/// Updates every track's `last_occluded`. Returns the rows whose masks were emptied.
pub(super) fn hide_recently_occluded(
    masks: &mut [Vec<f32>],
    tracks: &mut [Track],
    frame_idx: usize,
    threshold: f32,
    is_removed: impl Fn(u64) -> bool,
) -> BTreeSet<usize> {
    let bits: Vec<Bitmap> = masks.iter().map(|m| Bitmap::positive(m)).collect();
    let occluded: Vec<i64> = tracks
        .iter()
        .map(|t| {
            let unknown = if is_removed(t.id) { ALWAYS_OCCLUDED } else { NEVER_OCCLUDED };
            t.last_occluded.unwrap_or(unknown)
        })
        .collect();
    let mut hidden = vec![false; tracks.len()];
    for i in 0..tracks.len() {
        for j in i + 1..tracks.len() {
            let same_prompt = tracks[i].prompt == tracks[j].prompt;
            if !same_prompt || bits[i].iou(&bits[j]) < threshold {
                continue;
            }
            // The other one must have been occluded before, too.
            hidden[i] |= occluded[i] > occluded[j] && occluded[j] > NEVER_OCCLUDED;
            hidden[j] |= occluded[j] > occluded[i] && occluded[i] > NEVER_OCCLUDED;
        }
    }
    for (i, track) in tracks.iter_mut().enumerate() {
        let now = hidden[i] || bits[i].is_empty();
        track.last_occluded = Some(if now { frame_idx as i64 } else { occluded[i] });
        if hidden[i] {
            masks[i].fill(HIDDEN_LOGIT);
        }
    }
    (0..hidden.len()).filter(|&i| hidden[i]).collect()
}

/// Masks as the tracker remembers them. Where tracks of a prompt overlap, the highest logit wins a pixel. A track that
/// wins less than [`KEPT_SHARE`] of its pixels is emptied; the others keep their complete masks.
pub(super) fn suppress_shrunk<'a>(masks: &'a [Vec<f32>], prompts: &[usize]) -> Vec<Cow<'a, [f32]>> {
    let mut out: Vec<Cow<[f32]>> = masks.iter().map(Cow::from).collect();
    let mut groups: Vec<usize> = prompts.to_vec();
    groups.sort_unstable();
    groups.dedup();
    for prompt in groups {
        let members: Vec<usize> = (0..masks.len()).filter(|&i| prompts[i] == prompt).collect();
        if members.len() < 2 {
            continue;
        }
        let (before, after) = areas(masks, &members);
        for (k, &i) in members.iter().enumerate() {
            if after[k] as f32 / before[k].max(1) as f32 >= KEPT_SHARE {
                continue;
            }
            out[i].to_mut().iter_mut().for_each(|x| *x = x.min(HIDDEN_LOGIT));
        }
    }
    out
}

/// For each member, the number of its positive pixels and how many of them it wins.
fn areas(masks: &[Vec<f32>], members: &[usize]) -> (Vec<u32>, Vec<u32>) {
    let masks: Vec<&[f32]> = members.iter().map(|&i| masks[i].as_slice()).collect();
    let before = masks.iter().map(|mask| mask.iter().map(|&x| u32::from(x > 0.0)).sum()).collect();
    let mut best = masks[0].to_vec();
    let mut winner = vec![0u32; best.len()];
    for (k, mask) in masks.iter().enumerate().skip(1) {
        for ((best, winner), &logit) in best.iter_mut().zip(&mut winner).zip(*mask) {
            let wins = logit > *best;
            *winner = if wins { k as u32 } else { *winner };
            *best = if wins { logit } else { *best };
        }
    }
    let mut after = vec![0; members.len()];
    for (best, winner) in best.into_iter().zip(winner) {
        after[winner as usize] += u32::from(best > 0.0);
    }
    (before, after)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empties_a_mask_that_loses_most_of_its_pixels_and_keeps_the_winner() {
        let strong = vec![5.0, 5.0, 5.0, 5.0, -3.0, -3.0];
        let weak = vec![1.0, 1.0, 1.0, 1.0, 1.0, -3.0];
        let masks = [strong.clone(), weak.clone()];
        let out = suppress_shrunk(&masks, &[0, 0]);
        assert_eq!(*out[0], *strong);
        assert!(out[1].iter().all(|&x| x <= HIDDEN_LOGIT));
        let apart = [strong, weak];
        assert_eq!(suppress_shrunk(&apart, &[0, 1]), apart.each_ref().map(Cow::from));
    }
}
