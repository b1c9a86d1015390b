//! One frame of the procedure, in the order of the reference's `_det_track_one_frame`.

use std::collections::{BTreeMap, BTreeSet};

use candle_core::Tensor;
use rayon::prelude::*;

use super::association::{Detection, associate};
use super::lifecycle::{Verdict, is_gone, judge};
use super::rehearsal::Rehearsal;
use super::suppression::{hide_recently_occluded, suppress_shrunk};
use super::track::{Facts, Track};
use super::{Frame, LowResMask, Mode, Session, Unreported};
use crate::detector::neck::Pyramid;
use crate::detector::{Seen, sigmoid};
use crate::error::Result;
use crate::mask::{Bitmap, fill_holes_and_remove_specks, suppress_overlapping};
use crate::ops::Download;
use crate::trace;
use crate::tracker::{FrameFeatures, MemoryMask, Propagated};

/// Score of a withdrawn object where the reference still lists it.
const WITHDRAWN_SCORE: f32 = -1e4;

/// A picture as far as it can be looked at without knowing what is being tracked.
pub struct Prepared {
    features: FrameFeatures,
    pyramid: Pyramid,
    /// By prompt.
    seen: Vec<Seen>,
}

/// Detections on their way to the host: for each prompt where anything was found, scores and masks.
struct Found(Vec<(usize, Vec<f32>, Download)>);

/// Tracks on their way to the host.
struct Carrying {
    raw: Propagated,
    masks: Download,
    scores: Download,
}

/// The tracks of the frame before, carried to this one.
struct Carried {
    /// Mask logits on the host, cleaned where [`super::Compat`] cleans.
    masks: Vec<Vec<f32>>,
    /// Tracks whose masks were emptied in favour of others.
    hidden: BTreeSet<usize>,
    /// Logits of "the object is visible".
    scores: Vec<f32>,
    /// As the tracker gave them; `None` without tracks.
    raw: Option<Propagated>,
}

/// What was decided about the frame before anything is written.
struct Plan {
    verdict: Verdict,
    /// Detections that become tracks, in the order of their ids.
    born: Vec<usize>,
    /// Tracks that are given up to make room.
    evicted: BTreeSet<usize>,
    /// Track → detection that confirms it so well that this frame becomes a conditioning frame.
    reconditioned: BTreeMap<usize, usize>,
    /// New detections for which there was no room.
    n_turned_away: u64,
}

impl Session {
    /// Queues everything about a picture `[1, size, size, 3]` that does not depend on the tracks.
    pub(super) fn look(&self, pixel_values: &Tensor) -> Result<Prepared> {
        let detector = &self.model.detector;
        let picture = self.model.encode_picture(pixel_values)?;
        let pyramid = detector.neck.forward(&picture)?;
        let seen = self.prompt_features.iter().map(|prompt| detector.look(&pyramid, prompt));
        let seen = seen.collect::<candle_core::Result<_>>()?;
        Ok(Prepared { features: self.model.tracker.features(&picture)?, pyramid, seen })
    }

    /// Runs the procedure on a frame. The state is changed only after everything that can fail. In the
    /// middle, when the device has its work and the host is about to wait, the next frame is prepared.
    pub(super) fn track_frame(
        &mut self,
        frame: &Prepared,
        next: Option<&Frame<'_>>,
        ahead: &mut Option<Prepared>,
    ) -> Result<Unreported> {
        let frame_idx = self.state.n_frames;
        let features = &frame.features;
        // The next picture travels while the device still looks at this one.
        let pixel_values = next.and_then(|next| self.pixel_values(next).ok());
        let found = self.find(frame)?;
        let carrying = self.carry(features, frame_idx)?;
        if let Some(pixel_values) = pixel_values {
            *ahead = self.look(&pixel_values).ok();
        }
        let detections = self.detections(found)?;
        let mut carried = self.carried(carrying)?;

        let mut tracks = self.state.tracks.clone();
        let mut overlaps = self.state.overlaps.clone();
        let plan = self.plan(&detections, &carried, &mut tracks, &mut overlaps, frame_idx);
        self.settle_masks(&mut carried, &mut tracks, &plan, &detections, frame_idx);
        self.remember(features, &carried, &mut tracks, &plan, frame_idx)?;
        let born = self.admit(features, &detections, &plan, frame_idx)?;
        let unreported = self.describe(&carried, &tracks, &born, &detections, &plan, frame_idx);

        self.state.n_turned_away += plan.n_turned_away;
        let retire_after = self.retire_after();
        let mut place = 0;
        tracks.retain(|track| {
            let keep = !plan.verdict.removed.contains(&track.facts.id)
                && !plan.evicted.contains(&place)
                && !is_gone(track, frame_idx, retire_after);
            place += 1;
            keep
        });
        self.state.next_id += born.len() as u64;
        tracks.extend(born);
        self.state.tracks = tracks;
        self.state.overlaps = overlaps;
        self.state.withdrawn.extend(plan.verdict.removed.iter().map(|&id| (id, frame_idx)));
        Ok(unreported)
    }

    /// Step 1: which queries of every prompt found something, and their masks, on their way.
    fn find(&self, frame: &Prepared) -> Result<Found> {
        let threshold = self.model.config.score_threshold_detection;
        let mut found = Vec::new();
        for (prompt, (features, seen)) in self.prompt_features.iter().zip(&frame.seen).enumerate() {
            let scores = seen.scores.numbers()?;
            let (which, scores) = match &self.rehearsal {
                Some(rehearsal) => rehearsal.found(scores.len()),
                None => {
                    let above = |i: &usize| scores[*i] > threshold;
                    let which: Vec<usize> = (0..scores.len()).filter(above).collect();
                    let scores = which.iter().map(|&i| scores[i]).collect();
                    (which, scores)
                }
            };
            if which.is_empty() {
                continue;
            }
            let masks = self.model.detector.masks(&frame.pyramid, features, seen, &which)?;
            found.push((prompt, scores, Download::of(&masks)?));
        }
        Ok(Found(found))
    }

    /// Step 2: detections on the host, without those that others of their prompt cover.
    fn detections(&self, found: Found) -> Result<Vec<Detection>> {
        let cfg = &self.model.config;
        let mut all = Vec::new();
        for (prompt, scores, masks) in found.0 {
            let mut masks = masks.rows()?;
            if let Some(rehearsal) = &self.rehearsal {
                rehearsal.masks(&mut masks);
            }
            let mut detections: Vec<Detection> = masks
                .into_par_iter()
                .zip(scores)
                .map(|(logits, score)| Detection { prompt, score, mask: Bitmap::positive(&logits), logits })
                .collect();
            if self.options.compat.cleans_masks() && cfg.det_nms_thresh > 0.0 {
                let bits: Vec<Bitmap> = detections.iter().map(|d| d.mask.clone()).collect();
                let scores: Vec<f32> = detections.iter().map(|d| d.score).collect();
                let kept = suppress_overlapping(&bits, &scores, cfg.det_nms_thresh);
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

    /// Step 4: existing tracks on this frame.
    fn carry(&self, features: &FrameFeatures, frame_idx: usize) -> Result<Option<Carrying>> {
        if self.state.tracks.is_empty() {
            return Ok(None);
        }
        let banks: Vec<_> = self.state.tracks.iter().map(|t| &t.bank).collect();
        let max_pointers = self.max_pointers(frame_idx);
        let tracker = &self.model.tracker;
        let raw = tracker.propagate(features, &banks, frame_idx, max_pointers, &self.limits, self.at_once)?;
        let (masks, scores) = (Download::of(&raw.masks)?, Download::of(&raw.scores)?);
        Ok(Some(Carrying { raw, masks, scores }))
    }

    /// Step 5: their masks on the host.
    fn carried(&self, carrying: Option<Carrying>) -> Result<Carried> {
        let Some(Carrying { raw, masks, scores }) = carrying else {
            return Ok(Carried { masks: Vec::new(), hidden: BTreeSet::new(), scores: Vec::new(), raw: None });
        };
        let (mut masks, mut scores) = (masks.rows()?, scores.numbers()?);
        if let Some(rehearsal) = &self.rehearsal {
            rehearsal.masks(&mut masks);
            Rehearsal::scores(&mut scores);
        }
        masks.par_iter_mut().for_each(|mask| self.clean(mask));
        Ok(Carried { masks, hidden: BTreeSet::new(), scores, raw: Some(raw) })
    }

    /// Fills holes and removes specks where the session does that.
    fn clean(&self, logits: &mut [f32]) {
        let cfg = &self.model.config;
        if self.options.compat.cleans_masks() {
            fill_holes_and_remove_specks(logits, cfg.low_res_mask_size, cfg.fill_hole_area);
        }
    }

    /// Pointers that an object attends to, the current frame's counted. The reference takes no more than
    /// there are frames: of the whole video offline, so far in streaming mode.
    fn max_pointers(&self, frame_idx: usize) -> usize {
        let configured = self.model.config.tracker_config.max_object_pointers_in_encoder;
        match self.options.mode {
            Mode::Offline { n_frames } => configured.min(n_frames.max(frame_idx + 1)),
            Mode::Streaming if self.options.compat.is_reference() => configured.min(frame_idx + 1),
            Mode::Streaming => configured,
        }
    }

    fn retire_after(&self) -> Option<usize> {
        let limit = self.options.retire_after.filter(|&frames| frames > 0);
        limit.filter(|_| !self.options.compat.is_reference())
    }

    /// Steps 6 to 8: matching, births, withdrawals, reconditioning.
    fn plan(
        &self,
        detections: &[Detection],
        carried: &Carried,
        tracks: &mut [Track],
        overlaps: &mut super::Overlaps,
        frame_idx: usize,
    ) -> Plan {
        let cfg = &self.model.config;
        let bits: Vec<Bitmap> = carried.masks.iter().map(|m| Bitmap::positive(m)).collect();
        let prompted: Vec<(usize, &Bitmap)> =
            tracks.iter().zip(&bits).map(|(t, b)| (t.facts.prompt, b)).collect();
        let association = associate(detections, &prompted, cfg);
        let offline = matches!(self.options.mode, Mode::Offline { .. });
        let verdict = judge(tracks, overlaps, &association, frame_idx, offline, cfg);
        let (born, evicted) = self.make_room(&association.new, &verdict, detections, tracks, frame_idx);
        let every = cfg.recondition_every_nth_frame;
        let due = every > 0 && frame_idx.is_multiple_of(every);
        // A logit is compared with a probability's threshold, as in the reference.
        let confirmed = |(track, _): &(&usize, &usize)| due && carried.scores[**track] > cfg.high_conf_thresh;
        let reconditioned = association.confident.iter().filter(confirmed).map(|(&t, &d)| (t, d)).collect();
        let n_turned_away = (association.new.len() - born.len()) as u64;
        Plan { verdict, born, evicted, reconditioned, n_turned_away }
    }

    /// Which new detections become tracks under the limit of objects, and which lost tracks give way.
    fn make_room(
        &self,
        new: &[usize],
        verdict: &Verdict,
        detections: &[Detection],
        tracks: &[Track],
        frame_idx: usize,
    ) -> (Vec<usize>, BTreeSet<usize>) {
        let cfg = &self.model.config;
        let limit = self.max_objects();
        let reference = self.options.compat.is_reference();
        // The reference also counts those that it withdraws on this very frame.
        let n_removed = if reference { 0 } else { verdict.removed.len() };
        let n_tracks = tracks.len() - n_removed;
        let over = (n_tracks + new.len()).saturating_sub(limit);
        let mut evicted = BTreeSet::new();
        if over == 0 {
            return (new.to_vec(), evicted);
        }
        if !reference {
            // Those that nothing has confirmed for the length of a hotstart give way, the longest lost first.
            let is_lost = |t: &usize| {
                let facts = &tracks[*t].facts;
                facts.last_matched + cfg.hotstart_delay.max(1) <= frame_idx
                    && !verdict.removed.contains(&facts.id)
            };
            let mut lost: Vec<usize> = (0..tracks.len()).filter(is_lost).collect();
            lost.sort_by_key(|&t| tracks[t].facts.last_matched);
            evicted.extend(lost.into_iter().take(over));
        }
        let room = limit.saturating_sub(n_tracks - evicted.len());
        let mut best = new.to_vec();
        best.sort_by(|&a, &b| detections[b].score.total_cmp(&detections[a].score));
        best.truncate(room);
        (best, evicted)
    }

    /// Step 9 and the masks that reconditioning puts in place.
    fn settle_masks(
        &self,
        carried: &mut Carried,
        tracks: &mut [Track],
        plan: &Plan,
        detections: &[Detection],
        frame_idx: usize,
    ) {
        let cfg = &self.model.config;
        let threshold = cfg.suppress_overlapping_based_on_recent_occlusion_threshold;
        if threshold > 0.0 {
            let is_removed = |id| plan.verdict.removed.contains(&id);
            carried.hidden =
                hide_recently_occluded(&mut carried.masks, tracks, frame_idx, threshold, is_removed);
        }
        if !cfg.recondition_on_trk_masks {
            for (&track, &detection) in &plan.reconditioned {
                let binary = detections[detection].logits.iter().map(|&x| f32::from(u8::from(x >= 0.5)));
                carried.masks[track] = binary.collect();
            }
        }
    }

    /// Step 10: what tracks remember of this frame. On frames with births the reference encodes the memory
    /// of all tracks again, from their raw masks, except where they were reconditioned.
    fn remember(
        &self,
        features: &FrameFeatures,
        carried: &Carried,
        tracks: &mut [Track],
        plan: &Plan,
        frame_idx: usize,
    ) -> Result<()> {
        let Some(raw) = &carried.raw else { return Ok(()) };
        let again = self.options.compat.is_reference() && !plan.born.is_empty();
        let (hard, soft): (Vec<usize>, Vec<usize>) =
            (0..tracks.len()).partition(|t| again && !plan.reconditioned.contains_key(t));
        let mut memories: Vec<Option<Tensor>> = vec![None; tracks.len()];
        if !soft.is_empty() {
            let encoded = self.encode_soft(features, carried, tracks, &soft)?;
            for (i, &t) in soft.iter().enumerate() {
                memories[t] = Some(encoded.get(i)?);
            }
        }
        if !hard.is_empty() {
            let rows: Vec<u32> = hard.iter().map(|&t| t as u32).collect();
            let masks = raw.masks.index_select(&Tensor::new(rows, raw.masks.device())?, 0)?;
            let visible: Vec<bool> = hard.iter().map(|&t| carried.scores[t] > 0.0).collect();
            let mut parts = Vec::new();
            for (i, visible) in visible.chunks(self.at_once).enumerate() {
                let masks = masks.narrow(0, i * self.at_once, visible.len())?;
                let enlarged = self.model.tracker.enlarge(&masks)?;
                let hard = MemoryMask::Hard(&enlarged);
                parts.push(self.model.tracker.encode_memory(features, hard, visible, self.at_once)?);
            }
            let encoded = Tensor::cat(&parts, 0)?;
            for (i, &t) in hard.iter().enumerate() {
                memories[t] = Some(encoded.get(i)?);
            }
        }
        for (t, (track, memory)) in tracks.iter_mut().zip(memories).enumerate() {
            let is_cond = plan.reconditioned.contains_key(&t);
            if let Some(memory) = memory {
                // Rows of their own, so that a bank never keeps the batch alive that they came from.
                let (memory, pointer) =
                    (memory.force_contiguous()?, raw.pointers.get(t)?.force_contiguous()?);
                track.bank.store(frame_idx, is_cond, memory, pointer, &self.limits);
            }
        }
        Ok(())
    }

    fn encode_soft(
        &self,
        features: &FrameFeatures,
        carried: &Carried,
        tracks: &[Track],
        which: &[usize],
    ) -> Result<Tensor> {
        let side = self.model.config.low_res_mask_size;
        let prompts: Vec<usize> = tracks.iter().map(|t| t.facts.prompt).collect();
        let masks = suppress_shrunk(&carried.masks, &prompts);
        let visible: Vec<bool> = which.iter().map(|&t| masks[t].iter().any(|&x| x > 0.0)).collect();
        let data = which.iter().map(|&t| &*masks[t]).collect::<Vec<_>>().concat();
        let logits = Tensor::from_vec(data, (which.len(), side, side), &self.model.device)?;
        Ok(self.model.tracker.encode_memory(features, MemoryMask::Soft(&logits), &visible, self.at_once)?)
    }

    /// Step 11: tracks from new detections.
    fn admit(
        &self,
        features: &FrameFeatures,
        detections: &[Detection],
        plan: &Plan,
        frame_idx: usize,
    ) -> Result<Vec<Track>> {
        if plan.born.is_empty() {
            return Ok(Vec::new());
        }
        let side = self.model.config.low_res_mask_size;
        let binary = |&d: &usize| detections[d].logits.iter().map(|&x| f32::from(u8::from(x >= 0.5)));
        let data: Vec<f32> = plan.born.iter().flat_map(binary).collect();
        let visible: Vec<bool> = data.chunks(side * side).map(|m| m.iter().any(|&x| x > 0.0)).collect();
        let masks = Tensor::from_vec(data, (plan.born.len(), side, side), &self.model.device)?;
        let tracker = &self.model.tracker;
        let (mut pointers, mut memories) = (Vec::new(), Vec::new());
        for (i, visible) in visible.chunks(self.at_once).enumerate() {
            let masks = masks.narrow(0, i * self.at_once, visible.len())?;
            trace::needs_memory_for(visible.len(), visible.len())?;
            let (found, enlarged) = tracker.init_from_masks(features, &masks)?;
            pointers.push(found);
            let hard = MemoryMask::Hard(&enlarged);
            memories.push(tracker.encode_memory(features, hard, visible, self.at_once)?);
        }
        let (pointers, memories) = (Tensor::cat(&pointers, 0)?, Tensor::cat(&memories, 0)?);
        let track = |(i, &d): (usize, &usize)| {
            let facts = Facts {
                id: self.state.next_id + i as u64,
                prompt: detections[d].prompt,
                first_frame: frame_idx,
                birth_score: detections[d].score,
                keep_alive: self.model.config.init_trk_keep_alive,
                n_unmatched: 0,
                last_matched: frame_idx,
                last_occluded: None,
            };
            let mut bank = crate::tracker::bank::Bank::default();
            let (memory, pointer) =
                (memories.get(i)?.force_contiguous()?, pointers.get(i)?.force_contiguous()?);
            bank.store(frame_idx, true, memory, pointer, &self.limits);
            Ok(Track { facts, bank })
        };
        plan.born.iter().enumerate().map(track).collect()
    }

    /// Step 13: masks and scores by id (`build_outputs`).
    fn describe(
        &self,
        carried: &Carried,
        tracks: &[Track],
        born: &[Track],
        detections: &[Detection],
        plan: &Plan,
        frame_idx: usize,
    ) -> Unreported {
        let reference = self.options.compat.is_reference();
        let stays = |t: &&Track| !plan.verdict.removed.contains(&t.facts.id);
        let mut out: BTreeMap<u64, LowResMask> = BTreeMap::new();
        // The reference pairs the ids that are left, new ones last, with the masks of all that were.
        let owners: Vec<&Track> = if reference {
            tracks.iter().filter(stays).chain(born).collect()
        } else {
            tracks.iter().collect()
        };
        for (owner, (logits, &score)) in owners.iter().zip(carried.masks.iter().zip(&carried.scores)) {
            out.insert(owner.facts.id, self.low_res(&owner.facts, logits.clone(), sigmoid(score)));
        }
        for (track, &d) in born.iter().zip(&plan.born) {
            let mut logits = detections[d].logits.clone();
            self.clean(&mut logits);
            let score = out.get(&track.facts.id).map_or(track.facts.birth_score, |m| m.tracker_score);
            out.insert(track.facts.id, self.low_res(&track.facts, logits, score));
        }
        for (&t, &d) in &plan.reconditioned {
            if !reference && carried.hidden.contains(&t) {
                continue;
            }
            let facts = &tracks[t].facts;
            let entry = out.entry(facts.id).or_insert_with(|| self.withdrawn(facts));
            entry.logits.clone_from(&detections[d].logits);
            if !reference {
                self.clean(&mut entry.logits);
            }
        }
        if !reference {
            out.retain(|id, _| !plan.verdict.removed.contains(id));
        }
        Unreported {
            frame_idx,
            masks: out.into_values().collect(),
            removed: plan.verdict.removed.iter().copied().collect(),
            suppressed: plan.verdict.suppressed.iter().copied().collect(),
        }
    }

    /// An object that was withdrawn on this frame, where the reference still lists it.
    fn withdrawn(&self, facts: &Facts) -> LowResMask {
        LowResMask { score: WITHDRAWN_SCORE, ..self.low_res(facts, Vec::new(), WITHDRAWN_SCORE) }
    }

    fn low_res(&self, facts: &Facts, logits: Vec<f32>, tracker_score: f32) -> LowResMask {
        let score = if self.options.compat.is_reference() { facts.birth_score } else { tracker_score };
        LowResMask { id: facts.id, prompt: facts.prompt, logits, score, tracker_score }
    }
}
