//! Imports that failed and are not retried automatically.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ::jobs::JobId;
use ::jobs::manifest::Manifest;

/// Jobs whose results could not be imported, with the reason. An entry is valid for one version of the
/// manifest.
#[derive(Debug, Default)]
pub(crate) struct ImportFailures(Mutex<HashMap<JobId, (ManifestVersion, String)>>);

/// Identifies a version of a manifest: revision, write id and completion time. Older programs change only the
/// last.
type ManifestVersion = (u64, String, Option<String>);

impl ImportFailures {
    /// Why the results of this version of the manifest could not be imported.
    pub(crate) fn get(&self, manifest: &Manifest) -> Option<String> {
        let failures = self.lock();
        let (version, reason) = failures.get(&manifest.job_id)?;
        (*version == version_of(manifest)).then(|| reason.clone())
    }

    /// Removes the failure of a job, so that the import is retried. Returns whether there was one.
    pub(crate) fn remove(&self, id: &JobId) -> bool {
        self.lock().remove(id).is_some()
    }

    /// Records why the results of this version of the manifest could not be imported.
    pub(super) fn record(&self, manifest: &Manifest, reason: String) {
        self.lock().insert(manifest.job_id.clone(), (version_of(manifest), reason));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<JobId, (ManifestVersion, String)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn version_of(manifest: &Manifest) -> ManifestVersion {
    let completed_at = manifest.completed_at.as_ref().map(|at| at.as_str().to_owned());
    (manifest.rev, manifest.write_id.clone(), completed_at)
}
