//! Whether a packet is a keyframe, read from the coded data itself.
//!
//! ffprobe's keyframe flags come from the bitstream for some codecs and from the container's tables
//! for others, and those tables can be wrong: an MP4 without a sync sample table marks every sample
//! as one (ISO/IEC 14496-12 §8.6.2). Decoding from such a packet gives gray or torn images.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::header::Header;

/// Bytes at the beginning of a packet that are searched for a picture header.
const MAX_HEAD: usize = 4096;
/// NAL units of a packet that are looked at before the first slice: parameter sets and SEI messages.
const MAX_NAL_UNITS: usize = 64;

/// A packet that the container or ffprobe's parser marks as a keyframe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct KeyPacket {
    /// In ticks of the stream's time base.
    pub(crate) pts: i64,
    /// Offset in the file, as ffprobe reports it; `None` if it is unknown.
    pub(crate) position: Option<u64>,
    /// Size of the coded data in bytes.
    pub(crate) size: u64,
}

/// Checks claimed keyframes of one file.
pub(crate) struct KeyframeCheck<'a> {
    header: &'a Header,
    /// `None` if the claims need no check, or the file cannot be opened.
    file: Option<File>,
}

impl<'a> KeyframeCheck<'a> {
    pub(crate) fn new(header: &'a Header, path: &Path) -> Self {
        let file = flags_are_claims(header).then(|| File::open(path).ok()).flatten();
        KeyframeCheck { header, file }
    }

    /// Whether decoding can begin at this packet. A packet that cannot be read or understood is not a
    /// keyframe: decoding then begins earlier, which is slower and always correct.
    pub(crate) fn confirms(&self, packet: KeyPacket) -> bool {
        if !flags_are_claims(self.header) {
            return true;
        }
        let (Some(file), Some(position)) = (&self.file, packet.position) else { return false };
        let mut data = PacketData { file, start: position, end: u64::MAX };
        let Some(header_bytes) = block_header_bytes(&self.header.container, &data) else { return false };
        data.start += header_bytes;
        data.end = data.start.saturating_add(packet.size);
        is_keyframe(&self.header.codec, &data).unwrap_or(false)
    }
}

/// Whether ffprobe takes the keyframe flags of this stream from the container. Transport and program
/// streams have none, and for the other codecs ffmpeg parses every packet.
fn flags_are_claims(header: &Header) -> bool {
    !header.may_be_joined()
        && ["hevc", "mpeg4", "msmpeg4v3", "mpeg2video", "mpeg1video"].contains(&header.codec.as_str())
}

/// Size of the container's own header between ffprobe's position and the coded data.
fn block_header_bytes(container: &str, data: &PacketData<'_>) -> Option<u64> {
    match container {
        // Track number (a variable-length integer), time in two bytes, flags (RFC 9559 §10).
        "matroska" => Some(u64::from(data.byte(0)?.leading_zeros()) + 4),
        // The name and size of the chunk.
        "avi" => Some(if data.head(4)?.get(2..4)?.eq_ignore_ascii_case(b"dc") { 8 } else { 0 }),
        _ => Some(0),
    }
}

/// `None` if the data is not understood.
fn is_keyframe(codec: &str, data: &PacketData<'_>) -> Option<bool> {
    match codec {
        "hevc" => [4, 2, 1].into_iter().find_map(|length_bytes| is_hevc_irap(data, length_bytes)),
        // vop_coding_type of the first VOP (ISO/IEC 14496-2 §6.2.5): 0 is I.
        "mpeg4" => Some(after_start_code(data, 0xb6)?.first()? >> 6 == 0),
        // picture_coding_type (ISO/IEC 13818-2 §6.2.3): 1 is I.
        "mpeg2video" | "mpeg1video" => Some(after_start_code(data, 0x00)?.get(1)? >> 3 & 7 == 1),
        // The first two bits are the picture type: 0 is I.
        "msmpeg4v3" => Some(data.byte(0)? >> 6 == 0),
        _ => None,
    }
}

/// Whether the first slice of a packet belongs to an intra random access point picture (ITU-T H.265
/// §7.4.2.2: types 16 to 23). `None` if the packet is not a sequence of NAL units with lengths of
/// `length_bytes` bytes.
fn is_hevc_irap(data: &PacketData<'_>, length_bytes: u64) -> Option<bool> {
    let mut at = 0;
    for _ in 0..MAX_NAL_UNITS {
        let length =
            (0..length_bytes).try_fold(0, |length, i| Some(length << 8 | u64::from(data.byte(at + i)?)))?;
        let next = at.checked_add(length_bytes)?.checked_add(length)?;
        if length < 2 || next > data.end - data.start {
            return None;
        }
        let unit_type = data.byte(at + length_bytes)? >> 1 & 0x3f;
        if unit_type < 32 {
            return Some((16..=23).contains(&unit_type));
        }
        at = next;
    }
    None
}

/// The data after the first start code with this value.
fn after_start_code(data: &PacketData<'_>, code: u8) -> Option<Vec<u8>> {
    let head = data.head(MAX_HEAD)?;
    let at = head.windows(4).position(|window| window == [0, 0, 1, code])?;
    Some(head[at + 4..].to_vec())
}

/// The bytes of a packet, read on demand.
struct PacketData<'a> {
    file: &'a File,
    start: u64,
    /// Offset of the end in the file.
    end: u64,
}

impl PacketData<'_> {
    fn byte(&self, at: u64) -> Option<u8> {
        let at = self.start.checked_add(at).filter(|&at| at < self.end)?;
        let mut byte = [0];
        self.file.read_exact_at(&mut byte, at).ok()?;
        Some(byte[0])
    }

    /// Up to `n_bytes` bytes from the beginning.
    fn head(&self, n_bytes: usize) -> Option<Vec<u8>> {
        let mut head = vec![0; n_bytes.min(usize::try_from(self.end - self.start).unwrap_or(usize::MAX))];
        let n = self.file.read_at(&mut head, self.start).ok()?;
        head.truncate(n);
        Some(head)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn check(codec: &str, bytes: &[u8]) -> Option<bool> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        is_keyframe(codec, &PacketData { file: &file, start: 0, end: bytes.len() as u64 })
    }

    #[test]
    fn picture_types_are_read_from_the_coded_data() {
        // An SEI message (type 39), then a slice.
        let hevc =
            |slice: u8| [&[0, 0, 0, 3, 39 << 1, 1, 0, 0, 0, 0, 4][..], &[slice << 1, 1, 0x80, 0]].concat();
        for (codec, bytes, want) in [
            ("hevc", hevc(19), Some(true)),
            ("hevc", hevc(21), Some(true)),
            ("hevc", hevc(16), Some(true)),
            ("hevc", hevc(1), Some(false)),
            ("hevc", hevc(9), Some(false)),
            ("hevc", vec![0, 2, 20 << 1, 1], Some(true)),
            ("hevc", vec![0; 64], None),
            ("hevc", vec![], None),
            ("mpeg4", vec![0, 0, 1, 0xb6, 0x10], Some(true)),
            ("mpeg4", vec![9, 0, 0, 1, 0xb6, 0x50], Some(false)),
            ("mpeg4", vec![0; 9], None),
            ("mpeg2video", vec![0, 0, 1, 0, 0, 1 << 3], Some(true)),
            ("mpeg2video", vec![0, 0, 1, 0, 0, 3 << 3], Some(false)),
            ("msmpeg4v3", vec![0x3f], Some(true)),
            ("msmpeg4v3", vec![0x40], Some(false)),
        ] {
            assert_eq!(check(codec, &bytes), want, "{codec} {bytes:?}");
        }
    }
}
