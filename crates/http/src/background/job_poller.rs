//! The task that polls the manifests in all buckets, and imports results when a job completes.

use std::time::Duration;

use ::jobs::manifest::Status;

use super::importer;
use super::job_cache::JobSnapshot;
use crate::app::AppState;
use crate::server_options::PollIntervals;

/// Polls until the server stops: when the interval has passed, or immediately when this server changed a job.
pub(super) async fn run(app: AppState) {
    let poll = app.options.poll;
    let mut interval = poll.jobs;
    while !app.stop.requested() {
        let snapshot = app.job_cache.refresh().await;
        if app.options.auto_import && importer::import_completed(&app, &snapshot).await > 0 {
            // An import changes the status in the manifest.
            app.job_cache.refresh().await;
        }
        interval = next_interval(interval, &snapshot, poll);
        let jitter = 0.75 + 0.25 * app.client.env.random();
        tokio::select! {
            () = app.stop.wait() => {}
            () = app.poll_now.notified() => interval = poll.jobs,
            () = tokio::time::sleep(interval.mul_f64(jitter)) => {}
        }
    }
}

/// The interval grows while no job is open.
fn next_interval(interval: Duration, snapshot: &JobSnapshot, poll: PollIntervals) -> Duration {
    let is_open = |status| matches!(status, Status::Pending | Status::Processing | Status::Completed);
    match snapshot.jobs.values().any(|job| is_open(job.manifest.status)) {
        true => poll.jobs,
        false => interval.mul_f64(1.5).min(poll.jobs_idle.max(poll.jobs)),
    }
}
