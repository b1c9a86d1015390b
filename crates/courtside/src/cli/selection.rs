//! The detections that a command is about.

use client::export::{NoDetections, NoJob, NotImported, Selected, select};
use client::failure::Outcome;
use client::import::{ImportOptions, import};
use client::terminal::{counted, notify};
use jobs::JobId;
use jobs::manifest::Status;
use store::{JobFilter, Library};

use super::Context;
use super::import::DownloadBar;

/// Finds detections as [`select`] does. A completed job that is named, also by its video, is imported first, if it is not yet.
///
/// # Errors
/// Those of [`select`], and of the import.
pub(super) fn select_imported(
    context: &Context,
    name: &str,
    job: Option<&str>,
) -> Outcome<(Library, Selected)> {
    let library = context.library_to_read()?;
    let failure = match select(&library, name, job) {
        Ok(selected) => return Ok((library, selected)),
        Err(failure) => failure,
    };
    if let Some(NotImported(id)) = failure.cause() {
        let id = id.parse::<JobId>().map_err(|_| failure)?;
        drop(library);
        import_job(context, &id).map_err(|failure| failure.context(NotImported(id.to_string())))?;
    } else if let Some(NoDetections(video_id)) = failure.cause() {
        let Some(id) = completed_job(context, &library, *video_id)? else { return Err(failure) };
        drop(library);
        import_job(context, &id)?;
    } else if let Some(NoJob(id)) = failure.cause() {
        let import =
            format!("it is a job of another library: run `courtside import --job-id {id}` to import it");
        let is_completed = is_completed(context, id);
        return Err(if is_completed { failure.hint(import) } else { failure });
    } else {
        return Err(failure);
    }
    let library = context.library_to_read()?;
    let selected = select(&library, name, job)?;
    Ok((library, selected))
}

/// Whether a bucket has this job, completed.
fn is_completed(context: &Context, id: &str) -> bool {
    let Ok(id) = id.parse::<JobId>() else { return false };
    let found = context.block_on(context.client.find_job(&id));
    found.is_ok_and(|(_, manifest)| manifest.status == Status::Completed)
}

/// The latest of the library's jobs of a video whose results wait in the bucket.
fn completed_job(context: &Context, library: &Library, video_id: i64) -> Outcome<Option<JobId>> {
    let filter = JobFilter { video_id: Some(video_id), limit: Some(20), ..JobFilter::default() };
    let jobs = library.jobs(&filter)?;
    context.block_on(async {
        for id in jobs.iter().filter_map(|job| job.id.parse::<JobId>().ok()) {
            // A job that has no manifest has no results.
            let found = context.client.find_job(&id).await;
            if found.is_ok_and(|(_, manifest)| manifest.status == Status::Completed) {
                return Ok(Some(id));
            }
        }
        Ok(None)
    })
}

fn import_job(context: &Context, id: &JobId) -> Outcome<()> {
    let mut library = context.library()?;
    let bar = DownloadBar::start();
    let options = ImportOptions::default();
    let imported = context.block_on(import(&context.client, &mut library, id, options, &bar.on_progress()));
    bar.finish();
    let imported = imported?;
    imported.warnings.iter().for_each(|warning| notify(format!("warning: job {id}: {warning}")));
    notify(format!(
        "imported job {id}: {}, {}",
        counted(imported.detections, "detection"),
        counted(imported.tracks, "track")
    ));
    Ok(())
}
