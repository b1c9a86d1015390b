//! The rules that a session applies to masks and scores on the host. Each tracker family provides its own, from the
//! model's config and the session's options; a rule that only one family has gets a field here that the others leave
//! off.

use std::ops::RangeInclusive;

use crate::mask::Bitmap;

/// Thresholds and choices of the procedure that a session runs on every frame.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    /// A query is a detection if its probability is above this.
    pub detection_score: f32,
    /// Mask IoU above which the weaker of two detections of a prompt is dropped; `None` keeps all.
    pub duplicate_iou: Option<f32>,
    /// Largest hole that is filled and largest speck that is removed, in low-resolution pixels; 0 leaves masks as
    /// they are.
    pub max_cleaned_area: usize,

    /// How much a detection's mask overlaps a track's, from 0 to 1.
    pub overlap: fn(&Bitmap, &Bitmap) -> f32,
    /// Overlap from which a detection matches a track.
    pub match_overlap: f32,
    /// Overlap from which a detection confirms a track.
    pub confirm_overlap: f32,
    /// Probability from which an unmatched detection starts a track.
    pub birth_score: f32,

    /// Tracks are reconditioned on frames whose index is a multiple of this; 0: never.
    pub recondition_every: usize,
    /// Probability of the detection, and logit of the track, from which a track may be reconditioned.
    pub recondition_score: f32,
    /// Overlap of detection and track from which the track may be reconditioned.
    pub recondition_overlap: f32,
    /// Whether a reconditioned track remembers the detection's mask; otherwise it remembers its own.
    pub recondition_replaces_mask: bool,

    /// Age in frames up to which a track may be removed. In offline mode, a frame is reported this many frames
    /// − 1 later.
    pub hotstart_delay: usize,
    /// Unmatched frames after which a young track is removed.
    pub hotstart_unmatched: usize,
    /// Detections shared with an older track after which a young track is removed.
    pub hotstart_duplicates: usize,

    /// Keep-alive of a new track.
    pub first_keep_alive: i64,
    /// Smallest and largest keep-alive.
    pub keep_alive: RangeInclusive<i64>,
    /// Whether a track with a keep-alive of 0 or less is hidden.
    pub hides_unmatched: bool,
    /// Whether a frame with an empty mask costs keep-alive.
    pub empty_mask_costs_keep_alive: bool,
    /// Mask IoU from which the more recently occluded of two tracks is hidden; `None`: never.
    pub occlusion_iou: Option<f32>,

    /// Maximum number of simultaneous tracks.
    pub max_tracks: usize,
    /// Whether a track that has been unconfirmed for `hotstart_delay` frames is evicted when a new one needs room.
    pub evicts: bool,
    /// Frames without confirmation after which a track is retired; `None`: never.
    pub retire_after: Option<usize>,

    /// Flaws of the reference to reproduce.
    pub quirks: Quirks,
}

/// Flaws of the reference in what it reports; see [`crate::Compat`]. All false by default.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Quirks {
    /// Prompts are compared by their text rather than by their tokens.
    pub repeats_equal_prompts: bool,
    /// On a frame where tracks are removed, the remaining ids are paired with the masks of all tracks.
    pub shifts_ids: bool,
    /// A reconditioned track is reported with the raw mask of its detection, even if it is hidden.
    pub shows_raw_reconditioning: bool,
    /// A track keeps the score of the detection that started it.
    pub freezes_scores: bool,
    /// Boxes end before the last row and column of their mask.
    pub shortens_boxes: bool,
}
