//! The library database in SQLite: games, videos, jobs and detections.
//!
//! The command line, the worker and the HTTP server build on this crate. It uses no buckets, no
//! HTTP and no async runtime: every call blocks. The crate guarantees:
//!
//! * **The analyzer app's database stays valid for the app.** A file made by that app is used in
//!   place, whatever its age. Nothing is added to the app's tables but rows: what courtside needs besides is in tables of
//!   its own, called `courtside_*`. Times, enums, booleans and JSON are written as the app writes them. A new file gets
//!   the same tables.
//! * **An import becomes visible at once**, whatever its size and however it ends. If the process is killed,
//!   the disk is full or the data is invalid, nothing of the import is visible, and the next import removes what was
//!   written. Importing the same results of a job again changes nothing; different results replace the detections of
//!   that job only.
//! * **Corrections change no detection.** They are a log of [`Edit`]s, and reading applies it; see [`DetectionView`].
//! * **Other programs can write during an import.** No transaction is planned to last more than half a second.
//! * **Committed data is on disk.** Every commit is flushed.
//! * **Memory is bounded.** An import uses about 20 MB and a temporary file, and a stream of detections one frame of rows,
//!   whatever the length.
//! * **Several processes can use a database at once.** Readers never wait. Writers wait for each other,
//!   and fail with [`StoreError::Busy`] if the database stays locked.
//!
//! A [`Library`] is one connection. It is `Send`; open another one for each additional thread.
//!
//! ```
//! use store::{ImportJob, Library, NewVideo, ResultsSummary, StoreError, StoredDetection};
//!
//! # let folder = tempfile::tempdir()?;
//! # let url = format!("sqlite:///{}/library.db", folder.path().display());
//! let mut library = Library::open(&url)?;
//! let video = library.add_video(&NewVideo::at("games/final.mp4"))?;
//! let job = ImportJob::new("0b8e6c5a-4a5b-9c1d", video.id, "sha256 of the results");
//! let report = library.import(&job, |writer| {
//!     writer.push(&[StoredDetection {
//!         frame: 0,
//!         track_id: 3,
//!         bbox: [10.0, 20.0, 40.0, 80.0],
//!         confidence: 0.9,
//!     }])?;
//!     Ok::<_, StoreError>(ResultsSummary { frames_processed: Some(1), completed_at: None })
//! })?;
//! assert_eq!(report.n_detections, 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod absent;
mod detections;
mod edits;
mod enums;
mod error;
#[cfg(test)]
mod faults;
mod games;
mod import;
mod jobs;
mod library;
mod relink;
mod removal;
mod schema;
mod scope;
mod settings;
mod stored;
mod timestamp;
mod tracks;
mod url;
mod values;
mod videos;
mod writes;

pub use detections::{DetectionQuery, DetectionRow, DetectionTotals, StoredDetection};
pub use edits::{Edit, EditLog, LoggedEdit, TrackLabel};
pub use enums::{JobStatus, JobType, ProcessingStatus, StoredTarget, SubmissionState};
pub use error::{Result, StoreError};
pub use games::Game;
pub use import::{
    DetectionWriter, ImportJob, ImportOutcome, ImportReport, ImportRow, IncompleteImport, ResultsSummary,
};
pub use jobs::{JobFilter, JobRow, JobUpdate, NewJob};
pub use library::{Interrupter, Library};
pub use removal::RemovalReport;
pub use scope::{DetectionScope, DetectionView};
pub use timestamp::is_storable as is_storable_time;
pub use tracks::{DetectionStats, TrackSummary};
pub use url::to_path as database_path;
pub use videos::{FileFingerprint, NewVideo, Page, Video, VideoEdit, VideoFilter};
