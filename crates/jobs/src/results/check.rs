//! What a detection that was read must be, given the others of its frame and the video. The detections of one frame are
//! remembered, those of the frames before are not.

use std::collections::HashSet;

use super::problem::Problem;
use super::{CONFIDENCE_TOLERANCE, Detection, Expected};

/// Most detections on one frame. The model finds a few hundred objects at most.
const MAX_ON_FRAME: usize = 100_000;

/// Checks detections in the order of the file.
pub(super) struct Checker<'a> {
    expected: &'a Expected,
    /// Frame of the last detection.
    frame: Option<u64>,
    /// Tracks of the last detections, as far back as they are on that frame.
    tracks: HashSet<u64>,
    /// Confidences that were clamped.
    pub(super) n_clamped: u64,
}

impl<'a> Checker<'a> {
    pub(super) fn new(expected: &'a Expected) -> Self {
        Self { expected, frame: None, tracks: HashSet::new(), n_clamped: 0 }
    }

    /// Checks the next detection, and clamps its confidence.
    #[inline]
    pub(super) fn check(&mut self, detection: &mut Detection) -> Result<(), Problem> {
        self.clamp(detection);
        if let Some(n) = self.expected.n_frames.filter(|&n| detection.frame >= n) {
            let frame = i64::try_from(detection.frame).unwrap_or(i64::MAX);
            return Err(Problem::UnknownFrame { frame, n_frames: Some(n) });
        }
        if let Some(problem) = detection.problem().or_else(|| self.box_outside(detection.bbox)) {
            return Err(problem);
        }
        self.check_frame(detection)
    }

    #[inline]
    fn clamp(&mut self, detection: &mut Detection) {
        let x = detection.confidence;
        if !(0.0..=1.0).contains(&x) && (-CONFIDENCE_TOLERANCE..=1.0 + CONFIDENCE_TOLERANCE).contains(&x) {
            detection.confidence = x.clamp(0.0, 1.0);
            self.n_clamped += 1;
        }
    }

    #[inline]
    fn box_outside(&self, bbox: [f64; 4]) -> Option<Problem> {
        let [width, height] = self.expected.frame_size?;
        let margin = f64::from(width.max(height));
        let [x, y, w, h] = bbox;
        let is_near =
            |from: f64, length: f64, of: u32| from >= -margin && from + length <= f64::from(of) + margin;
        let is_inside = is_near(x, w, width) && is_near(y, h, height);
        (!is_inside).then_some(Problem::BoxOutside { bbox, width, height })
    }

    #[inline]
    fn check_frame(&mut self, detection: &Detection) -> Result<(), Problem> {
        let Detection { frame, track_id, .. } = *detection;
        if self.frame != Some(frame) {
            self.frame = Some(frame);
            self.tracks.clear();
        }
        if !self.tracks.insert(track_id) {
            return Err(Problem::Duplicate { frame, track_id });
        }
        if self.tracks.len() > MAX_ON_FRAME {
            return Err(Problem::TooLarge(format!("frame {frame} has more than {MAX_ON_FRAME} detections")));
        }
        Ok(())
    }
}
