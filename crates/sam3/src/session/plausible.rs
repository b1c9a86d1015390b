//! What the state of a session can be. A saved session is compared with it when it is loaded: its digest detects damage,
//! but a file that was forged, or written by a program that went wrong, has a digest that fits.

use std::ops::RangeInclusive;

use super::state::{PendingFrame, Session, State};
use super::track::{ALWAYS_OCCLUDED, NEVER_OCCLUDED, Track};
use crate::options::Mode;
use crate::tracker::Rules;

/// The first contradiction, as a clause for a message.
type Check = Result<(), String>;

fn require(holds: bool, why: impl FnOnce() -> String) -> Check {
    if holds { Ok(()) } else { Err(why()) }
}

/// Scores are probabilities; the reference lists removed tracks with a large negative score.
const SCORES: RangeInclusive<f32> = -1e4..=1.0;

impl Session {
    /// Checks a state that was loaded for this session.
    pub(super) fn check(&self, state: &State) -> Check {
        let limits = Limits {
            n_frames: state.n_frames,
            next_id: state.next_id,
            n_prompts: self.prompts.len(),
            rules: &self.rules,
        };
        self.check_counts(state)?;
        check_ids("its tracks", state.tracks.iter().map(|track| track.id), state.next_id)?;
        state.tracks.iter().try_for_each(|track| limits.check_track(track))?;
        let first_frames: Vec<usize> = state.tracks.iter().map(|track| track.first_frame).collect();
        state.memory.check(&first_frames, state.n_frames)?;
        self.check_pending(state)?;
        state.pending.iter().try_for_each(|frame| limits.check_pending(frame))?;
        for (id, frame) in &state.removed {
            let holds = *id < state.next_id && *frame < state.n_frames;
            require(holds, || format!("it removed track {id} on frame {frame}"))?;
        }
        for (older, younger) in state.duplicates.pairs() {
            require(older.max(younger) < state.next_id, || {
                format!("it compares tracks {older} and {younger}")
            })?;
        }
        Ok(())
    }

    /// Numbers that the frames so far bound.
    fn check_counts(&self, state: &State) -> Check {
        let State { n_frames, next_id, n_rejected, .. } = state;
        if let Mode::Offline { n_frames: announced } = self.options.mode {
            require(*n_frames <= announced, || format!("it has {n_frames} of {announced} frames"))?;
        }
        let per_frame = self
            .prompts
            .len()
            .saturating_mul(self.model.config.detector_config.detr_decoder_config.num_queries);
        let n_detections = (*n_frames as u64).saturating_mul(per_frame as u64);
        let most = n_detections.min((*n_frames as u64).saturating_mul(self.rules.max_tracks as u64));
        require(*next_id <= most, || {
            format!("its next track is {next_id}, and {n_frames} frames have at most {most}")
        })?;
        require(*n_rejected <= n_detections, || {
            format!("{n_frames} frames had {n_rejected} rejected detections")
        })?;
        let n_tracks = state.tracks.len();
        require(n_tracks <= self.rules.max_tracks, || format!("it has {n_tracks} tracks"))
    }

    /// The frames that wait are the last ones.
    fn check_pending(&self, state: &State) -> Check {
        let n_pending = state.pending.len();
        require(n_pending <= self.delay().min(state.n_frames), || {
            format!("{n_pending} of its frames are pending")
        })?;
        let expected = state.n_frames - n_pending..state.n_frames;
        let found = state.pending.iter().map(|frame| frame.frame_idx);
        require(found.eq(expected), || "its pending frames are not the last ones".to_owned())
    }
}

/// What the tracks of a state are compared with.
struct Limits<'a> {
    n_frames: usize,
    next_id: u64,
    n_prompts: usize,
    rules: &'a Rules,
}

impl Limits<'_> {
    fn check_track(&self, track: &Track) -> Check {
        let Track {
            prompt,
            first_frame,
            birth_score,
            keep_alive,
            n_unmatched,
            last_matched,
            last_occluded,
            ..
        } = track;
        let first_keep_alive = self.rules.first_keep_alive;
        let (least, most) = (*self.rules.keep_alive.start(), *self.rules.keep_alive.end());
        let is_past = |frame: i64| usize::try_from(frame).is_ok_and(|frame| frame < self.n_frames);
        let knows = |at: &i64| [NEVER_OCCLUDED, ALWAYS_OCCLUDED].contains(at) || is_past(*at);
        require(
            *prompt < self.n_prompts
                && first_frame <= last_matched
                && *last_matched < self.n_frames
                && SCORES.contains(birth_score)
                && (least.min(first_keep_alive)..=most.max(first_keep_alive)).contains(keep_alive)
                && *n_unmatched <= self.n_frames - first_frame
                && last_occluded.as_ref().is_none_or(knows),
            || format!("after {} frames of {} prompts, it has {track:?}", self.n_frames, self.n_prompts),
        )
    }

    fn check_pending(&self, frame: &PendingFrame) -> Check {
        let what = format!("the masks of its frame {}", frame.frame_idx);
        check_ids(&what, frame.masks.iter().map(|mask| mask.id), self.next_id)?;
        for mask in &frame.masks {
            let holds = mask.prompt < self.n_prompts
                && SCORES.contains(&mask.score)
                && SCORES.contains(&mask.tracker_score)
                && mask.logits.iter().all(|logit| logit.is_finite());
            require(holds, || format!("{what}: that of track {} has impossible numbers", mask.id))?;
        }
        let mut others = frame.removed.iter().chain(&frame.hidden);
        require(others.all(|id| *id < self.next_id), || {
            format!("{what}: an id is not below {}", self.next_id)
        })
    }
}

/// Ids are in ascending order, and below the next one.
fn check_ids(what: &str, ids: impl Iterator<Item = u64>, next_id: u64) -> Check {
    let mut last = None;
    for id in ids {
        require(last.is_none_or(|last| last < id), || format!("{what} are not ordered by id"))?;
        require(id < next_id, || format!("{what}: id {id} is not below {next_id}"))?;
        last = Some(id);
    }
    Ok(())
}
