//! The index of finished jobs: one object that saves a new reader one GET per finished job.
//!
//! An entry is used only if its revision equals the listed one, so a stale index costs requests but is never
//! wrong. Any client that has read many finished manifests that the index lacks rewrites it unconditionally.

use std::collections::HashMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::bucket::{Bucket, Condition};
use crate::error::Result;
use crate::keys::JobId;
use crate::manifest::Manifest;

/// The index is rewritten when it lacks at least this many finished jobs.
pub(crate) const MAX_MISSING: usize = 64;
/// An index larger than this is ignored.
const MAX_BYTES: u64 = 64 << 20;
const LAYOUT: u32 = 1;

/// An entry of the index: a manifest and the revision of its object.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Indexed {
    pub revision: String,
    pub manifest: Manifest,
}

#[derive(Debug, Serialize, Deserialize)]
struct Layout<E> {
    layout: u32,
    jobs: E,
}

/// Reads the index. Empty if it is missing or cannot be read; the caller then reads the manifests themselves.
pub(crate) async fn load(bucket: &dyn Bucket, key: &str) -> HashMap<JobId, Indexed> {
    let bytes = match bucket.get(key, MAX_BYTES).await {
        Ok(object) => object.map(|object| object.bytes).unwrap_or_default(),
        Err(error) => {
            tracing::debug!(%error, "cannot read the index of finished jobs");
            return HashMap::new();
        }
    };
    let read: Option<Layout<Vec<Indexed>>> = serde_json::from_slice(&bytes).ok();
    let jobs = read.filter(|index| index.layout == LAYOUT).map(|index| index.jobs).unwrap_or_default();
    jobs.into_iter().map(|entry| (entry.manifest.job_id.clone(), entry)).collect()
}

/// Replaces the index with these jobs, unconditionally: the last writer wins.
pub(crate) async fn save(bucket: &dyn Bucket, key: &str, finished: Vec<Indexed>) -> Result<()> {
    let index = Layout { layout: LAYOUT, jobs: finished };
    let body = serde_json::to_vec(&index).unwrap_or_default();
    bucket.put(key, Bytes::from(body), Condition::Always).await.map(|_| ())
}

impl Indexed {
    /// Makes an entry, without the parts of the manifest that readers of finished jobs do not use.
    pub(crate) fn of(manifest: &Manifest, revision: &str) -> Self {
        let mut manifest = manifest.clone();
        manifest.events.clear();
        manifest.rest.clear();
        manifest.checkpoint = None;
        Self { revision: revision.to_owned(), manifest }
    }
}
