//! `courtside status`.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::Context;
use client::failure::Outcome;
use client::overview::{JobView, Overview, State, Watcher};
use client::stop::Stop;
use client::terminal::{notify, printable};

/// Shows how every job stands.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Only this job.
    job_id: Option<String>,
    /// Looks again every few seconds, until Ctrl-C.
    #[arg(long)]
    watch: bool,
    /// Seconds from one look to the next.
    #[arg(long, value_name = "SECONDS", default_value_t = 5, requires = "watch", value_parser = clap::value_parser!(u64).range(1..=3600))]
    interval: u64,
}

/// Runs the command.
pub(super) fn run(args: Args, context: &Context) -> Outcome<()> {
    let mut library = context.client.library()?;
    let wanted = args.job_id.as_deref().map(client::job_id).transpose()?;
    let stop = if args.watch { Stop::on_signal()? } else { Stop::default() };
    context.block_on(async {
        let mut watcher = Watcher::new(&context.client)?;
        loop {
            let mut overview = watcher.look(&mut library).await?;
            if let Some(wanted) = &wanted {
                overview.jobs.retain(|job| job.job_id == wanted.as_str());
                if overview.jobs.is_empty() && overview.trouble.is_empty() {
                    // For its error and hint.
                    context.client.find(wanted).await?;
                }
            }
            if args.watch {
                context.clear_screen();
            }
            let is_heard = context.print_while_heard(&Shown(&overview))?;
            // The last one said is the exit code's.
            let last = if args.watch { None } else { overview.trouble.pop() };
            overview.trouble.iter().for_each(notify);
            if !args.watch || !is_heard {
                return last.map_or(Ok(()), Err);
            }
            tokio::select! {
                () = stop.wait() => return Ok(()),
                () = tokio::time::sleep(Duration::from_secs(args.interval)) => {}
            }
        }
    })
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Shown<'a>(&'a Overview);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<36} {:>5} {:<10} PROGRESS", "JOB_ID", "VIDEO", "STATUS")?;
        for job in &self.0.jobs {
            let progress = printable(&progress(job));
            writeln!(f, "{:<36} {:>5} {:<10} {progress}", job.job_id, job.video_id, job.status)?;
        }
        for unreadable in &self.0.unreadable {
            writeln!(f, "{}", printable(&format!("skipped {unreadable}")))?;
        }
        Ok(())
    }
}

/// What the job is doing, and the command that helps.
fn progress(job: &JobView) -> String {
    let why = job.error.as_deref().unwrap_or("no reason given");
    match &job.state {
        State::Uploading => format!("uploading; `courtside submit --video-id {}` goes on", job.video_id),
        State::Waiting if job.error.is_some() => format!("{}, after {why}", job.state),
        State::Failed => format!("{why}; `courtside retry {}` tries again", job.job_id),
        state => state.to_string(),
    }
}
