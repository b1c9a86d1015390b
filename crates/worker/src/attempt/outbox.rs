//! Checkpoints between the tracking thread, which makes them, and the task that uploads them.

use std::path::{Path, PathBuf};

use client::atomic_file::cannot;
use client::failure::Outcome;
use tokio::sync::watch;

use crate::track::SavedCheckpoint;

/// Ending of the tracker's state, in the work folder and in the bucket.
pub(super) const STATE: &str = "state";
/// Ending of the detections.
pub(super) const DETECTIONS: &str = "detections";

/// Files of a checkpoint that the continuing run does not change. They are removed on drop.
#[derive(Debug)]
pub(super) struct Snapshot {
    state: PathBuf,
    detections: PathBuf,
    /// Source frame to resume at.
    pub(super) next_frame: u64,
    /// Frames tracked up to this checkpoint.
    pub(super) n_frames: u64,
    /// Number of the checkpoint within the attempt, from 1.
    pub(super) seq: u64,
}

impl Snapshot {
    /// Links the state, which the run replaces but never changes, and copies the checkpoint's part of the detections,
    /// which the run appends to.
    ///
    /// # Errors
    /// If the disk is full or fails.
    pub(super) fn take(saved: &SavedCheckpoint<'_>, seq: u64) -> Outcome<Self> {
        let path = |name: &str| saved.checkpoint.with_file_name(format!("snapshot-{seq}.{name}"));
        let (state, detections) = (path(STATE), path(DETECTIONS));
        if std::fs::hard_link(saved.checkpoint, &state).is_err() {
            std::fs::copy(saved.checkpoint, &state).map_err(|e| cannot("copy", saved.checkpoint, e))?;
        }
        copy_beginning(saved.spool, &detections, saved.spool_bytes)
            .map_err(|e| cannot("copy", saved.spool, e))?;
        Ok(Self { state, detections, next_frame: saved.next_frame, n_frames: saved.n_frames, seq })
    }

    /// The files with their endings.
    pub(super) fn files(&self) -> [(&'static str, &Path); 2] {
        [(STATE, &self.state), (DETECTIONS, &self.detections)]
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
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

/// The latest snapshot that is not uploaded yet. A newer one replaces it, so that a slow network does not fill the
/// disk.
#[derive(Debug, Default)]
pub(super) struct Outbox(watch::Sender<State>);

#[derive(Debug, Default)]
struct State {
    snapshot: Option<Snapshot>,
    is_closed: bool,
}

impl Outbox {
    /// Offers a snapshot for upload, in place of any earlier one.
    pub(super) fn put(&self, snapshot: Snapshot) {
        self.0.send_modify(|state| state.snapshot = Some(snapshot));
    }

    /// Closes the outbox: no more snapshots follow. A waiting snapshot is still returned.
    pub(super) fn close(&self) {
        self.0.send_modify(|state| state.is_closed = true);
    }

    /// Waits until the outbox is closed.
    pub(super) async fn closed(&self) {
        // The sender is part of `self`: there is no error.
        let _ = self.0.subscribe().wait_for(|state| state.is_closed).await;
    }

    /// Waits for the next snapshot. `None` when the outbox is closed and empty.
    pub(super) async fn next(&self) -> Option<Snapshot> {
        let mut changes = self.0.subscribe();
        loop {
            changes.wait_for(|state| state.snapshot.is_some() || state.is_closed).await.ok()?;
            let mut taken = None;
            let mut is_closed = false;
            self.0.send_modify(|state| {
                taken = state.snapshot.take();
                is_closed = state.is_closed;
            });
            if taken.is_some() || is_closed {
                return taken;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(folder: &Path, seq: u64) -> Snapshot {
        let (checkpoint, spool) = (folder.join("checkpoint"), folder.join("spool"));
        std::fs::write(&checkpoint, "state").unwrap();
        std::fs::write(&spool, "detections").unwrap();
        let saved = SavedCheckpoint {
            checkpoint: &checkpoint,
            spool: &spool,
            spool_bytes: 10,
            next_frame: 7,
            n_frames: 7,
        };
        let snapshot = Snapshot::take(&saved, seq).unwrap();
        std::fs::remove_file(&checkpoint).unwrap();
        snapshot
    }

    #[tokio::test]
    async fn keeps_the_latest_snapshot_only() {
        let folder = tempfile::tempdir().unwrap();
        let exists = |seq: u64| folder.path().join(format!("snapshot-{seq}.state")).exists();
        let outbox = Outbox::default();
        for seq in 1..=3 {
            outbox.put(snapshot(folder.path(), seq));
        }
        assert_eq!([1, 2, 3].map(exists), [false, false, true]);
        assert_eq!(outbox.next().await.map(|snapshot| snapshot.seq), Some(3));
        outbox.put(snapshot(folder.path(), 4));
        outbox.close();
        outbox.closed().await;
        assert_eq!(outbox.next().await.map(|snapshot| snapshot.seq), Some(4));
        assert!(outbox.next().await.is_none());
        assert!(!exists(4));
    }
}
