//! Whoever is no worker: the submitter, the importer, a person who changes their mind.

use bytes::Bytes;
use jobs::admin::{Admin, is_importable};
use jobs::bucket::Condition;
use jobs::catalog::Catalog;
use jobs::manifest::{Manifest, Parameters, VideoFacts};
use jobs::{Error, JobId};
use serde_json::json;
use time::OffsetDateTime;

use super::desk::Desk;
use super::dice::Dice;
use super::tracking::fault_of;
use super::worker::sha256;
use super::world::Told;

/// A job as its submitter wrote it down before anything was sent.
pub(super) fn plan(number: u64, mut dice: Dice) -> Manifest {
    let id = JobId::new(format!("job-{number}")).unwrap();
    let mut parameters = Parameters { sample_interval: dice.count(1..4), ..Parameters::default() };
    parameters.rest.insert("team".to_owned(), json!("home"));
    let submitted_at = OffsetDateTime::UNIX_EPOCH + dice.seconds(1.7e9..1.8e9);
    let mut job = Manifest::new(id, number as i64, parameters, submitted_at);
    job.max_attempts = dice.count(1..5) as u32;
    job.video = Some(VideoFacts { n_frames: Some(dice.count(2..8)), ..VideoFacts::default() });
    job.rest.insert("priority".to_owned(), json!({"level": dice.count(0..9), "who": ["ü", null]}));
    job
}

/// Submits what was planned; a job whose submission got no answer is submitted again, also by the next
/// process.
pub(super) async fn submit(mut desk: Desk, plan: Vec<Manifest>) {
    let admin = Admin::new(desk.bucket.clone(), desk.host.clone());
    for job in plan {
        if desk.world.is_submitted(&job.job_id) {
            continue;
        }
        desk.sleep_seconds(0.0..desk.world.knobs.longest_break).await;
        loop {
            let video = Bytes::from_static(b"video");
            let uploaded = desk.bucket.put(&job.video_key(), video, Condition::Always).await;
            let submitted = match uploaded {
                Ok(_) => admin.submit(job.clone()).await,
                Err(error) => Err(error),
            };
            match submitted {
                Ok(_) => break desk.world.told(&job.job_id, Told::Submitted),
                Err(error) if error.is_transient() => desk.sleep_seconds(1.0..30.0).await,
                Err(error) => return desk.world.violated(format!("a submission fails: {error}")),
            }
        }
    }
}

/// Imports whatever is completed.
pub(super) async fn import(mut desk: Desk) {
    let admin = Admin::new(desk.bucket.clone(), desk.host.clone());
    let mut catalog = Catalog::new(desk.bucket.clone(), desk.host.clone());
    loop {
        match catalog.refresh().await {
            Ok(()) => {}
            Err(error) if error.is_transient() => {
                desk.sleep_seconds(1.0..20.0).await;
                continue;
            }
            Err(error) => return desk.world.violated(format!("the catalog fails: {error}")),
        }
        let completed = catalog.jobs().filter(|seen| is_importable(&seen.manifest));
        let mut completed: Vec<Manifest> = completed.map(|seen| seen.manifest.clone()).collect();
        completed.sort_by(|a, b| a.job_id.cmp(&b.job_id));
        for job in completed {
            match import_one(&mut desk, &admin, &job).await {
                Err(error) if error.is_transient() => {}
                Err(error) => return desk.world.violated(format!("an import fails: {error}")),
                Ok(()) => {}
            }
        }
        desk.sleep_seconds(5.0..60.0).await;
    }
}

async fn import_one(desk: &mut Desk, admin: &Admin, job: &Manifest) -> Result<(), Error> {
    let (id, world) = (&job.job_id, desk.world.clone());
    let Some(object) = desk.bucket.get(&id.results(), 1 << 20).await? else {
        world.violated(format!("{id} is completed without results"));
        return Ok(());
    };
    let found = sha256(&object.bytes);
    if let Some(result) = &job.result {
        if (&found, Some(&object.etag.0)) != (&result.sha256, result.etag.as_ref()) {
            world.violated(format!("the results of {id} are not those that the register names"));
        }
        let n_frames = job.video.as_ref().and_then(|video| video.n_frames).unwrap_or_default();
        if let Some(fault) = fault_of(&object.bytes, id, n_frames, Some(result.attempt)) {
            world.violated(format!("the results of {id} are wrong: {fault}"));
        }
    }
    world.import(id, &found);
    // Many a process dies between its database and the bucket.
    desk.sleep_seconds(0.0..5.0).await;
    admin.imported(id).await.map(|_| ())
}

/// Cancels and retries at random.
pub(super) async fn meddle(mut desk: Desk, ids: Vec<JobId>) {
    let admin = Admin::new(desk.bucket.clone(), desk.host.clone());
    loop {
        desk.sleep_seconds(5.0..300.0).await;
        if desk.world.is_calm() {
            return;
        }
        let id = desk.dice.pick(&ids).clone();
        let done = match desk.dice.chance(0.4) {
            true => admin.cancel(&id).await,
            false => admin.retry(&id).await,
        };
        match done {
            Ok(_) | Err(Error::NoJob { .. } | Error::Forbidden { .. } | Error::Unavailable { .. }) => {}
            Err(error) => return desk.world.violated(format!("a person's wish fails: {error}")),
        }
    }
}
