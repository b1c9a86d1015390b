//! `courtside status`.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::Context;
use client::failure::Outcome;
use client::overview::{JobView, Overview, State, Watcher};
use client::stop::Stop;
use client::terminal::{notify, printable};

/// Show the state of all jobs
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Show only this job
    job_id: Option<String>,
    /// Keep updating until Ctrl-C
    #[arg(long)]
    watch: bool,
    /// Time between updates
    #[arg(long, value_name = "SECONDS", default_value_t = 5, requires = "watch", value_parser = clap::value_parser!(u64).range(1..=3600))]
    interval: u64,
}

impl Args {
    pub(super) fn run(self, json: bool) -> Outcome<()> {
        let context = Context::new(json)?;
        let mut library = context.client.library()?;
        let requested = self.job_id.as_deref().map(client::parse_job_id).transpose()?;
        let stop = if self.watch { Stop::on_signal("stopping")? } else { Stop::default() };
        context.block_on(async {
            let mut watcher = Watcher::new(&context.client)?;
            loop {
                let mut overview = watcher.poll(&mut library).await?;
                if let Some(id) = &requested {
                    overview.jobs.retain(|job| job.job_id == id.as_str());
                    if overview.jobs.is_empty() && overview.bucket_errors.is_empty() {
                        overview.jobs.push(watcher.unlisted(&library, id).await?);
                    }
                }
                if self.watch {
                    context.clear_screen();
                }
                let is_open = context.print_while_open(&Table(&overview))?;
                // The last failure determines the exit code; --watch only shows failures.
                let last = if self.watch { None } else { overview.bucket_errors.pop() };
                overview.bucket_errors.iter().for_each(notify);
                if !self.watch || !is_open {
                    return last.map_or(Ok(()), Err);
                }
                tokio::select! {
                    () = stop.wait() => return Ok(()),
                    () = tokio::time::sleep(Duration::from_secs(self.interval)) => {}
                }
            }
        })
    }
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Table<'a>(&'a Overview);

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<36} {:>5} {:<10} PROGRESS", "JOB_ID", "VIDEO", "STATUS")?;
        for job in &self.0.jobs {
            let progress = printable(&progress(job));
            let video = job.video_id.map_or("-".to_owned(), |id| id.to_string());
            writeln!(f, "{:<36} {video:>5} {:<10} {progress}", job.job_id, job.status)?;
        }
        for unreadable in &self.0.unreadable {
            writeln!(f, "{}", printable(&format!("skipped {unreadable}")))?;
        }
        Ok(())
    }
}

/// The progress column: whose job it is if it is another library's, and what it is doing.
fn progress(job: &JobView) -> String {
    let Some(library) = &job.other_library else { return action(job) };
    let video = job.video.as_deref().unwrap_or("a video");
    let owner = library.host.as_deref().unwrap_or("another library");
    format!("{video} of {owner}: {}", job.state)
}

/// What a job is doing, and a command if the user has to act.
fn action(job: &JobView) -> String {
    let reason = job.error.as_deref().unwrap_or("no reason given");
    match &job.state {
        State::Uploading => {
            format!("uploading; resume with `courtside submit --resume {}`", job.job_id)
        }
        State::ResultsCorrupt { .. } => format!("{}; run `courtside retry {}`", job.state, job.job_id),
        State::CancelOverridden { is_completed: true } => {
            format!("{}; import it anyway with `courtside import --job-id {} --force`", job.state, job.job_id)
        }
        State::ImportedElsewhere | State::RemovedFromBucket => {
            format!("{}; submit it again with `courtside retry {}`", job.state, job.job_id)
        }
        State::Waiting { .. } if job.error.is_some() => {
            format!("{}; last attempt failed: {reason}", job.state)
        }
        State::Failed => format!("{reason}; retry with `courtside retry {}`", job.job_id),
        state => state.to_string(),
    }
}
