//! The task that watches the registers while the server runs, and imports results as soon as they are there.
//!
//! It imports jobs that this library submitted; results for other libraries stay where they are. What cannot
//! be imported is not tried again until its register changes, somebody retries it, or the server restarts.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ::jobs::JobId;
use ::jobs::admin::is_importable;
use ::jobs::manifest::{Manifest, Status};

use super::job_cache::Picture;
use super::options::Pace;
use super::state::App;
use client::failure::{Failure, Kind};
use client::import::{Imported, Options, import};
use client::terminal::notify;

/// Jobs whose results the library would not take, and why.
#[derive(Debug, Default)]
pub(super) struct ImportFailures(Mutex<HashMap<JobId, (Version, String)>>);

/// What tells one state of a register from another: an older program counts no revisions.
type Version = (u64, String, Option<String>);

fn version(manifest: &Manifest) -> Version {
    let completed_at = manifest.completed_at.as_ref().map(|at| at.as_str().to_owned());
    (manifest.rev, manifest.write_id.clone(), completed_at)
}

impl ImportFailures {
    /// Why the results that this register names could not be imported.
    pub(super) fn of(&self, manifest: &Manifest) -> Option<String> {
        let failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        failures.get(&manifest.job_id).filter(|(of, _)| *of == version(manifest)).map(|(_, why)| why.clone())
    }

    /// Forgets a failure, so that the import is tried again; tells whether there was one.
    pub(super) fn forgive(&self, id: &JobId) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(id).is_some()
    }

    fn note(&self, manifest: &Manifest, why: String) {
        let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        failures.insert(manifest.job_id.clone(), (version(manifest), why));
    }
}

/// Watches until the server stops.
pub(super) async fn watch(app: App) {
    let pace = app.options.pace;
    let mut pause = pace.look;
    while !app.stop.requested() {
        let picture = app.board.look(&app).await;
        if app.options.auto_import && import_all(&app, &picture).await > 0 {
            // What was imported is imported in the registers, too.
            app.board.look(&app).await;
        }
        pause = next_pause(pause, &picture, pace);
        let jitter = 0.75 + 0.25 * app.client.env.random();
        tokio::select! {
            () = app.stop.wait() => {}
            () = app.news.notified() => pause = pace.look,
            () = tokio::time::sleep(pause.mul_f64(jitter)) => {}
        }
    }
}

/// Pauses grow while nothing is under way.
fn next_pause(pause: Duration, picture: &Picture, pace: Pace) -> Duration {
    let is_open = |status| matches!(status, Status::Pending | Status::Processing | Status::Completed);
    match picture.jobs.values().any(|seen| is_open(seen.manifest.status)) {
        true => pace.look,
        false => pause.mul_f64(1.5).min(pace.look_idle.max(pace.look)),
    }
}

/// Imports what can be imported, the oldest first; returns how many jobs.
async fn import_all(app: &App, picture: &Picture) -> usize {
    let answers = picture.jobs.values().filter(|seen| !picture.trouble.contains(&seen.place));
    let mut waiting: Vec<_> = answers.map(|seen| seen.manifest.clone()).collect();
    waiting.retain(|manifest| is_importable(manifest) && app.import_failures.of(manifest).is_none());
    waiting.sort_by(|a, b| (a.created_at.moment(), &a.job_id).cmp(&(b.created_at.moment(), &b.job_id)));
    let mut n_imported = 0;
    for manifest in waiting {
        if app.stop.requested() {
            break;
        }
        let id = manifest.job_id.clone();
        match is_ours(app, &id).await {
            Ok(true) => {}
            Ok(false) => continue,
            Err(failure) => {
                tracing::warn!(cause = failure.message(), "the library cannot be read");
                break;
            }
        }
        let imported = app
            .with_buckets(move |client| async move {
                import(&client, &mut client.library()?, &id, Options::default(), &|_, _| {}).await
            })
            .await;
        match imported {
            Ok(imported) => {
                n_imported += 1;
                welcome(app, &imported);
            }
            Err(failure) => refuse(app, &manifest, &failure),
        }
    }
    n_imported
}

async fn is_ours(app: &App, id: &JobId) -> client::failure::Outcome<bool> {
    let id = id.to_string();
    app.at_desk(move |_, library| Ok(library.job(&id)?.is_some())).await
}

fn welcome(app: &App, imported: &Imported) {
    app.metrics.imported();
    let Imported { job_id, video_id, detections, tracks, .. } = imported;
    notify(format!("imported job {job_id}: {detections} detections of {tracks} tracks in video {video_id}"));
}

fn refuse(app: &App, manifest: &Manifest, failure: &Failure) {
    app.metrics.import_failed();
    notify(format!("job {} was not imported: {failure}", manifest.job_id));
    // A key that was changed today works tomorrow.
    if !failure.is_transient() && failure.kind != Kind::Remote {
        app.import_failures.note(manifest, failure.message());
    }
}
