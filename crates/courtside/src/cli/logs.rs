//! `courtside logs`.

use std::fmt;

use jobs::JobId;
use serde::Serialize;

use client::failure::Outcome;
use client::terminal::printable;

use super::Context;

/// Show the history of a job and the logs of its workers
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Job: its ID or the beginning of it, @latest, or the name of its video
    #[arg(value_name = "JOB")]
    job_id: String,
}

impl Args {
    pub(super) fn run(self, json: bool) -> Outcome<()> {
        let context = Context::new(json)?;
        let library = context.library_to_read()?;
        let id = context.job(&library, &self.job_id)?;
        let logs = context.block_on(collect(&context, &id))?;
        context.print(&logs)
    }
}

async fn collect(context: &Context, id: &JobId) -> Outcome<Logs> {
    let (admin, manifest) = context.client.find_job(id).await?;
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
