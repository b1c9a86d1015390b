//! The frame index: which frames a decoder delivers for the file, in order, with their timestamps.
//!
//! For most files it follows from the packets: each is one frame, and a frame's number is the rank of
//! its timestamp, which stays correct across gaps, damage, seeking and reordering. Where packets do
//! not say what a decoder will deliver ([`Doubt`]), the decoder is asked ([`crate::scan`]).

mod packets;

use std::path::Path;

pub(crate) use packets::{PacketEnds, Packets};

use crate::error::VideoError;
use crate::header::Header;
use crate::keyframe::{KeyPacket, KeyframeCheck};
use crate::limits::Limits;
use crate::scan::{Scan, ScanLength};
use crate::tools::Tools;

/// Why the packets of a file do not determine the frames that a decoder delivers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Doubt {
    /// Packets without a timestamp, or several with the same one.
    Timestamps,
    /// Decoding timestamps that go backwards: joined recordings, each with its own clock.
    ClockRestarts,
    /// A packet may be one field of a frame (field pictures).
    Fields,
    /// Packets before the first keyframe, or shown before it, which may not be decodable.
    Beginning,
}

/// The frames of a file, numbered from 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Index {
    frames: FrameTimes,
    /// Sorted by timestamp. Whether they are keyframes is checked when seeking.
    keys: Vec<KeyPacket>,
    /// Number of video packets, including those that edit lists leave out.
    pub(crate) n_packets: u64,
    /// Frame periods of an AVI. Its header counts them, and a recorder that drops a frame writes no packet for it.
    pub(crate) n_periods: Option<u64>,
    /// Packets at the beginning that no decoder can decode; they have no number.
    pub(crate) n_undecodable_at_start: u64,
    /// Whether the frames are those that the decoder delivered.
    pub(crate) is_scanned: bool,
    /// Errors that the demuxer reported while reading the file.
    pub(crate) demuxer_errors: Option<String>,
}

/// Timestamps in ticks of the stream's time base.
#[derive(Clone, Debug, PartialEq, Eq)]
enum FrameTimes {
    /// Strictly increasing: a timestamp identifies a frame, and seeking is possible.
    Increasing(Vec<i64>),
    /// In the order of the decoder. Frames are counted from the start.
    Counted(Vec<Option<i64>>),
}

impl Default for FrameTimes {
    fn default() -> Self {
        FrameTimes::Increasing(Vec::new())
    }
}

impl Index {
    /// Reads the complete file once, and decodes it where its packets leave a [`Doubt`]; `on_scan` then gets the number
    /// of frames decoded and the number of packets.
    ///
    /// # Errors
    ///
    /// When the file has no frames, or more than `limits.max_frames`, and those of ffprobe and ffmpeg.
    pub(crate) fn read(
        tools: &Tools,
        path: &Path,
        header: &Header,
        limits: &Limits,
        on_scan: &mut dyn FnMut(u64, u64),
    ) -> Result<Index, VideoError> {
        let mut packets = Packets::read(tools, path, header, limits, None)?;
        let has_edits = header.container == "mov";
        if has_edits && header.declared_frames.is_some_and(|declared| declared != packets.n_packets) {
            packets.n_packets = Packets::count_without_edits(tools, path, header, limits)?;
        }
        let pts = packets.distinct_pts();
        let doubt = packets.doubt(header, &pts);
        let mut index = Index::of_packets(&packets, pts);
        index.n_periods = packets
            .last_dts
            .filter(|_| header.container == "avi")
            .and_then(|last| u64::try_from(last).ok())
            .map(|last| last + 1);
        if let Some(doubt) = doubt {
            tracing::debug!(path = %path.display(), ?doubt, "decoding the file to number its frames");
            let n_packets = packets.n_packets;
            index.ask_decoder(doubt, &packets, &mut |length| {
                Scan::run(tools, path, header, limits, length, &mut |n_frames| on_scan(n_frames, n_packets))
            })?;
        }
        if index.n_frames() == 0 {
            return Err(VideoError::not_video(path, "it contains no frames; it is damaged or truncated"));
        }
        Ok(index)
    }

    /// Replaces the frames that are in doubt by those that the decoder delivers.
    fn ask_decoder(
        &mut self,
        doubt: Doubt,
        packets: &Packets,
        scan: &mut dyn FnMut(ScanLength) -> Result<Scan, VideoError>,
    ) -> Result<(), VideoError> {
        if let (Doubt::Beginning, Some(group)) = (doubt, packets.first_group()) {
            let beginning = scan(ScanLength::Frames(group.n_frames))?;
            if self.drop_undecodable(&beginning.pts, group.end_pts) {
                return Ok(());
            }
        }
        self.replace(scan(ScanLength::All)?, packets.first_dts);
        Ok(())
    }

    /// The frames of the packets. `None` if they leave a doubt.
    pub(crate) fn without_scan(packets: &Packets, header: &Header) -> Option<Index> {
        let pts = packets.distinct_pts();
        let is_certain = packets.doubt(header, &pts).is_none() && !pts.is_empty();
        is_certain.then(|| Index::of_packets(packets, pts))
    }

    /// `pts`: the [`Packets::distinct_pts`].
    fn of_packets(packets: &Packets, pts: Vec<i64>) -> Index {
        let mut keys = packets.keys.clone();
        keys.sort_unstable();
        Index {
            frames: FrameTimes::Increasing(pts),
            keys,
            n_packets: packets.n_packets,
            demuxer_errors: packets.errors.clone(),
            ..Index::default()
        }
    }

    /// Removes frames before `end_pts` that the decoder did not deliver. Returns `false`, and changes
    /// nothing, if it delivered others than the packets promise.
    fn drop_undecodable(&mut self, delivered: &[Option<i64>], end_pts: i64) -> bool {
        let FrameTimes::Increasing(pts) = &mut self.frames else { return false };
        let mut delivered: Vec<i64> =
            delivered.iter().flatten().copied().filter(|&pts| pts < end_pts).collect();
        delivered.sort_unstable();
        if delivered.is_empty() || delivered.iter().any(|delivered| pts.binary_search(delivered).is_err()) {
            return false;
        }
        let n_before = pts.len();
        pts.retain(|pts| *pts >= end_pts || delivered.binary_search(pts).is_ok());
        self.n_undecodable_at_start = (n_before - pts.len()) as u64;
        true
    }

    /// Takes the frames of a complete scan. A timestamp that no packet has identifies no frame: a decoder makes it up,
    /// from decoding timestamps and frame rates, and differently after a seek.
    fn replace(&mut self, scan: Scan, first_dts: Option<i64>) {
        self.is_scanned = true;
        let is_made_up = |pts: i64| self.rank(pts).is_none();
        let increases = scan.pts.iter().all(|pts| pts.is_some_and(|pts| !is_made_up(pts)))
            && scan.pts.windows(2).all(|pair| pair[0] < pair[1]);
        self.frames = if increases {
            FrameTimes::Increasing(scan.pts.into_iter().flatten().collect())
        } else {
            // Times that are made up are later than the packets by what the decoder holds back.
            let first = scan.pts.first().copied().flatten().filter(|&first| is_made_up(first));
            let delay = first.zip(first_dts).map_or(0, |(first, dts)| first.saturating_sub(dts).max(0));
            let shown = |pts: i64| if is_made_up(pts) { pts.saturating_sub(delay) } else { pts };
            FrameTimes::Counted(scan.pts.iter().map(|pts| pts.map(shown)).collect())
        };
    }

    /// Number of frames in the file.
    pub(crate) fn n_frames(&self) -> u64 {
        match &self.frames {
            FrameTimes::Increasing(pts) => pts.len() as u64,
            FrameTimes::Counted(pts) => pts.len() as u64,
        }
    }

    /// Whether frames are counted from the start, because timestamps do not identify them.
    pub(crate) fn is_counted(&self) -> bool {
        matches!(self.frames, FrameTimes::Counted(_))
    }

    /// The timestamp of each frame, in order; `None` where it is unknown.
    pub(crate) fn all_pts(&self) -> Vec<Option<i64>> {
        match &self.frames {
            FrameTimes::Increasing(pts) => pts.iter().copied().map(Some).collect(),
            FrameTimes::Counted(pts) => pts.clone(),
        }
    }

    /// Whether both indexes have the same frames. Keyframes may differ.
    pub(crate) fn same_frames(&self, other: &Index) -> bool {
        self.frames == other.frames
    }

    /// The timestamp of a frame; `None` past the end and if frames are counted.
    pub(crate) fn pts(&self, frame_idx: u64) -> Option<i64> {
        match &self.frames {
            FrameTimes::Increasing(pts) => pts.get(usize::try_from(frame_idx).ok()?).copied(),
            FrameTimes::Counted(_) => None,
        }
    }

    /// The number of the frame with this timestamp, if there is one.
    pub(crate) fn rank(&self, pts: i64) -> Option<u64> {
        match &self.frames {
            FrameTimes::Increasing(all) => all.binary_search(&pts).ok().map(|rank| rank as u64),
            FrameTimes::Counted(_) => None,
        }
    }

    /// The timestamp of the keyframe `back` keyframes before the last one at or before `pts`. `None`
    /// means that reading must begin at the start of the file.
    pub(crate) fn keyframe_before(&self, pts: i64, back: usize, check: &KeyframeCheck<'_>) -> Option<i64> {
        let at_or_before = self.keys.partition_point(|key| key.pts <= pts);
        // The first keyframe is the start of the file, which needs no seek.
        let candidates = self.keys.get(1..at_or_before)?;
        candidates.iter().rev().filter(|&&key| check.confirms(key)).nth(back).map(|key| key.pts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::header::tests::header;

    #[test]
    fn the_first_keyframe_needs_no_seek() {
        let key = |pts| KeyPacket { pts, position: None, size: 9 };
        let index = Index { keys: [0, 2, 4].map(key).to_vec(), ..Index::default() };
        // ffmpeg parses the packets of this codec, so the flags need no check.
        let header = header(r#""codec_name":"vp9""#);
        let before = |pts, back| {
            index.keyframe_before(pts, back, &KeyframeCheck::new(&header, Path::new("/nonexistent")))
        };
        assert_eq!(before(3, 0), Some(2));
        assert_eq!(before(4, 0), Some(4));
        assert_eq!(before(4, 1), Some(2));
        assert_eq!(before(4, 2), None);
        assert_eq!(before(1, 0), None);
        assert_eq!(before(4, usize::MAX), None);
    }
}
