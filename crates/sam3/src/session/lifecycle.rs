//! Withdrawal of young tracks that turn out wrong, hiding of old ones that nothing confirms, and retirement
//! (reference: `_process_hotstart`; retirement is ours).

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::association::Association;
use super::track::Track;
use crate::config::VideoConfig;

/// How often two tracks were matched by one detection: (older, younger) → times. Kept only while the
/// younger one can still be withdrawn.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Overlaps(Vec<((u64, u64), usize)>);

/// What a frame decides about the lives of tracks.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    /// Ids withdrawn on this frame.
    pub removed: BTreeSet<u64>,
    /// Ids hidden on this frame.
    pub suppressed: BTreeSet<u64>,
}

/// Updates keep-alive and match counts of `tracks`, and in offline mode decides who is withdrawn or hidden.
/// New tracks of this frame are not among `tracks`.
pub(crate) fn judge(
    tracks: &mut [Track],
    overlaps: &mut Overlaps,
    association: &Association,
    frame_idx: usize,
    offline: bool,
    cfg: &VideoConfig,
) -> Verdict {
    update_counts(tracks, association, frame_idx, cfg);
    if !offline {
        // Without frames in hand there is nothing to withdraw.
        return Verdict::default();
    }
    let mut verdict = Verdict::default();
    let is_young = |t: &Track| t.facts.first_frame + cfg.hotstart_delay > frame_idx;
    for track in tracks.iter().filter(|t| t.facts.n_unmatched > 0) {
        let facts = &track.facts;
        if facts.n_unmatched >= cfg.hotstart_unmatch_thresh && is_young(track) {
            verdict.removed.insert(facts.id);
        } else if facts.keep_alive <= 0 && !cfg.suppress_unmatched_only_within_hotstart {
            verdict.suppressed.insert(facts.id);
        }
    }
    overlaps.count(tracks, &association.matched);
    let by_id: BTreeMap<u64, &Track> = tracks.iter().map(|t| (t.facts.id, t)).collect();
    overlaps.0.retain(|((_, younger), times)| {
        let Some(track) = by_id.get(younger).filter(|t| is_young(t)) else { return false };
        if *times >= cfg.hotstart_dup_thresh {
            verdict.removed.insert(track.facts.id);
        }
        !verdict.removed.contains(younger)
    });
    verdict
}

fn update_counts(tracks: &mut [Track], association: &Association, frame_idx: usize, cfg: &VideoConfig) {
    let matched: BTreeSet<usize> = association.matched.iter().flatten().copied().collect();
    for &t in &matched {
        let facts = &mut tracks[t].facts;
        facts.keep_alive = (facts.keep_alive + 1).min(cfg.max_trk_keep_alive);
        // A track that only brushes a detection of another object is not confirmed by it.
        if !association.unmatched.contains(&t) {
            facts.last_matched = frame_idx;
        }
    }
    let lose = |facts: &mut super::track::Facts| {
        facts.keep_alive = (facts.keep_alive - 1).max(cfg.min_trk_keep_alive);
    };
    for &t in &association.unmatched {
        tracks[t].facts.n_unmatched += 1;
        lose(&mut tracks[t].facts);
    }
    if cfg.decrease_trk_keep_alive_for_empty_masklets {
        association.empty.iter().for_each(|&t| lose(&mut tracks[t].facts));
    }
}

impl Overlaps {
    /// Counts one for every pair of each detection that matched several tracks, so that two detections on a
    /// frame count twice, as in the reference.
    fn count(&mut self, tracks: &[Track], matched: &[Vec<usize>]) {
        for group in matched.iter().filter(|group| group.len() >= 2) {
            let first = group
                .iter()
                .copied()
                .reduce(|a, b| if tracks[b].facts.first_frame < tracks[a].facts.first_frame { b } else { a });
            let Some(first) = first else { continue };
            for &other in group.iter().filter(|&&t| t != first) {
                let key = (tracks[first].facts.id, tracks[other].facts.id);
                match self.0.iter_mut().find(|(k, _)| *k == key) {
                    Some((_, times)) => *times += 1,
                    None => self.0.push((key, 1)),
                }
            }
        }
    }
}

/// Whether nothing has confirmed a track for so long that it is gone for good.
pub(crate) fn is_gone(track: &Track, frame_idx: usize, retire_after: Option<usize>) -> bool {
    retire_after.is_some_and(|limit| frame_idx - track.facts.last_matched >= limit)
}
