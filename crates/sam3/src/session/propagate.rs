//! Step 3, existing tracks on this frame, and their part of step 4.

use std::collections::BTreeSet;

use rayon::prelude::*;

use super::state::Session;
use super::synthetic::SyntheticScene;
use crate::error::Result;
use crate::ops::Download;
use crate::tracker::{Features, Rows};

/// Propagated tracks whose masks and scores are being downloaded.
pub(super) struct Propagated {
    rows: Rows,
    masks: Download,
    scores: Download,
}

/// The tracks of the previous frame on this one, row by row.
#[derive(Default)]
pub(super) struct TrackMasks {
    /// Mask logits, cleaned if the rules say so; steps 8 and 9 change them.
    pub logits: Vec<Vec<f32>>,
    /// Rows that step 9 hid.
    pub hidden: BTreeSet<usize>,
    /// Logit of "the object is visible" of each row.
    pub scores: Vec<f32>,
    /// The rows as the tracker computed them; `None` without tracks.
    pub rows: Option<Rows>,
}

impl Session {
    /// Step 3; `None` without tracks.
    pub(super) fn propagate(&self, features: &Features, frame_idx: usize) -> Result<Option<Propagated>> {
        if self.state.tracks.is_empty() {
            return Ok(None);
        }
        let rows = self.model.tracker.propagate(features, &self.state.memory, frame_idx)?;
        let (masks, scores) = (Download::of(&rows.masks)?, Download::of(&rows.scores)?);
        Ok(Some(Propagated { rows, masks, scores }))
    }

    /// Step 4 for tracks.
    pub(super) fn download_tracks(&self, propagated: Option<Propagated>) -> Result<TrackMasks> {
        let Some(Propagated { rows, masks, scores }) = propagated else { return Ok(TrackMasks::default()) };
        let (mut logits, mut scores) = (masks.rows()?, scores.numbers()?);
        if let Some(scene) = &self.synthetic {
            scene.replace_masks(&mut logits);
            SyntheticScene::replace_scores(&mut scores);
        }
        logits.par_iter_mut().for_each(|mask| self.clean(mask));
        Ok(TrackMasks { logits, hidden: BTreeSet::new(), scores, rows: Some(rows) })
    }
}
