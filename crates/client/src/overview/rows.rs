//! The jobs that no bucket lists, from their rows in the library.

use jobs::{JobId, Status};
use store::{JobFilter, JobRow, JobStatus, Library};

use super::missing::{Closed, is_own};
use super::state::State;
use super::view::{JobView, of_row};
use crate::failure::Outcome;
use crate::submit::UPLOADING;

/// The jobs that are shown in a list although no bucket has them: their upload is unfinished or failed, or another
/// program removed them.
pub(super) fn listed(library: &Library, is_in_bucket: impl Fn(&str) -> bool) -> Outcome<Vec<JobView>> {
    let filter = JobFilter { imported: Some(false), ..JobFilter::default() };
    let rows = library.jobs(&filter)?;
    let shown = rows.iter().filter(|row| !is_in_bucket(&row.id)).filter_map(|row| {
        let (status, state) = if row.is_uploading() {
            (UPLOADING, State::Uploading)
        } else if row.has_failed_upload() {
            ("failed", State::Failed)
        } else {
            let state = Closed::of(row)?.state()?;
            (status_word(row), state)
        };
        Some(view_of(library, row, status, state))
    });
    shown.collect()
}

/// The view of a job by its id; `None` if the library does not know it, or the user removed it.
pub(super) fn unlisted(library: &Library, id: &JobId) -> Outcome<Option<JobView>> {
    let Some(row) = library.job(id.as_str())?.filter(is_own) else { return Ok(None) };
    if row.imported {
        let detections = row.result.as_ref().and_then(|result| result.get("detections")?.as_u64());
        let state = State::Imported { detections, missing_frames: 0 };
        return view_of(library, &row, Status::Imported.as_str(), state).map(Some);
    }
    if Closed::of(&row) == Some(Closed::RemovedByUser) {
        return Ok(None);
    }
    let state = match row.status {
        JobStatus::Failed => State::Failed,
        JobStatus::Cancelled => State::Cancelled,
        _ => return Ok(None),
    };
    view_of(library, &row, status_word(&row), state).map(Some)
}

fn view_of(library: &Library, row: &JobRow, status: &str, state: State) -> Outcome<JobView> {
    let video = row.video_id.map(|id| library.video(id)).transpose()?.flatten();
    Ok(of_row(row, video.as_ref(), status, state))
}

/// The status as manifests spell it.
fn status_word(row: &JobRow) -> &'static str {
    super::manifest_status(row.status).as_str()
}
