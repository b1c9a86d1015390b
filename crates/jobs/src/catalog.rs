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
use crate::keys::{ARCHIVE, ARCHIVE_INDEX, INDEX, JOBS, JobId};
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
    /// How old the version was then, by the bucket's clock. Zero unless the first refresh found it: later ones see a
    /// version soon after it is written.
    pub age: Duration,
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

/// Which manifests a catalog shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Folder {
    /// Those below `jobs/`.
    Current,
    /// Those below `archive/jobs/`.
    Archive,
}

impl Folder {
    fn prefix(self) -> &'static str {
        match self {
            Self::Current => "",
            Self::Archive => ARCHIVE,
        }
    }

    /// The key in the bucket of an object below `jobs/`.
    fn key(self, key: &str) -> String {
        format!("{}{key}", self.prefix())
    }

    /// The entry with its key as it is below `jobs/`.
    fn relative(self, entry: Entry) -> Entry {
        let key = entry.key.strip_prefix(self.prefix()).unwrap_or(&entry.key).to_owned();
        Entry { key, ..entry }
    }

    /// The key of the index of finished manifests.
    fn index(self) -> &'static str {
        match self {
            Self::Current => INDEX,
            Self::Archive => ARCHIVE_INDEX,
        }
    }
}

/// All jobs of a bucket, as of the last refresh.
#[derive(Debug)]
pub struct Catalog {
    bucket: Arc<dyn Bucket>,
    env: Arc<dyn Env>,
    folder: Folder,
    jobs: HashMap<JobId, CatalogEntry>,
    unreadable: HashMap<String, UnreadableManifest>,
    /// The revisions that the index in the bucket holds; `None` before the first refresh.
    indexed: Option<HashMap<JobId, String>>,
}

impl Catalog {
    /// Creates an empty catalog; call [`Self::refresh`] to fill it.
    pub fn new(bucket: Arc<dyn Bucket>, env: Arc<dyn Env>) -> Self {
        Self::of(bucket, env, Folder::Current)
    }

    /// Creates an empty catalog of the jobs in the archive.
    pub fn of_archive(bucket: Arc<dyn Bucket>, env: Arc<dyn Env>) -> Self {
        Self::of(bucket, env, Folder::Archive)
    }

    fn of(bucket: Arc<dyn Bucket>, env: Arc<dyn Env>, folder: Folder) -> Self {
        Self { bucket, env, folder, jobs: HashMap::new(), unreadable: HashMap::new(), indexed: None }
    }

    /// Updates the catalog from the bucket.
    ///
    /// # Errors
    /// If the bucket is not responding. The jobs that were known remain.
    pub async fn refresh(&mut self) -> Result<()> {
        let entries = self.bucket.list(&self.folder.key(JOBS)).await?;
        let entries: Vec<Entry> = entries.into_iter().map(|entry| self.folder.relative(entry)).collect();
        let is_first = self.indexed.is_none();
        let mut from_index = match is_first {
            false => HashMap::new(),
            true => index::load(&*self.bucket, self.folder.index()).await,
        };
        if is_first {
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
                    self.jobs.insert(
                        id,
                        CatalogEntry { manifest, etag: None, since: now, age: Duration::ZERO, revision },
                    );
                }
                None => changed.push(entry),
            }
        }
        self.read(changed, is_first).await?;
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

    async fn read(&mut self, entries: Vec<Entry>, is_first: bool) -> Result<()> {
        let (bucket, folder) = (self.bucket.clone(), self.folder);
        let mut reads = futures::stream::iter(entries)
            .map(|entry| {
                let bucket = bucket.clone();
                async move { (bucket.get(&folder.key(&entry.key), MAX_CLAIMED_BYTES).await, entry) }
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
                    let age = entry.age.filter(|_| is_first).unwrap_or_default();
                    let revision = entry.revision;
                    self.jobs.insert(id, CatalogEntry { manifest, etag, since, age, revision });
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
        match index::save(&*self.bucket, self.folder.index(), entries).await {
            Ok(()) => self.indexed = Some(revisions),
            Err(error) => tracing::debug!(%error, "cannot write the index of finished jobs"),
        }
    }
}
