//! Checkpoints in the bucket: upload and restore.
//!
//! A checkpoint is two files, the tracker's state and the detections so far, under keys that no other attempt uses.
//! The manifest points at them only after both are in the bucket, and only then is the previous checkpoint removed.

use std::path::Path;

use jobs::bucket::Condition;
use jobs::lease::LeaseError;
use jobs::manifest::{Checkpoint, StoredObject};
use jobs::transfer::{self, FileDigest};
use jobs::{Error, Lease};

use super::outbox::{DETECTIONS, STATE, Snapshot};
use super::workspace::Workspace;

/// Size above which a file is uploaded in parts, which are retried one by one.
const MULTIPART_BYTES: u64 = 64 << 20;

/// Largest file of a checkpoint that is restored: several times the state of as many tracks as a worker follows.
const MAX_FILE_BYTES: u64 = 8 << 30;

/// Uploads a snapshot, points the manifest at it, and removes the previous checkpoint.
pub(super) async fn store(lease: &Lease, snapshot: Snapshot) -> Result<(), LeaseError> {
    let files = upload(lease, &snapshot).await?;
    let previous = lease.manifest().await.checkpoint;
    let checkpoint = Checkpoint {
        next_frame: snapshot.next_frame,
        n_frames: snapshot.n_frames,
        attempt: lease.attempt(),
        files,
    };
    lease.record_checkpoint(&checkpoint).await?;
    // Any program may have written the manifest: it must not name other objects to remove.
    let prefix = lease.id().checkpoints_prefix();
    let old = previous.into_iter().flat_map(|checkpoint| checkpoint.files);
    for old in old.filter(|old| old.key.starts_with(&prefix)) {
        lease.bucket().delete(&old.key).await?;
    }
    Ok(())
}

async fn upload(lease: &Lease, snapshot: &Snapshot) -> Result<Vec<StoredObject>, Error> {
    let mut stored = Vec::new();
    for (ending, path) in snapshot.files() {
        let name = format!("{}.{ending}", lease.claim_id());
        let key = lease.id().checkpoint_key(lease.attempt(), snapshot.seq, &name);
        let digest = match std::fs::metadata(path) {
            Ok(meta) if meta.len() > MULTIPART_BYTES => upload_in_parts(lease, &key, path).await?,
            _ => upload_at_once(lease, &key, path).await?,
        };
        stored.push(StoredObject { key, size_bytes: digest.size_bytes, sha256: digest.sha256 });
    }
    Ok(stored)
}

async fn upload_at_once(lease: &Lease, key: &str, path: &Path) -> Result<FileDigest, Error> {
    let hashed = path.to_owned();
    let digest = tokio::task::spawn_blocking(move || FileDigest::of(&hashed)).await;
    let digest = digest.map_err(|e| Error::Settings(e.to_string()))??;
    lease.bucket().put_file(key, path, &digest, Condition::Always).await?;
    Ok(digest)
}

async fn upload_in_parts(lease: &Lease, key: &str, path: &Path) -> Result<FileDigest, Error> {
    let bucket = &**lease.bucket();
    let journal = path.with_extension("upload");
    let upload = transfer::Upload { bucket, key, file: path, journal: &journal, part_bytes: None };
    let uploaded = transfer::upload(upload, &|_, _| {}).await;
    if uploaded.is_err() {
        // The next checkpoint is another file. An upload that cannot be aborted now expires in the bucket.
        let _ = transfer::abort_upload(bucket, &journal).await;
        let _ = std::fs::remove_file(&journal);
    }
    uploaded
}

/// Downloads the manifest's checkpoint to the files that a run resumes from. Returns the frame to resume at, `None` if
/// there is no checkpoint, or why the checkpoint cannot be used.
///
/// # Errors
/// If the bucket does not answer, or the disk fails.
pub(super) async fn restore(
    lease: &Lease,
    workspace: &Workspace,
    checkpoint: &Path,
    spool: &Path,
) -> Result<Result<Option<u64>, String>, Error> {
    for stale in [checkpoint, spool] {
        let _ = std::fs::remove_file(stale);
    }
    let Some(saved) = lease.manifest().await.checkpoint else { return Ok(Ok(None)) };
    for (name, to) in [(STATE, checkpoint), (DETECTIONS, spool)] {
        let ending = format!(".{name}");
        let Some(file) = saved.files.iter().find(|file| file.key.ends_with(&ending)) else {
            return Ok(Err(format!("the checkpoint has no {name}")));
        };
        if file.size_bytes > MAX_FILE_BYTES {
            return Ok(Err(format!("the checkpoint has {name} of {} bytes", file.size_bytes)));
        }
        let downloaded = workspace.file(&format!("restored.{name}"));
        let result = transfer::download(
            &**lease.bucket(),
            &file.key,
            Some(file.size_bytes),
            Some(&file.sha256),
            &downloaded,
            &|_| {},
        );
        match result.await {
            // A copy: the run appends to its detections, and the download may be a link to the bucket's own file.
            Ok(_) => std::fs::copy(&downloaded, to)
                .and_then(|_| std::fs::remove_file(&downloaded))
                .map_err(|source| Error::File { action: "write", path: to.to_owned(), source })?,
            Err(error @ (Error::Missing { .. } | Error::Mismatch { .. } | Error::Name(_))) => {
                let _ = std::fs::remove_file(checkpoint);
                return Ok(Err(error.to_string()));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(Ok(Some(saved.next_frame)))
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
    use crate::track::SavedCheckpoint;

    /// A claimed job in a folder.
    async fn claimed(folder: &Path) -> (Arc<dyn Bucket>, Box<Lease>) {
        let bucket: Arc<dyn Bucket> = Arc::new(FolderBucket::open(&folder.join("bucket")).unwrap());
        let id = JobId::new("a").unwrap();
        let job = Manifest::new(id, 1, Parameters::default(), time::OffsetDateTime::UNIX_EPOCH);
        Admin::new(bucket.clone(), SystemEnv::shared()).submit(job).await.unwrap();
        let worker = Worker { worker_id: "worker".to_owned(), host: None, machine: None };
        let mut queue = Queue::new(bucket.clone(), SystemEnv::shared(), Timing::default(), worker, |_| true);
        let PollOutcome::Claimed(lease) = queue.poll().await.unwrap() else {
            panic!("the job was not claimed")
        };
        (bucket, lease)
    }

    fn snapshot(workspace: &Workspace, seq: u64) -> Snapshot {
        let (checkpoint, spool) = (workspace.file("run.checkpoint"), workspace.file("spool"));
        std::fs::write(&checkpoint, format!("state {seq}")).unwrap();
        std::fs::write(&spool, "detections, and more that is not part of the checkpoint").unwrap();
        let saved = SavedCheckpoint {
            checkpoint: &checkpoint,
            spool: &spool,
            spool_bytes: 10,
            next_frame: 7,
            n_frames: 7,
        };
        Snapshot::take(&saved, seq).unwrap()
    }

    #[tokio::test]
    async fn a_resumed_run_does_not_change_the_checkpoint_in_the_bucket() {
        let folder = tempfile::tempdir().unwrap();
        let (bucket, lease) = claimed(folder.path()).await;
        let workspace = Workspace::open(&folder.path().join("work"), lease.id(), 1).unwrap();
        store(&lease, snapshot(&workspace, 1)).await.unwrap();
        let (checkpoint, spool) = (workspace.file("again.checkpoint"), workspace.file("again.detections"));
        assert_eq!(restore(&lease, &workspace, &checkpoint, &spool).await.unwrap(), Ok(Some(7)));
        assert_eq!(std::fs::read(&checkpoint).unwrap(), b"state 1");
        assert_eq!(std::fs::read(&spool).unwrap(), b"detections");
        // The run appends; if this worker is killed now, the next one still needs the original.
        std::fs::write(&spool, "something else").unwrap();
        assert_eq!(restore(&lease, &workspace, &checkpoint, &spool).await.unwrap(), Ok(Some(7)));
        assert_eq!(std::fs::read(&spool).unwrap(), b"detections");
        // A checkpoint that no longer exists is reported.
        for entry in bucket.list("checkpoints/").await.unwrap() {
            bucket.delete(&entry.key).await.unwrap();
        }
        let why = restore(&lease, &workspace, &checkpoint, &spool).await.unwrap().unwrap_err();
        assert!(why.contains("is not in folder"), "{why}");
    }
}
