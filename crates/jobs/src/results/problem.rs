//! What can be wrong with a results file, in words for people, and where.

use std::fmt;

use super::Codec;

/// Why a results file was not read to its end.
#[derive(Debug, thiserror::Error)]
pub enum ReadError<E> {
    /// The input could not be read; another attempt may work.
    #[error("cannot read the results: {0}")]
    Io(#[source] std::io::Error),
    /// The input is not the results file that was expected.
    #[error("the results are refused at {place}: {problem}")]
    Refused {
        /// What is wrong.
        problem: Problem,
        /// Where.
        place: Place,
    },
    /// The receiver of the batches gave up.
    #[error(transparent)]
    Batch(E),
}

/// Why a results file was not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The output could not be written.
    #[error("cannot write the results: {0}")]
    Io(#[from] std::io::Error),
    /// The contract forbids what was to be written, and a reader would refuse it.
    #[error("cannot write detections[{detection_idx}] to the results: {problem}")]
    Detection {
        /// What is wrong.
        problem: Problem,
        /// Which detection, from 0.
        detection_idx: u64,
    },
    /// [`ResultsHead::extra`](super::ResultsHead) names a field that the file has already.
    #[error("cannot write the results: the field {0:?} is not an extra one")]
    Field(String),
}

/// A place in the JSON text: for compressed files, in what they hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Which detection, from 0; `None` outside of them.
    pub detection_idx: Option<u64>,
    /// Bytes before it.
    pub offset_bytes: u64,
}

impl fmt::Display for Place {
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
    /// It ends before the document does.
    #[error("the file ends too early; fetch or make it again")]
    Truncated,
    /// Its text is no JSON; what was met there.
    #[error("not JSON: {0}")]
    NotJson(String),
    /// The compressed stream is broken, or made so that it takes too much memory.
    #[error("the {codec} data cannot be decompressed ({detail}); fetch or make it again")]
    Damaged {
        /// Its compression.
        codec: Codec,
        /// The decoder's word on it.
        detail: String,
    },
    /// Something in it is too large to be honest.
    #[error("{0}")]
    TooLarge(String),
    /// `NaN`, `Infinity`, or a number beyond the range of 64-bit floats.
    #[error("a number is NaN or infinite, which JSON does not know and no detection has")]
    NotFinite,
    /// A field that must be there is not.
    #[error("the field {0:?} is missing")]
    Missing(&'static str),
    /// A field is there twice.
    #[error("the field {0:?} is there twice")]
    Repeated(&'static str),
    /// A field holds something else than it should.
    #[error("the field {field:?} is not {want}")]
    WrongType {
        /// Its name.
        field: &'static str,
        /// What it should be, with its article.
        want: &'static str,
    },
    /// A frame that the video does not have.
    #[error("frame {frame} is not in the video{}", frames_there(*.n_frames))]
    UnknownFrame {
        /// The frame named.
        frame: i64,
        /// The video's frames, where known.
        n_frames: Option<u64>,
    },
    /// A box is not four numbers.
    #[error("the field \"bbox\" has {0} numbers instead of 4 (x, y, width, height)")]
    BoxNumbers(u64),
    /// A box has a negative side.
    #[error("a box of negative size, {width} by {height}")]
    NegativeSize {
        /// In pixels.
        width: f64,
        /// In pixels.
        height: f64,
    },
    /// A confidence outside of 0..=1.
    #[error("confidence {0} is not between 0 and 1")]
    Confidence(f64),
    /// The file is of another job.
    #[error("of another job, {found:?} instead of {expected:?}")]
    OtherJob {
        /// The job named in the file; cut where very long.
        found: String,
        /// The job wanted.
        expected: String,
    },
    /// The file is of another video.
    #[error("of another video, {found} instead of {expected}")]
    OtherVideo {
        /// The video named in the file.
        found: i64,
        /// The video wanted.
        expected: i64,
    },
    /// The stored bytes are more or fewer than expected.
    #[error("{found} bytes were read of a file that should have {expected}; fetch it again")]
    WrongSize {
        /// Bytes read; reading stops soon after the expected ones.
        found: u64,
        /// Bytes expected.
        expected: u64,
    },
    /// The stored bytes are others than expected.
    #[error("the SHA-256 is {found} instead of {expected}; fetch it again")]
    WrongSha256 {
        /// Of the bytes read, in hex.
        found: String,
        /// In hex.
        expected: String,
    },
    /// There are more or fewer detections than expected.
    #[error("{found} detections instead of {expected}")]
    WrongCount {
        /// Detections in the file.
        found: u64,
        /// Detections expected.
        expected: u64,
    },
    /// Something follows the document.
    #[error("something follows the end of the JSON document")]
    TrailingBytes,
}

fn frames_there(n_frames: Option<u64>) -> String {
    n_frames.map_or_else(String::new, |n| format!(", which has {n} frames, from 0"))
}

/// A [`ReadError`] from the layers that know no batches.
#[derive(Debug)]
pub(super) enum Fault {
    /// See [`ReadError::Io`].
    Io(std::io::Error),
    /// See [`ReadError::Refused`].
    Refused(Problem, Place),
}

impl<E> From<Fault> for ReadError<E> {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Io(error) => Self::Io(error),
            Fault::Refused(problem, place) => Self::Refused { problem, place },
        }
    }
}
