//! A run on disk: which run it is, how far it got, and the tracker's state.
//!
//! The file is a line that names the format, a line of JSON, and the tracker's state as safetensors. It is
//! written whole; the detections it counts lie in a spool beside it and are made durable first.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use client::atomic_file::{AtomicFile, cannot};
use client::failure::{Failure, Kind, Outcome};

const MAGIC: &str = "courtside checkpoint 1";

/// Which run a checkpoint belongs to. Prompts and the tracker's settings stand in the tracker's own state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RunIdentity {
    pub video: VideoIdentity,
    /// First source frame.
    pub from: u64,
    /// Source frame after the last.
    pub to: u64,
    /// Frames from one tracked frame to the next.
    pub every: u64,
}

/// A video file, told apart by its size and its ends.
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

/// What a run's results are called; fixed when it starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Labels {
    pub job_id: String,
    /// RFC 3339.
    pub completed_at: String,
}

/// What a checkpoint says beside the tracker's state.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Head {
    pub run: RunIdentity,
    pub labels: Labels,
    pub position: Position,
    /// Most objects at a time; `None` for any number.
    pub max_objects: Option<usize>,
}

/// How far a run got.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Position {
    /// Source frames of the tracker's frames that are not yet reported, oldest first.
    pub waiting: Vec<u64>,
    /// Source frame to go on with.
    pub next_frame: u64,
    /// Frames tracked.
    pub n_frames: u64,
    /// Detections in the spool.
    pub n_detections: u64,
}

/// A checkpoint that this run cannot go on from.
#[derive(Debug, thiserror::Error)]
#[error("the checkpoint {} {what}", path.display())]
pub struct UnusableCheckpoint {
    path: PathBuf,
    what: &'static str,
}

impl UnusableCheckpoint {
    /// What was tracked while a video arrived is not of the video that arrived.
    pub(super) fn of_another_video(path: &Path) -> Self {
        Self { path: path.to_owned(), what: "is of a video that looked different while it arrived" }
    }
}

/// Where the detections of a checkpoint lie.
pub fn spool_path(checkpoint: &Path) -> PathBuf {
    let mut name = checkpoint.file_name().unwrap_or_default().to_owned();
    name.push(".detections");
    checkpoint.with_file_name(name)
}

pub(super) fn write(path: &Path, head: &Head, session: &[u8]) -> Outcome<()> {
    let failed = |e| cannot("write", path, e);
    let json = serde_json::to_string(head).map_err(|e| failed(e.into()))?;
    let mut file = AtomicFile::create(path)?;
    write!(file, "{MAGIC}\n{json}\n").and_then(|()| file.write_all(session)).map_err(failed)?;
    file.keep()
}

/// Reads a checkpoint of this run: what it says and the tracker's state. `None` if there is no file.
pub(super) fn read(path: &Path, run: &RunIdentity) -> Outcome<Option<(Head, Vec<u8>)>> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(cannot("read", path, e)),
    };
    let wrong = |what: &'static str| {
        Failure::new(Kind::Failed, UnusableCheckpoint { path: path.to_owned(), what })
            .hint("name another file, or delete it to start from the beginning")
    };
    let mut parts = bytes.splitn(3, |&b| b == b'\n');
    if parts.next() != Some(MAGIC.as_bytes()) {
        return Err(wrong("is not one of this program's checkpoints"));
    }
    let (Some(json), Some(session)) = (parts.next(), parts.next()) else {
        return Err(wrong("is damaged"));
    };
    let head: Head = serde_json::from_slice(json).map_err(|_| wrong("is damaged"))?;
    if head.run.video != run.video {
        return Err(wrong("is of another video, or the video has changed"));
    }
    if head.run != *run {
        return Err(wrong("is of other frames; use the same --from, --to and --every"));
    }
    let session = session.to_vec();
    Ok(Some((head, session)))
}

/// The limit of objects that a checkpoint's run began with; `None` where no checkpoint tells.
pub fn saved_max_objects(path: &Path) -> Option<Option<usize>> {
    use std::io::BufRead;
    let mut file = std::io::BufReader::new(std::fs::File::open(path).ok()?).take(1 << 20);
    let mut line = String::new();
    file.read_line(&mut line).ok()?;
    line.clear();
    file.read_line(&mut line).ok()?;
    Some(serde_json::from_str::<Head>(&line).ok()?.max_objects)
}

/// Deletes a checkpoint that has served.
pub(super) fn remove(path: &Path) -> Outcome<()> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(cannot("remove", path, e)),
        _ => Ok(()),
    }
}
