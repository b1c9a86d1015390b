//! What can be wrong with a results file, and where.

use std::fmt;

use super::Codec;
use crate::quote::quoted;

/// Why reading a results file failed.
#[derive(Debug, thiserror::Error)]
pub enum ReadError<E> {
    /// The input could not be read; a retry may succeed.
    #[error("cannot read the results: {0}")]
    Io(#[source] std::io::Error),
    /// The input is not the results file that was expected.
    #[error("invalid results at {position}: {problem}")]
    Invalid {
        /// What is wrong with the file.
        problem: Problem,
        /// Where in the decompressed text it was found.
        position: Position,
    },
    /// The callback that receives the batches failed.
    #[error(transparent)]
    Batch(E),
}

/// Why writing a results file failed.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The output could not be written.
    #[error("cannot write the results: {0}")]
    Io(#[from] std::io::Error),
    /// The detection violates the contract, so a reader would reject it.
    #[error("cannot write detections[{detection_idx}] to the results: {problem}")]
    Detection {
        /// What is wrong with the detection.
        problem: Problem,
        /// Index of the detection in the file, from 0.
        detection_idx: u64,
    },
    /// [`ResultsHead::extra`](super::ResultsHead) contains a standard field.
    #[error("cannot write the results: {0:?} is a standard field, not an extra one")]
    Field(String),
}

/// A position in the JSON text, after decompression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Index of the detection, from 0; `None` outside the detections.
    pub detection_idx: Option<u64>,
    /// Number of bytes before the position.
    pub offset_bytes: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(i) = self.detection_idx {
            write!(f, "detections[{i}], ")?;
        }
        write!(f, "byte {}", self.offset_bytes)
    }
}

/// What is wrong with a results file.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Problem {
    /// The file ends before the document does.
    #[error("the file is truncated; download or create it again")]
    Truncated,
    /// The text is not JSON; what was found instead of what was expected.
    #[error("not JSON: {0}")]
    NotJson(String),
    /// The compressed data is corrupt, or would need too much memory.
    #[error("cannot decompress the {codec} data ({detail}); download or create it again")]
    Damaged {
        /// The compression that was detected.
        codec: Codec,
        /// What the decompressor reported.
        detail: String,
    },
    /// A token, a nesting depth or the decompressed size exceeds its limit; the message says which.
    #[error("{0}")]
    TooLarge(String),
    /// `NaN`, `Infinity`, or a number beyond the range of 64-bit floats.
    #[error("a number is NaN or infinite")]
    NotFinite,
    /// A required field is missing.
    #[error("the field {0:?} is missing")]
    Missing(&'static str),
    /// A field occurs twice in one object.
    #[error("the field {0:?} occurs twice")]
    Repeated(&'static str),
    /// A field has a value of the wrong type.
    #[error("the field {field:?} is not {want}")]
    WrongType {
        /// Name of the field.
        field: &'static str,
        /// The expected type, with its article.
        want: &'static str,
    },
    /// A detection on a frame that the video does not have.
    #[error("frame {frame} is not in the video{}", frame_range(*.n_frames))]
    UnknownFrame {
        /// The detection's frame number.
        frame: i64,
        /// Number of frames in the video, if known.
        n_frames: Option<u64>,
    },
    /// The number of values in a box is not four.
    #[error("the field \"bbox\" has {0} numbers instead of 4 (x, y, width, height)")]
    BoxNumbers(u64),
    /// A box has a negative width or height.
    #[error("a box has the negative size {width} by {height}")]
    NegativeSize {
        /// Width of the box in pixels.
        width: f64,
        /// Height of the box in pixels.
        height: f64,
    },
    /// A box has a coordinate or a size beyond [`MAX_PIXELS`](super::MAX_PIXELS).
    #[error("the box {bbox:?} is larger than any video")]
    HugeBox {
        /// The box: left, top, width, height, in pixels.
        bbox: [f64; 4],
    },
    /// A box is far outside the frame.
    #[error("the box {bbox:?} is far outside the frame, which is {width} by {height}")]
    BoxOutside {
        /// The box: left, top, width, height, in pixels.
        bbox: [f64; 4],
        /// Width of a frame in pixels.
        width: u32,
        /// Height of a frame in pixels.
        height: u32,
    },
    /// A track has two boxes on one frame.
    #[error("track {track_id} is twice on frame {frame}")]
    Duplicate {
        /// The frame.
        frame: u64,
        /// The track.
        track_id: u64,
    },
    /// A confidence is outside 0..=1.
    #[error("confidence {0} is not between 0 and 1")]
    Confidence(f64),
    /// The file belongs to another job.
    #[error("the file belongs to job {found:?} instead of {expected:?}")]
    OtherJob {
        /// The job id in the file, truncated if very long.
        found: String,
        /// The expected job id.
        expected: String,
    },
    /// The file belongs to another video.
    #[error("the file belongs to video {found} instead of {expected}")]
    OtherVideo {
        /// The video id in the file.
        found: i64,
        /// The expected video id.
        expected: i64,
    },
    /// The stored file is larger or smaller than expected.
    #[error("read {found} bytes instead of {expected}; download the file again")]
    WrongSize {
        /// Number of bytes read; reading stops soon after the expected number.
        found: u64,
        /// Expected number of bytes.
        expected: u64,
    },
    /// The stored file has another hash than expected.
    #[error("the SHA-256 is {found} instead of {}; download the file again", quoted(expected))]
    WrongSha256 {
        /// Hash of the bytes read, in hexadecimal.
        found: String,
        /// Expected hash, in hexadecimal.
        expected: String,
    },
    /// The file has more or fewer detections than expected.
    #[error("the file has {found} detections instead of {expected}")]
    WrongCount {
        /// Number of detections in the file.
        found: u64,
        /// Expected number of detections.
        expected: u64,
    },
    /// There are more bytes after the document.
    #[error("unexpected data after the end of the JSON document")]
    TrailingBytes,
}

fn frame_range(n_frames: Option<u64>) -> String {
    n_frames.map_or_else(String::new, |n| format!(", which has {n} frames, numbered from 0"))
}

/// A [`ReadError`] from the layers below the batches.
#[derive(Debug)]
pub(super) enum Fault {
    /// Becomes [`ReadError::Io`]: the input could not be read.
    Io(std::io::Error),
    /// Becomes [`ReadError::Invalid`]: what is wrong, and where.
    Invalid(Problem, Position),
}

impl<E> From<Fault> for ReadError<E> {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Io(error) => Self::Io(error),
            Fault::Invalid(problem, position) => Self::Invalid { problem, position },
        }
    }
}
