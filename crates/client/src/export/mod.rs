//! Exporting detections to files that other programs read.
//!
//! A [`Format`] is one module: a function from an iterator of detections, ordered by frame, then track, to a writer.
//! `courtside export` reads the detections from the [library](LibraryDetections), `courtside track` from its own
//! results; both write the same bytes. Memory is bounded whatever the number of detections: COCO keeps the frame
//! numbers, CVAT an entry for each track, the others one batch.

mod detection;
mod format;
mod info;
mod library_detections;
mod output;
mod selection;

pub use detection::{Detections, ExportDetection};
pub use format::{Annotation, Format, UnknownFormat, check_video_name, write_mot};
pub use info::ExportInfo;
pub use library_detections::{LibraryDetections, Wanted};
pub use output::{Output, check_target};
pub use selection::{
    NoDetections, NoJob, NotImported, Selected, Selection, find_video, select, select_of_job, select_of_video,
};
