//! What a session gives up when the device's memory does not suffice, instead of the whole job.

use serde::{Deserialize, Serialize};

use super::Session;

/// Something that was given up, and on which frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Concession {
    /// From this frame on, at most so many objects go through a stage together: slower, nothing is lost.
    ObjectsAtOnce {
        /// The frame.
        frame_idx: usize,
        /// How many.
        n: usize,
    },
    /// From this frame on, at most so many objects are tracked; those not confirmed for longest went.
    MaxObjects {
        /// The frame.
        frame_idx: usize,
        /// How many.
        n: usize,
    },
}

impl Session {
    /// What was given up so far for lack of device memory, oldest first; empty in a healthy run.
    pub fn concessions(&self) -> &[Concession] {
        &self.state.concessions
    }

    /// The most objects that may be tracked: as the checkpoint, the options and the device's memory say.
    pub(super) fn max_objects(&self) -> usize {
        let conceded = self.state.concessions.iter().filter_map(|c| match c {
            Concession::MaxObjects { n, .. } => Some(*n),
            Concession::ObjectsAtOnce { .. } => None,
        });
        let limits = conceded.chain(self.options.max_objects);
        limits.fold(self.model.config.max_num_objects, usize::min)
    }

    /// Gives up the next thing: half of the objects at a time, down to one; then a quarter of the objects,
    /// down to one. Returns whether there was anything left to give.
    pub(super) fn concede(&mut self) -> bool {
        let (frame_idx, n_tracks) = (self.state.n_frames, self.state.tracks.len());
        let concession = if self.at_once > 1 {
            // More than there are tracks only if new ones are being admitted.
            let at_once = if n_tracks > 1 { self.at_once.min(n_tracks) } else { self.at_once };
            self.at_once = at_once / 2;
            Concession::ObjectsAtOnce { frame_idx, n: self.at_once }
        } else if n_tracks > 1 {
            let n = n_tracks * 3 / 4;
            self.drop_least_confirmed(n_tracks - n);
            Concession::MaxObjects { frame_idx, n }
        } else {
            return false;
        };
        tracing::warn!(?concession, "the device is out of memory; the frame is tried again");
        self.state.concessions.push(concession);
        true
    }

    /// Drops `n` tracks: those that no detection has confirmed for longest, the youngest of equals first.
    fn drop_least_confirmed(&mut self, n: usize) {
        let mut order: Vec<(usize, u64)> =
            self.state.tracks.iter().map(|t| (t.facts.last_matched, u64::MAX - t.facts.id)).collect();
        order.sort_unstable();
        order.truncate(n);
        let goes = |id: u64| order.iter().any(|(_, key)| u64::MAX - key == id);
        self.state.tracks.retain(|t| !goes(t.facts.id));
    }
}
