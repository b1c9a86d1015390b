//! `courtside cancel`.

use client::failure::Outcome;
use client::job_actions;
use client::parse_job_id;

use super::{Context, JobChange};

/// Cancel a job
///
/// If a worker is tracking the job, it stops within half a minute.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// ID of the job
    job_id: String,
}

impl Args {
    pub(super) fn run(self, json: bool) -> Outcome<()> {
        let context = Context::new(json)?;
        let id = parse_job_id(&self.job_id)?;
        let mut library = context.client.library()?;
        let status = context.block_on(job_actions::cancel(&context.client, &mut library, &id))?;
        context.print(&JobChange { job_id: id.to_string(), status: status.as_str().to_lowercase() })
    }
}
