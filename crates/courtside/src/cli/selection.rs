//! The detections that a command is about.

use client::export::{NotImported, Selected, select};
use client::failure::Outcome;
use client::import::{ImportOptions, import};
use client::terminal::notify;
use jobs::JobId;
use store::Library;

use super::Context;
use super::import::DownloadBar;

/// Finds detections as [`select`] does. A job that is named and completed is imported first, if it is not yet.
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
    let Some(NotImported(id)) = failure.cause() else { return Err(failure) };
    let id = id.parse::<JobId>().map_err(|_| failure)?;
    drop(library);
    import_job(context, &id).map_err(|failure| failure.context(NotImported(id.to_string())))?;
    let library = context.library_to_read()?;
    let selected = select(&library, name, job)?;
    Ok((library, selected))
}

fn import_job(context: &Context, id: &JobId) -> Outcome<()> {
    let mut library = context.library()?;
    let bar = DownloadBar::start();
    let options = ImportOptions::default();
    let imported = context.block_on(import(&context.client, &mut library, id, options, &bar.on_progress()));
    bar.finish();
    let imported = imported?;
    imported.warnings.iter().for_each(|warning| notify(format!("warning: job {id}: {warning}")));
    notify(format!("imported job {id}: {} detections, {} tracks", imported.detections, imported.tracks));
    Ok(())
}
