//! `courtside rm`.

use client::failure::Outcome;
use client::job_actions;

use super::{Context, JobChange};

/// Remove a job from the bucket
///
/// Deletes the job's video, results, checkpoints and manifest from the bucket. Imported detections stay in the library
/// unless --detections is given.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Job: its ID or the beginning of it, @latest, or the name of its video
    #[arg(value_name = "JOB")]
    job_id: String,
    /// Remove the job even if it is unfinished (it is cancelled first) or not imported
    #[arg(long)]
    force: bool,
    /// Also remove the job's detections from the library
    #[arg(long)]
    detections: bool,
}

impl Args {
    pub(super) fn run(self, json: bool) -> Outcome<()> {
        let context = Context::new(json)?;
        let mut library = context.library_to_read()?;
        let id = context.job(&library, &self.job_id)?;
        let removed = context.block_on(job_actions::remove(&context.client, &mut library, &id, self.force));
        match removed {
            // An earlier `rm` without --detections already removed it from the bucket.
            Err(failure) if self.detections && client::is_unknown_job(&failure) => {}
            Err(failure) => {
                return Err(job_actions::explain_missing(failure, library.job(id.as_str())?.as_ref()));
            }
            Ok(()) => {}
        }
        if self.detections {
            library.remove_job(id.as_str(), self.force)?;
        }
        context.print(&JobChange { job_id: id.to_string(), status: "removed".to_owned() })
    }
}
