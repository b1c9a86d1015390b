//! A cached view of all jobs in a bucket, for workers that poll and for overviews.
//!
//! A refresh costs one LIST per thousand jobs and one GET per manifest that changed since the last refresh.
//! The first refresh takes finished jobs from the index (`index.rs`).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;

use crate::bucket::{Bucket, ETag, Entry};
use crate::env::Env;
use crate::error::{Error, Result};
use crate::index::{self, Indexed, MAX_MISSING};
use crate::keys::{JOBS, JobId};
use crate::manifest::{MAX_CLAIMED_BYTES, Manifest};

/// Number of manifests read concurrently in a refresh.
const CONCURRENCY: usize = 32;

/// A job as it was at the last refresh.
#[derive(Debug, Clone)]
pub struct CatalogEntry {
    /// The manifest. One that came from the index has no events, no checkpoint, and no unknown fields.
    pub manifest: Manifest,
    /// Version of the manifest; `None` if it came from the index.
    pub etag: Option<ETag>,
    /// When this process first read this version, by [`Env::monotonic`].
    pub since: Duration,
    revision: String,
}

/// An object below `jobs/` that is not a valid manifest.
#[derive(Debug, Clone)]
pub struct UnreadableManifest {
    /// Key of the object.
    pub key: String,
    /// What is wrong with it.
    pub detail: String,
    revision: String,
}

impl std::fmt::Display for UnreadableManifest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.key, self.detail)
    }
}

/// All jobs of a bucket, as of the last refresh.
#[derive(Debug)]
pub struct Catalog {
    bucket: Arc<dyn Bucket>,
    env: Arc<dyn Env>,
    jobs: HashMap<JobId, CatalogEntry>,
    unreadable: HashMap<String, UnreadableManifest>,
    /// The revisions that the index in the bucket holds; `None` before the first refresh.
    indexed: Option<HashMap<JobId, String>>,
}

impl Catalog {
    /// Creates an empty catalog; call [`Self::refresh`] to fill it.
    pub fn new(bucket: Arc<dyn Bucket>, env: Arc<dyn Env>) -> Self {
        Self { bucket, env, jobs: HashMap::new(), unreadable: HashMap::new(), indexed: None }
    }

    /// Updates the catalog from the bucket.
    ///
    /// # Errors
    /// If the bucket is not responding. The jobs that were known remain.
    pub async fn refresh(&mut self) -> Result<()> {
        let entries = self.bucket.list(JOBS).await?;
        let mut from_index = match self.indexed {
            Some(_) => HashMap::new(),
            None => index::load(&*self.bucket).await,
        };
        if self.indexed.is_none() {
            let revision = |(id, entry): (&JobId, &Indexed)| (id.clone(), entry.revision.clone());
            self.indexed = Some(from_index.iter().map(revision).collect());
        }
        self.retain(&entries);
        let now = self.env.monotonic();
        let mut changed = Vec::new();
        for entry in entries {
            let id = match JobId::from_manifest_key(&entry.key) {
                Ok(id) => id,
                Err(error) => {
                    self.mark_unreadable(&entry, error.to_string());
                    continue;
                }
            };
            let is_known = self.jobs.get(&id).is_some_and(|known| known.revision == entry.revision)
                || self.unreadable.get(&entry.key).is_some_and(|known| known.revision == entry.revision);
            if is_known {
                continue;
            }
            match from_index.remove(&id).filter(|indexed| indexed.revision == entry.revision) {
                Some(Indexed { revision, manifest }) => {
                    self.jobs.insert(id, CatalogEntry { manifest, etag: None, since: now, revision });
                }
                None => changed.push(entry),
            }
        }
        self.read(changed).await?;
        self.update_index().await;
        Ok(())
    }

    /// The jobs, in no particular order.
    pub fn jobs(&self) -> impl Iterator<Item = &CatalogEntry> {
        self.jobs.values()
    }

    /// The job with this id, if the bucket holds it.
    pub fn job(&self, id: &JobId) -> Option<&CatalogEntry> {
        self.jobs.get(id)
    }

    /// The objects below `jobs/` that are not valid manifests, ordered by key.
    pub fn unreadable(&self) -> Vec<&UnreadableManifest> {
        let mut all: Vec<_> = self.unreadable.values().collect();
        all.sort_by(|a, b| a.key.cmp(&b.key));
        all
    }

    /// Drops a job from the cache, so that the next refresh reads it again.
    pub fn forget(&mut self, id: &JobId) {
        self.jobs.remove(id);
    }

    /// Drops everything that is no longer listed.
    fn retain(&mut self, entries: &[Entry]) {
        let present: std::collections::HashSet<&str> = entries.iter().map(|e| e.key.as_str()).collect();
        self.jobs.retain(|id, _| present.contains(id.manifest_key().as_str()));
        self.unreadable.retain(|key, _| present.contains(key.as_str()));
    }

    fn mark_unreadable(&mut self, entry: &Entry, detail: String) {
        if let Ok(id) = JobId::from_manifest_key(&entry.key) {
            self.jobs.remove(&id);
        }
        let (key, revision) = (entry.key.clone(), entry.revision.clone());
        self.unreadable.insert(key.clone(), UnreadableManifest { key, detail, revision });
    }

    async fn read(&mut self, entries: Vec<Entry>) -> Result<()> {
        let bucket = self.bucket.clone();
        let mut reads = futures::stream::iter(entries)
            .map(|entry| {
                let bucket = bucket.clone();
                async move { (bucket.get(&entry.key, MAX_CLAIMED_BYTES).await, entry) }
            })
            .buffer_unordered(CONCURRENCY);
        let mut failure = None;
        while let Some((object, entry)) = reads.next().await {
            let object = match object {
                Ok(Some(object)) => object,
                // Removed since the listing.
                Ok(None) => {
                    if let Ok(id) = JobId::from_manifest_key(&entry.key) {
                        self.jobs.remove(&id);
                    }
                    continue;
                }
                Err(Error::Mismatch { detail, .. }) => {
                    self.mark_unreadable(&entry, detail);
                    continue;
                }
                // One object that this program must not read does not hide the others. It is tried again each time.
                Err(error @ (Error::Denied { .. } | Error::File { .. } | Error::Name(_))) => {
                    self.mark_unreadable(&Entry { revision: String::new(), ..entry }, error.to_string());
                    failure.get_or_insert(error);
                    continue;
                }
                Err(error) => return Err(error),
            };
            match Manifest::parse(&entry.key, &object.bytes) {
                Ok(manifest) => {
                    self.unreadable.remove(&entry.key);
                    // Not the time of the listing: this version is known to exist only now.
                    let since = self.env.monotonic();
                    let id = manifest.job_id.clone();
                    let etag = Some(object.etag);
                    self.jobs.insert(id, CatalogEntry { manifest, etag, since, revision: entry.revision });
                }
                Err(Error::Unreadable { detail, .. }) => self.mark_unreadable(&entry, detail),
                Err(error) => return Err(error),
            }
        }
        // If nothing can be read, it is not one object's fault.
        failure.filter(|_| self.jobs.is_empty()).map_or(Ok(()), Err)
    }

    /// Rewrites the index when it lacks many finished jobs. The index is only a cache, so a failure is only
    /// logged.
    async fn update_index(&mut self) {
        let Some(indexed) = &self.indexed else { return };
        let finished = || self.jobs.iter().filter(|(_, job)| job.manifest.status.is_finished());
        let is_missing = |(id, job): &(&JobId, &CatalogEntry)| indexed.get(*id) != Some(&job.revision);
        if finished().filter(is_missing).count() < MAX_MISSING {
            return;
        }
        let entries: Vec<Indexed> =
            finished().map(|(_, job)| Indexed::of(&job.manifest, &job.revision)).collect();
        let revisions = finished().map(|(id, job)| (id.clone(), job.revision.clone())).collect();
        match index::save(&*self.bucket, entries).await {
            Ok(()) => self.indexed = Some(revisions),
            Err(error) => tracing::debug!(%error, "cannot write the index of finished jobs"),
        }
    }
}
