//! A run's checkpoints, from this machine to the bucket and back.
//!
//! A checkpoint is two files, the tracker's state and the detections it counts, under names that no other
//! attempt uses. Only when both are in the bucket does the register point at them, and only then is the
//! checkpoint before removed.

use std::path::{Path, PathBuf};

use jobs::bucket::Condition;
use jobs::lease::LeaseError;
use jobs::manifest::{Checkpoint, Stored};
use jobs::transfer::{self, FileFacts};
use jobs::{Error, Lease};

use super::workspace::Workspace;
use crate::failure::Outcome;
use crate::track::Saved;
use crate::whole_file::cannot;

const STATE: &str = "state";
const DETECTIONS: &str = "detections";

/// A checkpoint's files, apart from the run that goes on.
#[derive(Debug)]
pub(super) struct Snapshot {
    state: PathBuf,
    detections: PathBuf,
    next_frame: u64,
    n_frames: u64,
    seq: u64,
}

impl Snapshot {
    /// Takes a checkpoint away from the run: links its state, copies the detections that it counts.
    pub(super) fn take(saved: &Saved<'_>, seq: u64) -> Outcome<Self> {
        let beside = |name: &str| saved.checkpoint.with_file_name(format!("snapshot-{seq}.{name}"));
        let (state, detections) = (beside(STATE), beside(DETECTIONS));
        if std::fs::hard_link(saved.checkpoint, &state).is_err() {
            std::fs::copy(saved.checkpoint, &state).map_err(|e| cannot("copy", saved.checkpoint, e))?;
        }
        copy_beginning(saved.spool, &detections, saved.spool_bytes)
            .map_err(|e| cannot("copy", saved.spool, e))?;
        Ok(Self { state, detections, next_frame: saved.next_frame, n_frames: saved.n_frames, seq })
    }

    fn files(&self) -> [(&'static str, &Path); 2] {
        [(STATE, &self.state), (DETECTIONS, &self.detections)]
    }

    fn discard(&self) {
        for (_, path) in self.files() {
            let _ = std::fs::remove_file(path);
        }
    }
}

fn copy_beginning(from: &Path, to: &Path, length: u64) -> std::io::Result<()> {
    use std::io::Read;
    let mut beginning = std::fs::File::open(from)?.take(length);
    std::io::copy(&mut beginning, &mut std::fs::File::create(to)?).map(|_| ())
}

/// Brings a snapshot to the bucket, points the register at it, and removes the one before.
pub(super) async fn store(lease: &Lease, snapshot: &Snapshot) -> Result<(), LeaseError> {
    let stored = upload(lease, snapshot).await;
    snapshot.discard();
    let before = lease.manifest().await.checkpoint;
    let checkpoint = Checkpoint {
        next_frame: snapshot.next_frame,
        n_frames: snapshot.n_frames,
        attempt: lease.attempt(),
        files: stored?,
    };
    lease.checkpointed(&checkpoint).await?;
    for old in before.into_iter().flat_map(|before| before.files) {
        lease.bucket().delete(&old.key).await?;
    }
    Ok(())
}

async fn upload(lease: &Lease, snapshot: &Snapshot) -> Result<Vec<Stored>, Error> {
    let mut stored = Vec::new();
    for (name, path) in snapshot.files() {
        let file = format!("{}.{name}", lease.claim_id());
        let key = lease.id().checkpoint(lease.attempt(), snapshot.seq, &file);
        let of = path.to_owned();
        let facts = tokio::task::spawn_blocking(move || FileFacts::of(&of)).await;
        let facts = facts.map_err(|e| Error::Settings(e.to_string()))??;
        lease.bucket().put_file(&key, path, Condition::Always).await?;
        stored.push(Stored { key, size_bytes: facts.size_bytes, sha256: facts.sha256 });
    }
    Ok(stored)
}

/// Brings the register's checkpoint back, as the files that a run continues from. Returns the frame it goes on
/// with; `None` if there is no usable one.
///
/// # Errors
/// When the bucket does not answer.
pub(super) async fn restore(
    lease: &Lease,
    workspace: &Workspace,
    checkpoint: &Path,
    spool: &Path,
) -> Result<Option<u64>, Error> {
    for stale in [checkpoint, spool] {
        let _ = std::fs::remove_file(stale);
    }
    let Some(at) = lease.manifest().await.checkpoint else { return Ok(None) };
    for (name, to) in [(STATE, checkpoint), (DETECTIONS, spool)] {
        let ending = format!(".{name}");
        let Some(file) = at.files.iter().find(|file| file.key.ends_with(&ending)) else { return Ok(None) };
        let arrived = workspace.file(&format!("restored.{name}"));
        let got = transfer::download(
            &**lease.bucket(),
            &file.key,
            Some(file.size_bytes),
            Some(&file.sha256),
            &arrived,
            &|_, _| {},
        );
        match got.await {
            Ok(_) => std::fs::rename(&arrived, to).map_err(|source| Error::File {
                action: "write",
                path: to.to_owned(),
                source,
            })?,
            // Removed, or not what it should be: from the beginning, then.
            Err(error @ (Error::Missing { .. } | Error::Mismatch { .. } | Error::Name(_))) => {
                tracing::warn!(%error, "the checkpoint cannot be used");
                let _ = std::fs::remove_file(checkpoint);
                return Ok(None);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(Some(at.next_frame))
}
