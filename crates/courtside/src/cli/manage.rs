//! `courtside cancel`, `retry`, `rm` and `logs`: what a person does with a job.

use std::fmt;

use jobs::JobId;
use serde::Serialize;

use super::Context;
use client::changes::{self, Retried};
use client::failure::Outcome;
use client::job_id;
use client::terminal::printable;

/// Cancels a job. Its worker finds out within half a minute.
#[derive(Debug, clap::Args)]
pub(super) struct CancelArgs {
    /// The job.
    job_id: String,
}

/// Puts a failed or cancelled job back in the queue. It goes on from its checkpoint.
#[derive(Debug, clap::Args)]
pub(super) struct RetryArgs {
    /// The job.
    job_id: String,
}

/// Removes a job from the bucket: video, results, checkpoints and register. The library keeps what was imported,
/// unless told otherwise.
#[derive(Debug, clap::Args)]
pub(super) struct RmArgs {
    /// The job.
    job_id: String,
    /// Also a job that is not finished, which is cancelled first, or not imported.
    #[arg(long)]
    force: bool,
    /// Removes the detections that it brought from the library, too.
    #[arg(long)]
    detections: bool,
}

/// Shows what happened to a job, and what its workers said.
#[derive(Debug, clap::Args)]
pub(super) struct LogsArgs {
    /// The job.
    job_id: String,
}

/// Runs `cancel`.
pub(super) fn cancel(args: &CancelArgs, context: &Context) -> Outcome<()> {
    let id = job_id(&args.job_id)?;
    let mut library = context.client.library()?;
    let status = context.block_on(changes::cancel(&context.client, &mut library, &id))?;
    context.print(&Done { job_id: id.to_string(), status: status.as_str().to_lowercase() })
}

/// Runs `retry`.
pub(super) fn retry(args: &RetryArgs, context: &Context) -> Outcome<()> {
    let id = job_id(&args.job_id)?;
    let mut library = context.client.library()?;
    let status = match context.block_on(changes::retry(&context.client, &mut library, &id))? {
        Retried::Waits(manifest) => manifest.status.to_string(),
        Retried::Upload(submission) => {
            super::submit::upload(context, &mut library, *submission)?;
            jobs::Status::Pending.to_string()
        }
    };
    context.print(&Done { job_id: id.to_string(), status })
}

/// Runs `rm`.
pub(super) fn rm(args: &RmArgs, context: &Context) -> Outcome<()> {
    let id = job_id(&args.job_id)?;
    let mut library = context.client.library()?;
    let removed = context.block_on(changes::remove(&context.client, &mut library, &id, args.force));
    match removed {
        // It was removed from the bucket before.
        Err(failure) if args.detections && changes::is_unknown(&failure) => {}
        removed => removed?,
    }
    if args.detections {
        library.remove_job(id.as_str(), args.force)?;
    }
    context.print(&Done { job_id: id.to_string(), status: "removed".to_owned() })
}

/// Runs `logs`.
pub(super) fn logs(args: &LogsArgs, context: &Context) -> Outcome<()> {
    let id = job_id(&args.job_id)?;
    let logs = context.block_on(collect(context, &id))?;
    context.print(&logs)
}

async fn collect(context: &Context, id: &JobId) -> Outcome<Logs> {
    let (admin, manifest) = context.client.find(id).await?;
    let attempts = admin.logs(id).await?.into_iter().map(|(key, bytes)| AttemptLog {
        key,
        lines: String::from_utf8_lossy(&bytes).lines().map(printable).collect(),
    });
    let events = manifest.events.iter().map(|event| {
        let by = event.worker_id.as_deref().map(|w| format!(" ({w})")).unwrap_or_default();
        printable(&format!("{} {}{by}", event.at.as_str(), event.what))
    });
    Ok(Logs { job_id: id.to_string(), events: events.collect(), attempts: attempts.collect() })
}

#[derive(Debug, Serialize)]
struct Done {
    job_id: String,
    status: String,
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "job {} is {} now", self.job_id, self.status)
    }
}

#[derive(Debug, Serialize)]
struct Logs {
    job_id: String,
    events: Vec<String>,
    attempts: Vec<AttemptLog>,
}

#[derive(Debug, Serialize)]
struct AttemptLog {
    key: String,
    lines: Vec<String>,
}

impl fmt::Display for Logs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "job {}", self.job_id)?;
        self.events.iter().try_for_each(|event| writeln!(f, "  {event}"))?;
        for attempt in &self.attempts {
            writeln!(f, "{}", attempt.key)?;
            attempt.lines.iter().try_for_each(|line| writeln!(f, "  {line}"))?;
        }
        Ok(())
    }
}
