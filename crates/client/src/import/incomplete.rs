//! Imported jobs of which the library has lost detections: the analyzer app may delete some.

use jobs::JobId;
use serde::Serialize;
use store::Library;

use crate::failure::Outcome;
use crate::{Client, is_unknown_job};

/// An imported job of which the library lacks detections.
#[derive(Debug, Clone, Serialize)]
pub struct Incomplete {
    /// Id of the job.
    pub job_id: String,
    /// The video into which it was imported.
    pub video_id: i64,
    /// Number of detections that were imported.
    pub imported: i64,
    /// Number of these that are left.
    pub left: i64,
    /// The command that imports the job again; `None` if no bucket has it any more.
    pub command: Option<String>,
}

/// The imported jobs that have lost detections, oldest import first. A bucket that does not respond is assumed to have the
/// job.
pub(super) async fn find(client: &Client, library: &Library) -> Outcome<Vec<Incomplete>> {
    let mut found = Vec::new();
    for store::IncompleteImport { import, n_left } in library.incomplete_imports()? {
        found.push(Incomplete {
            command: command(client, library, &import.job_id).await?,
            job_id: import.job_id,
            video_id: import.video_id,
            imported: import.n_detections,
            left: n_left,
        });
    }
    Ok(found)
}

async fn command(client: &Client, library: &Library, job_id: &str) -> Outcome<Option<String>> {
    let Ok(id) = JobId::new(job_id) else { return Ok(None) };
    let row = library.job(job_id).unwrap_or_default();
    match client.find_job_from(&id, client.likely_target(row.as_ref())).await {
        Err(failure) if is_unknown_job(&failure) => Ok(None),
        _ => Ok(Some(format!("courtside import --job-id {id}"))),
    }
}
