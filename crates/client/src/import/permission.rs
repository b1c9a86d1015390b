//! Which jobs are imported only on request: a bucket and a library have one importer, and a cancelled job is not imported
//! because an older worker, which ignores that, completed it.

use jobs::manifest::{Manifest, Status};
use store::{JobRow, JobStatus, Library};

use super::ImportOptions;
use crate::Client;
use crate::failure::{Failure, Kind, Outcome};

/// Why a job is imported only with `--force`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NeedsForce {
    /// Its manifest says that it is imported, but this library does not have its results.
    ImportedElsewhere,
    /// As before, and this library submitted it, and the user removed its video since.
    ImportedBefore,
    /// The user cancelled it, and an older worker completed it anyway.
    Cancelled,
}

impl NeedsForce {
    /// Why a job must not be imported without `--force`; `None` if it may.
    pub(super) fn of(
        client: &Client,
        library: &Library,
        manifest: &Manifest,
        row: Option<&JobRow>,
    ) -> Outcome<Option<Self>> {
        let id = manifest.job_id.as_str();
        if manifest.status == Status::Imported && library.import_of(id)?.is_none() {
            let is_own = row.is_none()
                && manifest.submitter.is_some()
                && !is_of_other_library(client, library, manifest)?;
            return Ok(Some(if is_own { Self::ImportedBefore } else { Self::ImportedElsewhere }));
        }
        let is_cancelled = row.is_some_and(|row| row.status == JobStatus::Cancelled && !row.imported);
        Ok(is_cancelled.then_some(Self::Cancelled))
    }

    /// The reason, for a sentence that begins with the job.
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::ImportedElsewhere => "was imported by another program, or into another library",
            Self::ImportedBefore => "was imported before, and its results are no longer in this library",
            Self::Cancelled => "was cancelled, and an older worker completed it anyway",
        }
    }
}

/// Refuses a job that must not be imported without `--force`.
pub(super) fn check_allowed(
    client: &Client,
    library: &Library,
    manifest: &Manifest,
    row: Option<&JobRow>,
    options: ImportOptions,
) -> Outcome<()> {
    let id = &manifest.job_id;
    match NeedsForce::of(client, library, manifest, row)? {
        Some(needs) if !options.force => {
            let failure = Failure::msg(Kind::Failed, format!("job {id} {}", needs.reason()));
            Err(failure.hint(format!("run `courtside import --job-id {id} --force` to import it here")))
        }
        _ => Ok(()),
    }
}

/// Whether an automatic import takes the job: this library submitted it, and the user has not cancelled it.
pub fn is_automatic(client: &Client, library: &Library, manifest: &Manifest) -> Outcome<bool> {
    let Some(row) = library.job(manifest.job_id.as_str())? else { return Ok(false) };
    let is_cancelled = row.status == JobStatus::Cancelled && !row.imported;
    Ok(!is_cancelled && !is_of_other_library(client, library, manifest)?)
}

/// Whether another library submitted the job, which will import it too.
pub(crate) fn is_of_other_library(client: &Client, library: &Library, manifest: &Manifest) -> Outcome<bool> {
    match &manifest.submitter {
        Some(submitter) => Ok(client.known_library_id(library)?.as_ref() != Some(&submitter.library_id)),
        None => Ok(false),
    }
}
