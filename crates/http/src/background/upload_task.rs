//! Uploads submitted videos. An upload outlives the request that started it; after a restart, the job's row
//! in the library makes the server resume it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use ::jobs::JobId;
use client::failure::{Failure, Outcome};
use client::submit::{self, Prepared, Uploaded};
use client::terminal::notify;
use store::{JobStatus, JobUpdate, SubmissionState};

use super::uploads::RunningUpload;
use crate::app::{App, AppState};

/// Delay before the first retry while the bucket does not respond; doubled for each further one.
const FIRST_RETRY_DELAY: Duration = Duration::from_secs(5);
/// Upper limit of that delay.
const MAX_RETRY_DELAY: Duration = Duration::from_secs(300);

/// Starts the upload of a job, unless it is already running.
pub(crate) fn start(app: &AppState, prepared: Prepared) {
    let Some(upload) = app.uploads.begin(&prepared.job_id) else { return };
    let app = app.clone();
    tokio::spawn(async move {
        let _finished = upload.finished.clone().drop_guard();
        if let Err(failure) = submit::mark_background(&app.client, &prepared.job_id) {
            notify(format!(
                "job {}: its upload will not resume if this server stops: {failure}",
                prepared.job_id
            ));
        }
        upload_with_retries(&app, &prepared, &upload).await;
        if !app.stop.requested() {
            submit::unmark_background(&app.client, &prepared.job_id);
        }
        app.uploads.end(&prepared.job_id);
        app.job_changed(&prepared.job_id);
    });
}

/// Uploads until it succeeds, fails for good, or is cancelled.
async fn upload_with_retries(app: &App, prepared: &Prepared, upload: &RunningUpload) {
    let id = &prepared.job_id;
    let mut delay = FIRST_RETRY_DELAY;
    let mut uploaded = None;
    while let Err(failure) = upload_and_enqueue(app, prepared, upload, &mut uploaded).await {
        if !is_worth_retrying(&failure) {
            record_failure(app, id, &failure).await;
            return;
        }
        notify(format!("cannot upload job {id} yet: {failure}"));
        tokio::select! {
            () = tokio::time::sleep(delay) => delay = (delay * 2).min(MAX_RETRY_DELAY),
            () = upload.cancel.cancelled() => return,
            () = app.stop.wait() => return,
        }
    }
}

/// Whether the upload may succeed later without the user. It cannot while the video is missing or unreadable: the user
/// retries the job once the file is back.
fn is_worth_retrying(failure: &Failure) -> bool {
    let is_unreadable = |error: &io::Error| {
        matches!(
            error.kind(),
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::PermissionDenied
        )
    };
    failure.is_transient() && !failure.cause().is_some_and(is_unreadable)
}

/// Uploads the video and puts the job in the queue. Returns without an error if it is cancelled or the server
/// stops: the job's row in the library records that the submission is unfinished. `uploaded` keeps the result
/// of the first step for a retry of the second.
async fn upload_and_enqueue(
    app: &App,
    prepared: &Prepared,
    upload: &RunningUpload,
    uploaded: &mut Option<Arc<Uploaded>>,
) -> Outcome<()> {
    let uploaded = match uploaded {
        Some(uploaded) => uploaded.clone(),
        None => tokio::select! {
            done = upload_video(app, prepared, upload) => uploaded.insert(Arc::new(done?)).clone(),
            () = upload.cancel.cancelled() => return Ok(()),
            () = app.stop.wait() => return Ok(()),
        },
    };
    // Not cancelled from here on: once the manifest is written, a worker may claim the job.
    let prepared = prepared.clone();
    let enqueued = app.client.with_buckets(move |client| async move {
        submit::enqueue(&client, &mut client.library()?, &prepared, &uploaded).await
    });
    enqueued.await.map(|_| ())
}

async fn upload_video(app: &App, prepared: &Prepared, upload: &RunningUpload) -> Outcome<Uploaded> {
    let _permit = app.uploads.permits.acquire().await;
    let on_progress = |sent, total| upload.progress.set(sent, total);
    submit::upload(&app.client, prepared, &on_progress).await
}

/// Records in the library that an upload failed.
async fn record_failure(app: &App, id: &JobId, failure: &Failure) {
    if matches!(failure.cause(), Some(::jobs::Error::Refused { .. })) {
        tracing::info!(job = %id, cause = failure.message(), "another program uploads this job");
        return;
    }
    notify(format!("cannot upload job {id}: {failure}"));
    let update = JobUpdate {
        status: Some(JobStatus::Failed),
        progress_message: Some(submit::UPLOAD_FAILED.to_owned()),
        submission: Some(SubmissionState::UploadFailed),
        error: Some(failure.message()),
        completed_at: Some(app.client.env.utc()),
        ..JobUpdate::default()
    };
    let row = id.to_string();
    let recorded = app
        .client
        .with_library(move |_, library| Ok(library.update_job_if(&row, JobStatus::OPEN, &update)?));
    if let Err(failure) = recorded.await {
        tracing::error!(job = %id, cause = failure.message(), "cannot record the failed upload in the library");
    }
}

/// Resumes uploads that an earlier server left unfinished. Those that a command began are only named: the user may have
/// dropped them.
pub(super) async fn resume_all(app: &AppState) -> Outcome<()> {
    let rows = app.client.with_library(|_, library| Ok(library.open_jobs()?)).await?;
    for row in rows {
        if !row.is_uploading() {
            continue;
        }
        let id = client::parse_job_id(&row.id)?;
        if !submit::is_background(&app.client, &id) {
            notify(format!("job {id} is not uploaded yet: `courtside submit --resume {id}` resumes it"));
            continue;
        }
        let wanted = id.clone();
        let prepared =
            app.client.with_library(move |client, library| submit::prepare_again(client, library, &wanted));
        match prepared.await {
            Ok(prepared) => start(app, prepared),
            // For example, an external disk is not connected. The submission stays as it is until the user
            // cancels it.
            Err(failure) => notify(format!("cannot upload job {id} now: {failure}")),
        }
    }
    Ok(())
}
