//! A checkpoint file: which run it is of, how far the run got, and the tracker's state.
//!
//! The file is a line that names the format, a line of JSON, and the tracker's state as safetensors. It is written
//! atomically, after the detections that it counts were made durable in the [spool](super::spool) next to it, and were
//! read back. It has their digests; checkpoints of earlier versions have none.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use jobs::manifest::MissingFrames;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::labels::ResultLabels;
use super::spool_digest::SpoolDigests;
use client::atomic_file::{AtomicFile, cannot};
use client::failure::{Failure, Kind, Outcome};

const MAGIC: &str = "courtside checkpoint 1";
/// Longest line of JSON that [`saved_max_objects`] reads: digests of a hundred million detections.
const MAX_HEADER_BYTES: u64 = 1 << 20;

/// Which run a checkpoint belongs to. Prompts and the tracker's settings are part of the tracker's own state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RunIdentity {
    pub video: VideoIdentity,
    /// The video stream that was chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<u32>,
    /// First source frame of the range.
    pub from: u64,
    /// Source frame after the last.
    pub to: u64,
    /// Distance between tracked frames in source frames.
    pub every: u64,
}

/// Identifies a video file without reading all of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct VideoIdentity {
    pub size_bytes: u64,
    /// SHA-256 of the first and the last MiB.
    pub sha256_of_ends: String,
}

impl VideoIdentity {
    pub(super) fn of(path: &Path) -> Outcome<Self> {
        Self::read(path).map_err(|e| cannot("read", path, e))
    }

    fn read(path: &Path) -> std::io::Result<Self> {
        use std::io::{Seek, SeekFrom};
        const END: u64 = 1 << 20;
        let mut file = std::fs::File::open(path)?;
        let size_bytes = file.metadata()?.len();
        let mut hash = Sha256::new();
        let mut bytes = Vec::new();
        Read::by_ref(&mut file).take(END).read_to_end(&mut bytes)?;
        hash.update(&bytes);
        if size_bytes > END {
            bytes.clear();
            file.seek(SeekFrom::Start(size_bytes - END))?;
            file.read_to_end(&mut bytes)?;
            hash.update(&bytes);
        }
        let sha256_of_ends = hash.finalize().iter().map(|b| format!("{b:02x}")).collect();
        Ok(Self { size_bytes, sha256_of_ends })
    }
}

/// The JSON line of a checkpoint.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct CheckpointHeader {
    pub run: RunIdentity,
    pub labels: ResultLabels,
    pub position: RunPosition,
    /// Largest number of tracks at the same time; `None` for the model's own limit.
    pub max_objects: Option<usize>,
    /// Digests of the detections in the spool; `None` in checkpoints of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detections: Option<SpoolDigests>,
}

/// How far a run got.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct RunPosition {
    /// Source frames that were tracked but not yet reported by the tracker, oldest first.
    pub waiting: Vec<u64>,
    /// Source frame to resume at.
    pub next_frame: u64,
    /// Frames tracked so far, by this and earlier processes.
    pub n_frames: u64,
    /// Detections in the spool.
    pub n_detections: u64,
    /// Frames before `next_frame` that could not be decoded. Absent in checkpoints of earlier versions.
    #[serde(default)]
    pub missing: MissingFrames,
}

impl RunPosition {
    /// The position of a run that has not tracked a frame.
    pub(super) fn start_of(run: &RunIdentity) -> Self {
        let missing = MissingFrames::default();
        Self { waiting: Vec::new(), next_frame: run.from, n_frames: 0, n_detections: 0, missing }
    }
}

/// A checkpoint that a run cannot be resumed from.
#[derive(Debug, thiserror::Error)]
#[error("the checkpoint {} {what}", path.display())]
pub struct UnusableCheckpoint {
    path: PathBuf,
    what: String,
}

impl UnusableCheckpoint {
    /// The video that was tracked during its download is not the video that was downloaded.
    pub(super) fn of_another_video(path: &Path) -> Self {
        let what = "is of a video that was different while it was downloaded".to_owned();
        Self { path: path.to_owned(), what }
    }

    /// The checkpoint contradicts its run, or its detections are not there.
    pub(super) fn contradicted(path: &Path, why: impl std::fmt::Display) -> Failure {
        Self::failure(path, format!("cannot be resumed: {why}"))
    }

    fn failure(path: &Path, what: impl Into<String>) -> Failure {
        Failure::new(Kind::Failed, Self { path: path.to_owned(), what: what.into() })
            .hint("name another file, or delete it to start from the beginning")
    }
}

/// The video file is not the one that the run began with.
#[derive(Debug, thiserror::Error)]
#[error("{} was changed while it was tracked", path.display())]
pub struct VideoChanged {
    path: PathBuf,
}

impl VideoIdentity {
    /// Checks that a video file still has this identity. A file that was removed is not an error: the decoder reads it
    /// to its end.
    ///
    /// # Errors
    /// [`VideoChanged`]; others if it cannot be read.
    pub(super) fn check(&self, path: &Path) -> Outcome<()> {
        match Self::read(path) {
            Ok(found) if found == *self => Ok(()),
            Ok(_) => Err(Failure::new(Kind::Job, VideoChanged { path: path.to_owned() })
                .hint("track it again once the file no longer changes")),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(e) => Err(cannot("read", path, e)),
        }
    }
}

/// Path of the spool that belongs to a checkpoint.
pub fn spool_path(checkpoint: &Path) -> PathBuf {
    let mut name = checkpoint.file_name().unwrap_or_default().to_owned();
    name.push(".detections");
    checkpoint.with_file_name(name)
}

/// Writes a checkpoint atomically. `session`: the tracker's state.
pub(super) fn write(path: &Path, header: &CheckpointHeader, session: &[u8]) -> Outcome<()> {
    let failed = |e| cannot("write", path, e);
    let json = serde_json::to_string(header).map_err(|e| failed(e.into()))?;
    let mut file = AtomicFile::create(path)?;
    write!(file, "{MAGIC}\n{json}\n").and_then(|()| file.write_all(session)).map_err(failed)?;
    file.commit()
}

/// Reads a checkpoint of this run: the header and the tracker's state. `None` if the file does not exist.
///
/// # Errors
/// [`UnusableCheckpoint`] if the file is damaged or of another run.
pub(super) fn read(path: &Path, run: &RunIdentity) -> Outcome<Option<(CheckpointHeader, Vec<u8>)>> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(cannot("read", path, e)),
    };
    let wrong = |what: &str| UnusableCheckpoint::failure(path, what);
    let mut parts = bytes.splitn(3, |&b| b == b'\n');
    if parts.next() != Some(MAGIC.as_bytes()) {
        return Err(wrong("is not a courtside checkpoint"));
    }
    let (Some(json), Some(session)) = (parts.next(), parts.next()) else {
        return Err(wrong("is damaged"));
    };
    let header: CheckpointHeader = serde_json::from_slice(json).map_err(|_| wrong("is damaged"))?;
    if header.run.video != run.video {
        return Err(wrong("is of another video, or the video has changed"));
    }
    if header.run.stream != run.stream {
        return Err(wrong("is of another stream of the video; use the same --stream"));
    }
    if header.run != *run {
        return Err(wrong("is of other frames; use the same --from, --to and --every"));
    }
    let session = session.to_vec();
    Ok(Some((header, session)))
}

/// The `max_objects` of a checkpoint's run; `None` if there is no readable checkpoint.
pub fn saved_max_objects(path: &Path) -> Option<Option<usize>> {
    use std::io::BufRead;
    let mut file = std::io::BufReader::new(std::fs::File::open(path).ok()?).take(MAX_HEADER_BYTES);
    let mut line = String::new();
    file.read_line(&mut line).ok()?;
    line.clear();
    file.read_line(&mut line).ok()?;
    Some(serde_json::from_str::<CheckpointHeader>(&line).ok()?.max_objects)
}

/// Deletes the checkpoint of a completed run, if it exists.
pub(super) fn remove(path: &Path) -> Outcome<()> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(cannot("remove", path, e)),
        _ => Ok(()),
    }
}
