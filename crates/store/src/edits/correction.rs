//! The combined effect of edits: which track each detection belongs to.

use std::collections::{BTreeMap, BTreeSet};

use super::Edit;
use crate::tracks::TrackSummary;

/// The name and the team of a track.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrackLabel {
    /// Its name, such as that of a player.
    pub name: Option<String>,
    /// Name of its team.
    pub team: Option<String>,
}

/// A part of a stored track: from a frame to the next part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Part {
    first: i64,
    /// The track that it belongs to; `None` if it is deleted.
    id: Option<i64>,
}

/// Maps detections to tracks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Correction {
    /// The parts of stored tracks, ordered by frame; the first begins at the smallest number. A track without an entry
    /// is as it was.
    parts: BTreeMap<i64, Vec<Part>>,
    labels: BTreeMap<i64, TrackLabel>,
    /// Ids that splits have given.
    new_ids: BTreeSet<i64>,
}

impl Correction {
    /// Adds an edit. One of a track that does not exist changes nothing.
    pub(super) fn apply(&mut self, edit: &Edit) {
        match *edit {
            Edit::Name { track, ref name } => self.labels.entry(track).or_default().name.clone_from(name),
            Edit::Team { track, ref team } => self.labels.entry(track).or_default().team.clone_from(team),
            Edit::Merge { track, into } => {
                self.each_part_of(track, i64::MIN, |part| part.id = Some(into));
                let from = self.labels.remove(&track).unwrap_or_default();
                let label = self.labels.entry(into).or_default();
                label.name = label.name.take().or(from.name);
                label.team = label.team.take().or(from.team);
            }
            Edit::Split { track, frame, new } => {
                self.new_ids.insert(new);
                self.each_part_of(track, frame, |part| part.id = Some(new));
            }
            Edit::Swap { track, with, frame } => {
                // No stored track has the smallest id: it holds the place of one of the two.
                self.each_part_of(track, frame, |part| part.id = Some(i64::MIN));
                self.each_part_of(with, frame, |part| part.id = Some(track));
                self.each_part_of(i64::MIN, frame, |part| part.id = Some(with));
            }
            Edit::Delete { track } => {
                self.each_part_of(track, i64::MIN, |part| part.id = None);
                self.labels.remove(&track);
            }
        }
    }

    /// Changes every part of a track that begins at `frame` or later; a part that contains the frame is cut there.
    fn each_part_of(&mut self, track: i64, frame: i64, change: impl Fn(&mut Part)) {
        if track != i64::MIN && !self.new_ids.contains(&track) {
            self.parts.entry(track).or_insert_with(|| vec![Part { first: i64::MIN, id: Some(track) }]);
        }
        for parts in self.parts.values_mut() {
            let containing = parts.iter().rposition(|part| part.first < frame);
            if let Some(i) = containing.filter(|i| parts[*i].id == Some(track))
                && parts.get(i + 1).is_none_or(|next| next.first > frame)
            {
                parts.insert(i + 1, Part { first: frame, ..parts[i] });
            }
            parts.iter_mut().filter(|part| part.first >= frame && part.id == Some(track)).for_each(&change);
            parts.dedup_by(|next, part| next.id == part.id);
        }
    }

    /// The track of a detection of the stored track `raw`; `None` if it is deleted.
    pub(crate) fn track(&self, frame: i64, raw: i64) -> Option<i64> {
        let Some(parts) = self.parts.get(&raw) else { return Some(raw) };
        let i = parts.partition_point(|part| part.first <= frame);
        parts.get(i.saturating_sub(1)).and_then(|part| part.id)
    }

    /// First and last frame of each track, from those of the stored ones.
    pub(super) fn extents(&self, raw: &[TrackSummary]) -> BTreeMap<i64, (i64, i64)> {
        let mut extents: BTreeMap<i64, (i64, i64)> = BTreeMap::new();
        for track in raw {
            let whole = [Part { first: i64::MIN, id: Some(track.track_id) }];
            let parts = self.parts.get(&track.track_id).map_or(&whole[..], Vec::as_slice);
            for (i, part) in parts.iter().enumerate() {
                let end = parts.get(i + 1).map_or(i64::MAX, |next| next.first - 1);
                let (first, last) = (part.first.max(track.first_frame), end.min(track.last_frame));
                if let Some(id) = part.id.filter(|_| first <= last) {
                    let extent = extents.entry(id).or_insert((first, last));
                    *extent = (extent.0.min(first), extent.1.max(last));
                }
            }
        }
        extents
    }

    /// Whether every stored track is a part of one track, so that statistics of tracks can be added up.
    pub(crate) fn keeps_tracks_whole(&self) -> bool {
        self.parts.values().all(|parts| matches!(parts.as_slice(), [Part { id: Some(_), .. }]))
    }

    /// The highest id that an edit has given.
    pub(super) fn highest_id(&self) -> Option<i64> {
        self.new_ids.last().copied()
    }

    pub(super) fn into_labels(self) -> BTreeMap<i64, TrackLabel> {
        self.labels.into_iter().filter(|(_, label)| *label != TrackLabel::default()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replay(edits: &[Edit]) -> Correction {
        let mut correction = Correction::default();
        edits.iter().for_each(|edit| correction.apply(edit));
        correction
    }

    fn tracks(edits: &[Edit], frame: i64) -> Vec<Option<i64>> {
        let correction = replay(edits);
        (1..=3).map(|raw| correction.track(frame, raw)).collect()
    }

    #[test]
    fn tracks_are_merged_split_swapped_and_deleted() {
        assert_eq!(tracks(&[], 5), [Some(1), Some(2), Some(3)]);
        let merge = Edit::Merge { track: 2, into: 1 };
        assert_eq!(tracks(std::slice::from_ref(&merge), 5), [Some(1), Some(1), Some(3)]);
        let split = Edit::Split { track: 1, frame: 5, new: 4 };
        let edits = [merge, split];
        assert_eq!(tracks(&edits, 4), [Some(1), Some(1), Some(3)]);
        assert_eq!(tracks(&edits, 5), [Some(4), Some(4), Some(3)]);
        let swap = Edit::Swap { track: 4, with: 3, frame: 7 };
        let [a, b] = edits;
        let edits = [a, b, swap, Edit::Delete { track: 1 }];
        assert_eq!(tracks(&edits, 4), [None, None, Some(3)]);
        assert_eq!(tracks(&edits, 6), [Some(4), Some(4), Some(3)]);
        assert_eq!(tracks(&edits, 7), [Some(3), Some(3), Some(4)]);
    }

    #[test]
    fn a_swap_that_is_swapped_back_changes_only_what_is_between() {
        let swap = |frame| Edit::Swap { track: 1, with: 2, frame };
        let edits = [swap(10), swap(20)];
        assert_eq!(tracks(&edits, 9), [Some(1), Some(2), Some(3)]);
        assert_eq!(tracks(&edits, 10), [Some(2), Some(1), Some(3)]);
        assert_eq!(tracks(&edits, 20), [Some(1), Some(2), Some(3)]);
    }

    #[test]
    fn labels_follow_their_tracks() {
        let name = |track, name: &str| Edit::Name { track, name: Some(name.to_owned()) };
        let labels = |edits: &[Edit]| replay(edits).into_labels();
        let named = |id: i64, name: &str| {
            BTreeMap::from([(id, TrackLabel { name: Some(name.to_owned()), team: None })])
        };
        assert_eq!(labels(&[name(2, "Anna"), Edit::Merge { track: 2, into: 1 }]), named(1, "Anna"));
        let both = [name(1, "Bea"), name(2, "Anna"), Edit::Merge { track: 2, into: 1 }];
        assert_eq!(labels(&both), named(1, "Bea"));
        assert_eq!(labels(&[name(1, "Bea"), Edit::Delete { track: 1 }]), BTreeMap::new());
        assert_eq!(labels(&[name(1, "Bea"), Edit::Name { track: 1, name: None }]), BTreeMap::new());
    }
}
