//! The results file `results/{job_id}.json`: a job's detections, written and read as a stream.
//!
//! A one-hour game has about a million detections, so they are never all in memory: [`ResultsWriter`] takes
//! one at a time, [`read_results`] returns them in batches, and both use a few megabytes. This module deals
//! with bytes and numbers only; the protocol decides which object they come from and who may replace it.
//!
//! Guarantees:
//! * The writer produces the contract's plain JSON, one detection per line, coordinates with at most 2
//!   decimals and confidence with at most 4. The reader accepts everything that the writer produces.
//! * The reader does not trust its input. It detects plain JSON, gzip and zstd by their first bytes. It
//!   succeeds only if everything in [`Expected`] holds, and otherwise reports what is wrong and where. It may
//!   have returned batches by then, so a caller must not commit them before it returns `Ok`.
//! * Files of older and other writers are accepted: fields in any order, any spacing, unknown fields,
//!   integers written as `12.0`, detections in any order, confidences that rounding put slightly outside 0..=1.
//! * A track that is twice among adjacent detections of a frame is refused, as are boxes that no frame contains.
//!   Detections that are not ordered by frame may hide a repetition: the library looks for it.
//!
//! Layers, from the bytes up: `codec` (decompression; size and hash of the stored bytes), `source` (one
//! refilled buffer), `tokens` (general JSON), `record` and `detection` (one detection; fast path and general
//! path), `check` (its relation to the others), `reader` (the document). `number` and `decimal` parse and format numbers.

mod check;
mod codec;
mod decimal;
mod detection;
mod number;
mod problem;
mod reader;
mod record;
mod source;
mod tokens;
mod writer;

use serde_json::{Map, Value};

use crate::transfer::FileDigest;

pub use codec::Codec;
pub use problem::{Position, Problem, ReadError, WriteError};
pub use reader::{BATCH, read_results};
pub use writer::ResultsWriter;

/// A detection: the box of one track on one frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Detection {
    /// 0-based frame number in the source video, not in the sampled sequence; at most `i64::MAX`.
    pub frame: u64,
    /// Id of the track, unique within the video; at most `i64::MAX`.
    pub track_id: u64,
    /// Left, top, width and height in source pixels, with the origin at the top left, after rotation metadata
    /// is applied. Width and height are not negative, and no number is beyond [`MAX_PIXELS`].
    pub bbox: [f64; 4],
    /// The model's confidence, in 0..=1.
    pub confidence: f64,
}

impl Detection {
    /// The first violation of the contract, if any.
    #[inline]
    fn problem(&self) -> Option<Problem> {
        let [_, _, width, height] = self.bbox;
        let is_finite = self.bbox.iter().all(|x| x.is_finite()) && self.confidence.is_finite();
        let fits = self.frame <= MAX_INTEGER && self.track_id <= MAX_INTEGER;
        let is_sized = width >= 0.0 && height >= 0.0 && self.bbox.iter().all(|x| x.abs() <= MAX_PIXELS);
        if is_finite && fits && is_sized && (0.0..=1.0).contains(&self.confidence) {
            return None;
        }
        Some(self.first_problem())
    }

    #[cold]
    fn first_problem(&self) -> Problem {
        let [_, _, width, height] = self.bbox;
        if !self.bbox.iter().all(|x| x.is_finite()) || !self.confidence.is_finite() {
            Problem::NotFinite
        } else if self.frame > MAX_INTEGER {
            Problem::WrongType { field: "frame", want: "a non-negative integer" }
        } else if self.track_id > MAX_INTEGER {
            Problem::WrongType { field: "track_id", want: "a non-negative integer" }
        } else if width < 0.0 || height < 0.0 {
            Problem::NegativeSize { width, height }
        } else if self.bbox.iter().any(|x| x.abs() > MAX_PIXELS) {
            Problem::HugeBox { bbox: self.bbox }
        } else {
            Problem::Confidence(self.confidence)
        }
    }
}

/// Largest coordinate or size in a box, in pixels, whatever the sign. Videos have at most a few thousand pixels.
pub const MAX_PIXELS: f64 = 1e6;

/// By how much a confidence may be outside 0..=1: rounding in other programs exceeds it by less. It is clamped.
pub const CONFIDENCE_TOLERANCE: f64 = 1e-3;

/// The largest integer that SQLite and most JSON readers accept.
const MAX_INTEGER: u64 = i64::MAX as u64;

/// The fields of a results file other than its detections.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ResultsHead {
    /// Id of the job.
    pub job_id: String,
    /// Id of the video in the submitter's library; 0 if it is in no library.
    pub video_id: i64,
    /// When tracking ended, in RFC 3339. Older writers leave it out.
    pub completed_at: Option<String>,
    /// Number of frames processed. Older writers leave it out.
    pub frames_processed: Option<u64>,
    /// All other fields, such as `prompts`. The reader drops values over 64 KiB in total.
    pub extra: Map<String, Value>,
}

/// Size, hash and length of a results file that was written or read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResultsSummary {
    /// Size of the stored file, before decompression.
    pub size_bytes: u64,
    /// SHA-256 of the stored file, in lower-case hexadecimal.
    pub sha256: String,
    /// Number of detections in the file.
    pub n_detections: u64,
    /// Number of confidences in the file that were outside 0..=1 by at most [`CONFIDENCE_TOLERANCE`], and were clamped;
    /// 0 for a file that was written.
    pub n_clamped: u64,
}

impl ResultsSummary {
    /// Size and hash of the stored file.
    #[must_use]
    pub fn digest(&self) -> FileDigest {
        FileDigest { size_bytes: self.size_bytes, sha256: self.sha256.clone() }
    }
}

/// What a results file must be; `None` is not checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// Id of the job that the file must belong to.
    pub job_id: String,
    /// Id of the video that the file must belong to.
    pub video_id: Option<i64>,
    /// Number of frames in the source video; the frame of each detection must be less.
    pub n_frames: Option<u64>,
    /// Width and height of a frame of the video, in pixels. No box may be further outside the frame than its longer
    /// side: older workers may not have applied the rotation.
    pub frame_size: Option<[u32; 2]>,
    /// Size of the stored file.
    pub size_bytes: Option<u64>,
    /// SHA-256 of the stored file, in hexadecimal.
    pub sha256: Option<String>,
    /// Number of detections in the file.
    pub n_detections: Option<u64>,
}

impl Expected {
    /// Requires only that the file belongs to this job.
    #[must_use]
    pub fn of_job(job_id: impl Into<String>) -> Self {
        let job_id = job_id.into();
        Self {
            job_id,
            video_id: None,
            n_frames: None,
            frame_size: None,
            size_bytes: None,
            sha256: None,
            n_detections: None,
        }
    }
}
