//! What a run can have produced: a checkpoint that says otherwise is forged or torn, whatever its digests say, and the
//! run starts over.

use std::ops::Range;

use jobs::manifest::MissingFrames;
use sam3::Session;

use super::checkpoint::{RunIdentity, RunPosition};
use super::spool::SpoolRecord;

/// By how many pixels a box may exceed the frame: boxes are rounded outwards.
const TOLERANCE: f32 = 1.0;

impl RunPosition {
    /// The first thing in this position that the run and its tracker's state contradict.
    pub(super) fn check(&self, run: &RunIdentity, session: &Session) -> Result<(), String> {
        let Self { waiting, next_frame, n_frames, .. } = self;
        let end = run.to.saturating_add(run.every);
        if !(run.from..end).contains(next_frame) {
            return Err(format!("it resumes at frame {next_frame} of frames {} to {}", run.from, run.to - 1));
        }
        let n_before = (next_frame - run.from).div_ceil(run.every);
        if *n_frames > n_before {
            return Err(format!("it has tracked {n_frames} frames before frame {next_frame}"));
        }
        self.check_missing(run, n_before - n_frames)?;
        if session.n_frames() as u64 != *n_frames {
            let tracked = session.n_frames();
            return Err(format!("it has tracked {n_frames} frames, and its tracker {tracked}"));
        }
        if session.n_pending() != waiting.len() {
            let (waiting, pending) = (waiting.len(), session.n_pending());
            return Err(format!("{waiting} frames wait for the tracker, which holds back {pending}"));
        }
        let is_ordered = waiting.is_sorted_by(|a, b| a < b);
        if !is_ordered || waiting.iter().any(|frame| !(run.from..*next_frame).contains(frame)) {
            return Err("the frames that wait for the tracker are not in order".to_owned());
        }
        Ok(())
    }

    /// Checks the frames that could not be decoded: at most `max_count`, all before the next frame.
    fn check_missing(&self, run: &RunIdentity, max_count: u64) -> Result<(), String> {
        let (missing, next_frame) = (&self.missing, self.next_frame);
        let is_gap = |[first, last]: &[u64; 2]| run.from <= *first && first <= last && *last < next_frame;
        let n_requested = (run.to - run.from).div_ceil(run.every);
        if missing.count > max_count
            || (missing.count > 0 && missing.expected != n_requested)
            || missing.ranges.len() > MissingFrames::MAX_RANGES
            || !missing.ranges.iter().all(is_gap)
        {
            return Err(format!("it lacks {} frames before frame {next_frame}", missing.count));
        }
        Ok(())
    }
}

/// Checks the records of a checkpoint's spool, in order.
pub(super) struct RecordCheck {
    /// Frames that were reported.
    frames: Range<u64>,
    /// Width and height of a frame, in pixels.
    size: [f32; 2],
    n_prompts: usize,
    next_id: u64,
    max_on_frame: usize,
    /// Frame and track of the record before, and the number of records on its frame.
    last: Option<(u64, u64, usize)>,
}

impl RecordCheck {
    /// `size`: width and height of a frame, in pixels.
    pub(super) fn new(position: &RunPosition, run: &RunIdentity, session: &Session, size: [u32; 2]) -> Self {
        let reported = position.waiting.first().copied().unwrap_or(position.next_frame);
        Self {
            frames: run.from..reported.min(run.to),
            size: size.map(|x| x as f32),
            n_prompts: session.prompts().len(),
            next_id: session.next_id(),
            max_on_frame: session.max_reported(),
            last: None,
        }
    }

    /// Accepts the next record, or says why no run can have made it there.
    pub(super) fn accept(&mut self, record: &SpoolRecord) -> Result<(), String> {
        let SpoolRecord { frame, track_id, prompt, .. } = *record;
        let n_on_frame = match self.last {
            Some((before, _, _)) if frame < before => {
                return Err(format!("frame {frame} comes after frame {before}"));
            }
            Some((before, track, _)) if frame == before && track_id <= track => {
                return Err(format!("on frame {frame}, track {track_id} comes after track {track}"));
            }
            Some((before, _, n)) if frame == before => n + 1,
            _ => 1,
        };
        self.last = Some((frame, track_id, n_on_frame));
        if !self.frames.contains(&frame) {
            let Range { start, end } = self.frames;
            return Err(format!(
                "it is on frame {frame}, and the frames before the checkpoint are {start} to {}",
                end.saturating_sub(1)
            ));
        }
        if n_on_frame > self.max_on_frame {
            return Err(format!("frame {frame} has more than {} tracks", self.max_on_frame));
        }
        if track_id >= self.next_id {
            return Err(format!("it is of track {track_id}, and the next track is {}", self.next_id));
        }
        if prompt as usize >= self.n_prompts {
            return Err(format!("it is of prompt {prompt}, and there are {}", self.n_prompts));
        }
        self.check_numbers(record)
    }

    fn check_numbers(&self, record: &SpoolRecord) -> Result<(), String> {
        let ([left, top, width, height], [w, h]) = (record.bbox, self.size);
        let is_within = |from: f32, length: f32, of: f32| {
            from >= -TOLERANCE && length >= 0.0 && from + length <= of + TOLERANCE
        };
        // Comparisons with NaN are false.
        if !is_within(left, width, w) || !is_within(top, height, h) {
            let frame = record.frame;
            return Err(format!("a box on frame {frame} is {:?}, and the frame is {w} by {h}", record.bbox));
        }
        if !(0.0..=1.0).contains(&record.confidence) {
            return Err(format!("a confidence is {}", record.confidence));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::checkpoint::VideoIdentity;
    use super::*;

    fn record() -> SpoolRecord {
        SpoolRecord { frame: 3, track_id: 4, prompt: 1, bbox: [0.0, 10.0, 64.0, 38.0], confidence: 1.0 }
    }

    fn check() -> RecordCheck {
        RecordCheck {
            frames: 2..9,
            size: [64.0, 48.0],
            n_prompts: 2,
            next_id: 5,
            max_on_frame: 2,
            last: None,
        }
    }

    #[test]
    fn missing_frames_are_those_of_the_run() {
        let video = VideoIdentity { size_bytes: 1, sha256_of_ends: String::new() };
        let run = RunIdentity { video, stream: None, from: 10, to: 50, every: 2 };
        let with = |count, expected, ranges: &[[u64; 2]]| {
            let missing = MissingFrames { count, expected, ranges: ranges.to_vec() };
            RunPosition { next_frame: 30, missing, ..RunPosition::start_of(&run) }
        };
        for (position, is_possible) in [
            (RunPosition::start_of(&run), true),
            (with(3, 20, &[[12, 14], [28, 28]]), true),
            (with(4, 20, &[[12, 18]]), false),
            (with(u64::MAX, 20, &[[12, 14]]), false),
            (with(1, 21, &[[12, 12]]), false),
            (with(1, 20, &[[8, 8]]), false),
            (with(1, 20, &[[30, 30]]), false),
            (with(1, 20, &[[14, 12]]), false),
            (with(1, 20, &[[0, u64::MAX]]), false),
            (with(1, 20, &[[12, 12]; 51]), false),
        ] {
            assert_eq!(position.check_missing(&run, 3).is_ok(), is_possible, "{:?}", position.missing);
        }
    }

    #[test]
    fn accepts_records_in_order() {
        let mut check = check();
        for (frame, track_id) in [(2, 4), (3, 0), (3, 4), (8, 1)] {
            assert_eq!(check.accept(&SpoolRecord { frame, track_id, ..record() }), Ok(()));
        }
    }

    #[test]
    fn refuses_what_no_run_can_have_made() {
        let zeros = SpoolRecord { frame: 0, track_id: 0, prompt: 0, bbox: [0.0; 4], confidence: 0.0 };
        let with = |bbox| SpoolRecord { bbox, ..record() };
        for (second, want) in [
            (zeros, "frame 0 comes after frame 3"),
            (record(), "track 4 comes after track 4"),
            (SpoolRecord { track_id: 3, ..record() }, "track 3 comes after track 4"),
            (SpoolRecord { frame: 9, ..record() }, "on frame 9"),
            (SpoolRecord { frame: u64::MAX, ..record() }, "on frame"),
            (SpoolRecord { frame: 4, track_id: 5, ..record() }, "the next track is 5"),
            (SpoolRecord { frame: 4, prompt: 2, ..record() }, "of prompt 2"),
            (SpoolRecord { frame: 4, confidence: f32::NAN, ..record() }, "confidence"),
            (SpoolRecord { frame: 4, confidence: 1.5, ..record() }, "confidence"),
            (SpoolRecord { frame: 4, ..with([0.0, 0.0, f32::INFINITY, 1.0]) }, "a box"),
            (SpoolRecord { frame: 4, ..with([f32::NAN, 0.0, 1.0, 1.0]) }, "a box"),
            (SpoolRecord { frame: 4, ..with([0.0, 0.0, 1.0, -1.0]) }, "a box"),
            (SpoolRecord { frame: 4, ..with([-9.0, 0.0, 1.0, 1.0]) }, "a box"),
            (SpoolRecord { frame: 4, ..with([60.0, 0.0, 9.0, 1.0]) }, "a box"),
            (SpoolRecord { frame: 4, ..with([0.0, 1e30, 1.0, 1.0]) }, "a box"),
        ] {
            let mut check = check();
            check.accept(&record()).unwrap();
            let why = check.accept(&second).unwrap_err();
            assert!(why.contains(want), "{second:?}: {why}");
        }
        assert!(check().accept(&zeros).is_err(), "frame 0 is before the range");
        let mut crowd = check();
        let on_frame = |track_id| SpoolRecord { track_id, ..record() };
        [1, 2].iter().for_each(|&track| crowd.accept(&on_frame(track)).unwrap());
        assert!(crowd.accept(&on_frame(3)).unwrap_err().contains("more than 2 tracks"));
    }
}
