//! The packets of a file, as ffprobe lists them.

use std::ops::ControlFlow;
use std::path::Path;

use super::Doubt;
use crate::error::VideoError;
use crate::ffprobe::ffprobe_streaming;
use crate::header::Header;
use crate::keyframe::KeyPacket;
use crate::limits::Limits;
use crate::lines::Lines;
use crate::tools::Tools;

/// Timestamp and end offset in the file of each packet.
pub(crate) type PacketEnds = Vec<(i64, u64)>;

/// Frames after the first group that a decoder may need to see before it delivers that group.
const DECODER_DELAY: u64 = 64;

/// The video packets of a file, in the file's order.
#[derive(Debug, Default)]
pub(crate) struct Packets {
    /// Timestamps of the packets that are shown: not hidden by an edit list, and not empty.
    pub(crate) shown: Vec<Option<i64>>,
    /// Packets with a keyframe flag and a timestamp.
    pub(crate) keys: Vec<KeyPacket>,
    /// Number of packets, including those that are not shown.
    pub(crate) n_packets: u64,
    /// Errors that the demuxer reported.
    pub(crate) errors: Option<String>,
    /// The first decoding timestamp.
    pub(crate) first_dts: Option<i64>,
    /// The last decoding timestamp.
    pub(crate) last_dts: Option<i64>,
    /// Whether a decoding timestamp is lower than the one before.
    clock_restarts: bool,
    /// Number of shown packets before each of the first two keyframes.
    first_keys: Vec<(u64, i64)>,
}

/// The frames up to the second keyframe of a file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FirstGroup {
    /// Timestamp of the second keyframe.
    pub(crate) end_pts: i64,
    /// Frames to decode to see all frames before `end_pts`.
    pub(crate) n_frames: u64,
}

impl Packets {
    /// Reads the complete file once through ffprobe. Appends the end of each packet to `ends`.
    pub(crate) fn read(
        tools: &Tools,
        path: &Path,
        header: &Header,
        limits: &Limits,
        ends: Option<&mut PacketEnds>,
    ) -> Result<Packets, VideoError> {
        let mut parser = PacketParser { max_packets: limits.max_frames, ends, ..PacketParser::default() };
        let stream = header.stream.to_string();
        let entries = "packet=pts,dts,size,pos,flags";
        let options = ["-select_streams", &stream, "-show_entries", entries, "-of", "csv=p=0"];
        let mut lines = Lines::default();
        let finished = ffprobe_streaming(tools, path, limits, &options, &mut |chunk| {
            lines.push(chunk, &mut |line| parser.parse_line(line));
            if parser.is_over_limit() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        lines.finish(&mut |line| parser.parse_line(line));
        if parser.is_over_limit() {
            let detail = format!("it has more than {} frames, the limit", limits.max_frames);
            return Err(VideoError::too_large(path, detail));
        }
        let mut packets = parser.packets;
        packets.errors = (finished.log.n_lines > 0).then(|| finished.log.summary(""));
        Ok(packets)
    }

    /// Counts the packets that the tables of an MP4 list, including those that its edit lists leave out.
    ///
    /// # Errors
    ///
    /// Those of ffprobe.
    pub(crate) fn count_without_edits(
        tools: &Tools,
        path: &Path,
        header: &Header,
        limits: &Limits,
    ) -> Result<u64, VideoError> {
        let stream = header.stream.to_string();
        let options = [
            "-ignore_editlist",
            "1",
            "-select_streams",
            &stream,
            "-show_entries",
            "packet=size",
            "-of",
            "csv=p=0",
        ];
        let mut n_packets = 0;
        ffprobe_streaming(tools, path, limits, &options, &mut |chunk| {
            n_packets += chunk.iter().filter(|&&byte| byte == b'\n').count() as u64;
            if n_packets > limits.max_frames { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Ok(n_packets)
    }

    /// The timestamps of the shown packets, sorted and each once.
    pub(crate) fn distinct_pts(&self) -> Vec<i64> {
        let mut pts: Vec<i64> = self.shown.iter().flatten().copied().collect();
        pts.sort_unstable();
        pts.dedup();
        pts.shrink_to_fit();
        pts
    }

    /// Why the packets do not determine the frames, if they do not. `pts`: their [`Self::distinct_pts`].
    pub(crate) fn doubt(&self, header: &Header, pts: &[i64]) -> Option<Doubt> {
        if pts.len() != self.shown.len() {
            return Some(Doubt::Timestamps);
        }
        if self.clock_restarts {
            return Some(Doubt::ClockRestarts);
        }
        if header.may_have_fields {
            return Some(Doubt::Fields);
        }
        let first_pts = *pts.first()?;
        let starts_at_key =
            self.first_keys.first().is_some_and(|&(before, pts)| before == 0 && pts <= first_pts);
        (!starts_at_key && !self.keys.is_empty()).then_some(Doubt::Beginning)
    }

    /// The frames up to the second keyframe; `None` for a file with only one.
    pub(crate) fn first_group(&self) -> Option<FirstGroup> {
        let &(before, end_pts) = self.first_keys.get(1)?;
        Some(FirstGroup { end_pts, n_frames: before + DECODER_DELAY })
    }
}

/// Parses ffprobe's output.
#[derive(Default)]
struct PacketParser<'a> {
    packets: Packets,
    /// Reading stops after this many packets.
    max_packets: u64,
    ends: Option<&'a mut PacketEnds>,
}

impl PacketParser<'_> {
    fn is_over_limit(&self) -> bool {
        self.packets.n_packets > self.max_packets
    }

    /// Parses the line `pts,dts,size,pos,flags`, in which unknown values are `N/A`.
    fn parse_line(&mut self, line: &str) {
        let fields: Vec<&str> = line.trim().split(',').collect();
        let &[pts, dts, size, position, flags, ..] = fields.as_slice() else { return };
        let packets = &mut self.packets;
        packets.n_packets += 1;
        let (pts, dts): (Option<i64>, Option<i64>) = (pts.parse().ok(), dts.parse().ok());
        let (size, position): (u64, Option<u64>) = (size.parse().unwrap_or(0), position.parse().ok());
        packets.clock_restarts |= packets.last_dts.zip(dts).is_some_and(|(last, dts)| dts < last);
        packets.first_dts = packets.first_dts.or(dts);
        packets.last_dts = dts.or(packets.last_dts);
        if let Some(ends) = &mut self.ends {
            // A packet without a position is treated as past the end of the file.
            let end = position.map_or(u64::MAX, |position| position.saturating_add(size));
            ends.push((pts.unwrap_or(i64::MIN), end));
        }
        if let (Some(pts), true) = (pts, flags.contains('K')) {
            packets.keys.push(KeyPacket { pts, position, size });
            if packets.first_keys.len() < 2 {
                packets.first_keys.push((packets.shown.len() as u64, pts));
            }
        }
        // Hidden by an edit list, or an empty packet that repeats the previous frame.
        if !flags.contains('D') && size > 0 {
            packets.shown.push(pts);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::header::tests::header;

    fn packets(text: &str, chunk_bytes: usize) -> Packets {
        let mut parser = PacketParser { max_packets: 1000, ..PacketParser::default() };
        let mut lines = Lines::default();
        for chunk in text.as_bytes().chunks(chunk_bytes) {
            lines.push(chunk, &mut |line| parser.parse_line(line));
            assert!(!parser.is_over_limit());
        }
        lines.finish(&mut |line| parser.parse_line(line));
        parser.packets
    }

    fn doubt(packets: &Packets, header: &Header) -> Option<Doubt> {
        packets.doubt(header, &packets.distinct_pts())
    }

    #[test]
    fn output_may_be_split_anywhere() {
        let text = "0,0,90,7,K__\n1024,1,9,7,_D_\n512,2,9,7,___\n2048,3,9,N/A,K__\n1536,4,0,7,___\n";
        for chunk_bytes in 1..text.len() {
            let packets = packets(text, chunk_bytes);
            assert_eq!(packets.shown, [Some(0), Some(512), Some(2048)], "chunks of {chunk_bytes} bytes");
            let keys: Vec<_> = packets.keys.iter().map(|key| (key.pts, key.position, key.size)).collect();
            assert_eq!(keys, [(0, Some(7), 90), (2048, None, 9)]);
            assert_eq!(packets.n_packets, 5);
        }
    }

    #[test]
    fn packets_that_do_not_determine_the_frames_leave_a_doubt() {
        let frames_only = header(r#""codec_name":"vp9""#);
        for (text, want) in [
            ("0,0,9,7,K_\n2,1,9,7,__\n1,2,9,7,__\n", None),
            ("0,0,9,7,K_\nN/A,1,9,7,__\n", Some(Doubt::Timestamps)),
            ("0,0,9,7,K_\n0,1,9,7,__\n", Some(Doubt::Timestamps)),
            ("5,5,9,7,K_\n6,6,9,7,__\n1,1,9,7,K_\n2,2,9,7,__\n", Some(Doubt::ClockRestarts)),
            ("0,0,9,7,__\n1,1,9,7,K_\n", Some(Doubt::Beginning)),
            ("3,0,9,7,K_\n1,1,9,7,__\n", Some(Doubt::Beginning)),
            // Hidden by an edit list.
            ("0,0,9,7,KD\n2,2,9,7,__\n", None),
        ] {
            assert_eq!(doubt(&packets(text, 99), &frames_only), want, "{text}");
        }
        let whole = packets("0,0,9,7,K_\n1,1,9,7,__\n", 99);
        for (stream, want) in [
            (r#""codec_name":"h264""#, Some(Doubt::Fields)),
            // The field order is that of the first pictures only.
            (r#""codec_name":"h264","field_order":"progressive""#, Some(Doubt::Fields)),
            (r#""codec_name":"mpeg2video","field_order":"progressive""#, Some(Doubt::Fields)),
            (r#""codec_name":"prores","field_order":"tt""#, None),
            (r#""codec_name":"vp9""#, None),
        ] {
            assert_eq!(doubt(&whole, &header(stream)), want, "{stream}");
        }
    }

    #[test]
    fn reading_stops_after_too_many_packets() {
        let mut parser = PacketParser { max_packets: 2, ..PacketParser::default() };
        for (line, over) in [("0,0,9,7,K_", false), ("1,1,9,7,__", false), ("2,2,9,7,__", true)] {
            parser.parse_line(line);
            assert_eq!(parser.is_over_limit(), over, "{line}");
        }
    }
}
