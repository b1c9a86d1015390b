//! Sessions for benchmarks: all of the work of a crowd of known size, whatever the weights see.
//!
//! Random weights find nothing reliably. A rehearsed session does everything that a real one does, and then
//! puts disks that never move in the place of what it found: so many objects, detected surely and confirmed
//! on every frame, with full memory banks after a while.

use std::sync::Arc;

use super::{Mode, Session, SessionOptions};
use crate::error::Result;
use crate::model::Model;

/// The objects that are played.
pub(crate) struct Rehearsal {
    disks: Vec<Vec<f32>>,
}

/// Mask logit and object score of what is there.
const PRESENT: f32 = 8.0;

impl Rehearsal {
    /// `n` disks side by side on a mask of `side` × `side`.
    fn new(n: usize, side: usize) -> Self {
        let columns = (n as f64).sqrt().ceil().max(1.0) as usize;
        let cell = side as f32 / columns as f32;
        let centre = |i: usize| (i as f32 + 0.5) * cell;
        let disk = |k: usize| {
            let (cx, cy) = (centre(k % columns), centre(k / columns));
            let logit = |i: usize| {
                let (dx, dy) = ((i % side) as f32 + 0.5 - cx, (i / side) as f32 + 0.5 - cy);
                if dx.hypot(dy) < 0.35 * cell { PRESENT } else { -PRESENT }
            };
            (0..side * side).map(logit).collect()
        };
        Self { disks: (0..n).map(disk).collect() }
    }

    /// Queries that count as found.
    pub(super) fn found(&self, n_queries: usize) -> (Vec<usize>, Vec<f32>) {
        let n = self.disks.len().min(n_queries);
        ((0..n).collect(), vec![1.0; n])
    }

    /// In the place of masks that were computed.
    pub(super) fn masks(&self, masks: &mut [Vec<f32>]) {
        for (mask, disk) in masks.iter_mut().zip(&self.disks) {
            mask.clone_from(disk);
        }
    }

    /// In the place of object scores that were computed.
    pub(super) fn scores(scores: &mut [f32]) {
        scores.fill(PRESENT);
    }
}

impl Session {
    /// A streaming session over 1080p frames that will have `n` objects from its first frame on.
    pub(crate) fn rehearse(model: Arc<Model>, n: usize) -> Result<Self> {
        let side = model.config.low_res_mask_size;
        let options = SessionOptions {
            max_objects: Some(n),
            retire_after: None,
            ..SessionOptions::new(Mode::Streaming, (1080, 1920))
        };
        let mut session = Self::new(model, &["basketball player"], options)?;
        session.rehearsal = Some(Rehearsal::new(n, side));
        Ok(session)
    }
}
