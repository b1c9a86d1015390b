//! Progress of jobs that an older worker processes.

use std::borrow::Cow;

use jobs::bucket::Bucket;
use jobs::manifest::{Heartbeat, Manifest, Stage};
use jobs::status;

/// Adds the progress from the status object to the manifest of a worker that sends no heartbeats. Returns any other
/// manifest unchanged.
pub async fn with_progress<'a>(bucket: &dyn Bucket, manifest: Cow<'a, Manifest>) -> Cow<'a, Manifest> {
    if !manifest.is_foreign() || manifest.heartbeat.is_some() {
        return manifest;
    }
    // The status object is optional and may be unreadable.
    let Ok(Some(status)) = status::read(bucket, &manifest.job_id).await else { return manifest };
    let mut manifest = manifest.into_owned();
    let known = manifest.frames_processed.unwrap_or(0);
    let current = u64::try_from(status.current).unwrap_or(0).max(known);
    let total = u64::try_from(status.total).ok().filter(|&total| total > 0);
    manifest.frames_processed = Some(current);
    manifest.heartbeat =
        Some(Heartbeat { stage: Stage::Tracking, current, total, fps: status.fps, ..Heartbeat::default() });
    Cow::Owned(manifest)
}
