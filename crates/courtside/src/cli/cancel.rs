//! `courtside cancel`.

use client::failure::Outcome;
use client::job_actions;

use super::{Context, JobChange};

/// Cancel a job
///
/// If a worker is tracking the job, it stops within half a minute.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Job: its ID or the beginning of it, @latest, or the name of its video
    #[arg(value_name = "JOB")]
    job_id: String,
}

impl Args {
    pub(super) fn run(self, json: bool) -> Outcome<()> {
        let context = Context::new(json)?;
        let mut library = context.library_to_read()?;
        let id = context.job(&library, &self.job_id)?;
        let status = context.block_on(job_actions::cancel(&context.client, &mut library, &id))?;
        context.print(&JobChange { job_id: id.to_string(), status: status.as_str().to_lowercase() })
    }
}
