//! Tracking one video on this machine, for `courtside track` and for the worker.
//!
//! Detections go to a [`spool`] as they are made; the result files are written from it at the end, each atomically, if
//! the detections on disk are those that were written.
//! With a checkpoint, the spool and the tracker's state are on disk together, and a run that was stopped or killed
//! resumes to the same bytes.

mod checkpoint;
mod dump;
mod frame_source;
mod incoming;
mod labels;
mod limits;
mod observer;
mod output_files;
mod request;
mod results;
mod run;
mod spool;
mod spool_digest;
mod summary;

pub use checkpoint::{UnusableCheckpoint, VideoChanged, saved_max_objects, spool_path};
pub use incoming::IncomingVideo;
pub use labels::results_of_other_video;
pub use observer::{RunObserver, RunProgress, SavedCheckpoint};
pub use output_files::track_to_files;
pub use request::{Source, TrackRequest};
pub use results::{ResultFacts, write_results};
pub(crate) use run::MAX_LOSSES;
pub use run::{TrackedVideo, detect};
pub use spool::{DamagedSpool, Spool, SpoolRecord};
pub use summary::{RunSummary, TrackSummary};
