//! What a tracker and its caller exchange: rows, one for each track, and the timer of a benchmark.

use std::borrow::Cow;
use std::collections::BTreeSet;

use candle_core::{Result as TensorResult, Tensor};

/// All tracks on one frame, as the tracker computed them.
pub(crate) struct Rows {
    /// Mask logits, `[n, 4g, 4g]` in f32.
    pub masks: Tensor,
    /// Logit of "the object is visible" of each track, `[n]` in f32.
    pub scores: Tensor,
    /// Object pointers, `[n, c]`: what the tracker remembers of a track besides its mask.
    pub(in crate::tracker) pointers: Tensor,
}

/// What the session decided about the rows of a frame, for the tracker to remember.
pub(crate) struct FrameMasks<'a> {
    /// Mask logits of each row to be remembered, `low_res_mask_size`² each; all below 0 for a hidden track.
    pub masks: &'a [Cow<'a, [f32]>],
    /// Logit of "the object is visible" of each row.
    pub scores: &'a [f32],
    /// Rows that a confident detection confirmed: the frame becomes one of their conditioning frames.
    pub reconditioned: &'a BTreeSet<usize>,
    /// Whether tracks are born on this frame.
    pub has_births: bool,
}

/// Runs one stage of [`super::Tracker::time_stages`] repeatedly, records its time under a name and returns its result.
pub(crate) type StageTimer<'a> =
    dyn FnMut(&'static str, &dyn Fn() -> TensorResult<Tensor>) -> TensorResult<Tensor> + 'a;
