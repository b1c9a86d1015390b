//! Imports the results of completed jobs.
//!
//! Only jobs that this library submitted are imported; results for other libraries stay in the bucket. A
//! failed import is not retried until the manifest changes, the user retries the job, or the server restarts.

use std::sync::Arc;

use ::jobs::admin::is_importable;
use ::jobs::manifest::Manifest;
use client::failure::Failure;
use client::import::{ImportOptions, Imported, import, is_automatic};
use client::terminal::{counted, notify};

use super::job_cache::JobSnapshot;
use crate::app::App;

/// Imports everything that can be imported, oldest job first. Returns the number of imported jobs.
pub(super) async fn import_completed(app: &App, snapshot: &JobSnapshot) -> usize {
    let mut n_imported = 0;
    for manifest in importable(app, snapshot) {
        if app.stop.requested() {
            break;
        }
        let wanted = manifest.clone();
        let is_automatic =
            app.client.with_library(move |client, library| is_automatic(client, library, &wanted));
        match is_automatic.await {
            Ok(true) => {}
            Ok(false) => continue,
            Err(failure) => {
                tracing::warn!(cause = failure.message(), "cannot read the library");
                break;
            }
        }
        let id = manifest.job_id.clone();
        let imported = app.client.with_buckets(move |client| async move {
            import(&client, &mut client.library()?, &id, ImportOptions::default(), &|_, _| {}).await
        });
        match imported.await {
            Ok(imported) => {
                n_imported += 1;
                report_import(app, &imported);
            }
            Err(failure) => report_failure(app, &manifest, &failure),
        }
    }
    n_imported
}

/// The manifests of completed jobs, oldest first, without those whose import failed before or whose bucket
/// does not respond.
fn importable(app: &App, snapshot: &JobSnapshot) -> Vec<Arc<Manifest>> {
    let reachable = snapshot.jobs.values().filter(|job| !snapshot.unreachable.contains(&job.target));
    let mut manifests: Vec<_> = reachable.map(|job| job.manifest.clone()).collect();
    manifests.retain(|manifest| is_importable(manifest) && app.import_failures.get(manifest).is_none());
    manifests.sort_by(|a, b| (a.created_at.moment(), &a.job_id).cmp(&(b.created_at.moment(), &b.job_id)));
    manifests
}

fn report_import(app: &App, imported: &Imported) {
    app.metrics.record_import();
    let Imported { job_id, video_id, detections, tracks, warnings, .. } = imported;
    warnings.iter().for_each(|warning| notify(format!("warning: job {job_id}: {warning}")));
    notify(format!(
        "imported job {job_id}: {} of {} in video {video_id}",
        counted(detections, "detection"),
        counted(tracks, "track")
    ));
}

fn report_failure(app: &App, manifest: &Manifest, failure: &Failure) {
    app.metrics.record_import_failure();
    notify(format!("cannot import job {}: {failure}", manifest.job_id));
    // A bucket may respond again, or its access key may be corrected: those failures are retried.
    let is_of_bucket = failure.cause().is_some_and(::jobs::Error::is_misconfiguration);
    if !failure.is_transient() && !is_of_bucket {
        app.import_failures.record(manifest, failure.message());
    }
}
