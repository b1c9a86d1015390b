//! Step 12, composing a frame, and step 14, reporting it once its tracks are certain.

use std::collections::BTreeMap;

use rayon::prelude::*;

use super::association::DetectedMask;
use super::enlarge::resolve_overlaps;
use super::output::{FrameOutput, LowResMask, Mask, TrackedObject};
use super::plan::Plan;
use super::propagate::TrackMasks;
use super::state::{PendingFrame, Session};
use super::track::Track;

/// Score of a removed track where the reference still lists it.
const REMOVED_SCORE: f32 = -1e4;

impl Session {
    /// Step 12: masks and scores by id (`build_outputs`).
    pub(super) fn compose(
        &self,
        masks: &TrackMasks,
        tracks: &[Track],
        born: &[Track],
        detections: &[DetectedMask],
        plan: &Plan,
        frame_idx: usize,
    ) -> PendingFrame {
        let quirks = self.rules.quirks;
        let removed = &plan.verdict.removed;
        // The reference pairs the remaining ids, new ones last, with the masks of all previous tracks.
        let owners: Vec<&Track> = if quirks.shifts_ids {
            tracks.iter().filter(|t| !removed.contains(&t.id)).chain(born).collect()
        } else {
            tracks.iter().collect()
        };
        let mut out: BTreeMap<u64, LowResMask> = BTreeMap::new();
        for (owner, (logits, &score)) in owners.iter().zip(masks.logits.iter().zip(&masks.scores)) {
            out.insert(owner.id, self.low_res(owner, logits.clone(), sigmoid(score)));
        }
        for (track, &d) in born.iter().zip(&plan.born) {
            let mut logits = detections[d].logits.clone();
            self.clean(&mut logits);
            let score = out.get(&track.id).map_or(track.birth_score, |m| m.tracker_score);
            out.insert(track.id, self.low_res(track, logits, score));
        }
        for (&row, &d) in &plan.reconditioned {
            if !quirks.shows_raw_reconditioning && masks.hidden.contains(&row) {
                continue;
            }
            let track = &tracks[row];
            let entry = out.entry(track.id).or_insert_with(|| self.removed(track));
            entry.logits.clone_from(&detections[d].logits);
            if !quirks.shows_raw_reconditioning {
                self.clean(&mut entry.logits);
            }
        }
        if !quirks.shifts_ids {
            out.retain(|id, _| !removed.contains(id));
        }
        PendingFrame {
            frame_idx,
            masks: out.into_values().collect(),
            removed: removed.iter().copied().collect(),
            hidden: plan.verdict.hidden.iter().copied().collect(),
        }
    }

    /// The entry of a track that was removed on this frame, where the reference still lists it.
    fn removed(&self, track: &Track) -> LowResMask {
        LowResMask { score: REMOVED_SCORE, ..self.low_res(track, Vec::new(), REMOVED_SCORE) }
    }

    fn low_res(&self, track: &Track, logits: Vec<f32>, tracker_score: f32) -> LowResMask {
        let score = if self.rules.quirks.freezes_scores { track.birth_score } else { tracker_score };
        LowResMask { id: track.id, prompt: track.prompt, logits, score, tracker_score }
    }

    /// Step 14 for the oldest `n` pending frames.
    pub(super) fn report(&mut self, n: usize) -> Vec<FrameOutput> {
        let certain: Vec<PendingFrame> = self.state.pending.drain(..n).collect();
        let outputs = certain.into_iter().map(|frame| self.post_process(frame)).collect();
        let oldest = self.state.pending.front().map_or(self.state.n_frames, |frame| frame.frame_idx);
        self.state.removed.retain(|(_, frame_idx)| *frame_idx >= oldest);
        outputs
    }

    fn post_process(&self, frame: PendingFrame) -> FrameOutput {
        let is_shown = |id: u64| {
            !frame.hidden.contains(&id) && !self.state.removed.iter().any(|(removed, _)| *removed == id)
        };
        let shown: Vec<&LowResMask> = frame.masks.iter().filter(|m| is_shown(m.id)).collect();
        let enlarged: Vec<(&LowResMask, Mask)> =
            shown.into_par_iter().filter_map(|m| Some((m, self.enlarger.enlarge(&m.logits)?))).collect();
        let (sources, mut masks): (Vec<&LowResMask>, Vec<Mask>) = enlarged.into_iter().unzip();
        // As in the reference, boxes are those of the masks before overlaps are resolved.
        let boxes: Vec<[f32; 4]> = masks.iter().map(|m| self.bbox(m)).collect();
        let prompts: Vec<usize> = sources.iter().map(|m| m.prompt).collect();
        let tracker_scores: Vec<f32> = sources.iter().map(|m| m.tracker_score).collect();
        resolve_overlaps(&mut masks, &prompts, &tracker_scores);
        let objects = sources
            .iter()
            .zip(boxes)
            .zip(masks)
            .map(|((m, bbox), mask)| TrackedObject { id: m.id, prompt: m.prompt, score: m.score, bbox, mask })
            .collect();
        FrameOutput {
            frame_idx: frame.frame_idx,
            objects,
            removed: frame.removed,
            hidden: frame.hidden,
            low_res: frame.masks,
        }
    }

    /// Left, top, right and bottom edge of a mask in its smallest rectangle.
    fn bbox(&self, mask: &Mask) -> [f32; 4] {
        let cut = usize::from(self.rules.quirks.shortens_boxes);
        [mask.x, mask.y, mask.x + mask.width - cut, mask.y + mask.height - cut].map(|x| x as f32)
    }
}

/// The logistic function of one number.
fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}
