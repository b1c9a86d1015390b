//! What is in the bucket: all jobs, read again only where the listing says that something changed.
//!
//! One look costs one LIST for each thousand jobs, and one GET for each register that changed since the last
//! look. The first look takes finished jobs from the [index](crate::index).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;

use crate::bucket::{Bucket, ETag, Entry};
use crate::error::{Error, Result};
use crate::host::Host;
use crate::index::{self, Indexed, MAX_MISSING};
use crate::keys::{JOBS, JobId};
use crate::manifest::{MAX_REGISTER_BYTES, Manifest};

/// Registers read at the same time.
const CONCURRENCY: usize = 32;

/// A job as it was last seen.
#[derive(Debug, Clone)]
pub struct Sighting {
    /// The register. If it came from the index, without events and fields of others.
    pub manifest: Manifest,
    /// Version of the register; `None` if it came from the index.
    pub etag: Option<ETag>,
    /// When this process first saw this version, by [`Host::monotonic`].
    pub since: Duration,
    revision: String,
}

/// A register that cannot be understood.
#[derive(Debug, Clone)]
pub struct Unreadable {
    /// Where it lies.
    pub key: String,
    /// Why.
    pub detail: String,
    revision: String,
}

impl std::fmt::Display for Unreadable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.key, self.detail)
    }
}

/// All jobs of a bucket as they were last seen.
#[derive(Debug)]
pub struct Catalog {
    bucket: Arc<dyn Bucket>,
    host: Arc<dyn Host>,
    jobs: HashMap<JobId, Sighting>,
    unreadable: HashMap<String, Unreadable>,
    /// Revisions in the index; `None` until it was read.
    indexed: Option<HashMap<JobId, String>>,
}

impl Catalog {
    /// Knows nothing yet.
    pub fn new(bucket: Arc<dyn Bucket>, host: Arc<dyn Host>) -> Self {
        Self { bucket, host, jobs: HashMap::new(), unreadable: HashMap::new(), indexed: None }
    }

    /// Looks again.
    ///
    /// # Errors
    /// When the bucket does not answer; what was known stays.
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
        self.forget_all_but(&entries);
        let now = self.host.monotonic();
        let mut changed = Vec::new();
        for entry in entries {
            let id = match JobId::of_register(&entry.key) {
                Ok(id) => id,
                Err(error) => {
                    self.cannot_read(&entry, error.to_string());
                    continue;
                }
            };
            let known = self.jobs.get(&id).is_some_and(|seen| seen.revision == entry.revision)
                || self.unreadable.get(&entry.key).is_some_and(|seen| seen.revision == entry.revision);
            if known {
                continue;
            }
            match from_index.remove(&id).filter(|indexed| indexed.revision == entry.revision) {
                Some(Indexed { revision, manifest }) => {
                    self.jobs.insert(id, Sighting { manifest, etag: None, since: now, revision });
                }
                None => changed.push(entry),
            }
        }
        self.read(changed).await?;
        self.keep_index().await;
        Ok(())
    }

    /// The jobs, in no particular order.
    pub fn jobs(&self) -> impl Iterator<Item = &Sighting> {
        self.jobs.values()
    }

    /// One job.
    pub fn job(&self, id: &JobId) -> Option<&Sighting> {
        self.jobs.get(id)
    }

    /// What lies among the registers and is none, by name.
    pub fn unreadable(&self) -> Vec<&Unreadable> {
        let mut all: Vec<_> = self.unreadable.values().collect();
        all.sort_by(|a, b| a.key.cmp(&b.key));
        all
    }

    /// Reads a job again at the next look.
    pub fn forget(&mut self, id: &JobId) {
        self.jobs.remove(id);
    }

    fn forget_all_but(&mut self, entries: &[Entry]) {
        let present: std::collections::HashSet<&str> = entries.iter().map(|e| e.key.as_str()).collect();
        self.jobs.retain(|id, _| present.contains(id.register().as_str()));
        self.unreadable.retain(|key, _| present.contains(key.as_str()));
    }

    fn cannot_read(&mut self, entry: &Entry, detail: String) {
        if let Ok(id) = JobId::of_register(&entry.key) {
            self.jobs.remove(&id);
        }
        let (key, revision) = (entry.key.clone(), entry.revision.clone());
        self.unreadable.insert(key.clone(), Unreadable { key, detail, revision });
    }

    async fn read(&mut self, entries: Vec<Entry>) -> Result<()> {
        let bucket = self.bucket.clone();
        let mut reads = futures::stream::iter(entries)
            .map(|entry| {
                let bucket = bucket.clone();
                async move { (bucket.get(&entry.key, MAX_REGISTER_BYTES).await, entry) }
            })
            .buffer_unordered(CONCURRENCY);
        while let Some((object, entry)) = reads.next().await {
            let object = match object {
                Ok(Some(object)) => object,
                // Removed since the listing.
                Ok(None) => {
                    if let Ok(id) = JobId::of_register(&entry.key) {
                        self.jobs.remove(&id);
                    }
                    continue;
                }
                Err(Error::Mismatch { detail, .. }) => {
                    self.cannot_read(&entry, detail);
                    continue;
                }
                Err(error) => return Err(error),
            };
            match Manifest::parse(&entry.key, &object.bytes) {
                Ok(manifest) => {
                    self.unreadable.remove(&entry.key);
                    // Only now is this version certain to be there.
                    let since = self.host.monotonic();
                    let id = manifest.job_id.clone();
                    let etag = Some(object.etag);
                    self.jobs.insert(id, Sighting { manifest, etag, since, revision: entry.revision });
                }
                Err(Error::Unreadable { detail, .. }) => self.cannot_read(&entry, detail),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Writes the index anew when it lacks many finished jobs. It is a convenience: a failure is only logged.
    async fn keep_index(&mut self) {
        let Some(indexed) = &self.indexed else { return };
        let finished = || self.jobs.iter().filter(|(_, seen)| seen.manifest.status.is_finished());
        let lacks = |(id, seen): &(&JobId, &Sighting)| indexed.get(*id) != Some(&seen.revision);
        if finished().filter(lacks).count() < MAX_MISSING {
            return;
        }
        let entries: Vec<Indexed> =
            finished().map(|(_, seen)| Indexed::of(&seen.manifest, &seen.revision)).collect();
        let revisions = finished().map(|(id, seen)| (id.clone(), seen.revision.clone())).collect();
        match index::save(&*self.bucket, entries).await {
            Ok(()) => self.indexed = Some(revisions),
            Err(error) => tracing::debug!(%error, "the index of finished jobs was not written"),
        }
    }
}
