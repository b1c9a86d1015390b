//! Step 6: which tracks are removed and which are hidden (reference: `_process_hotstart`); and which are retired, which
//! the reference does not do.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::association::Association;
use super::track::Track;
use crate::tracker::Rules;

/// How many detections matched two tracks at once: ((older id, younger id), count). A pair is kept only while the
/// younger track can still be removed.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct DuplicateCounts(Vec<((u64, u64), usize)>);

/// The tracks that are removed or hidden on a frame.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    /// Ids removed on this frame.
    pub removed: BTreeSet<u64>,
    /// Ids hidden on this frame.
    pub hidden: BTreeSet<u64>,
}

/// Updates the counters of `tracks`, which do not include those born on this frame, and in offline mode decides which
/// are removed or hidden.
pub(super) fn judge(
    tracks: &mut [Track],
    duplicates: &mut DuplicateCounts,
    association: &Association,
    frame_idx: usize,
    is_offline: bool,
    rules: &Rules,
) -> Verdict {
    update_counters(tracks, association, frame_idx, rules);
    if !is_offline {
        // No frame is pending, so that nothing can be removed from the past.
        return Verdict::default();
    }
    let mut verdict = Verdict::default();
    let is_young = |t: &Track| t.first_frame + rules.hotstart_delay > frame_idx;
    for track in tracks.iter().filter(|t| t.n_unmatched > 0) {
        if track.n_unmatched >= rules.hotstart_unmatched && is_young(track) {
            verdict.removed.insert(track.id);
        } else if track.keep_alive <= 0 && rules.hides_unmatched {
            verdict.hidden.insert(track.id);
        }
    }
    duplicates.count(tracks, &association.matched);
    let by_id: BTreeMap<u64, &Track> = tracks.iter().map(|t| (t.id, t)).collect();
    duplicates.0.retain(|((_, younger), count)| {
        let Some(track) = by_id.get(younger).filter(|t| is_young(t)) else { return false };
        if *count >= rules.hotstart_duplicates {
            verdict.removed.insert(track.id);
        }
        !verdict.removed.contains(younger)
    });
    verdict
}

fn update_counters(tracks: &mut [Track], association: &Association, frame_idx: usize, rules: &Rules) {
    let matched: BTreeSet<usize> = association.matched.iter().flatten().copied().collect();
    for &t in &matched {
        let track = &mut tracks[t];
        track.keep_alive = (track.keep_alive + 1).min(*rules.keep_alive.end());
        // A track may match a detection of another object, which does not confirm it.
        if !association.unmatched.contains(&t) {
            track.last_matched = frame_idx;
        }
    }
    let decrease = |track: &mut Track| {
        track.keep_alive = (track.keep_alive - 1).max(*rules.keep_alive.start());
    };
    for &t in &association.unmatched {
        tracks[t].n_unmatched += 1;
        decrease(&mut tracks[t]);
    }
    if rules.empty_mask_costs_keep_alive {
        association.empty.iter().for_each(|&t| decrease(&mut tracks[t]));
    }
}

impl DuplicateCounts {
    /// The ids of each pair, the older first.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (u64, u64)> {
        self.0.iter().map(|(pair, _)| *pair)
    }

    /// Adds one to the pairs of every detection that matched several tracks: the oldest of them with each other one. A
    /// pair that two detections match on one frame counts twice, as in the reference.
    fn count(&mut self, tracks: &[Track], matched: &[Vec<usize>]) {
        for group in matched.iter().filter(|group| group.len() >= 2) {
            let older =
                |a: usize, b: usize| if tracks[b].first_frame < tracks[a].first_frame { b } else { a };
            let Some(oldest) = group.iter().copied().reduce(older) else { continue };
            for &other in group.iter().filter(|&&t| t != oldest) {
                let pair = (tracks[oldest].id, tracks[other].id);
                match self.0.iter_mut().find(|(known, _)| *known == pair) {
                    Some((_, count)) => *count += 1,
                    None => self.0.push((pair, 1)),
                }
            }
        }
    }
}

/// Whether nothing has confirmed a track for `retire_after` frames.
pub(super) fn is_retired(track: &Track, frame_idx: usize, retire_after: Option<usize>) -> bool {
    retire_after.is_some_and(|limit| frame_idx - track.last_matched >= limit)
}
