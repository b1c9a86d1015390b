//! A minimal Matroska writer for raw frames, each with its own timestamp. Raw video in a pipe has no
//! timestamps, and a video with a variable frame rate needs them.

/// The ids of the elements that are written (RFC 9559).
mod id {
    pub(super) const EBML: &[u8] = &[0x1a, 0x45, 0xdf, 0xa3];
    pub(super) const DOC_TYPE: &[u8] = &[0x42, 0x82];
    pub(super) const DOC_TYPE_VERSION: &[u8] = &[0x42, 0x87];
    pub(super) const DOC_TYPE_READ_VERSION: &[u8] = &[0x42, 0x85];
    pub(super) const SEGMENT: &[u8] = &[0x18, 0x53, 0x80, 0x67];
    pub(super) const INFO: &[u8] = &[0x15, 0x49, 0xa9, 0x66];
    pub(super) const TIMESTAMP_SCALE: &[u8] = &[0x2a, 0xd7, 0xb1];
    pub(super) const TRACKS: &[u8] = &[0x16, 0x54, 0xae, 0x6b];
    pub(super) const TRACK_ENTRY: &[u8] = &[0xae];
    pub(super) const TRACK_NUMBER: &[u8] = &[0xd7];
    pub(super) const TRACK_UID: &[u8] = &[0x73, 0xc5];
    pub(super) const TRACK_TYPE: &[u8] = &[0x83];
    pub(super) const FLAG_LACING: &[u8] = &[0x9c];
    pub(super) const DEFAULT_DURATION: &[u8] = &[0x23, 0xe3, 0x83];
    pub(super) const CODEC_ID: &[u8] = &[0x86];
    pub(super) const VIDEO: &[u8] = &[0xe0];
    pub(super) const PIXEL_WIDTH: &[u8] = &[0xb0];
    pub(super) const PIXEL_HEIGHT: &[u8] = &[0xba];
    pub(super) const UNCOMPRESSED_FOURCC: &[u8] = &[0x2e, 0xb5, 0x24];
    pub(super) const COLOUR: &[u8] = &[0x55, 0xb0];
    pub(super) const MATRIX: &[u8] = &[0x55, 0xb1];
    pub(super) const RANGE: &[u8] = &[0x55, 0xb9];
    pub(super) const TRANSFER: &[u8] = &[0x55, 0xba];
    pub(super) const PRIMARIES: &[u8] = &[0x55, 0xbb];
    pub(super) const CLUSTER: &[u8] = &[0x1f, 0x43, 0xb6, 0x75];
    pub(super) const TIMESTAMP: &[u8] = &[0xe7];
    pub(super) const SIMPLE_BLOCK: &[u8] = &[0xa3];
}

/// The timestamp scale: one microsecond, in nanoseconds.
const TICK_NS: u64 = 1000;

/// The header of a SimpleBlock: track 1, no offset from its cluster, a keyframe.
const BLOCK_HEADER: [u8; 4] = [0x81, 0, 0, 0x80];

/// Codes of matrix, transfer and primaries from ITU-T H.273; `None` if unknown.
pub(crate) type ColourCodes = [Option<u64>; 3];

/// The part of the file before the first frame. Frames are I420 images of this size. `duration_ns`
/// is the duration of a typical frame; without it, the encoder would give the last frame none.
pub(crate) fn header(width: u32, height: u32, duration_ns: u64, colour: ColourCodes) -> Vec<u8> {
    let ebml = [
        element(id::DOC_TYPE, b"matroska"),
        number(id::DOC_TYPE_VERSION, 4),
        number(id::DOC_TYPE_READ_VERSION, 2),
    ];
    let video = [
        number(id::PIXEL_WIDTH, width.into()),
        number(id::PIXEL_HEIGHT, height.into()),
        element(id::UNCOMPRESSED_FOURCC, b"I420"),
        colour_element(colour),
    ];
    let track = [
        number(id::TRACK_NUMBER, 1),
        number(id::TRACK_UID, 1),
        number(id::TRACK_TYPE, 1),
        number(id::FLAG_LACING, 0),
        number(id::DEFAULT_DURATION, duration_ns),
        element(id::CODEC_ID, b"V_UNCOMPRESSED"),
        element(id::VIDEO, &video.concat()),
    ];
    let mut bytes = element(id::EBML, &ebml.concat());
    bytes.extend_from_slice(id::SEGMENT);
    // All ones means that the size is unknown and the segment extends to the end of the stream.
    bytes.extend_from_slice(&[0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
    bytes.extend(element(id::INFO, &number(id::TIMESTAMP_SCALE, TICK_NS)));
    bytes.extend(element(id::TRACKS, &element(id::TRACK_ENTRY, &track.concat())));
    bytes
}

/// The bytes before the pixels of a frame at `time_us`. Each frame gets its own cluster.
pub(crate) fn frame_header(time_us: u64, frame_bytes: usize) -> Vec<u8> {
    let timestamp = number(id::TIMESTAMP, time_us);
    let mut block = id::SIMPLE_BLOCK.to_vec();
    block.extend(size((BLOCK_HEADER.len() + frame_bytes) as u64));
    block.extend(BLOCK_HEADER);
    let mut bytes = id::CLUSTER.to_vec();
    bytes.extend(size((timestamp.len() + block.len() + frame_bytes) as u64));
    bytes.extend(timestamp);
    bytes.extend(block);
    bytes
}

fn colour_element([matrix, transfer, primaries]: ColourCodes) -> Vec<u8> {
    // Always video range, because frames are converted to it.
    let mut body = number(id::RANGE, 1);
    for (id, code) in [(id::MATRIX, matrix), (id::TRANSFER, transfer), (id::PRIMARIES, primaries)] {
        body.extend(code.map(|code| number(id, code)).unwrap_or_default());
    }
    element(id::COLOUR, &body)
}

/// The codes for ffmpeg's names of matrix, transfer and primaries.
pub(crate) fn colour_codes([matrix, transfer, primaries]: &[Option<String>; 3]) -> ColourCodes {
    let code = |name: &Option<String>, table: &[(&str, u64)]| {
        table.iter().find(|(known, _)| name.as_deref() == Some(known)).map(|(_, code)| *code)
    };
    [
        code(
            matrix,
            &[("bt709", 1), ("fcc", 4), ("bt470bg", 5), ("smpte170m", 6), ("smpte240m", 7), ("bt2020nc", 9)],
        ),
        code(
            transfer,
            &[
                ("bt709", 1),
                ("bt470m", 4),
                ("bt470bg", 5),
                ("smpte170m", 6),
                ("smpte240m", 7),
                ("iec61966-2-1", 13),
                ("bt2020-10", 14),
                ("bt2020-12", 15),
                ("smpte2084", 16),
                ("arib-std-b67", 18),
            ],
        ),
        code(
            primaries,
            &[("bt709", 1), ("bt470m", 4), ("bt470bg", 5), ("smpte170m", 6), ("smpte240m", 7), ("bt2020", 9)],
        ),
    ]
}

/// Encodes a length in eight bytes.
fn size(length: u64) -> [u8; 8] {
    (length | 1 << 56).to_be_bytes()
}

fn element(id: &[u8], body: &[u8]) -> Vec<u8> {
    [id, &size(body.len() as u64), body].concat()
}

fn number(id: &[u8], value: u64) -> Vec<u8> {
    element(id, &value.to_be_bytes())
}
