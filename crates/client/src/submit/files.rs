//! The files of a submission: the video's key in the bucket, and the journal and the lock on this machine.

use std::path::{Path, PathBuf};

use jobs::{JobId, Refusal};

use crate::Client;
use crate::failure::Outcome;
use crate::file_lock::FileLock;

/// Key of a job's video in its bucket.
pub(super) fn video_key(id: &JobId, file: &Path) -> String {
    id.video_key(file.extension().and_then(|e| e.to_str()))
}

/// The journal that records which parts of a job's video are uploaded.
pub(super) fn journal_path(client: &Client, id: &JobId) -> PathBuf {
    client.settings.scratch().join("uploads").join(format!("{id}.json"))
}

/// Takes the lock of a submission.
pub(super) fn lock_submission(journal: &Path, id: &JobId) -> Outcome<FileLock> {
    let refused = || jobs::Error::Refused { id: id.clone(), refusal: Refusal::BeingUploaded };
    FileLock::try_acquire(journal)?.ok_or_else(|| refused().into())
}
