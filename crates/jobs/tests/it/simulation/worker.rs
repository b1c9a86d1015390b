//! A worker: polls for a job, sends heartbeats, works in steps, writes checkpoints, publishes. It uses the
//! crate's API in the same way as the real worker.

use std::path::PathBuf;
use std::sync::Mutex;

use jobs::admin::Admin;
use jobs::bucket::Condition;
use jobs::lease::{Lease, LeaseError, RunReport};
use jobs::manifest::{Checkpoint, Heartbeat, Stage, StoredObject};
use jobs::queue::{PollOutcome, Queue, Worker};
use jobs::{Error, Timing};
use sha2::{Digest, Sha256};

use super::process_context::ProcessContext;
use super::tracking::{Run, Signature};
use super::world::Declaration;

/// How workers behave.
#[derive(Debug, Clone, Copy)]
pub(super) struct WorkerBehaviour {
    /// What the results depend on.
    pub(super) signature: Signature,
    /// Longest time per frame, in seconds.
    pub(super) slowest_frame: f64,
    /// Probabilities per frame: of a checkpoint, of a failure, of a final failure, of a release.
    pub(super) p_checkpoint: f64,
    pub(super) p_fail: f64,
    pub(super) p_fatal: f64,
    pub(super) p_release: f64,
}

/// How an attempt ends.
enum AttemptEnd {
    Completed,
    Failed {
        retryable: bool,
    },
    Released,
    Lost,
    /// The bucket did not respond; the lease will expire.
    Unavailable,
}

/// How many times a worker tries an operation on a bucket that does not respond.
const MAX_TRIES: u32 = 4;

pub(super) async fn work(mut ctx: ProcessContext, timing: Timing) {
    let name = Worker { worker_id: ctx.info.name.clone(), host: None, machine: None };
    let mut queue = Queue::new(ctx.bucket.clone(), ctx.env.clone(), timing, name, |_| true);
    loop {
        match queue.poll().await {
            Ok(PollOutcome::Claimed(lease)) => attempt(&mut ctx, &lease).await,
            Ok(PollOutcome::Idle { pause, .. }) => tokio::time::sleep(pause).await,
            Err(error) if error.is_transient() => ctx.sleep_seconds(2.0..20.0).await,
            Err(error) => return ctx.world.report_violation(format!("polling failed: {error}")),
        }
    }
}

async fn attempt(ctx: &mut ProcessContext, lease: &Lease) {
    ctx.world.count("an attempt started");
    let progress = Mutex::new(Heartbeat::default());
    let end = tokio::select! {
        biased;
        end = run(ctx, lease, &progress) => end.unwrap_or_else(|error| match error {
            LeaseError::Lost { .. } => AttemptEnd::Lost,
            LeaseError::Bucket(_) => AttemptEnd::Unavailable,
        }),
        _ = lease.keep_alive(|| progress.lock().unwrap().clone()) => AttemptEnd::Lost,
    };
    match end {
        AttemptEnd::Completed => {
            // If this fails, the importer removes them.
            let admin = Admin::new(ctx.bucket.clone(), ctx.env.clone());
            let _ = admin.remove_checkpoints(lease.id()).await;
        }
        AttemptEnd::Failed { retryable } => {
            if !retryable {
                let claim_id = lease.manifest().await.claim.map(|claim| claim.id).unwrap_or_default();
                ctx.world.declare(lease.id(), Declaration::NotRetryable { claim_id });
            }
            report_end(ctx, lease, &end).await;
        }
        AttemptEnd::Released => report_end(ctx, lease, &end).await,
        AttemptEnd::Lost => ctx.world.count("a worker noticed that it lost its lease"),
        AttemptEnd::Unavailable => ctx.world.count("a worker stopped because the bucket did not respond"),
    }
}

/// Reports how the attempt ended, with retries.
async fn report_end(ctx: &mut ProcessContext, lease: &Lease, end: &AttemptEnd) {
    for _ in 0..MAX_TRIES {
        let said = match end {
            AttemptEnd::Failed { retryable } => lease.fail("tracking failed", *retryable).await,
            _ => lease.release("told to stop").await,
        };
        match said {
            Err(LeaseError::Bucket(error)) if error.is_transient() => ctx.sleep_seconds(1.0..10.0).await,
            Err(LeaseError::Bucket(error)) => {
                return ctx.world.report_violation(format!("reporting the end failed: {error}"));
            }
            Ok(()) | Err(LeaseError::Lost { .. }) => return,
        }
    }
}

async fn run(
    ctx: &mut ProcessContext,
    lease: &Lease,
    progress: &Mutex<Heartbeat>,
) -> Result<AttemptEnd, LeaseError> {
    let behaviour = ctx.world.scenario.behaviour;
    let job = lease.manifest().await;
    let n_frames = job.video.and_then(|video| video.n_frames).unwrap_or(3);
    let mut run = match &job.checkpoint {
        Some(at) => resumed(ctx, lease, at).await?,
        None => Run::new(lease.id().clone()),
    };
    run.begin(lease.attempt());
    let mut seq = 0;
    while run.next_frame() < n_frames {
        ctx.sleep_seconds(0.1..behaviour.slowest_frame).await;
        run.step();
        let stage = Stage::Tracking;
        *progress.lock().unwrap() = Heartbeat { stage, current: run.next_frame(), ..Heartbeat::default() };
        if ctx.rng.chance(behaviour.p_checkpoint) {
            seq += 1;
            checkpoint(ctx, lease, &run, seq).await?;
        }
        if !ctx.world.faults_have_ended()
            && ctx.rng.chance(behaviour.p_fail + behaviour.p_fatal + behaviour.p_release)
        {
            let which = ctx.rng.float(0.0..behaviour.p_fail + behaviour.p_fatal + behaviour.p_release);
            return Ok(match which {
                _ if which < behaviour.p_release => AttemptEnd::Released,
                _ => AttemptEnd::Failed { retryable: which >= behaviour.p_release + behaviour.p_fatal },
            });
        }
    }
    publish(ctx, lease, &run, job.video_id).await
}

/// Resumes from the checkpoint in the manifest.
async fn resumed(ctx: &mut ProcessContext, lease: &Lease, at: &Checkpoint) -> Result<Run, LeaseError> {
    let file = &at.files[0];
    for _ in 0..MAX_TRIES {
        match ctx.bucket.get(&file.key, 1 << 20).await {
            Ok(Some(object)) if sha256(&object.bytes) == file.sha256 => {
                ctx.world.count("an attempt resumed from a checkpoint");
                let run = Run::parse(&object.bytes);
                if run.job_id != *lease.id() || run.next_frame() != at.next_frame {
                    ctx.world.report_violation(format!("{} is not the expected checkpoint", file.key));
                }
                return Ok(run);
            }
            // It may have been removed because the job is finished; the heartbeat shows whether it is.
            Ok(_) => lease.heartbeat(&Heartbeat::default()).await?,
            Err(error) if error.is_transient() => ctx.sleep_seconds(1.0..10.0).await,
            Err(error) => return Err(error.into()),
        }
    }
    // Starting over is always correct.
    Ok(Run::new(lease.id().clone()))
}

async fn checkpoint(ctx: &mut ProcessContext, lease: &Lease, run: &Run, seq: u64) -> Result<(), LeaseError> {
    let bytes = run.to_bytes();
    let key = lease.id().checkpoint_key(lease.attempt(), seq, "run.json");
    let file = StoredObject { key, size_bytes: bytes.len() as u64, sha256: sha256(&bytes) };
    // If it cannot be written, work continues without this checkpoint.
    match ctx.bucket.put(&file.key, bytes.into(), Condition::Always).await {
        Ok(_) => {}
        Err(error) if error.is_transient() => return Ok(()),
        Err(error) => return Err(error.into()),
    }
    let n_frames = run.next_frame();
    let at = Checkpoint { next_frame: n_frames, n_frames, attempt: lease.attempt(), files: vec![file] };
    match lease.record_checkpoint(&at).await {
        Err(LeaseError::Bucket(Error::Unavailable { .. })) => Ok(()),
        other => other,
    }
}

async fn publish(
    ctx: &mut ProcessContext,
    lease: &Lease,
    run: &Run,
    video_id: i64,
) -> Result<AttemptEnd, LeaseError> {
    let (bytes, summary) = run.results(video_id, ctx.world.scenario.behaviour.signature, &ctx.machine);
    let path = PathBuf::from(format!("/{}/{}/{}", ctx.info.name, lease.id(), lease.attempt()));
    ctx.world.write_file(path.clone(), bytes);
    let report = RunReport { frames_processed: run.next_frame(), ..RunReport::default() };
    for _ in 0..MAX_TRIES {
        match lease.publish(&path, &summary, &report, &Heartbeat::default()).await {
            Ok(()) => return Ok(AttemptEnd::Completed),
            Err(LeaseError::Bucket(error)) if error.is_transient() => ctx.sleep_seconds(1.0..10.0).await,
            Err(LeaseError::Bucket(error)) => {
                ctx.world.report_violation(format!("publishing failed: {error}"));
                return Ok(AttemptEnd::Unavailable);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(AttemptEnd::Unavailable)
}

pub(super) fn sha256(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}
