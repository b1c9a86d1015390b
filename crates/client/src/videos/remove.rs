//! Removing a video from the library.

use store::{JobFilter, Library, RemovalReport, StoreError};

use super::find;
use crate::failure::{Failure, Outcome};
use crate::{Client, overview};

/// The number of detections that [`remove`] deletes with a video.
///
/// # Errors
/// As for [`find`].
pub fn n_detections(library: &Library, id: i64) -> Outcome<i64> {
    find(library, id)?;
    Ok(library.n_detections(id)?)
}

/// Removes a video from the library with its detections and jobs. Its file, and what its buckets have, stay. Jobs whose
/// manifest is gone do not prevent it. `force` also removes a video with unfinished jobs.
///
/// # Errors
/// As for [`find`]; with [`store::StoreError::Conflict`] as its cause while one of its jobs has not ended.
pub async fn remove(client: &Client, library: &mut Library, id: i64, force: bool) -> Outcome<RemovalReport> {
    find(library, id)?;
    let filter = JobFilter { video_id: Some(id), imported: Some(false), ..JobFilter::default() };
    for row in library.jobs(&filter)?.iter().filter(|row| overview::may_be_missing(row)) {
        overview::close_if_missing(client, library, row).await?;
    }
    library.remove_video(id, force).map_err(|error| {
        let is_open = !force && matches!(error, StoreError::Conflict(_));
        let hint = || {
            format!(
                "import its results or cancel it first, or remove the video anyway with `courtside videos rm {id} --force`"
            )
        };
        Failure::from(error).hint_if(is_open.then(hint))
    })
}
