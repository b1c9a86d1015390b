//! The packet index: the sorted timestamps of all frames in the file. A frame's number is the rank
//! of its timestamp, which is correct across gaps, damage, seeking and reordering. Files with
//! missing or repeated timestamps (AVI with B-frames, concatenated transport streams) are
//! *ordinal*: their frames are counted from the start instead, and seeking is impossible.

use std::ops::ControlFlow;
use std::path::Path;

use crate::error::VideoError;
use crate::ffprobe::ffprobe_streaming;
use crate::limits::Limits;
use crate::tools::Tools;

/// Timestamp and end offset in the file of each packet.
pub(crate) type PacketEnds = Vec<(i64, u64)>;

/// The timestamps of all frames, in ticks of the stream's time base.
#[derive(Clone, Debug, Default)]
pub(crate) struct Index {
    /// Sorted and unique; empty if `ordinal`.
    pts: Vec<i64>,
    /// Sorted timestamps of keyframes.
    keys: Vec<i64>,
    /// Whether frames are numbered by counting instead of by timestamp.
    pub(crate) ordinal: bool,
    /// Number of video packets, including those that an edit list hides.
    pub(crate) n_packets: u64,
    /// Errors that the demuxer reported while reading the file.
    pub(crate) demuxer_errors: Option<String>,
    n_frames: u64,
}

impl Index {
    /// Reads the complete file once through ffprobe. Appends the end of each packet to `ends`.
    pub(crate) fn read(
        tools: &Tools,
        path: &Path,
        limits: &Limits,
        ends: Option<&mut PacketEnds>,
    ) -> Result<Index, VideoError> {
        let mut builder = IndexBuilder { max_packets: limits.max_frames, ends, ..IndexBuilder::default() };
        let options =
            ["-select_streams", "V:0", "-show_entries", "packet=pts,size,pos,flags", "-of", "csv=p=0"];
        let finished = ffprobe_streaming(tools, path, limits, &options, &mut |chunk| builder.push(chunk))?;
        if builder.index.n_packets > limits.max_frames {
            let detail = format!("it has more than {} frames, the limit", limits.max_frames);
            return Err(VideoError::too_large(path, detail));
        }
        let mut index = builder.finish();
        if index.n_frames == 0 {
            return Err(VideoError::not_video(path, "it contains no frames; it is damaged or truncated"));
        }
        if finished.log.n_lines > 0 {
            index.demuxer_errors = Some(finished.log.summary(""));
        }
        Ok(index)
    }

    /// Number of frames in the file.
    pub(crate) fn n_frames(&self) -> u64 {
        self.n_frames
    }

    /// Whether both indexes have the same frames. Keyframes may differ.
    pub(crate) fn same_frames(&self, other: &Index) -> bool {
        self.ordinal == other.ordinal && self.n_frames == other.n_frames && self.pts == other.pts
    }

    /// The timestamp of a frame; `None` past the end and in ordinal files.
    pub(crate) fn pts(&self, frame_idx: u64) -> Option<i64> {
        if self.ordinal { None } else { self.pts.get(usize::try_from(frame_idx).ok()?).copied() }
    }

    /// The number of the frame with this timestamp, if there is one.
    pub(crate) fn rank(&self, pts: i64) -> Option<u64> {
        self.pts.binary_search(&pts).ok().map(|rank| rank as u64)
    }

    /// The timestamp of the keyframe `back` keyframes before the last one at or before `pts`. `None`
    /// means that reading must begin at the start of the file.
    pub(crate) fn keyframe_before(&self, pts: i64, back: usize) -> Option<i64> {
        let at_or_before = self.keys.partition_point(|&key| key <= pts);
        // The first keyframe is the start of the file, which needs no seek.
        let which = at_or_before.checked_sub(back.checked_add(1)?)?;
        if which == 0 { None } else { self.keys.get(which).copied() }
    }
}

/// Builds an [`Index`] from ffprobe's output, which arrives in arbitrary chunks.
#[derive(Default)]
struct IndexBuilder<'a> {
    index: Index,
    /// The beginning of a line whose end has not arrived yet.
    rest: Vec<u8>,
    /// Frames without a timestamp.
    n_untimed: u64,
    /// Reading stops after this many packets.
    max_packets: u64,
    ends: Option<&'a mut PacketEnds>,
}

impl IndexBuilder<'_> {
    fn push(&mut self, chunk: &[u8]) -> ControlFlow<()> {
        for &byte in chunk {
            if byte == b'\n' {
                self.parse_line();
                self.rest.clear();
            } else if self.rest.len() < 256 {
                self.rest.push(byte);
            }
        }
        if self.index.n_packets > self.max_packets {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }

    /// Parses the line `pts,size,pos,flags`, in which unknown values are `N/A`.
    fn parse_line(&mut self) {
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
            // A packet without a position is treated as past the end of the file.
            let end = pos.parse().ok().zip(size.parse::<u64>().ok());
            ends.push((
                pts.unwrap_or(i64::MIN),
                end.map_or(u64::MAX, |(pos, size): (u64, u64)| pos.saturating_add(size)),
            ));
        }
        // Hidden by an edit list, or an empty packet that repeats the previous frame.
        if flags.contains('D') || size == "0" {
            return;
        }
        match pts {
            Some(pts) => self.index.pts.push(pts),
            None => self.n_untimed += 1,
        }
    }

    fn finish(mut self) -> Index {
        self.parse_line();
        let mut index = self.index;
        index.pts.sort_unstable();
        index.keys.sort_unstable();
        index.n_frames = index.pts.len() as u64 + self.n_untimed;
        index.ordinal = self.n_untimed > 0 || index.pts.windows(2).any(|pair| pair[0] == pair[1]);
        if index.ordinal {
            index.pts = Vec::new();
        }
        index.pts.shrink_to_fit();
        index
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(text: &str, chunk_bytes: usize) -> Index {
        let mut builder = IndexBuilder { max_packets: 1000, ..IndexBuilder::default() };
        for chunk in text.as_bytes().chunks(chunk_bytes) {
            assert!(builder.push(chunk).is_continue());
        }
        builder.finish()
    }

    #[test]
    fn output_may_be_split_anywhere() {
        let text = "0,90,7,K__\n1024,9,7,_D_\n512,9,7,___\n2048,9,7,K__\n1536,0,7,___\n";
        for chunk_bytes in 1..text.len() {
            let index = index(text, chunk_bytes);
            assert_eq!(index.pts, [0, 512, 2048], "chunks of {chunk_bytes} bytes");
            assert_eq!(index.keys, [0, 2048]);
            assert!(!index.ordinal);
            assert_eq!(index.n_packets, 5);
        }
    }

    #[test]
    fn missing_or_repeated_timestamps_make_an_index_ordinal() {
        assert!(index("0,9,7,K_\nN/A,9,7,__\n", 99).ordinal);
        assert!(index("0,9,7,K_\n0,9,7,__\n", 99).ordinal);
        assert_eq!(index("0,9,7,K_\nN/A,9,7,__\n", 99).n_frames(), 2);
    }

    #[test]
    fn reading_stops_after_too_many_packets() {
        let mut builder = IndexBuilder { max_packets: 2, ..IndexBuilder::default() };
        assert!(builder.push(b"0,9,7,K_\n1,9,7,__\n").is_continue());
        assert!(builder.push(b"2,9,7,__\n").is_break());
    }

    #[test]
    fn the_first_keyframe_needs_no_seek() {
        let index = index("0,9,7,K_\n1,9,7,__\n2,9,7,K_\n3,9,7,__\n4,9,7,K_\n", 99);
        assert_eq!(index.keyframe_before(3, 0), Some(2));
        assert_eq!(index.keyframe_before(4, 0), Some(4));
        assert_eq!(index.keyframe_before(4, 1), Some(2));
        assert_eq!(index.keyframe_before(4, 2), None);
        assert_eq!(index.keyframe_before(1, 0), None);
        assert_eq!(index.keyframe_before(4, usize::MAX), None);
    }
}
