//! The packet index: the timestamp of every frame in the file, sorted. A frame's number is the
//! rank of its timestamp, which stays right across gaps, damage, seeking and reordering. Files
//! whose timestamps are missing or repeat (AVI with B-frames, joined transport streams) are
//! *ordinal*: their frames are counted from the start instead, and reading cannot seek.

use std::ops::ControlFlow;
use std::path::Path;

use crate::error::VideoError;
use crate::header::{Header, ffprobe_streaming};
use crate::limits::Limits;
use crate::tools::Tools;

/// Where each packet ends in the file, with its timestamp.
pub(crate) type Ends = Vec<(i64, u64)>;

/// Every frame's timestamp, in ticks of the stream's time base.
#[derive(Clone, Debug, Default)]
pub(crate) struct Index {
    /// Sorted and without repeats, unless `ordinal`.
    pts: Vec<i64>,
    /// Sorted timestamps of keyframes.
    keys: Vec<i64>,
    /// Frames are known by count only.
    pub(crate) ordinal: bool,
    /// Packets of all kinds, those that an edit list hides included.
    pub(crate) n_packets: u64,
    /// Complaints of the demuxer on its way through the file.
    pub(crate) complaint: Option<String>,
    n_frames: u64,
}

impl Index {
    /// Reads the whole file once through ffprobe.
    pub(crate) fn read(
        tools: &Tools,
        path: &Path,
        limits: &Limits,
        ends: Option<&mut Ends>,
    ) -> Result<Index, VideoError> {
        let mut builder = Builder { most: limits.max_frames, ends, ..Builder::default() };
        let what = ["-select_streams", "V:0", "-show_entries", "packet=pts,size,pos,flags", "-of", "csv=p=0"];
        let finished = ffprobe_streaming(tools, path, limits, &what, &mut |chunk| builder.take(chunk))?;
        if builder.index.n_packets > limits.max_frames {
            let detail = format!("it has more than {} frames, which is the limit", limits.max_frames);
            return Err(VideoError::too_large(path, detail));
        }
        let mut index = builder.finish();
        if index.n_frames == 0 {
            return Err(VideoError::not_video(path, "it holds no frames; it is damaged or cut short"));
        }
        if finished.log.n_lines > 0 {
            index.complaint = Some(finished.log.words(""));
        }
        Ok(index)
    }

    /// How many frames the file holds.
    pub(crate) fn n_frames(&self) -> u64 {
        self.n_frames
    }

    /// Whether another index has the same frames; keyframes may differ.
    pub(crate) fn same_frames(&self, other: &Index) -> bool {
        self.ordinal == other.ordinal && self.n_frames == other.n_frames && self.pts == other.pts
    }

    /// The timestamp of a frame; `None` beyond the end and in ordinal files.
    pub(crate) fn pts(&self, frame_idx: u64) -> Option<i64> {
        if self.ordinal { None } else { self.pts.get(usize::try_from(frame_idx).ok()?).copied() }
    }

    /// The number of the frame with this timestamp.
    pub(crate) fn rank(&self, pts: i64) -> Option<u64> {
        self.pts.binary_search(&pts).ok().map(|rank| rank as u64)
    }

    /// The timestamp of the keyframe `back` before the last one at or before `pts`. `None` means
    /// that there is no such keyframe, so that reading has to begin at the start.
    pub(crate) fn key_before(&self, pts: i64, back: usize) -> Option<i64> {
        let at_or_before = self.keys.partition_point(|&key| key <= pts);
        // The first keyframe is the start of the file: no seeking needed.
        let which = at_or_before.checked_sub(back.checked_add(1)?)?;
        if which == 0 { None } else { self.keys.get(which).copied() }
    }
}

/// Turns ffprobe's lines, cut anywhere, into an [`Index`].
#[derive(Default)]
struct Builder<'a> {
    index: Index,
    rest: Vec<u8>,
    untimed: u64,
    most: u64,
    ends: Option<&'a mut Ends>,
}

impl Builder<'_> {
    fn take(&mut self, chunk: &[u8]) -> ControlFlow<()> {
        for &byte in chunk {
            if byte == b'\n' {
                self.line();
                self.rest.clear();
            } else if self.rest.len() < 256 {
                self.rest.push(byte);
            }
        }
        if self.index.n_packets > self.most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// `pts,size,pos,flags`, with `N/A` for what is unknown.
    fn line(&mut self) {
        let line = String::from_utf8_lossy(&self.rest);
        let mut fields = line.trim().split(',');
        let (Some(pts), Some(size), Some(pos), Some(flags)) =
            (fields.next(), fields.next(), fields.next(), fields.next())
        else {
            return;
        };
        self.index.n_packets += 1;
        let pts: Option<i64> = pts.parse().ok();
        if let (Some(pts), true) = (pts, flags.contains('K')) {
            self.index.keys.push(pts);
        }
        if let Some(ends) = &mut self.ends {
            // One that is nowhere is beyond any file.
            let end = pos.parse().ok().zip(size.parse::<u64>().ok());
            ends.push((
                pts.unwrap_or(i64::MIN),
                end.map_or(u64::MAX, |(pos, size): (u64, u64)| pos.saturating_add(size)),
            ));
        }
        // Hidden by an edit list, or a filler that repeats the frame before it.
        if flags.contains('D') || size == "0" {
            return;
        }
        match pts {
            Some(pts) => self.index.pts.push(pts),
            None => self.untimed += 1,
        }
    }

    fn finish(mut self) -> Index {
        self.line();
        let mut index = self.index;
        index.pts.sort_unstable();
        index.keys.sort_unstable();
        index.n_frames = index.pts.len() as u64 + self.untimed;
        index.ordinal = self.untimed > 0 || index.pts.windows(2).any(|pair| pair[0] == pair[1]);
        if index.ordinal {
            index.pts = Vec::new();
        }
        index.pts.shrink_to_fit();
        index
    }
}

/// The clock of a video: frame numbers to microseconds since the file's start.
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
        let (first, last) = (index.pts.first()?, index.pts.last()?);
        let span_us = self.us(*last) - self.us(*first);
        let n = i64::try_from(index.pts.len()).ok()? - 1;
        (n > 0 && span_us > 0).then_some((n.saturating_mul(1_000_000), span_us))
    }

    /// Frames per second.
    pub(crate) fn fps(&self) -> f64 {
        self.frame_rate.0 as f64 / self.frame_rate.1 as f64
    }

    /// A timestamp in microseconds, on the stream's own clock.
    fn us(&self, pts: i64) -> i64 {
        scale(pts, self.time_base.0, self.time_base.1)
    }

    /// When frame `frame_idx` is shown, in microseconds since the file's start.
    pub(crate) fn frame_us(&self, index: &Index, frame_idx: u64) -> i64 {
        match index.pts(frame_idx) {
            Some(pts) => self.us(pts).saturating_sub(self.start_us),
            None => scale(i64::try_from(frame_idx).unwrap_or(i64::MAX), self.frame_rate.1, self.frame_rate.0),
        }
    }

    /// A timestamp as a position for seeking, in microseconds since the file's start, rounded up
    /// so that the keyframe at this very timestamp is found.
    pub(crate) fn seek_us(&self, pts: i64) -> i64 {
        self.us(pts).saturating_add(1).saturating_sub(self.start_us).max(0)
    }
}

/// `ticks * above / below` in microseconds, rounded, without overflow.
fn scale(ticks: i64, above: i64, below: i64) -> i64 {
    let (numerator, below) = (i128::from(ticks) * i128::from(above) * 1_000_000, i128::from(below));
    let rounded = (numerator + below / 2).div_euclid(below);
    rounded.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(text: &str, piece: usize) -> Index {
        let mut builder = Builder { most: 1000, ..Builder::default() };
        for chunk in text.as_bytes().chunks(piece) {
            assert!(builder.take(chunk).is_continue());
        }
        builder.finish()
    }

    #[test]
    fn lines_may_be_cut_anywhere() {
        let text = "0,90,7,K__\n1024,9,7,_D_\n512,9,7,___\n2048,9,7,K__\n1536,0,7,___\n";
        for piece in 1..text.len() {
            let index = index(text, piece);
            assert_eq!(index.pts, [0, 512, 2048], "pieces of {piece}");
            assert_eq!(index.keys, [0, 2048]);
            assert!(!index.ordinal);
            assert_eq!(index.n_packets, 5);
        }
    }

    #[test]
    fn missing_or_repeated_timestamps_make_it_ordinal() {
        assert!(index("0,9,7,K_\nN/A,9,7,__\n", 99).ordinal);
        assert!(index("0,9,7,K_\n0,9,7,__\n", 99).ordinal);
        assert_eq!(index("0,9,7,K_\nN/A,9,7,__\n", 99).n_frames(), 2);
    }

    #[test]
    fn too_many_packets_end_the_reading() {
        let mut builder = Builder { most: 2, ..Builder::default() };
        assert!(builder.take(b"0,9,7,K_\n1,9,7,__\n").is_continue());
        assert!(builder.take(b"2,9,7,__\n").is_break());
    }

    #[test]
    fn the_first_keyframe_needs_no_seek() {
        let index = index("0,9,7,K_\n1,9,7,__\n2,9,7,K_\n3,9,7,__\n4,9,7,K_\n", 99);
        assert_eq!(index.key_before(3, 0), Some(2));
        assert_eq!(index.key_before(4, 0), Some(4));
        assert_eq!(index.key_before(4, 1), Some(2));
        assert_eq!(index.key_before(4, 2), None);
        assert_eq!(index.key_before(1, 0), None);
        assert_eq!(index.key_before(4, usize::MAX), None);
    }

    #[test]
    fn absurd_timestamps_do_not_overflow() {
        assert_eq!(scale(i64::MAX, 1000, 1), i64::MAX);
        assert_eq!(scale(1, 1, 3), 333_333);
        assert_eq!(scale(-1, 1, 90_000), -11);
    }
}
