//! What the caller decides about a worker, and what the worker reports when it exits.

use std::path::PathBuf;
use std::time::Duration;

use jobs::Timing;
use jobs::manifest::{RentedMachine, Target};
use serde::Serialize;

use crate::engine::EngineOptions;

/// How a worker works.
#[derive(Debug, Clone)]
pub struct WorkerOptions {
    /// Which jobs to claim: those submitted to the cloud only from a bucket that is served as the cloud's.
    pub target: Target,
    /// Whether the bucket is on a server. Such a worker refuses to start without a GPU, see [`Self::allow_cpu`].
    pub is_remote: bool,
    /// Name of this worker in manifests and logs.
    pub worker_id: String,
    /// The machine, if a provider rents it out. Recorded in manifests.
    pub machine: Option<RentedMachine>,
    /// Exit after one job, or when no job can be claimed.
    pub once: bool,
    /// Exit after being idle this long; `None` for never.
    pub idle_exit: Option<Duration>,
    /// Number of jobs to process in parallel, at least 1.
    pub streams: usize,
    /// Release the current jobs and exit after this long; `None` for no limit.
    pub max_runtime: Option<Duration>,
    /// Whether jobs that were submitted to the cloud may be tracked on a CPU.
    pub allow_cpu: bool,
    /// Model folder; `None` to search the usual folders, and to download the model if none has it.
    pub model: Option<PathBuf>,
    /// Device, type of the weights, and kernels.
    pub engine: EngineOptions,
    /// Largest number of tracks at the same time.
    pub max_objects: usize,
    /// Prompt of jobs whose manifest has none (`SAM3_PROMPT`); `None` for the protocol's default.
    pub default_prompt: Option<String>,
    /// Folder for videos and checkpoints while they are needed.
    pub work_folder: PathBuf,
    /// Time between the checkpoints of an attempt.
    pub checkpoint_interval: Duration,
    /// Time without a tracked frame after which an attempt fails.
    pub stall_timeout: Duration,
    /// Durations of the bucket's protocol.
    pub timing: Timing,
}

/// What a worker did until it exited.
#[derive(Debug, Default, Serialize)]
pub struct WorkerSummary {
    /// Ids of completed jobs.
    pub completed: Vec<String>,
    /// Ids of jobs whose attempt failed, with the reason.
    pub failed: Vec<(String, String)>,
    /// Ids of released jobs, which other workers may claim.
    pub released: Vec<String>,
    /// Ids of jobs that were cancelled, removed or claimed by another worker during the attempt.
    pub lost: Vec<String>,
    /// Why the worker exited.
    pub ended: String,
}

impl WorkerSummary {
    /// Adds the summary of a parallel stream.
    pub(crate) fn add(&mut self, other: Self) {
        self.completed.extend(other.completed);
        self.failed.extend(other.failed);
        self.released.extend(other.released);
        self.lost.extend(other.lost);
        self.ended = other.ended;
    }
}
