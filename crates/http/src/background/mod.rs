//! What runs next to the requests: uploads to the bucket, polling of the manifests, imports, and views of
//! followed jobs.

pub(crate) mod import_failures;
mod importer;
pub(crate) mod job_cache;
mod job_poller;
pub(crate) mod job_view_cache;
pub(crate) mod upload_task;
pub(crate) mod uploads;

use std::time::Duration;

use crate::app::AppState;

/// Resumes unfinished uploads, then polls, imports and sweeps until the server stops.
pub(crate) async fn run(app: AppState) {
    if let Err(failure) = upload_task::resume_all(&app).await {
        tracing::error!(cause = failure.message(), "cannot resume unfinished uploads");
    }
    tokio::join!(job_poller::run(app.clone()), sweep_daily(&app));
}

/// Sweeps the buckets once a day.
async fn sweep_daily(app: &AppState) {
    /// Time between two looks at when the buckets were swept last.
    const INTERVAL: Duration = Duration::from_secs(3600);
    while !app.stop.requested() {
        tokio::select! {
            () = async {
                client::sweep::sweep_if_due(&app.client).await;
                tokio::time::sleep(INTERVAL).await;
            } => {}
            () = app.stop.wait() => {}
        }
    }
}
