//! The uploads that this server is doing, for their progress and cancellation.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ::jobs::JobId;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::shapes::job::UploadBody;

/// Uploads that run at the same time. Each sends several parts in parallel.
const MAX_PARALLEL_UPLOADS: usize = 2;

/// The running uploads by job.
#[derive(Debug)]
pub(crate) struct Uploads {
    running: Mutex<HashMap<JobId, RunningUpload>>,
    /// Permits for uploads that send data.
    pub(super) permits: Semaphore,
}

impl Default for Uploads {
    fn default() -> Self {
        Self { running: Mutex::default(), permits: Semaphore::new(MAX_PARALLEL_UPLOADS) }
    }
}

/// The upload of one job, shared between its task and the handlers.
#[derive(Debug, Clone, Default)]
pub(super) struct RunningUpload {
    /// Asks the task to stop.
    pub(super) cancel: CancellationToken,
    /// Cancelled by the task when it has ended.
    pub(super) finished: CancellationToken,
    pub(super) progress: Arc<UploadProgress>,
}

/// Bytes sent so far, and in total.
#[derive(Debug, Default)]
pub(super) struct UploadProgress {
    sent_bytes: AtomicU64,
    total_bytes: AtomicU64,
}

impl UploadProgress {
    pub(super) fn set(&self, sent_bytes: u64, total_bytes: u64) {
        self.sent_bytes.store(sent_bytes, Ordering::Relaxed);
        self.total_bytes.store(total_bytes, Ordering::Relaxed);
    }
}

impl Uploads {
    /// Progress of the upload of a job; `None` if this server is not uploading it.
    pub(crate) fn progress(&self, id: &JobId) -> Option<UploadBody> {
        let progress = self.lock().get(id)?.progress.clone();
        Some(UploadBody {
            sent_bytes: progress.sent_bytes.load(Ordering::Relaxed),
            total_bytes: progress.total_bytes.load(Ordering::Relaxed),
        })
    }

    /// Stops the upload of a job, if there is one, and waits until its task has ended.
    pub(crate) async fn cancel(&self, id: &JobId) {
        let Some(upload) = self.lock().get(id).cloned() else { return };
        upload.cancel.cancel();
        upload.finished.cancelled().await;
    }

    /// Adds the upload of a job; `None` if it is already running.
    pub(super) fn begin(&self, id: &JobId) -> Option<RunningUpload> {
        let mut running = self.lock();
        if running.contains_key(id) {
            return None;
        }
        Some(running.entry(id.clone()).or_default().clone())
    }

    /// Removes the upload of a job whose task is about to end.
    pub(super) fn end(&self, id: &JobId) {
        self.lock().remove(id);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<JobId, RunningUpload>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
