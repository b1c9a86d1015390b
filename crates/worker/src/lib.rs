//! The worker: claims a job, downloads its video, tracks it, publishes the results, and looks for the next job. The
//! code is the same for a bucket on a server and for a folder on this machine.
//!
//! No work is lost when a worker ends, for whatever reason: its checkpoints are in the bucket, and its job is released
//! or its lease expires. The next worker resumes from the checkpoint and produces the same bytes.
//!
//! The worker is given a bucket, a clock and plain options. It uses neither the user's library nor settings.

mod attempt;
pub mod engine;
pub mod failure;
mod hub;
pub mod kernel_trial;
pub mod model_copy;
pub mod model_folder;
mod options;
mod queue_loop;
mod shared_model;
mod silent_jobs;
mod sweep_task;
pub mod track;

use std::sync::Arc;
use std::time::Instant;

use client::failure::{Failure, Kind, Outcome};
use client::host::host_name;
use client::stop::Stop;
use client::terminal::notify;
use jobs::bucket::Bucket;
use jobs::env::Env;
use jobs::probe;
use sam3::device::{DeviceChoice, gpu_backend};
use video::Tools;

use attempt::workspace;
use engine::Engine;
use queue_loop::QueueLoop;
use shared_model::SharedModel;

pub use options::{WorkerOptions, WorkerSummary};

/// Processes jobs of a bucket until a stop is requested, or until the options give another reason to exit.
///
/// # Errors
/// Before any job is claimed: if ffmpeg, the bucket, the device, the model or the work folder is not usable. Later: if this
/// machine turns out to be faulty, or the bucket stays unavailable.
pub async fn run(
    bucket: Arc<dyn Bucket>,
    env: Arc<dyn Env>,
    options: &WorkerOptions,
    stop: &Stop,
) -> Outcome<WorkerSummary> {
    let started = Instant::now();
    check_tools().await?;
    probe::conditional_writes(&*bucket, &*env).await?;
    let engine = open_engine(options)?;
    if options.is_remote {
        check_device(&engine, options)?;
    }
    let model = find_model(options, engine).await?;
    model.announce(options.max_objects * options.streams);
    workspace::check(&options.work_folder)?;
    notify(format!("{}: looking for jobs in {}", options.worker_id, bucket.location()));
    let stream = |i: usize| {
        let worker_id = match options.streams {
            1 => options.worker_id.clone(),
            _ => format!("{}-{}", options.worker_id, i + 1),
        };
        let options = WorkerOptions { worker_id, ..options.clone() };
        QueueLoop::new(bucket.clone(), env.clone(), options, model.clone(), started).sweeping(i == 0)
    };
    run_streams((0..options.streams).map(stream), stop).await
}

/// Checks that ffmpeg runs, on a thread that may block. Every job needs it.
async fn check_tools() -> Outcome<()> {
    blocking(|| Ok(Tools::find().map(drop)?)).await
}

/// Finds the model, or downloads it, on a thread that may block.
async fn find_model(options: &WorkerOptions, engine: Engine) -> Outcome<SharedModel> {
    let folder = options.model.clone();
    blocking(move || SharedModel::find(folder.as_deref(), engine)).await
}

/// Runs work on a thread that may block. A panic of it is one of the caller, which knows those for lack of memory.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Outcome<T> + Send + 'static) -> Outcome<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(error) => Err(Failure::new(Kind::Failed, error).context("the worker was stopped")),
        },
    }
}

/// Runs streams in parallel until all have ended. If one fails, the others release their jobs.
async fn run_streams(streams: impl Iterator<Item = QueueLoop>, stop: &Stop) -> Outcome<WorkerSummary> {
    let stop = stop.child();
    let runs = streams.map(async |stream| {
        let result = stream.run(&stop).await;
        if result.is_err() {
            stop.request();
        }
        result
    });
    let mut summary = WorkerSummary::default();
    for result in futures::future::join_all(runs).await {
        summary.add(result?);
    }
    Ok(summary)
}

/// Opens the requested device; with `--allow-cpu`, the CPU if `auto` finds no usable GPU.
fn open_engine(options: &WorkerOptions) -> Outcome<Engine> {
    let is_auto = options.engine.device == DeviceChoice::Auto;
    match Engine::open(options.engine) {
        Err(failure) if options.allow_cpu && is_auto => {
            notify(format!("{failure}"));
            Ok(Engine::on_cpu(options.engine))
        }
        opened => opened,
    }
}

/// Refuses to track on the CPU of a machine that was rented for its GPU, unless the options allow it.
fn check_device(engine: &Engine, options: &WorkerOptions) -> Outcome<()> {
    if engine.is_gpu() {
        return Ok(());
    }
    let why = match gpu_backend() {
        None => "this build of courtside tracks on the CPU only",
        Some(_) => "the CPU was chosen",
    };
    if options.allow_cpu {
        notify(format!("no GPU: {why}; tracking on the CPU (--allow-cpu)"));
        return Ok(());
    }
    let message = format!("no GPU: {why}, and cloud jobs are for GPUs");
    Err(Failure::msg(Kind::Config, message).hint("--allow-cpu tracks on the CPU, slowly"))
}

/// A name for a worker without a configured one: the machine's name and the first 6 characters of `unique`.
pub fn default_worker_id(unique: &str) -> String {
    let host = host_name().unwrap_or_else(|| "worker".to_owned());
    format!("{host}-{}", unique.get(..6).unwrap_or(unique))
}
