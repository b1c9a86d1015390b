//! Synthetic scenes for benchmarks: a known number of objects, whatever the weights detect.
//!
//! Random weights detect nothing reliably. A session with a synthetic scene computes everything that a real one does,
//! and then replaces the masks and scores by disks that never move: all detected with certainty and confirmed on every
//! frame, with full memory after a while.

/// A scene of disks.
pub(super) struct SyntheticScene {
    /// Mask logits of each disk.
    disks: Vec<Vec<f32>>,
}

/// Mask logit inside a disk, and object score of every track.
const PRESENT: f32 = 8.0;

impl SyntheticScene {
    /// `n` disks in a grid, on masks of `side` × `side`.
    pub(super) fn new(n: usize, side: usize) -> Self {
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

    /// Queries to treat as detections, with their scores.
    pub(super) fn detections(&self, n_queries: usize) -> (Vec<usize>, Vec<f32>) {
        let n = self.disks.len().min(n_queries);
        ((0..n).collect(), vec![1.0; n])
    }

    /// Replaces computed masks by the disks.
    pub(super) fn replace_masks(&self, masks: &mut [Vec<f32>]) {
        for (mask, disk) in masks.iter_mut().zip(&self.disks) {
            mask.clone_from(disk);
        }
    }

    /// Replaces computed object scores by that of a visible object.
    pub(super) fn replace_scores(scores: &mut [f32]) {
        scores.fill(PRESENT);
    }
}
