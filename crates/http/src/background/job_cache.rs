//! The manifests of all jobs as of the last poll. One catalog per bucket is kept, so that a poll reads only the
//! manifests that changed.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use ::jobs::JobId;
use ::jobs::catalog::Catalog;
use ::jobs::manifest::{Manifest, Target};
use client::failure::Outcome;
use client::overview;
use tokio::sync::Mutex;

use crate::async_client::AsyncClient;

/// How long a request waits for a poll before it is answered from the last snapshot.
const REFRESH_TIMEOUT: Duration = Duration::from_secs(3);

/// A job's manifest, and the target whose bucket has it.
#[derive(Debug, Clone)]
pub(crate) struct CachedJob {
    pub(crate) manifest: Arc<Manifest>,
    pub(crate) target: Target,
}

/// The result of one poll of all buckets.
#[derive(Debug, Default)]
pub(crate) struct JobSnapshot {
    pub(crate) jobs: HashMap<JobId, CachedJob>,
    /// Manifests that cannot be parsed, each with the reason.
    pub(crate) unreadable: Vec<String>,
    /// Targets whose buckets did not respond. Their jobs are from an earlier poll.
    pub(crate) unreachable: Vec<Target>,
    /// When the poll started; `None` before the first poll.
    polled_at: Option<Instant>,
}

impl JobSnapshot {
    /// Why the snapshot may be out of date.
    pub(crate) fn warning(&self) -> Option<String> {
        let unreachable: Vec<&str> = self.unreachable.iter().map(|target| target.as_str()).collect();
        (!unreachable.is_empty())
            .then(|| format!("the {} bucket does not respond", unreachable.join(" and the ")))
    }
}

/// Polls the manifests and keeps the last snapshot.
pub(crate) struct JobCache {
    client: AsyncClient,
    catalogs: Mutex<Vec<(Target, Catalog)>>,
    snapshot: RwLock<Arc<JobSnapshot>>,
}

impl JobCache {
    /// Opens all buckets of the client.
    pub(crate) fn new(client: AsyncClient) -> Outcome<Self> {
        let catalog = |target| Ok((target, Catalog::new(client.bucket(target)?, client.env.clone())));
        let catalogs = client.bucket_targets().into_iter().map(catalog).collect::<Outcome<_>>()?;
        Ok(Self { client, catalogs: Mutex::new(catalogs), snapshot: RwLock::default() })
    }

    /// The last snapshot; empty before the first poll.
    pub(crate) fn snapshot(&self) -> Arc<JobSnapshot> {
        self.snapshot.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Polls all buckets, and updates the jobs in the library. A bucket that does not respond is not an error.
    pub(crate) async fn refresh(&self) -> Arc<JobSnapshot> {
        let mut catalogs = self.catalogs.lock().await;
        let snapshot = Arc::new(poll(&mut catalogs, &self.snapshot()).await);
        *self.snapshot.write().unwrap_or_else(PoisonError::into_inner) = snapshot.clone();
        let polled = snapshot.clone();
        let updated = self.client.with_buckets(move |client| async move {
            let mut library = client.library()?;
            overview::record_states(&mut library, |id| polled.jobs.get(id).map(|job| &*job.manifest))?;
            let is_listed = |id: &str| JobId::new(id).is_ok_and(|id| polled.jobs.contains_key(&id));
            match polled.unreachable.is_empty() {
                true => overview::close_missing(&client, &mut library, is_listed).await,
                false => Ok(()),
            }
        });
        if let Err(failure) = updated.await {
            tracing::warn!(cause = failure.message(), "cannot update the jobs in the library");
        }
        snapshot
    }

    /// A snapshot that is at most `max_age` old; the last one if a poll takes too long.
    pub(crate) async fn recent(&self, max_age: Duration) -> Arc<JobSnapshot> {
        let snapshot = self.snapshot();
        if snapshot.polled_at.is_some_and(|polled_at| polled_at.elapsed() <= max_age) {
            return snapshot;
        }
        match tokio::time::timeout(REFRESH_TIMEOUT, self.refresh()).await {
            Ok(snapshot) => snapshot,
            Err(_) => self.snapshot(),
        }
    }
}

async fn poll(catalogs: &mut [(Target, Catalog)], previous: &JobSnapshot) -> JobSnapshot {
    let mut snapshot = JobSnapshot { polled_at: Some(Instant::now()), ..JobSnapshot::default() };
    for (target, catalog) in catalogs {
        if let Err(error) = catalog.refresh().await {
            // Warns once per outage.
            match previous.unreachable.contains(target) {
                true => tracing::debug!(%error, "a bucket still does not respond"),
                false => tracing::warn!(%error, "a bucket does not respond"),
            }
            snapshot.unreachable.push(*target);
        }
        let cached =
            |manifest: &Manifest| CachedJob { manifest: Arc::new(manifest.clone()), target: *target };
        snapshot.jobs.extend(catalog.jobs().map(|s| (s.manifest.job_id.clone(), cached(&s.manifest))));
        snapshot.unreadable.extend(catalog.unreadable().into_iter().map(ToString::to_string));
    }
    snapshot
}
