//! What the library knows better than a job's manifest: that the user cancelled the job although an older worker, which
//! ignores that, went on with it; and that its results cannot be imported.

use jobs::manifest::{Manifest, Status};
use jobs::protocol::was_retried;
use store::{JobRow, JobStatus};

use super::state::State;
use crate::import::RefusedResults;

/// The state of a job that its manifest does not show; `None` if the manifest is right.
pub(super) fn known_state(row: &JobRow, manifest: &Manifest) -> Option<State> {
    if row.imported {
        // Its own library marks the manifest.
        return (manifest.status == Status::Completed).then(|| State::imported(manifest));
    }
    if is_cancel_overridden(row, manifest) {
        return Some(State::CancelOverridden { is_completed: manifest.status == Status::Completed });
    }
    let refused = || RefusedResults::of(row, manifest);
    (manifest.status == Status::Completed)
        .then(refused)?
        .map(|refused| State::ResultsCorrupt { reason: refused.reason })
}

/// Whether an older worker overwrote the cancellation. This program's own workers never do, and a user who retries the job
/// leaves an event, which older programs drop.
fn is_cancel_overridden(row: &JobRow, manifest: &Manifest) -> bool {
    let is_open = matches!(manifest.status, Status::Pending | Status::Cancelled);
    row.status == JobStatus::Cancelled && !is_open && !was_retried(manifest)
}
