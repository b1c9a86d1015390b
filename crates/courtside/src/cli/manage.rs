//! `courtside cancel`, `retry`, `rm` and `logs`: what a person does with a job.

use std::fmt;

use jobs::JobId;
use serde::Serialize;
use store::JobUpdate;

use super::Context;
use crate::desk::{job_id, overview::job_status};
use crate::failure::Outcome;

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

/// Removes a job from the bucket: video, results, checkpoints and register. The library keeps what was imported.
#[derive(Debug, clap::Args)]
pub(super) struct RmArgs {
    /// The job.
    job_id: String,
    /// Also a job that is not finished; it is cancelled first.
    #[arg(long)]
    force: bool,
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
    let manifest = context.block_on(async {
        let (admin, _) = context.desk.find(&id).await?;
        Ok(admin.cancel(&id).await?)
    })?;
    note(context, &manifest)?;
    context.print(&Done { job_id: id.to_string(), status: manifest.status.to_string() })
}

/// Runs `retry`.
pub(super) fn retry(args: &RetryArgs, context: &Context) -> Outcome<()> {
    let id = job_id(&args.job_id)?;
    let manifest = context.block_on(async {
        let (admin, _) = context.desk.find(&id).await?;
        Ok(admin.retry(&id).await?)
    })?;
    note(context, &manifest)?;
    context.print(&Done { job_id: id.to_string(), status: manifest.status.to_string() })
}

/// Runs `rm`.
pub(super) fn rm(args: &RmArgs, context: &Context) -> Outcome<()> {
    use crate::failure::{Failure, Kind};
    let id = job_id(&args.job_id)?;
    context.block_on(async {
        let (admin, manifest) = context.desk.find(&id).await?;
        let waits_for_import = jobs::admin::is_importable(&manifest);
        if !args.force && (!manifest.status.is_finished() || waits_for_import) {
            let what = if waits_for_import { "is not imported yet" } else { "is not finished" };
            let hint = format!("`courtside rm --force {id}` removes it all the same");
            return Err(Failure::message(Kind::Failed, format!("job {id} {what}")).hint(hint));
        }
        admin.remove(&id).await?;
        note(context, &jobs::Manifest { status: cancelled_if_open(manifest.status), ..manifest })
    })?;
    context.print(&Done { job_id: id.to_string(), status: "removed".to_owned() })
}

fn cancelled_if_open(status: jobs::Status) -> jobs::Status {
    if status.is_finished() { status } else { jobs::Status::Cancelled }
}

/// Notes a job's new status in the library, where the job is known.
fn note(context: &Context, manifest: &jobs::Manifest) -> Outcome<()> {
    let library = context.desk.library()?;
    let update = JobUpdate { status: Some(job_status(manifest.status)), ..JobUpdate::default() };
    match library.job(manifest.job_id.as_str())? {
        Some(row) if row.status != job_status(manifest.status) => {
            Ok(library.update_job(manifest.job_id.as_str(), &update)?)
        }
        _ => Ok(()),
    }
}

/// Runs `logs`.
pub(super) fn logs(args: &LogsArgs, context: &Context) -> Outcome<()> {
    let id = job_id(&args.job_id)?;
    let logs = context.block_on(collect(context, &id))?;
    context.print(&logs)
}

async fn collect(context: &Context, id: &JobId) -> Outcome<Logs> {
    let (admin, manifest) = context.desk.find(id).await?;
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

/// The bucket is not to be trusted with a terminal.
pub(super) fn printable(line: &str) -> String {
    line.chars().map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }).collect()
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
