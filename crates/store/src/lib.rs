//! The library in SQLite: games, videos, jobs and detections.
//!
//! It lies below the command line, the worker and the HTTP server, and knows no buckets, no HTTP
//! and no async runtime: every call blocks. What the crate promises:
//!
//! * **Somebody else's database stays theirs.** A file made by the analyzer app is used in place.
//!   Columns and tables are added to it; nothing of its own is rewritten, renamed or dropped, and
//!   its rows and its own `INSERT`s stay valid. Times, enums, booleans and JSON are written as that
//!   app writes them. In a new file the same tables are made, so that the app can open ours.
//! * **An import is one transaction**, whatever its size and however it ends: killed, out of disk
//!   or fed garbage, it leaves nothing behind. The same job twice changes nothing; other results of
//!   a job replace that job's detections and nobody else's.
//! * **What was reported is on the disk.** Every commit is synchronised.
//! * **Memory is bounded.** An import holds some 20 MB and a listing one row, whatever the length.
//! * **Several processes may work at once.** Readers never wait; writers wait for each other, and a
//!   database that stays locked is an error that says so ([`StoreError::Busy`]).
//!
//! One [`Library`] is one connection: `Send`, cheap to open another for another thread.
//!
//! ```
//! use store::{Detection, ImportJob, Library, NewVideo, Produced, StoreError};
//!
//! # let folder = tempfile::tempdir()?;
//! # let url = format!("sqlite:///{}/library.db", folder.path().display());
//! let mut library = Library::open(&url)?;
//! let video = library.add_video(&NewVideo::at("games/final.mp4"))?;
//! let job = ImportJob::new("0b8e6c5a-4a5b-9c1d", video.id, "sha256 of the results");
//! let report = library.import(&job, |sink| {
//!     sink.push(&[Detection { frame: 0, track_id: 3, bbox: [10.0, 20.0, 40.0, 80.0], confidence: 0.9 }])?;
//!     Ok::<_, StoreError>(Produced { frames_processed: Some(1), completed_at: None })
//! })?;
//! assert_eq!(report.n_detections, 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod detections;
mod enums;
mod error;
#[cfg(test)]
mod faults;
mod games;
mod import;
mod jobs;
mod library;
mod remembered;
mod removal;
mod schema;
mod sink;
mod stats;
mod timestamp;
mod url;
mod values;
mod videos;

pub use detections::{Detection, DetectionQuery, DetectionRow, DetectionTotals, Select};
pub use enums::{JobStatus, JobType, ProcessingStatus, Target};
pub use error::{Result, StoreError};
pub use import::{ImportJob, ImportOutcome, ImportReport, ImportRow, Produced};
pub use jobs::{JobFilter, JobRow, JobUpdate, NewJob};
pub use library::Library;
pub use removal::Removed;
pub use sink::Sink;
pub use stats::{DetectionStats, TrackSummary};
pub use url::to_path as database_path;
pub use videos::{FileFacts, NewVideo, Page, Video};
