//! `courtside import`.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

use super::Context;
use client::failure::{Failure, Outcome};
use client::import::{ImportOptions, Imported, Incomplete, Offer, PendingImports, import, pending_imports};
use client::progress::Progress;
use client::sweep::sweep_if_due;
use client::terminal::{counted, notify, printable};

/// Import the results of completed jobs
///
/// Results are verified before anything is written, and each job is imported in one transaction. Importing a job again
/// changes nothing.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("jobs").required(true))]
pub(super) struct Args {
    /// Import all completed jobs
    #[arg(long, group = "jobs")]
    all: bool,
    /// Import only this job: its ID or the beginning of it, @latest, or the name of its video
    #[arg(long, value_name = "JOB", group = "jobs")]
    job_id: Option<String>,
    /// Delete the bucket's copy of the video afterwards
    #[arg(long)]
    delete_video: bool,
    /// Import into this video, for a job that was submitted from another library
    #[arg(long, value_name = "VIDEO_ID", requires = "job_id")]
    into_video: Option<i64>,
    /// Import the job even if another program or library has imported it, or it was cancelled
    #[arg(long, requires = "job_id")]
    force: bool,
}

impl Args {
    pub(super) fn run(self, json: bool) -> Outcome<()> {
        let context = Context::new(json)?;
        let client = &context.client;
        let options =
            ImportOptions { delete_video: self.delete_video, into_video: self.into_video, force: self.force };
        let read = context.library_to_read()?;
        let PendingImports { ids, offers, incomplete, unreadable, bucket_errors: mut failures } =
            match &self.job_id {
                Some(name) => {
                    PendingImports { ids: vec![context.job(&read, name)?], ..PendingImports::default() }
                }
                None => context.block_on(pending_imports(client, &read))?,
            };
        // Without jobs to import, no library is created.
        let mut library = if ids.is_empty() { read } else { context.library()? };
        unreadable.iter().for_each(|manifest| notify(printable(&format!("skipped {manifest}"))));
        let bar = DownloadBar::start();
        let mut imported = Vec::new();
        for id in &ids {
            match context.block_on(import(client, &mut library, id, options, &bar.on_progress())) {
                Ok(job) => {
                    job.warnings.iter().for_each(|warning| notify(format!("warning: job {id}: {warning}")));
                    imported.push(job);
                }
                Err(failure) => failures.push(failure),
            }
        }
        bar.finish();
        if self.all {
            context.runtime.block_on(sweep_if_due(client));
        }
        let failed = failures.iter().map(Failure::message).collect();
        context.print(&Report { imported, offers, incomplete, failed, unreadable })?;
        // A failed import does not stop the others. The last failure determines the exit code.
        let last = failures.pop();
        failures.iter().for_each(notify);
        last.map_or(Ok(()), Err)
    }
}

/// The progress of downloads of results.
pub(super) struct DownloadBar(Mutex<Progress>);

impl DownloadBar {
    pub(super) fn start() -> Self {
        Self(Mutex::new(Progress::transfer("downloading results")))
    }

    /// Takes the bytes that have arrived and those of the whole file.
    pub(super) fn on_progress(&self) -> impl Fn(u64, u64) + Send + Sync {
        |done, total| self.0.lock().unwrap_or_else(PoisonError::into_inner).transferred(done, total)
    }

    pub(super) fn finish(self) {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner).finish();
    }
}

#[derive(Debug, Serialize)]
struct Report {
    imported: Vec<Imported>,
    /// Jobs that are imported only on request.
    offers: Vec<Offer>,
    /// Imported jobs of which the library has lost detections.
    incomplete: Vec<Incomplete>,
    failed: Vec<String>,
    unreadable: Vec<String>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.imported.is_empty() && self.failed.is_empty() {
            writeln!(f, "nothing to import")?;
        }
        for job in &self.imported {
            let Imported { job_id, video_id, detections, tracks, .. } = job;
            let already = if job.already { " (already imported)" } else { "" };
            writeln!(
                f,
                "job {job_id}: {}, {}, video {video_id}{already}",
                counted(detections, "detection"),
                counted(tracks, "track")
            )?;
        }
        for Offer { job_id, reason, command, .. } in &self.offers {
            writeln!(f, "not imported: job {job_id} {reason}")?;
            match command {
                Some(command) => writeln!(f, "  to import it: `{command}`")?,
                None => writeln!(f, "  to import it, add the video with `courtside videos add FILE` first")?,
            }
        }
        for Incomplete { job_id, imported, left, command, .. } in &self.incomplete {
            writeln!(f, "incomplete: job {job_id} has {left} of its {imported} detections left")?;
            command.iter().try_for_each(|command| writeln!(f, "  to import it again: `{command}`"))?;
        }
        Ok(())
    }
}
