//! Keeps a bucket small. Older programs read one page of a listing of `jobs/`, a thousand manifests, so finished ones must
//! not pile up there; and older importers leave logs and checkpoints behind.
//!
//! Everything here may be repeated, interrupted, and done by several parties at once. Ages are by the bucket's own clock;
//! where it does not tell them, nothing is swept.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::bucket::{Bucket, Condition};
use crate::catalog::Catalog;
use crate::env::Env;
use crate::error::Result;
use crate::keys::{CHECKPOINTS, JOBS, JobId, LOGS};
use crate::manifest::{MAX_MANIFEST_BYTES, Manifest, Status};

/// Time after its import at which a manifest is moved to `archive/jobs/`.
pub const ARCHIVE_AFTER: Duration = Duration::from_secs(7 * DAY);
/// Age at which logs and checkpoints that no job needs are removed.
pub const REMOVE_AFTER: Duration = Duration::from_secs(7 * DAY);
const DAY: u64 = 24 * 3600;
/// Most manifests that one sweep moves.
const MAX_ARCHIVED: usize = 500;

/// What a sweep did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SweepReport {
    /// Number of manifests that were moved to the archive.
    pub n_archived: usize,
    /// Number of logs and checkpoint files that were removed.
    pub n_removed: usize,
}

/// Moves this program's manifests to the archive that were imported a week ago, and removes logs and checkpoints that no
/// job needs.
///
/// # Errors
/// If the bucket is not responding. What was swept until then stays so.
pub async fn sweep(bucket: &Arc<dyn Bucket>, env: &Arc<dyn Env>) -> Result<SweepReport> {
    let old = old_manifests(&**bucket).await?;
    let mut catalog = Catalog::new(bucket.clone(), env.clone());
    catalog.refresh().await?;
    let is_done = |id: &JobId| catalog.job(id).is_some_and(|seen| is_archivable(&seen.manifest));
    let mut report = SweepReport::default();
    for id in old.iter().filter(|id| is_done(id)).take(MAX_ARCHIVED) {
        report.n_archived += usize::from(archive(&**bucket, id).await?);
    }
    for prefix in [CHECKPOINTS, LOGS] {
        report.n_removed += remove_leftovers(&**bucket, &catalog, prefix).await?;
    }
    Ok(report)
}

/// The jobs whose manifests have not changed for a week.
async fn old_manifests(bucket: &dyn Bucket) -> Result<Vec<JobId>> {
    let entries = bucket.list(JOBS).await?;
    let old = entries.into_iter().filter(|entry| entry.age.is_some_and(|age| age >= ARCHIVE_AFTER));
    Ok(old.filter_map(|entry| JobId::from_manifest_key(&entry.key).ok()).collect())
}

/// Whether the job is imported, by a program that gives each write an id. Nothing changes such a manifest any more.
fn is_archivable(manifest: &Manifest) -> bool {
    manifest.status == Status::Imported && !manifest.write_id.is_empty()
}

/// Moves a manifest to the archive. Returns whether this call did.
async fn archive(bucket: &dyn Bucket, id: &JobId) -> Result<bool> {
    let key = id.manifest_key();
    let Some(object) = bucket.get(&key, MAX_MANIFEST_BYTES).await? else { return Ok(false) };
    if !Manifest::parse(&key, &object.bytes).is_ok_and(|manifest| is_archivable(&manifest)) {
        return Ok(false);
    }
    // A sweep that was interrupted has written it already.
    bucket.put(&id.archive_key(), object.bytes, Condition::Absent).await?;
    let is_unchanged = bucket.head(&key).await?.is_some_and(|(_, etag)| etag == object.etag);
    if is_unchanged {
        bucket.delete(&key).await?;
    }
    Ok(is_unchanged)
}

/// Removes old objects below `prefix` of jobs that need them no longer.
async fn remove_leftovers(bucket: &dyn Bucket, catalog: &Catalog, prefix: &str) -> Result<usize> {
    let mut by_job: HashMap<JobId, Vec<(String, Option<Duration>)>> = HashMap::new();
    for entry in bucket.list(prefix).await? {
        let folder = entry.key.strip_prefix(prefix).and_then(|rest| rest.split('/').next());
        if let Some(id) = folder.and_then(|folder| JobId::new(folder).ok()) {
            by_job.entry(id).or_default().push((entry.key, entry.age));
        }
    }
    let mut n_removed = 0;
    for (id, objects) in by_job {
        let is_old = objects.iter().all(|(_, age)| age.is_some_and(|age| age >= REMOVE_AFTER));
        if is_old && !is_needed(bucket, catalog, &id, prefix).await? {
            for (key, _) in &objects {
                bucket.delete(key).await?;
            }
            n_removed += objects.len();
        }
    }
    Ok(n_removed)
}

/// Whether a job needs its checkpoints or logs: while it exists, except for the checkpoints of one that was completed.
async fn is_needed(bucket: &dyn Bucket, catalog: &Catalog, id: &JobId, prefix: &str) -> Result<bool> {
    if let Some(seen) = catalog.job(id) {
        let is_completed = matches!(seen.manifest.status, Status::Completed | Status::Imported);
        return Ok(prefix != CHECKPOINTS || !is_completed);
    }
    // A manifest that cannot be read, one that was written since the listing, or an archived one.
    if bucket.head(&id.manifest_key()).await?.is_some() {
        return Ok(true);
    }
    Ok(prefix == LOGS && bucket.head(&id.archive_key()).await?.is_some())
}
