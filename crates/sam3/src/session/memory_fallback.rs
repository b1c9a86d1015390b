//! How a session continues when the device runs out of memory: with smaller batches, then with fewer tracks.

use std::cmp::Reverse;

use super::output::MemoryFallback;
use super::state::Session;

impl Session {
    /// Restrictions that the device's memory has made necessary so far, oldest first. Usually empty.
    pub fn memory_fallbacks(&self) -> &[MemoryFallback] {
        &self.state.memory_fallbacks
    }

    /// The maximum number of simultaneous tracks, given the model, the options and the device's memory.
    pub(super) fn max_tracks(&self) -> usize {
        let limits = self.state.memory_fallbacks.iter().filter_map(|fallback| match fallback {
            MemoryFallback::MaxObjects { n, .. } => Some(*n),
            MemoryFallback::ObjectsAtOnce { .. } => None,
        });
        limits.fold(self.rules.max_tracks, usize::min)
    }

    /// Takes the next step to save memory: halves the batches, down to one object; then drops a quarter of the
    /// tracks, down to one. Returns false if nothing is left to try.
    pub(super) fn fall_back(&mut self) -> bool {
        let (frame_idx, n_tracks) = (self.state.n_frames, self.state.tracks.len());
        let fallback = if let Some(n) = self.state.memory.halve_batch() {
            MemoryFallback::ObjectsAtOnce { frame_idx, n }
        } else if n_tracks > 1 {
            let n = n_tracks * 3 / 4;
            self.drop_least_confirmed(n_tracks - n);
            MemoryFallback::MaxObjects { frame_idx, n }
        } else {
            return false;
        };
        tracing::warn!(?fallback, "the device is out of memory; retrying the frame");
        self.state.memory_fallbacks.push(fallback);
        true
    }

    /// Drops the `n` tracks that have been unconfirmed for longest, of equals the youngest first.
    fn drop_least_confirmed(&mut self, n: usize) {
        let tracks = &self.state.tracks;
        let mut rows: Vec<usize> = (0..tracks.len()).collect();
        rows.sort_by_key(|&row| (tracks[row].last_matched, Reverse(tracks[row].id)));
        rows.truncate(n);
        self.state.end_tracks(&rows.into_iter().collect());
    }
}
