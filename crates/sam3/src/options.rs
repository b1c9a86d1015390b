//! What a caller chooses for a session: mode, compatibility with the reference, limits.
//!
//! These types are plain data. They are part of a saved session, so their serialized names are fixed.

use serde::{Deserialize, Serialize};

/// Whether the number of frames is known in advance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// A video of known length. Output is delayed until tracks that turn out wrong have been removed from it.
    Offline {
        /// Number of frames that will be pushed.
        n_frames: usize,
    },
    /// A video of unknown length. Every frame is reported immediately, and no track is removed from past frames.
    Streaming,
}

/// How closely a session follows Hugging Face's `Sam3VideoModel` (transformers 5.23) where its behaviour is a flaw.
///
/// The table under "Compat" in this crate's README lists every difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Compat {
    /// Fix the flaws that affect users.
    #[default]
    Fixed,
    /// Follow the reference on a machine without its CUDA kernels.
    Reference,
    /// Follow the reference with its CUDA kernels: like [`Compat::Reference`], but detections suppress each other
    /// and holes are filled.
    ReferenceKernels,
}

impl Compat {
    /// Whether decisions follow the reference, flaws included.
    pub(crate) fn is_reference(self) -> bool {
        self != Self::Fixed
    }

    /// Whether masks are cleaned and detections suppress each other.
    pub(crate) fn cleans_masks(self) -> bool {
        self != Self::Reference
    }
}

/// Options of a session, fixed for its whole life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionOptions {
    /// Whether the length of the video is known.
    pub mode: Mode,
    /// Which flaws of the reference to reproduce.
    pub compat: Compat,
    /// Height and width of the source frames, in pixels.
    pub frame_size: (usize, usize),
    /// Maximum number of simultaneous tracks; bounds time and memory in a crowd. `None`: only the model's own
    /// limit applies.
    pub max_objects: Option<usize>,
    /// Retire a track after this many frames without a matching detection; if the object is found again, it gets
    /// a new id. `None` or 0: never. Ignored by [`Compat::Reference`], which never retires a track.
    pub retire_after: Option<usize>,
}

/// Default of [`SessionOptions::retire_after`]: ten seconds at 30 frames per second.
pub const DEFAULT_RETIRE_AFTER: usize = 300;

impl SessionOptions {
    /// Default options for a mode and a frame size (height, width).
    pub fn new(mode: Mode, frame_size: (usize, usize)) -> Self {
        Self {
            mode,
            compat: Compat::Fixed,
            frame_size,
            max_objects: None,
            retire_after: Some(DEFAULT_RETIRE_AFTER),
        }
    }
}
