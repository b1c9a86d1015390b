//! The current state of one job, from its manifest and its row in the library.

use ::jobs::JobId;
use client::failure::Failure;
use client::overview::{Origin, Origins};
use store::JobRow;

use super::body::{JobContext, from_manifest_and_row, from_row};
use crate::api_error::{ApiError, ApiResult};
use crate::app::App;
use crate::shapes::job::JobBody;

/// Loads a job. Its manifest is read from the bucket unless its results are already in the library or this
/// server is still uploading its video. If the bucket fails, returns the last known state with a warning.
pub(crate) async fn load(app: &App, id: &JobId) -> ApiResult<JobBody> {
    let text = id.to_string();
    let known = app
        .client
        .with_library(move |client, library| Ok((library.job(&text)?, Origins::read(client, library)?)));
    let (row, origins) = known.await?;
    // An upload is still listed for a moment after its row and its manifest say that the job is queued.
    let is_uploading = row.as_ref().is_some_and(JobRow::is_uploading);
    let upload = app.uploads.progress(id).filter(|_| is_uploading);
    let context = JobContext { upload, ..job_context(app) };
    if let Some(row) = row.as_ref().filter(|row| row.imported || context.upload.is_some()) {
        return Ok(match app.job_cache.snapshot().jobs.get(id).filter(|_| row.imported) {
            Some(job) => {
                from_manifest_and_row(&job.manifest, Origin::default(), job.target, Some(row), context)
            }
            None => from_row(row, context),
        });
    }
    match app.client.manifest(id, app.client.likely_target(row.as_ref())).await {
        Ok(Some((manifest, target))) => {
            let context = JobContext { import_failure: app.import_failures.get(&manifest), ..context };
            Ok(from_manifest_and_row(&manifest, origins.of(&manifest), target, row.as_ref(), context))
        }
        Ok(None) => row.map(|row| from_row(&row, context)).ok_or_else(|| ApiError::no_job(id.as_str())),
        Err(failure) => last_known(app, id, (row, origins), context, failure),
    }
}

/// The last known state of a job whose manifest cannot be read now.
fn last_known(
    app: &App,
    id: &JobId,
    (row, origins): (Option<JobRow>, Origins),
    context: JobContext,
    failure: Failure,
) -> ApiResult<JobBody> {
    tracing::warn!(job = %id, cause = failure.message(), "cannot read the manifest");
    let warning = Some("the manifest could not be read; this is the last known state".to_owned());
    let context = JobContext { warning, ..context };
    match (app.job_cache.snapshot().jobs.get(id), row) {
        (Some(job), row) => {
            let import_failure = app.import_failures.get(&job.manifest);
            let context = JobContext { import_failure, ..context };
            Ok(from_manifest_and_row(
                &job.manifest,
                origins.of(&job.manifest),
                job.target,
                row.as_ref(),
                context,
            ))
        }
        (None, Some(row)) => Ok(from_row(&row, context)),
        (None, None) => Err(failure.into()),
    }
}

/// The part of the context that is the same for all jobs.
pub(super) fn job_context(app: &App) -> JobContext {
    JobContext {
        auto_import: app.options.auto_import,
        now: Some(app.client.env.utc()),
        ..JobContext::default()
    }
}
