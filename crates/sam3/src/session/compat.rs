//! Which of the reference's quirks a session reproduces.

use serde::{Deserialize, Serialize};

/// How closely a session follows Hugging Face's `Sam3VideoModel` (transformers 5.23) where that harms users.
///
/// | | [`Compat::Fixed`] (default) | [`Compat::Reference`] |
/// |---|---|---|
/// | a frame on which an object is born | the others keep their memory of it | the others' memory of it is encoded again from raw, hard masks, which undoes the suppression of overlaps |
/// | pointers in streaming mode | always as many as the config says | as many as frames were seen, so ages are scaled differently during the first frames |
/// | a frame on which an object is withdrawn | every mask and score under its own id | masks and scores of later objects move up one id for that frame |
/// | mask suppression between detections, holes, specks | done | skipped, as the reference does wherever its CUDA kernel is not installed |
/// | pointers of conditioning frames | of those that are attended to: constant cost | of all, which grows for ever |
/// | score of an object | the tracker's confidence on this frame | the detection's at birth, for ever |
/// | box of an object | covers its last row and column | ends before them |
/// | object that no detection confirms any more | retired after [`crate::SessionOptions::retire_after`] frames | tracked for ever |
/// | limit of objects reached | objects that nothing has confirmed for a hotstart make room | new detections are dropped |
/// | mask shown where an object is reconditioned | the detection's, cleaned; none if the object is hidden | the detection's, raw |
/// | prompts of the same tokens | count once | count once only if they are the same words |
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Compat {
    /// What serves users.
    #[default]
    Fixed,
    /// The reference on a machine without its CUDA kernels.
    Reference,
    /// The reference with its CUDA kernels: the same, but detections suppress each other and holes are
    /// filled.
    ReferenceKernels,
}

impl Compat {
    /// Whether decisions follow the reference.
    pub(crate) fn is_reference(self) -> bool {
        self != Self::Fixed
    }

    /// Whether masks are cleaned and detections suppress each other.
    pub(crate) fn cleans_masks(self) -> bool {
        self != Self::Reference
    }
}
