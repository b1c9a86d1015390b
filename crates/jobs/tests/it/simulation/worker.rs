//! A worker: looks for a job, gives signs of life, works in steps, leaves checkpoints, publishes. It does
//! everything through the crate, as the real one does.

use std::path::PathBuf;
use std::sync::Mutex;

use jobs::admin::Admin;
use jobs::bucket::Condition;
use jobs::lease::{Lease, LeaseError};
use jobs::manifest::{Checkpoint, Heartbeat, Stored};
use jobs::queue::{Look, Queue, Worker};
use jobs::{Error, Timing};
use sha2::{Digest, Sha256};

use super::desk::Desk;
use super::tracking::{Run, Signature};
use super::world::Told;

/// How workers work.
#[derive(Debug, Clone, Copy)]
pub(super) struct Habits {
    /// Whether results say who made them.
    pub(super) signature: Signature,
    /// Longest time for a frame, in seconds.
    pub(super) slowest_frame: f64,
    /// For each frame: whether a checkpoint follows, the attempt fails, fails without hope, is given back.
    pub(super) p_checkpoint: f64,
    pub(super) p_fail: f64,
    pub(super) p_no_hope: f64,
    pub(super) p_release: f64,
}

/// How an attempt ends.
enum End {
    Done,
    Failed {
        no_hope: bool,
    },
    Released,
    Lost,
    /// The bucket did not answer; the lease will run out.
    GivenUp,
}

/// How often a worker asks a bucket that does not answer.
const PATIENCE: u32 = 4;

pub(super) async fn work(mut desk: Desk, timing: Timing) {
    let name = Worker { worker_id: desk.origin.name.clone(), host: None };
    let mut queue = Queue::new(desk.bucket.clone(), desk.host.clone(), timing, name, |_| true);
    loop {
        match queue.look().await {
            Ok(Look::Claimed(lease)) => attempt(&mut desk, &lease).await,
            Ok(Look::Nothing { pause, .. }) => tokio::time::sleep(pause).await,
            Err(error) if error.is_transient() => desk.sleep_seconds(2.0..20.0).await,
            Err(error) => return desk.world.violated(format!("a look fails: {error}")),
        }
    }
}

async fn attempt(desk: &mut Desk, lease: &Lease) {
    desk.world.count("an attempt began");
    let progress = Mutex::new(Heartbeat::default());
    let end = tokio::select! {
        biased;
        end = run(desk, lease, &progress) => end.unwrap_or_else(|error| match error {
            LeaseError::Lost { .. } => End::Lost,
            LeaseError::Bucket(_) => End::GivenUp,
        }),
        _ = lease.keep_alive(|| progress.lock().unwrap().clone()) => End::Lost,
    };
    match end {
        End::Done => {
            // The importer does it where this fails.
            let admin = Admin::new(desk.bucket.clone(), desk.host.clone());
            let _ = admin.remove_checkpoints(lease.id()).await;
        }
        End::Failed { no_hope } => {
            if no_hope {
                let claim_id = lease.manifest().await.claim.map(|claim| claim.id).unwrap_or_default();
                desk.world.told(lease.id(), Told::NoHope { claim_id });
            }
            insist(desk, lease, &end).await;
        }
        End::Released => insist(desk, lease, &end).await,
        End::Lost => desk.world.count("a worker noticed that its lease is lost"),
        End::GivenUp => desk.world.count("a worker gave up on the bucket"),
    }
}

/// Says how the attempt ended, until it is heard.
async fn insist(desk: &mut Desk, lease: &Lease, end: &End) {
    for _ in 0..PATIENCE {
        let said = match end {
            End::Failed { no_hope } => lease.fail("it went wrong", *no_hope).await,
            _ => lease.release("told to stop").await,
        };
        match said {
            Err(LeaseError::Bucket(error)) if error.is_transient() => desk.sleep_seconds(1.0..10.0).await,
            Err(LeaseError::Bucket(error)) => return desk.world.violated(format!("an end fails: {error}")),
            Ok(()) | Err(LeaseError::Lost { .. }) => return,
        }
    }
}

async fn run(desk: &mut Desk, lease: &Lease, progress: &Mutex<Heartbeat>) -> Result<End, LeaseError> {
    let habits = desk.world.knobs.habits;
    let job = lease.manifest().await;
    let n_frames = job.video.and_then(|video| video.n_frames).unwrap_or(3);
    let mut run = match &job.checkpoint {
        Some(at) => resumed(desk, lease, at).await?,
        None => Run::new(lease.id().clone()),
    };
    run.begin(lease.attempt());
    let mut seq = 0;
    while run.next_frame() < n_frames {
        desk.sleep_seconds(0.1..habits.slowest_frame).await;
        run.step();
        let stage = "tracking".to_owned();
        *progress.lock().unwrap() = Heartbeat { stage, current: run.next_frame(), ..Heartbeat::default() };
        if desk.dice.chance(habits.p_checkpoint) {
            seq += 1;
            checkpoint(desk, lease, &run, seq).await?;
        }
        if !desk.world.is_calm() && desk.dice.chance(habits.p_fail + habits.p_no_hope + habits.p_release) {
            let which = desk.dice.float(0.0..habits.p_fail + habits.p_no_hope + habits.p_release);
            return Ok(match which {
                _ if which < habits.p_release => End::Released,
                _ => End::Failed { no_hope: which < habits.p_release + habits.p_no_hope },
            });
        }
    }
    publish(desk, lease, &run, job.video_id).await
}

/// Goes on where the register points.
async fn resumed(desk: &mut Desk, lease: &Lease, at: &Checkpoint) -> Result<Run, LeaseError> {
    let file = &at.files[0];
    for _ in 0..PATIENCE {
        match desk.bucket.get(&file.key, 1 << 20).await {
            Ok(Some(object)) if sha256(&object.bytes) == file.sha256 => {
                desk.world.count("an attempt went on from a checkpoint");
                let run = Run::parse(&object.bytes);
                if run.job_id != *lease.id() || run.next_frame() != at.next_frame {
                    desk.world.violated(format!("{} is not the checkpoint it should be", file.key));
                }
                return Ok(run);
            }
            // It may be gone where the job is finished by now: the next sign of life tells.
            Ok(_) => lease.beat(&Heartbeat::default()).await?,
            Err(error) if error.is_transient() => desk.sleep_seconds(1.0..10.0).await,
            Err(error) => return Err(error.into()),
        }
    }
    // Beginning anew is always right.
    Ok(Run::new(lease.id().clone()))
}

async fn checkpoint(desk: &mut Desk, lease: &Lease, run: &Run, seq: u64) -> Result<(), LeaseError> {
    let bytes = run.to_bytes();
    let key = lease.id().checkpoint(lease.attempt(), seq, "run.json");
    let file = Stored { key, size_bytes: bytes.len() as u64, sha256: sha256(&bytes) };
    // A checkpoint that could not be written is none.
    match desk.bucket.put(&file.key, bytes.into(), Condition::Always).await {
        Ok(_) => {}
        Err(error) if error.is_transient() => return Ok(()),
        Err(error) => return Err(error.into()),
    }
    let n_frames = run.next_frame();
    let at = Checkpoint { next_frame: n_frames, n_frames, attempt: lease.attempt(), files: vec![file] };
    match lease.checkpointed(&at).await {
        Err(LeaseError::Bucket(Error::Unavailable { .. })) => Ok(()),
        other => other,
    }
}

async fn publish(desk: &mut Desk, lease: &Lease, run: &Run, video_id: i64) -> Result<End, LeaseError> {
    let (bytes, summary) = run.results(video_id, desk.world.knobs.habits.signature, &desk.machine);
    let path = PathBuf::from(format!("/{}/{}/{}", desk.origin.name, lease.id(), lease.attempt()));
    desk.world.write_file(path.clone(), bytes);
    for _ in 0..PATIENCE {
        match lease.publish(&path, &summary, run.next_frame(), &Heartbeat::default()).await {
            Ok(()) => return Ok(End::Done),
            Err(LeaseError::Bucket(error)) if error.is_transient() => desk.sleep_seconds(1.0..10.0).await,
            Err(LeaseError::Bucket(error)) => {
                desk.world.violated(format!("results cannot be published: {error}"));
                return Ok(End::GivenUp);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(End::GivenUp)
}

pub(super) fn sha256(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}
