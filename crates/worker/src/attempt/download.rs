//! Download of the job's video, readable by the tracker while it grows.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use client::failure::Failure;
use jobs::Error;
use jobs::bucket::BulkTransfer;
use jobs::manifest::Manifest;
use jobs::transfer::{self, DownloadProgress, FileDigest};

use super::RunningAttempt;
use super::background::{in_thread, joined};
use super::outcome::AttemptError;
use crate::track::IncomingVideo;

impl RunningAttempt<'_> {
    /// Downloads the video and verifies it. Resumes what an earlier attempt on this machine left. Returns its content.
    pub(super) async fn download(
        &self,
        manifest: &Manifest,
        to: &Path,
        video: &IncomingVideo,
    ) -> Result<FileDigest, AttemptError> {
        let facts = manifest.video.clone().unwrap_or_default();
        let link = PartialLink::new(to);
        let on_progress = |download: DownloadProgress<'_>| {
            self.progress.downloaded(download.n_bytes, download.size_bytes);
            video.progress(link.path(download), download.prefix);
        };
        let (bucket, key) = (&**self.lease.bucket(), manifest.video_key());
        let sha256 = facts.sha256.as_deref();
        let download = || transfer::download(bucket, &key, facts.size_bytes, sha256, to, &on_progress);
        match self.retry_transient(Error::is_transient, download).await {
            // Bytes may have been corrupted on the way: the next attempt downloads them again.
            Err(error @ Error::Mismatch { .. })
                if matches!(bucket.bulk_transfer(), BulkTransfer::Parts(_)) =>
            {
                Err(AttemptError::Failed { reason: Failure::from(error).message(), retryable: true })
            }
            // Reading works, as the manifest shows: it is this object that must not be read.
            Err(error @ Error::Denied { .. }) if !manifest.is_video_from_submitter() => {
                Err(AttemptError::Failed { reason: Failure::from(error).message(), retryable: true })
            }
            other => Ok(other?),
        }
    }

    /// Checks that the file on disk is still what was downloaded: a part that was lost since decodes to other frames, or
    /// to none. If not, removes the file and the checkpoints, which may be of wrong frames: the next attempt starts over.
    pub(super) async fn check_video(&self, file: &Path, content: &FileDigest) -> Result<(), AttemptError> {
        let path = file.to_owned();
        let found = joined(in_thread("verify", move || FileDigest::of(&path))).await??;
        if found == *content {
            return Ok(());
        }
        let _ = std::fs::remove_file(file);
        self.remove_checkpoints().await;
        let reason = format!(
            "{} was changed on disk after it was downloaded: it has {} bytes with SHA-256 {} instead of {} with {}",
            file.display(),
            found.size_bytes,
            found.sha256,
            content.size_bytes,
            content.sha256
        );
        Err(AttemptError::Failed { reason, retryable: true })
    }
}

/// A hard link to a file that is still being downloaded. It stays valid when the download renames the file.
struct PartialLink {
    path: PathBuf,
    /// Whether the link exists, once that was tried.
    exists: OnceLock<bool>,
}

impl PartialLink {
    fn new(video: &Path) -> Self {
        let extension = video.extension().unwrap_or_default();
        let path = video.with_file_name("arriving").with_extension(extension);
        // From an earlier attempt.
        let _ = std::fs::remove_file(&path);
        Self { path, exists: OnceLock::new() }
    }

    /// The link, once the beginning and the end of the file are downloaded. `None` before, and on file systems without
    /// hard links: tracking then begins when the file is complete.
    fn path(&self, download: DownloadProgress<'_>) -> Option<PathBuf> {
        if !download.has_end || download.prefix == 0 {
            return None;
        }
        let exists = self.exists.get_or_init(|| std::fs::hard_link(download.partial, &self.path).is_ok());
        exists.then(|| self.path.clone())
    }
}
