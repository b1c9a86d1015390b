//! One stream of a worker: polls the bucket, claims a job, processes it, and repeats until there is a reason to exit.

use std::sync::Arc;
use std::time::{Duration, Instant};

use client::failure::{Failure, Kind, Outcome};
use client::host::host_name;
use client::stop::Stop;
use client::terminal::{notify, printable};
use jobs::Lease;
use jobs::bucket::Bucket;
use jobs::env::Env;
use jobs::manifest::{Manifest, Target};
use jobs::queue::{PollOutcome, Queue, SilentJob, Worker};

use crate::attempt::{Attempt, AttemptOutcome, lease_failure, workspace};
use crate::check_device;
use crate::options::{WorkerOptions, WorkerSummary};
use crate::shared_model::SharedModel;
use crate::silent_jobs::SilentJobs;
use crate::sweep_task::SweepTask;

/// A stream's queue, and what it did so far.
pub(crate) struct QueueLoop {
    env: Arc<dyn Env>,
    options: WorkerOptions,
    model: SharedModel,
    queue: Queue,
    summary: WorkerSummary,
    silent: SilentJobs,
    /// The bucket, until it is swept.
    to_sweep: Option<Arc<dyn Bucket>>,
    sweep: Option<SweepTask>,
    started: Instant,
}

impl QueueLoop {
    /// A stream that claims under `options.worker_id`. `started`: when the worker started, for `--max-runtime`.
    pub(crate) fn new(
        bucket: Arc<dyn Bucket>,
        env: Arc<dyn Env>,
        options: WorkerOptions,
        model: SharedModel,
        started: Instant,
    ) -> Self {
        let target = options.target;
        let accept = move |job: &Manifest| target == Target::Cloud || job.target != Some(Target::Cloud);
        let (worker_id, machine) = (options.worker_id.clone(), options.machine.clone());
        let name = Worker { worker_id, host: host_name(), machine };
        let queue = Queue::new(bucket.clone(), env.clone(), options.timing, name, accept);
        Self {
            env,
            options,
            model,
            queue,
            summary: WorkerSummary::default(),
            silent: SilentJobs::default(),
            to_sweep: Some(bucket),
            sweep: None,
            started,
        }
    }

    /// Whether the stream sweeps the bucket when it is idle for the first time.
    pub(crate) fn sweeping(self, sweeps: bool) -> Self {
        Self { to_sweep: self.to_sweep.filter(|_| sweeps), ..self }
    }

    /// Processes jobs until a stop is requested, or until the options give another reason to exit.
    pub(crate) async fn run(mut self, stop: &Stop) -> Outcome<WorkerSummary> {
        let mut idle_since = Instant::now();
        let mut errors = PollErrors::default();
        loop {
            if stop.requested() {
                return Ok(self.exit("a stop was requested"));
            }
            if self.remaining().is_some_and(|left| left.is_zero()) {
                return Ok(self.exit("--max-runtime has passed"));
            }
            let pause = match self.queue.poll().await {
                Ok(PollOutcome::Claimed(lease)) => {
                    let n_failed = self.summary.failed.len();
                    self.process(lease, stop).await?;
                    if stop.requested() {
                        continue;
                    }
                    if self.options.once {
                        return Ok(self.exit("one job was processed (--once)"));
                    }
                    idle_since = Instant::now();
                    if self.summary.failed.len() == n_failed {
                        continue;
                    }
                    // Give another worker the chance to claim the job: its machine may be able to process it.
                    self.options.timing.poll
                }
                Ok(PollOutcome::Idle { pause, n_processing, silent }) => {
                    errors = PollErrors::default();
                    self.on_idle(silent);
                    if self.options.once && !self.may_claim_soon(n_processing, idle_since) {
                        return Ok(self.exit("there is no job to claim (--once)"));
                    }
                    pause
                }
                Err(error) if error.is_transient() => errors.pause_after(error)?,
                Err(error) => return Err(error.into()),
            };
            let idle = idle_since.elapsed();
            // A job that is about to be taken over may have no other worker.
            let is_idle = self.options.idle_exit.is_some_and(|limit| idle >= limit);
            if is_idle && self.silent.is_empty() {
                return Ok(self.exit("there was no job to claim (--idle-exit)"));
            }
            self.sleep(pause, idle, stop).await;
        }
    }

    /// What a stream does whenever there is nothing to claim.
    fn on_idle(&mut self, silent: Vec<SilentJob>) {
        self.report_unreadable();
        self.silent.update(silent, self.env.utc());
        if let Some(bucket) = self.to_sweep.take() {
            self.sweep = Some(SweepTask::start(&bucket, &self.env));
        }
    }

    /// Whether a job of another worker may become claimable: it does not if that worker sent a heartbeat while it was
    /// watched for a lease.
    fn may_claim_soon(&self, n_processing: usize, idle_since: Instant) -> bool {
        let was_watched = idle_since.elapsed() > self.options.timing.lease.mul_f64(1.25);
        n_processing > 0 && (!was_watched || !self.silent.is_empty())
    }

    /// Sleeps for `pause`, or less if the worker must exit before.
    async fn sleep(&self, pause: Duration, idle: Duration, stop: &Stop) {
        let until_exit = match self.silent.next_takeover() {
            Some(takeover_in) => takeover_in.max(Duration::from_secs(1)),
            None => self.options.idle_exit.map_or(pause, |limit| limit.saturating_sub(idle)),
        };
        let pause = pause.min(until_exit).min(self.remaining().unwrap_or(pause));
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.wait() => {}
        }
    }

    /// Makes one attempt at a claimed job.
    async fn process(&mut self, lease: Box<Lease>, stop: &Stop) -> Outcome<()> {
        let attempt = Attempt { lease, env: &*self.env, options: &self.options };
        workspace::sweep(&self.options.work_folder);
        let id = attempt.lease.id().to_string();
        if attempt.requires_gpu().await
            && let Err(failure) = check_device(self.model.engine(), &self.options)
        {
            attempt.lease.release("the worker has no GPU").await.map_err(lease_failure)?;
            return Err(failure);
        }
        match attempt.run(&self.model, self.remaining(), stop).await? {
            AttemptOutcome::Completed => self.summary.completed.push(id),
            AttemptOutcome::Failed(reason) => self.summary.failed.push((id, reason)),
            AttemptOutcome::Released => self.summary.released.push(id),
            AttemptOutcome::Lost => self.summary.lost.push(id),
            AttemptOutcome::Hung(reason) => {
                let message = format!("job {id}: {reason}; this worker must be restarted");
                return Err(Failure::msg(Kind::Job, message)
                    .hint(format!("start the worker again; `courtside status {id}` shows the job")));
            }
        }
        Ok(())
    }

    /// Time left of `--max-runtime`.
    fn remaining(&self) -> Option<Duration> {
        self.options.max_runtime.map(|limit| limit.saturating_sub(self.started.elapsed()))
    }

    fn report_unreadable(&self) {
        for unreadable in self.queue.unreadable() {
            tracing::warn!("{}", printable(&format!("skipping {unreadable}")));
        }
    }

    fn exit(self, why: &str) -> WorkerSummary {
        notify(format!("{}: exiting: {why}", self.options.worker_id));
        WorkerSummary { ended: why.to_owned(), ..self.summary }
    }
}

/// Failed polls in a row: the pauses between them grow, and after the last one the worker exits.
#[derive(Default)]
struct PollErrors {
    n: u32,
}

impl PollErrors {
    const MAX: u32 = 60;

    /// Time to wait before the next poll.
    fn pause_after(&mut self, error: jobs::Error) -> Outcome<Duration> {
        self.n += 1;
        if self.n > Self::MAX {
            return Err(error.into());
        }
        notify(format!("{error}; retrying"));
        Ok(Duration::from_secs(u64::from(self.n.min(6)) * 5))
    }
}
