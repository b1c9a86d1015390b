//! Detections into files that other programs read.
//!
//! Each format is one module: a function from an iterator of detections, by frame, then track, to a writer. What
//! is common to them is here. `courtside export` feeds them from the [library](Feed), `courtside track` from its
//! spool, so that both write the same bytes. Whatever the number of detections, memory stays flat: COCO keeps the
//! frames' numbers, CVAT one entry for each track, the others a batch.

mod annotated;
mod by_track;
mod coco;
mod csv;
mod cvat;
mod feed;
mod jsonl;
mod mot;
mod number;
mod out;
mod parquet;
mod subject;

use std::io::Write;
use std::path::Path;

use crate::failure::Outcome;

pub use annotated::Annotation;
pub use feed::Feed;
pub use mot::write_mot;
pub use out::{Out, check_target};
pub use subject::{Selected, Subject, select};

/// One box of one track on one frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Detection {
    /// Frame in the source video, from 0.
    pub frame: i64,
    /// The track it belongs to.
    pub track_id: i64,
    /// Which of the [subject's prompts](Subject::prompts) it is of.
    pub prompt: u32,
    /// Left, top, width and height in source pixels.
    pub bbox: [f64; 4],
    /// How sure the model is, 0 to 1.
    pub confidence: f64,
}

/// The formats that hold detections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// MOT Challenge 2D text.
    Mot,
    /// COCO detection JSON with tracks.
    Coco,
    /// Comma-separated values with a header.
    Csv,
    /// One JSON object to a line.
    Jsonl,
    /// Apache Parquet.
    Parquet,
    /// CVAT for video 1.1.
    Cvat,
}

impl Format {
    /// What comes behind the video's name.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Mot => "mot.txt",
            Self::Coco => "coco.json",
            Self::Csv => "csv",
            Self::Jsonl => "jsonl",
            Self::Parquet => "parquet",
            Self::Cvat => "cvat.xml",
        }
    }

    /// Whether it can be shown on a terminal.
    pub fn is_text(self) -> bool {
        self != Self::Parquet
    }

    /// Writes all detections. What must be put aside on the way goes to an unnamed file in `scratch`.
    ///
    /// # Errors
    /// Those of the iterator and of the writer.
    pub fn write(
        self,
        out: &mut (dyn Write + Send),
        subject: &Subject,
        detections: impl Iterator<Item = Outcome<Detection>>,
        scratch: &Path,
    ) -> Outcome<()> {
        match self {
            Self::Mot => mot::write(out, detections),
            Self::Coco => coco::write(out, subject, detections),
            Self::Csv => csv::write(out, subject, detections),
            Self::Jsonl => jsonl::write(out, subject, detections),
            Self::Parquet => parquet::write(out, subject, detections),
            Self::Cvat => cvat::write(out, subject, detections, scratch),
        }
    }
}
