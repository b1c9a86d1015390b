//! `courtside retry`.

use client::failure::Outcome;
use client::job_actions::{self, Retried};
use client::stop::Stop;
use client::submit::prepare_again;

use super::{Context, JobChange};

/// Put a failed or cancelled job back in the queue
///
/// Tracking resumes from the job's last checkpoint. If the video was never completely uploaded, it is uploaded now.
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
        let status = match context.block_on(job_actions::retry(&context.client, &mut library, &id))? {
            Retried::Queued(manifest) => manifest.status.to_string(),
            Retried::NeedsUpload => {
                let prepared = prepare_again(&context.client, &mut library, &id)?;
                let stop = Stop::on_signal("stopping the upload, which is kept")?;
                super::submit::upload(&context, &mut library, &prepared, &stop)?;
                jobs::Status::Pending.to_string()
            }
        };
        context.print(&JobChange { job_id: id.to_string(), status })
    }
}
