//! Times of frames: from timestamps in the stream's time base to microseconds.

use crate::header::Header;
use crate::index::Index;

/// Converts frame numbers and timestamps to microseconds since the file's start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Clock {
    time_base: (i64, i64),
    start_us: i64,
    frame_rate: (i64, i64),
}

impl Clock {
    pub(crate) fn new(header: &Header, index: &Index) -> Clock {
        let mut clock = Clock { time_base: header.time_base, start_us: header.start_us, frame_rate: (25, 1) };
        clock.frame_rate = header.frame_rate.or_else(|| clock.measured_rate(index)).unwrap_or((25, 1));
        clock
    }

    fn measured_rate(&self, index: &Index) -> Option<(i64, i64)> {
        let last_idx = index.n_frames().checked_sub(1)?;
        let span_us = self.us(index.pts(last_idx)?) - self.us(index.pts(0)?);
        let n = i64::try_from(last_idx).ok()?;
        (n > 0 && span_us > 0).then_some((n.saturating_mul(1_000_000), span_us))
    }

    /// Average frames per second.
    pub(crate) fn fps(&self) -> f64 {
        self.frame_rate.0 as f64 / self.frame_rate.1 as f64
    }

    /// A timestamp in microseconds, on the stream's own clock.
    fn us(&self, pts: i64) -> i64 {
        scale(pts, self.time_base.0, self.time_base.1)
    }

    /// Presentation time of a frame, in microseconds since the file's start.
    pub(crate) fn frame_us(&self, index: &Index, frame_idx: u64) -> i64 {
        match index.pts(frame_idx) {
            Some(pts) => self.us(pts).saturating_sub(self.start_us),
            None => scale(i64::try_from(frame_idx).unwrap_or(i64::MAX), self.frame_rate.1, self.frame_rate.0),
        }
    }

    /// The position to seek to for a timestamp, in microseconds since the file's start. Rounded up, so
    /// that seeking finds a keyframe at exactly this timestamp.
    pub(crate) fn seek_us(&self, pts: i64) -> i64 {
        self.us(pts).saturating_add(1).saturating_sub(self.start_us).max(0)
    }
}

/// `ticks * numerator / denominator` seconds in microseconds, rounded, without overflow.
fn scale(ticks: i64, numerator: i64, denominator: i64) -> i64 {
    let product = i128::from(ticks) * i128::from(numerator) * 1_000_000;
    let denominator = i128::from(denominator);
    let rounded = (product + denominator / 2).div_euclid(denominator);
    rounded.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extreme_timestamps_do_not_overflow() {
        assert_eq!(scale(i64::MAX, 1000, 1), i64::MAX);
        assert_eq!(scale(1, 1, 3), 333_333);
        assert_eq!(scale(-1, 1, 90_000), -11);
    }
}
