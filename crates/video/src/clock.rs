//! Times of frames: from timestamps in the stream's time base to microseconds.

use crate::header::Header;
use crate::index::Index;

/// Largest distance between neighboring frames of one recording, in microseconds. ffmpeg closes larger
/// gaps in transport streams too (`-dts_delta_threshold`).
const MAX_GAP_US: i64 = 10_000_000;
/// How far a timestamp may go back without being another recording's, in microseconds.
const MAX_STEP_BACK_US: i64 = 500_000;
/// Largest relative difference between a declared frame rate and that of the times.
const MAX_RATE_DIFFERENCE: f64 = 0.05;
/// Distance to the frame before for a frame whose timestamp is not later, in microseconds.
const MIN_STEP_US: i64 = 100;

/// Converts frame numbers and timestamps to microseconds since the file's start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Clock {
    time_base: (i64, i64),
    start_us: i64,
    frame_rate: (i64, i64),
    /// Times of all frames, if they do not follow from each timestamp alone.
    joined_us: Vec<i64>,
}

impl Clock {
    pub(crate) fn new(header: &Header, index: &Index) -> Clock {
        let mut clock = Clock {
            time_base: header.time_base,
            start_us: header.start_us,
            frame_rate: (25, 1),
            joined_us: Vec::new(),
        };
        // The header counts fields where packets are fields.
        let declared = header.frame_rate.filter(|_| !index.is_scanned || index.is_counted());
        clock.frame_rate =
            declared.or_else(|| clock.measured_rate(index)).or(header.frame_rate).unwrap_or((25, 1));
        let pts = index.all_pts();
        if index.is_counted() || (header.may_be_joined() && clock.has_large_gap(&pts)) {
            clock.joined_us = clock.joined_times(&pts);
            clock.frame_rate = clock.corrected_rate();
        }
        clock
    }

    /// The declared rate, or that of the times if it is another one: an AVI declares the rate of its clock, which moves
    /// on where a recorder dropped a frame.
    fn corrected_rate(&self) -> (i64, i64) {
        let span_us =
            self.joined_us.last().zip(self.joined_us.first()).map_or(0, |(last, first)| last - first);
        let measured = average_rate(self.joined_us.len().saturating_sub(1) as u64, span_us);
        let value = |(numerator, denominator): (i64, i64)| numerator as f64 / denominator as f64;
        let differs =
            |rate: &(i64, i64)| (value(*rate) / value(self.frame_rate) - 1.0).abs() > MAX_RATE_DIFFERENCE;
        measured.filter(differs).unwrap_or(self.frame_rate)
    }

    fn has_large_gap(&self, pts: &[Option<i64>]) -> bool {
        let us = |pts: Option<i64>| pts.map_or(0, |pts| self.us(pts));
        pts.windows(2).any(|pair| us(pair[1]).saturating_sub(us(pair[0])) > MAX_GAP_US)
    }

    fn measured_rate(&self, index: &Index) -> Option<(i64, i64)> {
        let last_idx = index.n_frames().checked_sub(1)?;
        let span_us = self.us(index.pts(last_idx)?) - self.us(index.pts(0)?);
        average_rate(last_idx, span_us)
    }

    /// Strictly increasing times for timestamps that are missing, repeat, or restart where recordings
    /// were joined: each recording continues one frame after the last.
    fn joined_times(&self, pts: &[Option<i64>]) -> Vec<i64> {
        let period_us = scale(1, self.frame_rate.1, self.frame_rate.0).max(MIN_STEP_US);
        let mut times = Vec::with_capacity(pts.len());
        // What is added to a timestamp, once one is known.
        let mut offset_us = None;
        for pts in pts {
            let own_us = pts.map(|pts| self.us(pts).saturating_sub(self.start_us));
            let last_us: Option<i64> = times.last().copied();
            let expected_us =
                own_us.zip(offset_us).map(|(own, offset): (i64, i64)| own.saturating_add(offset));
            let continues = |&(expected, last): &(i64, i64)| {
                (-MAX_STEP_BACK_US..=MAX_GAP_US).contains(&expected.saturating_sub(last))
            };
            let continued_us = expected_us.zip(last_us).filter(continues);
            let time_us = match (continued_us, last_us) {
                (Some((expected, last)), _) => expected.max(last.saturating_add(MIN_STEP_US)),
                (None, Some(last)) => last.saturating_add(period_us),
                (None, None) => own_us.unwrap_or(0),
            };
            if continued_us.is_none() {
                offset_us = own_us.map(|own| time_us.saturating_sub(own)).or(offset_us);
            }
            times.push(time_us);
        }
        times
    }

    /// Average frames per second.
    pub(crate) fn fps(&self) -> f64 {
        self.frame_rate.0 as f64 / self.frame_rate.1 as f64
    }

    /// A timestamp in microseconds, on the stream's own clock.
    fn us(&self, pts: i64) -> i64 {
        scale(pts, self.time_base.0, self.time_base.1)
    }

    /// Presentation time of a frame, in microseconds since the file's start. `frame_idx` must be a frame
    /// of the index; later ones continue at the average rate.
    pub(crate) fn frame_us(&self, index: &Index, frame_idx: u64) -> i64 {
        let joined_us = usize::try_from(frame_idx).ok().and_then(|i| self.joined_us.get(i)).copied();
        let own_us = || index.pts(frame_idx).map(|pts| self.us(pts).saturating_sub(self.start_us));
        match joined_us.or_else(own_us) {
            Some(time_us) => time_us,
            None => scale(i64::try_from(frame_idx).unwrap_or(i64::MAX), self.frame_rate.1, self.frame_rate.0),
        }
    }

    /// The position to seek to for a timestamp, in microseconds since the file's start. Rounded up, so
    /// that seeking finds a keyframe at exactly this timestamp.
    pub(crate) fn seek_us(&self, pts: i64) -> i64 {
        self.us(pts).saturating_add(1).saturating_sub(self.start_us).max(0)
    }
}

/// Frames per second, as a fraction, of `n` frame periods in `span_us`.
fn average_rate(n: u64, span_us: i64) -> Option<(i64, i64)> {
    let n = i64::try_from(n).ok()?;
    (n > 0 && span_us > 0).then_some((n.saturating_mul(1_000_000), span_us))
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

    fn times_ms(pts: &[Option<i64>]) -> Vec<i64> {
        let (time_base, frame_rate) = ((1, 1000), (25, 1));
        let clock = Clock { time_base, start_us: 100_000, frame_rate, joined_us: Vec::new() };
        clock.joined_times(pts).into_iter().map(|us| us / 1000).collect()
    }

    #[test]
    fn times_increase_across_gaps_in_the_clock() {
        for (what, pts, want) in [
            ("a repeated timestamp", vec![100, 140, 140, 220], vec![0, 40, 40, 120]),
            ("a small step back", vec![100, 140, 120, 180, 220], vec![0, 40, 40, 80, 120]),
            ("a clock that restarts", vec![5100, 5140, 300, 340], vec![5000, 5040, 5080, 5120]),
            ("a clock that jumps ahead", vec![100, 140, 90_000, 90_040], vec![0, 40, 80, 120]),
            ("a pause", vec![100, 140, 5140, 5180], vec![0, 40, 5040, 5080]),
        ] {
            assert_eq!(times_ms(&pts.into_iter().map(Some).collect::<Vec<_>>()), want, "{what}");
        }
        assert_eq!(times_ms(&[None, None, Some(180), None, Some(260)]), [0, 40, 80, 120, 160]);
        assert_eq!(times_ms(&[None; 3]), [0, 40, 80]);
    }
}
