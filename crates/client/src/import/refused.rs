//! Results that cannot be imported because they are corrupt. The library records them, so that the job is shown with its
//! next step, and not as ready to import forever.

use jobs::manifest::Manifest;
use serde::{Deserialize, Serialize};
use store::{JobRow, JobStatus, JobUpdate, Library, NewJob};

use super::results_file;
use crate::failure::{Failure, Outcome};
use crate::target;

/// The statuses of a job that the library may still have when its results are refused: it may not have been polled since it
/// was completed.
const RECORDED: &[JobStatus] =
    &[JobStatus::Pending, JobStatus::Processing, JobStatus::Completed, JobStatus::Failed];
/// Key in the `result` column of the library's job.
const KEY: &str = "refused_results";

/// Why the results of one version of a manifest were refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedResults {
    rev: u64,
    write_id: String,
    /// Older programs change only this.
    completed_at: Option<String>,
    /// SHA-256 of the refused file; `None` if it could not be downloaded as the manifest describes it.
    pub(super) sha256: Option<String>,
    /// What is wrong with the results.
    pub reason: String,
}

impl RefusedResults {
    /// The results that a manifest names now were refused for `reason`.
    pub(super) fn new(manifest: &Manifest, sha256: Option<String>, reason: String) -> Self {
        let completed_at = manifest.completed_at.as_ref().map(|at| at.as_str().to_owned());
        Self { rev: manifest.rev, write_id: manifest.write_id.clone(), completed_at, sha256, reason }
    }

    /// What the library recorded about the results that the manifest names now.
    pub fn of(row: &JobRow, manifest: &Manifest) -> Option<Self> {
        if row.status != JobStatus::Failed {
            return None;
        }
        let recorded: Self = serde_json::from_value(row.result.as_ref()?.get(KEY)?.clone()).ok()?;
        let now = Self::new(manifest, recorded.sha256.clone(), recorded.reason.clone());
        (recorded == now).then_some(recorded)
    }

    /// Records it in the library. A job that the user cancelled stays so.
    pub(super) fn record(&self, library: &Library, id: &str) -> Outcome<()> {
        let update = JobUpdate {
            status: Some(JobStatus::Failed),
            error: Some(format!("results corrupt: {}", self.reason)),
            progress_message: Some("results corrupt".to_owned()),
            result: Some(serde_json::json!({ KEY: self })),
            ..JobUpdate::default()
        };
        library.update_job_if(id, RECORDED, &update)?;
        Ok(())
    }
}

/// Records that the results are as they should be after all.
pub(super) fn forget(library: &Library, id: &str) -> Outcome<()> {
    let update = JobUpdate { status: Some(JobStatus::Completed), ..JobUpdate::default() };
    library.update_job_if(id, &[JobStatus::Failed], &update)?;
    Ok(())
}

/// Records refused results in the library.
pub(super) struct Refuse<'a> {
    pub(super) manifest: &'a Manifest,
    /// The video of the library that the job tracked.
    pub(super) video_id: i64,
    /// Whether the library has the job. It lacks those that other programs submitted.
    pub(super) has_row: bool,
}

impl Refuse<'_> {
    /// Records the failure if the results are at fault. Returns it with the next step.
    pub(super) fn recorded(
        &self,
        library: &mut Library,
        sha256: Option<String>,
        failure: Failure,
    ) -> Failure {
        if !is_of_results(&failure) {
            return failure;
        }
        let id = &self.manifest.job_id;
        let refused = RefusedResults::new(self.manifest, sha256, failure.message());
        let row =
            if self.has_row { Ok(()) } else { library.insert_job(&self.new_row()).map_err(Failure::from) };
        if let Err(error) = row.and_then(|()| refused.record(library, id.as_str())) {
            return error;
        }
        let what = match failure.cause() {
            Some(jobs::Error::Missing { .. }) => "missing",
            _ => "corrupt or of another video",
        };
        failure.hint(format!("the results are {what}: run `courtside retry {id}` to track it again"))
    }

    fn new_row(&self) -> NewJob {
        let manifest = self.manifest;
        NewJob {
            parameters: serde_json::to_value(&manifest.parameters).unwrap_or_default(),
            created_at: manifest.created_at.moment(),
            target: manifest.target.map(target::to_store),
            r2_video_key: Some(manifest.video_key()),
            ..NewJob::new(manifest.job_id.as_str(), self.video_id)
        }
    }
}

/// Whether the results are at fault: they are missing, or not those that the manifest describes, or invalid.
pub(super) fn is_of_results(failure: &Failure) -> bool {
    let is_of_object =
        matches!(failure.cause(), Some(jobs::Error::Mismatch { .. } | jobs::Error::Missing { .. }));
    is_of_object || results_file::is_invalid(failure)
}
