//! `courtside track`: a video through the tracker into result files, on this machine.
//!
//! Detections go to a [`spool`] as they are made; the result files are written from it at the end, each
//! whole or not at all. With a checkpoint, the spool and the tracker's state are on disk together, and a run
//! that was stopped or killed goes on to the same bytes.

mod checkpoint;
mod dump;
mod frame_source;
mod incoming;
mod outputs;
mod request;
mod run;
mod spool;
mod summary;
mod watch;

pub use checkpoint::{UnusableCheckpoint, saved_max_objects, spool_path};
pub use incoming::IncomingVideo;
pub use outputs::{extra_fields, write_results};
pub use request::{Request, Source};
pub use run::{Tracked, detect, run};
pub use spool::{Detection, Spool};
pub use summary::{Summary, TrackSummary};
pub use watch::{Progressed, Saved, Watch};
