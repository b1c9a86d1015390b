//! The programs on the client side: the submitter, the importer, and a user who cancels and retries jobs.

use bytes::Bytes;
use jobs::admin::{Admin, is_importable};
use jobs::bucket::Condition;
use jobs::catalog::Catalog;
use jobs::manifest::{Manifest, Parameters, VideoInfo};
use jobs::{Error, JobId};
use serde_json::json;
use time::OffsetDateTime;

use super::process_context::ProcessContext;
use super::rng::Rng;
use super::tracking::find_problem;
use super::worker::sha256;
use super::world::Declaration;

/// Makes the manifest of a job, as its submitter stores it before sending anything.
pub(super) fn plan(number: u64, mut rng: Rng) -> Manifest {
    let id = JobId::new(format!("job-{number}")).unwrap();
    let mut parameters = Parameters { sample_interval: rng.count(1..4), ..Parameters::default() };
    parameters.rest.insert("team".to_owned(), json!("home"));
    let submitted_at = OffsetDateTime::UNIX_EPOCH + rng.seconds(1.7e9..1.8e9);
    let mut job = Manifest::new(id, number as i64, parameters, submitted_at);
    job.max_attempts = rng.count(1..5) as u32;
    job.video = Some(VideoInfo { n_frames: Some(rng.count(2..8)), ..VideoInfo::default() });
    job.rest.insert("priority".to_owned(), json!({"level": rng.count(0..9), "who": ["ü", null]}));
    job
}

/// Submits the planned jobs. A submission without a response is repeated, also by the next process.
pub(super) async fn submit(mut ctx: ProcessContext, plan: Vec<Manifest>) {
    let admin = Admin::new(ctx.bucket.clone(), ctx.env.clone());
    for job in plan {
        if ctx.world.is_submitted(&job.job_id) {
            continue;
        }
        ctx.sleep_seconds(0.0..ctx.world.scenario.max_submit_interval).await;
        loop {
            let video = Bytes::from_static(b"video");
            let uploaded = ctx.bucket.put(&job.video_key(), video, Condition::Always).await;
            let submitted = match uploaded {
                Ok(_) => admin.submit(job.clone()).await,
                Err(error) => Err(error),
            };
            match submitted {
                Ok(_) => break ctx.world.declare(&job.job_id, Declaration::Submitted),
                Err(error) if error.is_transient() => ctx.sleep_seconds(1.0..30.0).await,
                Err(error) => return ctx.world.report_violation(format!("submitting failed: {error}")),
            }
        }
    }
}

/// Imports all completed jobs.
pub(super) async fn import(mut ctx: ProcessContext) {
    let admin = Admin::new(ctx.bucket.clone(), ctx.env.clone());
    let mut catalog = Catalog::new(ctx.bucket.clone(), ctx.env.clone());
    loop {
        match catalog.refresh().await {
            Ok(()) => {}
            Err(error) if error.is_transient() => {
                ctx.sleep_seconds(1.0..20.0).await;
                continue;
            }
            Err(error) => {
                return ctx.world.report_violation(format!("refreshing the catalog failed: {error}"));
            }
        }
        let completed = catalog.jobs().filter(|seen| is_importable(&seen.manifest));
        let mut completed: Vec<Manifest> = completed.map(|seen| seen.manifest.clone()).collect();
        completed.sort_by(|a, b| a.job_id.cmp(&b.job_id));
        for job in completed {
            match import_one(&mut ctx, &admin, &job).await {
                Err(error) if error.is_transient() => {}
                Err(error) => return ctx.world.report_violation(format!("importing failed: {error}")),
                Ok(()) => {}
            }
        }
        ctx.sleep_seconds(5.0..60.0).await;
    }
}

async fn import_one(ctx: &mut ProcessContext, admin: &Admin, job: &Manifest) -> Result<(), Error> {
    let (id, world) = (&job.job_id, ctx.world.clone());
    let Some(object) = ctx.bucket.get(&id.results_key(), 1 << 20).await? else {
        world.report_violation(format!("{id} is completed without results"));
        return Ok(());
    };
    let found = sha256(&object.bytes);
    if let Some(result) = &job.result {
        if (&found, Some(&object.etag.0)) != (&result.sha256, result.etag.as_ref()) {
            world.report_violation(format!("the results of {id} differ from those that the manifest names"));
        }
        let n_frames = job.video.as_ref().and_then(|video| video.n_frames).unwrap_or_default();
        if let Some(fault) = find_problem(&object.bytes, id, n_frames, Some(result.attempt)) {
            world.report_violation(format!("the results of {id} are wrong: {fault}"));
        }
    }
    world.import(id, &found);
    // A process may crash between the database commit and the manifest.
    ctx.sleep_seconds(0.0..5.0).await;
    admin.mark_imported(id).await.map(|_| ())
}

/// Cancels and retries at random.
pub(super) async fn cancel_and_retry(mut ctx: ProcessContext, ids: Vec<JobId>) {
    let admin = Admin::new(ctx.bucket.clone(), ctx.env.clone());
    loop {
        ctx.sleep_seconds(5.0..300.0).await;
        if ctx.world.faults_have_ended() {
            return;
        }
        let id = ctx.rng.pick(&ids).clone();
        let done = match ctx.rng.chance(0.4) {
            true => admin.cancel(&id).await,
            false => admin.retry(&id).await,
        };
        match done {
            Ok(_) | Err(Error::NoJob { .. } | Error::Refused { .. } | Error::Unavailable { .. }) => {}
            Err(error) => {
                return ctx.world.report_violation(format!("cancelling or retrying failed: {error}"));
            }
        }
    }
}
