//! Records in the library what the manifests say.

use jobs::JobId;
use jobs::manifest::{Manifest, Timestamp};
use store::{JobFilter, JobUpdate, Library, StoreError, SubmissionState};
use time::OffsetDateTime;

use super::missing::Closed;
use super::override_state::known_state;
use super::state::{State, job_status, n_frames};
use crate::failure::Outcome;
use crate::videos;

/// Records what the next poll can record as well. It is skipped if another program is writing, and in a database of the
/// analyzer app that has none of courtside's tables.
pub(super) fn unless_busy(
    library: &mut Library,
    record: impl FnOnce(&mut Library) -> Outcome<()>,
) -> Outcome<()> {
    if !library.is_set_up()? {
        return Ok(());
    }
    match library.without_waiting(record) {
        Err(failure) if matches!(failure.cause(), Some(StoreError::Busy { .. })) => Ok(()),
        recorded => recorded,
    }
}

/// Updates every job of the library that has a manifest and is not imported. `manifest_of` returns the manifest of
/// a job, or `None` to leave the job alone. What the library knows better (see `override_state.rs`) stays. Rows are written only when something changed.
pub fn record_states<'a>(
    library: &mut Library,
    manifest_of: impl Fn(&JobId) -> Option<&'a Manifest>,
) -> Outcome<()> {
    for row in library.jobs(&JobFilter::default())? {
        let Ok(id) = JobId::new(row.id.clone()) else { continue };
        let Some(manifest) = manifest_of(&id) else { continue };
        if known_state(&row, manifest).is_some() {
            continue;
        }
        let update = update_from(manifest);
        let known = (row.status, row.progress_current, row.error.as_deref());
        let current = update.progress_current.unwrap_or(row.progress_current);
        // A job that was closed while its bucket could not be found has a manifest after all.
        let is_changed = Closed::of(&row).is_some()
            || known != (job_status(manifest.status), current, manifest.error.as_deref());
        if is_changed && !row.imported {
            library.update_job(&row.id, &update)?;
            if let Some(video_id) = row.video_id {
                videos::record_job_status(library, video_id, job_status(manifest.status))?;
            }
        }
    }
    Ok(())
}

fn update_from(manifest: &Manifest) -> JobUpdate {
    // At the epoch no heartbeat is late: `stalled` depends on the reader's clock and is not recorded.
    let state = State::of(manifest, OffsetDateTime::UNIX_EPOCH);
    JobUpdate {
        status: Some(job_status(manifest.status)),
        progress_current: manifest.frames_processed.map(|n| n as i64),
        progress_total: n_frames(manifest).map(|n| n as i64),
        progress_message: Some(state.to_string()),
        error: manifest.error.clone(),
        started_at: manifest.started_at.as_ref().map(Timestamp::moment),
        completed_at: manifest.completed_at.as_ref().map(Timestamp::moment),
        worker_id: manifest.worker_id.clone(),
        r2_video_key: None,
        result: None,
        // The bucket has the manifest.
        submission: Some(SubmissionState::Submitted),
    }
}
