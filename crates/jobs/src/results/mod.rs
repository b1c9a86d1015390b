//! The results file, `results/{job_id}.json`: what a worker found, written and read as a stream.
//!
//! A one-hour game has about a million detections, so nobody holds them all: [`ResultsWriter`] takes
//! one at a time, [`read_results`] hands them out in batches, and both stay within a few megabytes.
//! This module knows bytes and numbers; which object they come from, and who may replace it, is the
//! protocol's business.
//!
//! What it promises:
//! * The writer's bytes are the contract's plain JSON, one detection to a line, coordinates with at
//!   most 2 decimals and confidence with at most 4. Whatever it writes, the reader takes.
//! * The reader trusts nothing. Plain JSON, gzip and zstd are told apart by their first bytes. It
//!   either ends with every promise of [`Expected`] kept, or says what is wrong and where. Batches
//!   may have been handed out before that: a caller keeps them only once it has returned `Ok`.
//! * Older and foreign writers are welcome: fields in any order, any spacing, unknown fields, whole
//!   numbers written as `12.0`, detections in any order.
//!
//! Layers, from the bytes up: `codec` (decompression, size and hash of the stored bytes), `source`
//! (one refilled buffer), `tokens` (JSON, any of it), `record` and `detection` (one detection,
//! the fast path and the general one), `reader` (the document). `number` and `decimal` turn digits into numbers and back.

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

pub use codec::Codec;
pub use problem::{Place, Problem, ReadError, WriteError};
pub use reader::{BATCH, read_results};
pub use writer::ResultsWriter;

/// One object on one frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Detection {
    /// 0-based ordinal in the source video, not in the sampled sequence; at most `i64::MAX`.
    pub frame: u64,
    /// Identity over the whole video; at most `i64::MAX`.
    pub track_id: u64,
    /// Left, top, width, height in source pixels, top-left origin, after rotation. Width and height
    /// are not negative.
    pub bbox: [f64; 4],
    /// In 0..=1.
    pub confidence: f64,
}

impl Detection {
    /// What the contract has against it.
    #[inline]
    fn problem(&self) -> Option<Problem> {
        let [_, _, width, height] = self.bbox;
        let is_finite = self.bbox.iter().all(|x| x.is_finite()) && self.confidence.is_finite();
        let fits = self.frame <= MAX_INTEGER && self.track_id <= MAX_INTEGER;
        let is_sized = width >= 0.0 && height >= 0.0;
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
            Problem::WrongType { field: "frame", want: "an integer from 0" }
        } else if self.track_id > MAX_INTEGER {
            Problem::WrongType { field: "track_id", want: "an integer from 0" }
        } else if width < 0.0 || height < 0.0 {
            Problem::NegativeSize { width, height }
        } else {
            Problem::Confidence(self.confidence)
        }
    }
}

/// The largest integer that databases and most readers of JSON take.
const MAX_INTEGER: u64 = i64::MAX as u64;

/// The fields of a results file beside its detections.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ResultsHead {
    /// The job.
    pub job_id: String,
    /// The video's number in the library of whoever submitted the job; 0 without one.
    pub video_id: i64,
    /// RFC 3339. Older writers leave it out.
    pub completed_at: Option<String>,
    /// Frames looked at. Older writers leave it out.
    pub frames_processed: Option<u64>,
    /// Everything else, as `prompts`. The reader leaves out what it finds unreasonably large.
    pub extra: Map<String, Value>,
}

/// What a results file turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResultsSummary {
    /// Size of the stored bytes: compressed, where they are.
    pub size_bytes: u64,
    /// SHA-256 of the stored bytes, in lower-case hex.
    pub sha256: String,
    /// Length of `detections`.
    pub n_detections: u64,
}

/// What a reader knows about the file before it reads; `None` is not checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// The job it must be of.
    pub job_id: String,
    /// The video it must be of.
    pub video_id: Option<i64>,
    /// Frames of the source video: every detection's frame is below.
    pub n_frames: Option<u64>,
    /// Size of the stored bytes.
    pub size_bytes: Option<u64>,
    /// SHA-256 of the stored bytes, in hex.
    pub sha256: Option<String>,
    /// Length of `detections`.
    pub n_detections: Option<u64>,
}

impl Expected {
    /// Of this job; nothing else is known.
    #[must_use]
    pub fn of_job(job_id: impl Into<String>) -> Self {
        let job_id = job_id.into();
        Self { job_id, video_id: None, n_frames: None, size_bytes: None, sha256: None, n_detections: None }
    }
}
