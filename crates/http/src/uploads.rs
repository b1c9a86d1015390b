//! Uploads that this server does, beside the requests: they outlive the request that asked for them, and the
//! library's rows bring them back after a restart.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ::jobs::JobId;
use store::{JobStatus, JobUpdate, SubmissionState};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use super::shapes::UploadBody;
use super::state::App;
use client::failure::{Failure, Outcome};
use client::submit::{self, Prepared, Uploaded};
use client::terminal::notify;

/// Uploads at the same time; each sends several parts at once.
const AT_ONCE: usize = 2;
/// Between tries while the bucket does not answer.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// The uploads under way.
#[derive(Debug)]
pub(super) struct Uploads {
    running: Mutex<HashMap<JobId, Running>>,
    turns: Semaphore,
}

impl Default for Uploads {
    fn default() -> Self {
        Self { running: Mutex::default(), turns: Semaphore::new(AT_ONCE) }
    }
}

/// One of them.
#[derive(Debug, Clone)]
struct Running {
    cancel: CancellationToken,
    sent: Arc<Sent>,
    over: watch::Receiver<bool>,
}

#[derive(Debug, Default)]
struct Sent {
    bytes: AtomicU64,
    total: AtomicU64,
}

impl Uploads {
    fn running(&self) -> std::sync::MutexGuard<'_, HashMap<JobId, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How far the upload of a job is; `None` if none is under way.
    pub(super) fn progress(&self, id: &JobId) -> Option<UploadBody> {
        let sent = self.running().get(id)?.sent.clone();
        let (sent_bytes, total_bytes) =
            (sent.bytes.load(Ordering::Relaxed), sent.total.load(Ordering::Relaxed));
        Some(UploadBody { sent_bytes, total_bytes })
    }

    /// Stops the upload of a job, if one is under way, and waits until nothing of it runs any more.
    pub(super) async fn cancel(&self, id: &JobId) {
        let Some(mut running) = self.running().get(id).cloned() else { return };
        running.cancel.cancel();
        // An error is the sender's end, which is what is waited for.
        let _ = running.over.wait_for(|over| *over).await;
    }
}

/// Begins the upload of a job, unless it is under way already.
pub(super) fn start(app: &App, prepared: Prepared) {
    let id = prepared.job_id.clone();
    let (ended, over) = watch::channel(false);
    let running = Running { cancel: CancellationToken::new(), sent: Arc::default(), over };
    {
        let mut all = app.uploads.running();
        if all.contains_key(&id) {
            return;
        }
        all.insert(id.clone(), running.clone());
    }
    let app = app.clone();
    tokio::spawn(async move {
        let mut pause = FIRST_PAUSE;
        let mut uploaded = None;
        while let Err(failure) = run(&app, &prepared, &running, &mut uploaded).await {
            if !failure.is_transient() {
                give_up(&app, &id, &failure).await;
                break;
            }
            notify(format!("job {id} is not uploaded yet: {failure}"));
            tokio::select! {
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(LONGEST_PAUSE),
                () = running.cancel.cancelled() => break,
                () = app.stop.wait() => break,
            }
        }
        app.uploads.running().remove(&id);
        app.glances.forget(&id);
        app.news.notify_one();
        ended.send_replace(true);
    });
}

/// Uploads and puts the job in the queue. To be stopped in the middle is no failure: the row says that the
/// submission did not end.
async fn run(
    app: &App,
    prepared: &Prepared,
    running: &Running,
    uploaded: &mut Option<Arc<Uploaded>>,
) -> Outcome<()> {
    let sent = &running.sent;
    let progress = |done, total| {
        sent.bytes.store(done, Ordering::Relaxed);
        sent.total.store(total, Ordering::Relaxed);
    };
    let upload = async {
        let _turn = app.uploads.turns.acquire().await;
        submit::upload(&app.client, prepared, &progress).await
    };
    let uploaded = match uploaded {
        // Only the last word was missing.
        Some(uploaded) => uploaded.clone(),
        None => tokio::select! {
            done = upload => uploaded.insert(Arc::new(done?)).clone(),
            () = running.cancel.cancelled() => return Ok(()),
            () = app.stop.wait() => return Ok(()),
        },
    };
    // From here on to the end: a register that is there counts.
    let prepared = prepared.clone();
    app.with_buckets(move |client| async move {
        submit::enqueue(&client, &mut client.library()?, &prepared, &uploaded).await.map(|_| ())
    })
    .await
}

/// Notes that an upload failed.
async fn give_up(app: &App, id: &JobId, failure: &Failure) {
    if matches!(failure.cause(), Some(::jobs::Error::Refused { .. })) {
        // Another program is at it.
        tracing::info!(job = %id, cause = failure.message(), "not uploaded from here");
        return;
    }
    notify(format!("job {id} was not uploaded: {failure}"));
    let update = JobUpdate {
        status: Some(JobStatus::Failed),
        progress_message: Some(submit::UPLOAD_FAILED.to_owned()),
        submission: Some(SubmissionState::UploadFailed),
        error: Some(failure.message()),
        completed_at: Some(app.client.env.utc()),
        ..JobUpdate::default()
    };
    let row = id.to_string();
    let noted =
        app.at_desk(move |_, library| Ok(library.update_job_if(&row, JobStatus::OPEN, &update)?)).await;
    if let Err(failure) = noted {
        tracing::error!(job = %id, cause = failure.message(), "the failed upload was not noted in the library");
    }
}

/// Goes on with what an earlier server, or a command that was interrupted, did not end.
pub(super) async fn resume(app: &App) -> Outcome<()> {
    let rows = app.at_desk(|_, library| Ok(library.open_jobs()?)).await?;
    for row in rows {
        let Some(submission) = submit::unfinished_submission(&row) else { continue };
        let id = client::job_id(&row.id)?;
        match app.at_desk(move |client, library| submit::prepare(client, library, submission)).await {
            Ok(prepared) => start(app, prepared),
            // A disk that is not plugged in, perhaps: the submission stays as it is until somebody cancels it.
            Err(failure) => notify(format!("job {id} cannot be uploaded now: {failure}")),
        }
    }
    Ok(())
}
