//! Steps 5 to 9: what happens to tracks and detections on a frame, decided before anything is stored.

use std::collections::{BTreeMap, BTreeSet};

use super::association::{Association, DetectedMask, associate};
use super::lifecycle::{DuplicateCounts, Verdict, judge};
use super::occlusion::hide_recently_occluded;
use super::propagate::TrackMasks;
use super::state::Session;
use super::track::Track;
use crate::mask::Bitmap;
use crate::options::Mode;

/// The decisions of steps 6 to 8.
pub(super) struct Plan {
    pub verdict: Verdict,
    /// Detections that become tracks, in the order of their ids.
    pub born: Vec<usize>,
    /// Rows that are evicted to make room.
    pub evicted: BTreeSet<usize>,
    /// Reconditioned rows, with the detection that confirms each of them.
    pub reconditioned: BTreeMap<usize, usize>,
    /// New detections that were rejected because the limit of tracks was reached.
    pub n_rejected: u64,
}

/// Mask logit from which a pixel of a detection is part of the mask that replaces a track's.
const RECONDITION_LOGIT: f32 = 0.5;

impl Session {
    /// Steps 5 to 8. Updates the counters of `tracks` and `duplicates`.
    pub(super) fn plan(
        &self,
        detections: &[DetectedMask],
        masks: &TrackMasks,
        tracks: &mut [Track],
        duplicates: &mut DuplicateCounts,
        frame_idx: usize,
    ) -> Plan {
        let bits: Vec<Bitmap> = masks.logits.iter().map(|m| Bitmap::positive(m)).collect();
        let prompted: Vec<(usize, &Bitmap)> = tracks.iter().zip(&bits).map(|(t, b)| (t.prompt, b)).collect();
        let association = associate(detections, &prompted, &self.rules);
        let is_offline = matches!(self.options.mode, Mode::Offline { .. });
        let verdict = judge(tracks, duplicates, &association, frame_idx, is_offline, &self.rules);
        let (born, evicted) = self.admit(&association.new, &verdict, detections, tracks, frame_idx);
        let reconditioned = self.recondition(&association, &masks.scores, frame_idx);
        let n_rejected = (association.new.len() - born.len()) as u64;
        Plan { verdict, born, evicted, reconditioned, n_rejected }
    }

    /// Step 7: the detections that become tracks, and the rows that are evicted for them.
    fn admit(
        &self,
        new: &[usize],
        verdict: &Verdict,
        detections: &[DetectedMask],
        tracks: &[Track],
        frame_idx: usize,
    ) -> (Vec<usize>, BTreeSet<usize>) {
        let limit = self.max_tracks();
        // In the reference, tracks that are removed on this frame still take up room.
        let n_removed = if self.rules.evicts { verdict.removed.len() } else { 0 };
        let n_tracks = tracks.len() - n_removed;
        let n_over = (n_tracks + new.len()).saturating_sub(limit);
        if n_over == 0 {
            return (new.to_vec(), BTreeSet::new());
        }
        let mut evicted = BTreeSet::new();
        if self.rules.evicts {
            let is_lost = |row: &usize| {
                let track = &tracks[*row];
                track.last_matched + self.rules.hotstart_delay.max(1) <= frame_idx
                    && !verdict.removed.contains(&track.id)
            };
            let mut lost: Vec<usize> = (0..tracks.len()).filter(is_lost).collect();
            // Those that have been lost for longest first.
            lost.sort_by_key(|&row| tracks[row].last_matched);
            evicted.extend(lost.into_iter().take(n_over));
        }
        let room = limit.saturating_sub(n_tracks - evicted.len());
        let mut best = new.to_vec();
        best.sort_by(|&a, &b| detections[b].score.total_cmp(&detections[a].score));
        best.truncate(room);
        (best, evicted)
    }

    /// Step 8: the rows that are reconditioned, with the detections that confirm them.
    fn recondition(
        &self,
        association: &Association,
        scores: &[f32],
        frame_idx: usize,
    ) -> BTreeMap<usize, usize> {
        let every = self.rules.recondition_every;
        if every == 0 || !frame_idx.is_multiple_of(every) {
            return BTreeMap::new();
        }
        // As in the reference, the track's logit is compared with a threshold for probabilities.
        let is_certain = |(row, _): &(&usize, &usize)| scores[**row] > self.rules.recondition_score;
        association.confident.iter().filter(is_certain).map(|(&row, &d)| (row, d)).collect()
    }

    /// Step 9, and the masks that reconditioned tracks take over from their detections.
    pub(super) fn settle_masks(
        &self,
        masks: &mut TrackMasks,
        tracks: &mut [Track],
        plan: &Plan,
        detections: &[DetectedMask],
        frame_idx: usize,
    ) {
        if let Some(threshold) = self.rules.occlusion_iou {
            let is_removed = |id| plan.verdict.removed.contains(&id);
            masks.hidden =
                hide_recently_occluded(&mut masks.logits, tracks, frame_idx, threshold, is_removed);
        }
        if self.rules.recondition_replaces_mask {
            for (&row, &d) in &plan.reconditioned {
                let binary = |&x: &f32| f32::from(u8::from(x >= RECONDITION_LOGIT));
                masks.logits[row] = detections[d].logits.iter().map(binary).collect();
            }
        }
    }

    /// Step 11, the session's part: a track for each admitted detection.
    pub(super) fn new_tracks(
        &self,
        plan: &Plan,
        detections: &[DetectedMask],
        frame_idx: usize,
    ) -> Vec<Track> {
        let track = |(i, &d): (usize, &usize)| Track {
            id: self.state.next_id + i as u64,
            prompt: detections[d].prompt,
            first_frame: frame_idx,
            birth_score: detections[d].score,
            keep_alive: self.rules.first_keep_alive,
            n_unmatched: 0,
            last_matched: frame_idx,
            last_occluded: None,
        };
        plan.born.iter().enumerate().map(track).collect()
    }
}
