//! A run's checkpoints, from this machine to the bucket and back.
//!
//! A checkpoint is two files, the tracker's state and the detections it counts, under names that no other
//! attempt uses. Only when both are in the bucket does the register point at them, and only then is the
//! checkpoint before removed.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use jobs::bucket::Condition;
use jobs::lease::LeaseError;
use jobs::manifest::{Checkpoint, StoredObject};
use jobs::transfer::{self, FileDigest};
use jobs::{Error, Lease};
use tokio::sync::Notify;

use super::workspace::Workspace;
use crate::track::Saved;
use client::atomic_file::cannot;
use client::failure::Outcome;

const STATE: &str = "state";
const DETECTIONS: &str = "detections";
/// A larger file goes up in parts, which are tried again one by one.
const IN_PARTS: u64 = 64 << 20;

/// A checkpoint's files, apart from the run that goes on; removed when it is dropped.
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
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        for (_, path) in self.files() {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// The snapshot that waits for its upload. Only the latest matters: one that still waits when the next comes is
/// dropped, so that a slow network fills no disk.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    waiting: Mutex<(Option<Snapshot>, bool)>,
    news: Notify,
}

impl Outbox {
    /// Puts a snapshot in the place of the one that waits.
    pub(super) fn put(&self, snapshot: Snapshot) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).0 = Some(snapshot);
        self.news.notify_one();
    }

    /// Drops the snapshot that waits: it is of a run that counts for nothing.
    pub(super) fn clear(&self) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).0 = None;
    }

    /// No more will come.
    pub(super) fn close(&self) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).1 = true;
        self.news.notify_one();
    }

    /// Whether no more will come.
    pub(super) fn is_closed(&self) -> bool {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).1
    }

    /// The next snapshot; `None` when no more will come.
    pub(super) async fn next(&self) -> Option<Snapshot> {
        loop {
            {
                let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
                if waiting.0.is_some() || waiting.1 {
                    return waiting.0.take();
                }
            }
            self.news.notified().await;
        }
    }
}

fn copy_beginning(from: &Path, to: &Path, length: u64) -> std::io::Result<()> {
    use std::io::Read;
    let mut beginning = std::fs::File::open(from)?.take(length);
    std::io::copy(&mut beginning, &mut std::fs::File::create(to)?).map(|_| ())
}

/// Brings a snapshot to the bucket, points the register at it, and removes the one before.
pub(super) async fn store(lease: &Lease, snapshot: Snapshot) -> Result<(), LeaseError> {
    let stored = upload(lease, &snapshot).await;
    let before = lease.manifest().await.checkpoint;
    let checkpoint = Checkpoint {
        next_frame: snapshot.next_frame,
        n_frames: snapshot.n_frames,
        attempt: lease.attempt(),
        files: stored?,
    };
    lease.record_checkpoint(&checkpoint).await?;
    // The register is not to be trusted with what is removed.
    let ours = lease.id().checkpoints_prefix();
    let old = before.into_iter().flat_map(|before| before.files);
    for old in old.filter(|old| old.key.starts_with(&ours)) {
        lease.bucket().delete(&old.key).await?;
    }
    Ok(())
}

async fn upload(lease: &Lease, snapshot: &Snapshot) -> Result<Vec<StoredObject>, Error> {
    let mut stored = Vec::new();
    for (name, path) in snapshot.files() {
        let file = format!("{}.{name}", lease.claim_id());
        let key = lease.id().checkpoint_key(lease.attempt(), snapshot.seq, &file);
        let facts = match std::fs::metadata(path) {
            Ok(meta) if meta.len() > IN_PARTS => in_parts(lease, &key, path).await?,
            _ => whole(lease, &key, path).await?,
        };
        stored.push(StoredObject { key, size_bytes: facts.size_bytes, sha256: facts.sha256 });
    }
    Ok(stored)
}

async fn whole(lease: &Lease, key: &str, path: &Path) -> Result<FileDigest, Error> {
    let of = path.to_owned();
    let facts = tokio::task::spawn_blocking(move || FileDigest::of(&of)).await;
    lease.bucket().put_file(key, path, Condition::Always).await?;
    facts.map_err(|e| Error::Settings(e.to_string()))?
}

async fn in_parts(lease: &Lease, key: &str, path: &Path) -> Result<FileDigest, Error> {
    let bucket = &**lease.bucket();
    let journal = path.with_extension("upload");
    let upload = transfer::Upload { bucket, key, file: path, journal: &journal, part_bytes: None };
    let uploaded = transfer::upload(upload, &|_, _| {}).await;
    if uploaded.is_err() {
        // The next checkpoint is another file. What cannot be given up now, the bucket gives up in a week.
        let _ = transfer::abort_upload(bucket, &journal).await;
        let _ = std::fs::remove_file(&journal);
    }
    uploaded
}

/// Brings the register's checkpoint back, as the files that a run continues from. Returns the frame it goes on
/// with, `None` if there is no checkpoint, or why the one that there is cannot be used.
///
/// # Errors
/// When the bucket does not answer.
pub(super) async fn restore(
    lease: &Lease,
    workspace: &Workspace,
    checkpoint: &Path,
    spool: &Path,
) -> Result<Result<Option<u64>, String>, Error> {
    for stale in [checkpoint, spool] {
        let _ = std::fs::remove_file(stale);
    }
    let Some(at) = lease.manifest().await.checkpoint else { return Ok(Ok(None)) };
    for (name, to) in [(STATE, checkpoint), (DETECTIONS, spool)] {
        let ending = format!(".{name}");
        let Some(file) = at.files.iter().find(|file| file.key.ends_with(&ending)) else {
            return Ok(Err(format!("the checkpoint has no {name}")));
        };
        let arrived = workspace.file(&format!("restored.{name}"));
        let got = transfer::download(
            &**lease.bucket(),
            &file.key,
            Some(file.size_bytes),
            Some(&file.sha256),
            &arrived,
            &|_| {},
        );
        match got.await {
            // A copy: the run appends to its detections, and what arrived may be a link to the bucket's own file.
            Ok(_) => std::fs::copy(&arrived, to)
                .and_then(|_| std::fs::remove_file(&arrived))
                .map_err(|source| Error::File { action: "write", path: to.to_owned(), source })?,
            // Removed, or not what it should be: from the beginning, then.
            Err(error @ (Error::Missing { .. } | Error::Mismatch { .. } | Error::Name(_))) => {
                let _ = std::fs::remove_file(checkpoint);
                return Ok(Err(error.to_string()));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(Ok(Some(at.next_frame)))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jobs::admin::Admin;
    use jobs::bucket::{Bucket, FolderBucket};
    use jobs::env::SystemEnv;
    use jobs::manifest::{Manifest, Parameters};
    use jobs::queue::{PollOutcome, Queue, Worker};
    use jobs::{JobId, Timing};

    use super::*;

    const CHECKPOINT: &str = "run.checkpoint";

    /// A claimed job in a folder.
    async fn claimed(folder: &Path) -> (Arc<dyn Bucket>, Box<Lease>) {
        let bucket: Arc<dyn Bucket> = Arc::new(FolderBucket::open(&folder.join("bucket")).unwrap());
        let id = JobId::new("a").unwrap();
        let job = Manifest::new(id, 1, Parameters::default(), time::OffsetDateTime::UNIX_EPOCH);
        Admin::new(bucket.clone(), SystemEnv::shared()).submit(job).await.unwrap();
        let worker = Worker { worker_id: "worker".to_owned(), host: None };
        let mut queue = Queue::new(bucket.clone(), SystemEnv::shared(), Timing::default(), worker, |_| true);
        let PollOutcome::Claimed(lease) = queue.poll().await.unwrap() else { panic!("it waits") };
        (bucket, lease)
    }

    fn snapshot(workspace: &Workspace, seq: u64) -> Snapshot {
        let (checkpoint, spool) = (workspace.file(CHECKPOINT), workspace.file("spool"));
        let _ = std::fs::remove_file(&checkpoint);
        std::fs::write(&checkpoint, format!("state {seq}")).unwrap();
        std::fs::write(&spool, "detections, and what is not counted yet").unwrap();
        let saved =
            Saved { checkpoint: &checkpoint, spool: &spool, spool_bytes: 10, next_frame: 7, n_frames: 7 };
        Snapshot::take(&saved, seq).unwrap()
    }

    #[tokio::test]
    async fn a_run_that_goes_on_leaves_the_buckets_checkpoint_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (bucket, lease) = claimed(folder.path()).await;
        let workspace = Workspace::open(&folder.path().join("work"), lease.id(), 1).unwrap();
        store(&lease, snapshot(&workspace, 1)).await.unwrap();
        let (checkpoint, spool) = (workspace.file("again.checkpoint"), workspace.file("again.detections"));
        assert_eq!(restore(&lease, &workspace, &checkpoint, &spool).await.unwrap(), Ok(Some(7)));
        assert_eq!(std::fs::read(&checkpoint).unwrap(), b"state 1");
        assert_eq!(std::fs::read(&spool).unwrap(), b"detections");
        // The run appends; a worker that is killed now must not have spoiled what the next one needs.
        std::fs::write(&spool, "something else").unwrap();
        assert_eq!(restore(&lease, &workspace, &checkpoint, &spool).await.unwrap(), Ok(Some(7)));
        assert_eq!(std::fs::read(&spool).unwrap(), b"detections");
        // One that is gone is told of.
        for entry in bucket.list("checkpoints/").await.unwrap() {
            bucket.delete(&entry.key).await.unwrap();
        }
        let why = restore(&lease, &workspace, &checkpoint, &spool).await.unwrap().unwrap_err();
        assert!(why.contains("is not in folder"), "{why}");
    }

    #[tokio::test]
    async fn only_the_latest_snapshot_waits() {
        let folder = tempfile::tempdir().unwrap();
        let (_, lease) = claimed(folder.path()).await;
        let workspace = Workspace::open(&folder.path().join("work"), lease.id(), 1).unwrap();
        let outbox = Outbox::default();
        for seq in 1..=3 {
            outbox.put(snapshot(&workspace, seq));
        }
        let left: Vec<bool> =
            (1..=3).map(|seq| workspace.file(&format!("snapshot-{seq}.state")).exists()).collect();
        assert_eq!(left, [false, false, true]);
        assert_eq!(outbox.next().await.map(|snapshot| snapshot.seq), Some(3));
        outbox.put(snapshot(&workspace, 5));
        outbox.clear();
        assert!(!workspace.file("snapshot-5.state").exists());
        outbox.put(snapshot(&workspace, 4));
        outbox.close();
        assert_eq!(outbox.next().await.map(|snapshot| snapshot.seq), Some(4));
        assert!(outbox.next().await.is_none());
        assert!(!workspace.file("snapshot-4.state").exists());
    }
}
