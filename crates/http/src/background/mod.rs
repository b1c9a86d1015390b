//! What runs next to the requests: uploads to the bucket, polling of the manifests, imports, and views of
//! followed jobs.

pub(crate) mod import_failures;
mod importer;
pub(crate) mod job_cache;
mod job_poller;
pub(crate) mod job_view_cache;
pub(crate) mod upload_task;
pub(crate) mod uploads;

use crate::app::AppState;

/// Resumes unfinished uploads, then polls and imports until the server stops.
pub(crate) async fn run(app: AppState) {
    if let Err(failure) = upload_task::resume_all(&app).await {
        tracing::error!(cause = failure.message(), "cannot resume unfinished uploads");
    }
    job_poller::run(app).await;
}
