//! Jobs of this library that were in a bucket, and whose manifest is gone: another program removed it, as older
//! importers do with the jobs that they import. Such a job is closed in the library, and never a dead end: it is shown,
//! it can be removed, and it can be submitted again.

use std::fmt;

use jobs::Status;
use store::{JobFilter, JobRow, JobStatus, JobUpdate, Library, SubmissionState};

use super::record;
use super::state::State;
use crate::failure::Outcome;
use crate::{Client, is_unknown_job, parse_job_id, videos};

/// Why a job of this library has no manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closed {
    /// It was completed: another program imported its results and removed it.
    ImportedElsewhere,
    /// It was not completed.
    RemovedFromBucket,
    /// The user removed it with this program. It is no longer listed.
    RemovedByUser,
}

impl Closed {
    const ALL: [Self; 3] = [Self::ImportedElsewhere, Self::RemovedFromBucket, Self::RemovedByUser];

    /// The state of the job's submission, as the library stores it.
    fn stored(self) -> &'static str {
        match self {
            Self::ImportedElsewhere => "imported_elsewhere",
            Self::RemovedFromBucket => "removed_from_bucket",
            Self::RemovedByUser => "removed",
        }
    }

    /// Why a job has no manifest; `None` if it has one, or has not been looked for.
    pub fn of(row: &JobRow) -> Option<Self> {
        let Some(SubmissionState::Other(stored)) = &row.submission else { return None };
        Self::ALL.into_iter().find(|closed| closed.stored() == stored)
    }

    /// What the job is shown as; `None` if it is not shown.
    pub(super) fn state(self) -> Option<State> {
        match self {
            Self::ImportedElsewhere => Some(State::ImportedElsewhere),
            Self::RemovedFromBucket => Some(State::RemovedFromBucket),
            Self::RemovedByUser => None,
        }
    }

    /// Records it in the library. A job that had not ended becomes failed, so that it can be retried.
    pub(crate) fn record(self, library: &mut Library, row: &JobRow) -> Outcome<()> {
        let status = row.status.is_open().then_some(JobStatus::Failed);
        let update = JobUpdate {
            status,
            error: status.map(|_| self.to_string()),
            progress_message: Some(self.to_string()),
            submission: Some(SubmissionState::Other(self.stored().to_owned())),
            ..JobUpdate::default()
        };
        library.update_job(&row.id, &update)?;
        match (status, row.video_id) {
            (Some(status), Some(video)) => videos::record_job_status(library, video, status),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::ImportedElsewhere => "imported elsewhere",
            Self::RemovedFromBucket | Self::RemovedByUser => "removed from the bucket",
        })
    }
}

/// Whether this program submitted or imported the job, as opposed to the analyzer app.
pub(crate) fn is_own(row: &JobRow) -> bool {
    row.submission.is_some() || row.target.is_some()
}

/// Closes the jobs of this library that have no manifest any more. `is_listed` tells whether a bucket listed the job
/// with this id; the manifest of every other one is looked for before the job is closed.
///
/// Call it only if every bucket responded. A job whose bucket fails now stays as it is.
pub async fn close_missing(
    client: &Client,
    library: &mut Library,
    is_listed: impl Fn(&str) -> bool,
) -> Outcome<()> {
    let filter = JobFilter { imported: Some(false), ..JobFilter::default() };
    for row in library.jobs(&filter)?.iter().filter(|row| may_be_missing(row) && !is_listed(&row.id)) {
        if let Some(closed) = look_for(client, row).await? {
            record::unless_busy(library, |library| closed.record(library, row))?;
        }
    }
    Ok(())
}

/// Closes a job if no bucket has its manifest.
pub(crate) async fn close_if_missing(client: &Client, library: &mut Library, row: &JobRow) -> Outcome<()> {
    match look_for(client, row).await? {
        Some(closed) => closed.record(library, row),
        None => Ok(()),
    }
}

/// Looks for the manifest of a job. Returns as what to close the job if no bucket has it.
async fn look_for(client: &Client, row: &JobRow) -> Outcome<Option<Closed>> {
    let id = parse_job_id(&row.id)?;
    Ok(match client.find_job_from(&id, client.likely_target(Some(row))).await {
        Err(failure) if is_unknown_job(&failure) => Some(closing(row)),
        // In the archive: another library imported it long ago.
        Ok((_, manifest)) if manifest.status == Status::Imported => Some(Closed::ImportedElsewhere),
        // The listing was late, or the bucket does not respond now.
        _ => None,
    })
}

/// How a job without a manifest is closed.
pub(crate) fn closing(row: &JobRow) -> Closed {
    match row.status {
        JobStatus::Completed => Closed::ImportedElsewhere,
        _ => Closed::RemovedFromBucket,
    }
}

/// Whether the library knows a job as one that has a manifest, and has not been imported.
pub(crate) fn may_be_missing(row: &JobRow) -> bool {
    let has_manifest = match &row.submission {
        Some(submission) => *submission == SubmissionState::Submitted,
        None => row.target.is_some(),
    };
    has_manifest && !row.imported && (row.status.is_open() || row.status == JobStatus::Completed)
}
