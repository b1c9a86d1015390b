//! A video being tracked: frames in, tracks out, in constant memory.
//!
//! [`Session::push`] runs the reference's procedure (`_det_track_one_frame`) on one frame. The code cites its steps by
//! these numbers:
//!
//!  1. **Prepare**: preprocess the image; run the vision encoder, the necks, and the detector for each prompt.
//!  2. **Detect**: choose the queries that are detections; queue their masks.
//!  3. **Propagate**: queue the mask and score of every track. Step 1 of the next frame is queued here, so that the
//!     device works while the host waits and decides.
//!  4. **Download**: fetch masks and scores; clean masks; drop detections that overlap a stronger one.
//!  5. **Associate**: match detections with tracks.
//!  6. **Judge**: update each track's counters; decide which tracks are removed and which are hidden.
//!  7. **Admit**: choose the new detections that become tracks, and the tracks that are evicted to make room.
//!  8. **Recondition**: choose the tracks for which this becomes a conditioning frame.
//!  9. **Settle masks**: hide tracks that overlap another and were occluded more recently.
//! 10. **Remember**: add the frame to the memory of every track.
//! 11. **Birth**: start tracks from the admitted detections.
//! 12. **Compose**: collect the frame's masks and scores by id.
//! 13. **Commit**: store the new state, without the tracks that ended. Nothing has changed before this step, so that a
//!     frame that fails can be pushed again.
//! 14. **Report**: enlarge masks, compute boxes, resolve overlaps. In offline mode this happens
//!     [`VideoConfig::hotstart_delay`] − 1 frames later, when it is known which tracks were removed; in streaming mode
//!     immediately.
//!
//! A track ends in one of four ways. In each of them its memory is dropped and its id is never used again:
//!
//! | a track is | when | step | frames already tracked |
//! |---|---|---|---|
//! | removed | offline only: it is younger than `hotstart_delay`, and too often unmatched or matched by an older track's detections | 6 | it is left out of those not yet reported |
//! | evicted | a new detection needs its place and nothing has confirmed it for `hotstart_delay` frames | 7 | unchanged |
//! | retired | nothing has confirmed it for [`SessionOptions::retire_after`] frames | 13 | unchanged |
//! | dropped | the device is out of memory ([`MemoryFallback::MaxObjects`]) | between attempts | unchanged |
//!
//! A *hidden* track has not ended: it is tracked, but left out of the report of single frames, because nothing
//! confirms it (step 6) or because another track covers it (step 9).
//!
//! [`VideoConfig::hotstart_delay`]: crate::VideoConfig::hotstart_delay
//! [`SessionOptions::retire_after`]: crate::SessionOptions::retire_after

mod association;
mod detect;
mod enlarge;
mod frame;
mod lifecycle;
mod memory_fallback;
mod occlusion;
mod output;
mod plan;
mod plausible;
mod propagate;
mod report;
mod state;
mod store;
mod synthetic;
#[cfg(test)]
mod tests;
mod track;

pub use detect::{Frame, Prepared};
pub use output::{FrameOutput, LowResMask, Mask, MemoryFallback, TrackedObject};
pub use state::Session;
