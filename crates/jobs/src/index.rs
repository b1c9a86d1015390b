//! The index: one object that spares a new reader of the bucket one GET for every finished job.
//!
//! An entry is used only where its revision is the one that the listing shows, so a stale index costs requests
//! and nothing else. Whoever has read many finished registers that it lacks writes it anew, unconditionally.

use std::collections::HashMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::bucket::{Bucket, Condition};
use crate::error::Result;
use crate::keys::{INDEX, JobId};
use crate::manifest::Manifest;

/// Finished registers that the index may lack before it is written anew.
pub(crate) const MAX_MISSING: usize = 64;
/// A larger index is not read.
const MAX_BYTES: u64 = 64 << 20;
const LAYOUT: u32 = 1;

/// A finished register as the index has it.
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

/// Reads the index; one that cannot be had or understood is none: whoever needs it reads the registers.
pub(crate) async fn load(bucket: &dyn Bucket) -> HashMap<JobId, Indexed> {
    let bytes = match bucket.get(INDEX, MAX_BYTES).await {
        Ok(object) => object.map(|object| object.bytes).unwrap_or_default(),
        Err(error) => {
            tracing::debug!(%error, "the index of finished jobs was not read");
            return HashMap::new();
        }
    };
    let read: Option<Layout<Vec<Indexed>>> = serde_json::from_slice(&bytes).ok();
    let jobs = read.filter(|index| index.layout == LAYOUT).map(|index| index.jobs).unwrap_or_default();
    jobs.into_iter().map(|entry| (entry.manifest.job_id.clone(), entry)).collect()
}

/// Writes the index.
pub(crate) async fn save(bucket: &dyn Bucket, finished: Vec<Indexed>) -> Result<()> {
    let index = Layout { layout: LAYOUT, jobs: finished };
    let body = serde_json::to_vec(&index).unwrap_or_default();
    bucket.put(INDEX, Bytes::from(body), Condition::Always).await.map(|_| ())
}

impl Indexed {
    /// What a reader of finished jobs wants to know.
    pub(crate) fn of(manifest: &Manifest, revision: &str) -> Self {
        let mut manifest = manifest.clone();
        manifest.events.clear();
        manifest.rest.clear();
        manifest.checkpoint = None;
        Self { revision: revision.to_owned(), manifest }
    }
}
