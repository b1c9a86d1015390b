//! Finding the jobs that have results to import.

use jobs::JobId;
use jobs::admin::is_importable;
use jobs::catalog::Catalog;

use crate::Client;
use crate::failure::{Failure, Outcome};

/// The jobs that can be imported, and what prevented finding more.
#[derive(Debug, Default)]
pub struct PendingImports {
    /// Jobs with results, oldest first.
    pub ids: Vec<JobId>,
    /// Manifests that cannot be read, each with the reason.
    pub unreadable: Vec<String>,
    /// Errors of buckets that did not respond.
    pub bucket_errors: Vec<Failure>,
}

/// Lists the jobs with results to import, in every bucket that responds.
pub async fn pending_imports(client: &Client) -> Outcome<PendingImports> {
    let mut pending = PendingImports::default();
    let mut found = Vec::new();
    for target in client.bucket_targets() {
        let mut catalog = Catalog::new(client.bucket(target)?, client.env.clone());
        if let Err(error) = catalog.refresh().await {
            pending.bucket_errors.push(error.into());
            continue;
        }
        let importable = catalog.jobs().filter(|entry| is_importable(&entry.manifest));
        found.extend(importable.map(|e| (e.manifest.created_at.moment(), e.manifest.job_id.clone())));
        pending.unreadable.extend(catalog.unreadable().into_iter().map(ToString::to_string));
    }
    found.sort();
    pending.ids = found.into_iter().map(|(_, id)| id).collect();
    Ok(pending)
}
