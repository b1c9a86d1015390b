//! The procedure of one frame: pushing it, and steps 2 to 13 in order.

use std::collections::BTreeSet;

use super::detect::{Frame, Prepared};
use super::lifecycle::is_retired;
use super::occlusion::suppress_shrunk;
use super::output::FrameOutput;
use super::plan::Plan;
use super::propagate::TrackMasks;
use super::state::{PendingFrame, Session};
use super::track::Track;
use crate::error::{Error, Result};
use crate::options::Mode;
use crate::tracker::{Features, FrameMasks, Memory};

impl Session {
    /// Tracks one frame. Returns the frames whose tracks are now certain, oldest first.
    ///
    /// # Errors
    /// [`Error::Frame`] for a frame of the wrong size or beyond the number of frames of offline mode;
    /// [`Error::Tensor`] if the device fails. After an error the session is as it was before the call.
    pub fn push(&mut self, frame: Frame<'_>) -> Result<Vec<FrameOutput>> {
        let prepared = self.prepare(&frame)?;
        Ok(self.push_prepared(&prepared, None)?.0)
    }

    /// Like [`Self::push`], for a frame from [`Self::prepare`] (step 1). If the next frame is passed too, the device
    /// prepares it while the host decides about this one. The prepared next frame is returned, or `None` if that
    /// failed; [`Self::prepare`] then returns the error.
    ///
    /// If the device runs out of memory, the frame is retried with smaller batches, and then with fewer tracks; see
    /// [`Self::memory_fallbacks`].
    ///
    /// # Errors
    /// Same as [`Self::push`].
    pub fn push_prepared(
        &mut self,
        frame: &Prepared,
        next: Option<&Frame<'_>>,
    ) -> Result<(Vec<FrameOutput>, Option<Prepared>)> {
        if let Mode::Offline { n_frames } = self.options.mode
            && self.state.n_frames >= n_frames
        {
            let what = format!("one more than the {n_frames} that were announced");
            return Err(Error::Frame { frame_idx: self.state.n_frames, what });
        }
        let (mut next, mut next_prepared) = (next, None);
        let pending = loop {
            match self.track_frame(frame, next, &mut next_prepared) {
                Ok(pending) => break pending,
                // The next frame needs memory too, and can be prepared later.
                Err(e) if e.is_out_of_memory() && (next.take().is_some() || self.fall_back()) => {
                    next_prepared = None;
                }
                Err(e) => return Err(e),
            }
        };
        self.state.n_frames += 1;
        self.state.pending.push_back(pending);
        let n_pending = self.state.pending.len();
        let n_certain = match self.options.mode {
            Mode::Streaming => n_pending,
            Mode::Offline { n_frames } if self.state.n_frames >= n_frames => n_pending,
            Mode::Offline { .. } => n_pending.saturating_sub(self.delay()),
        };
        Ok((self.report(n_certain), next_prepared))
    }

    /// Ends the video, even if frames are missing. Returns the frames that were still pending.
    pub fn finish(&mut self) -> Vec<FrameOutput> {
        self.report(self.state.pending.len())
    }

    /// Steps 2 to 13. Everything that can fail comes before the state is changed.
    fn track_frame(
        &mut self,
        frame: &Prepared,
        next: Option<&Frame<'_>>,
        next_prepared: &mut Option<Prepared>,
    ) -> Result<PendingFrame> {
        let frame_idx = self.state.n_frames;
        // Uploaded while the device is still busy with step 1 of this frame.
        let next_pixel_values = next.and_then(|next| self.pixel_values(next).ok());
        let detections = self.detect(frame)?;
        let propagated = self.propagate(&frame.features, frame_idx)?;
        if let Some(pixel_values) = next_pixel_values {
            *next_prepared = self.prepare_pixel_values(&pixel_values).ok();
        }
        let detections = self.download_detections(detections)?;
        let mut masks = self.download_tracks(propagated)?;

        let mut tracks = self.state.tracks.clone();
        let mut duplicates = self.state.duplicates.clone();
        let mut memory = self.state.memory.clone();
        let plan = self.plan(&detections, &masks, &mut tracks, &mut duplicates, frame_idx);
        self.settle_masks(&mut masks, &mut tracks, &plan, &detections, frame_idx);
        self.remember(&mut memory, &frame.features, &masks, &tracks, &plan, frame_idx)?;
        let logits: Vec<&[f32]> = plan.born.iter().map(|&d| detections[d].logits.as_slice()).collect();
        if !logits.is_empty() {
            self.model.tracker.birth(&mut memory, &frame.features, frame_idx, &logits)?;
        }
        let born = self.new_tracks(&plan, &detections, frame_idx);
        let pending = self.compose(&masks, &tracks, &born, &detections, &plan, frame_idx);

        let ended = self.ended_rows(&tracks, &plan, frame_idx);
        let state = &mut self.state;
        state.next_id += born.len() as u64;
        tracks.extend(born);
        (state.tracks, state.duplicates, state.memory) = (tracks, duplicates, memory);
        state.end_tracks(&ended);
        state.n_rejected += plan.n_rejected;
        state.removed.extend(plan.verdict.removed.iter().map(|&id| (id, frame_idx)));
        Ok(pending)
    }

    /// Step 10. A mask that loses most of its pixels to other tracks is remembered as empty.
    fn remember(
        &self,
        memory: &mut Memory,
        features: &Features,
        masks: &TrackMasks,
        tracks: &[Track],
        plan: &Plan,
        frame_idx: usize,
    ) -> Result<()> {
        let Some(rows) = &masks.rows else { return Ok(()) };
        let prompts: Vec<usize> = tracks.iter().map(|t| t.prompt).collect();
        let frame_masks = FrameMasks {
            masks: &suppress_shrunk(&masks.logits, &prompts),
            scores: &masks.scores,
            reconditioned: &plan.reconditioned.keys().copied().collect(),
            has_births: !plan.born.is_empty(),
        };
        Ok(self.model.tracker.remember(memory, features, frame_idx, rows, &frame_masks)?)
    }

    /// Rows of the tracks that end on this frame: removed, evicted or retired.
    fn ended_rows(&self, tracks: &[Track], plan: &Plan, frame_idx: usize) -> BTreeSet<usize> {
        let ends = |&(row, track): &(usize, &Track)| {
            plan.verdict.removed.contains(&track.id)
                || plan.evicted.contains(&row)
                || is_retired(track, frame_idx, self.rules.retire_after)
        };
        tracks.iter().enumerate().filter(ends).map(|(row, _)| row).collect()
    }
}
