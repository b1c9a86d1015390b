//! `courtside import`.

use std::fmt;
use std::sync::Mutex;

use serde::Serialize;

use super::Context;
use client::failure::{Failure, Outcome};
use client::import::{Imported, Options, Waiting, import, waiting};
use client::job_id;
use client::progress::Progress;
use client::terminal::{notify, printable};

/// Brings the results of completed jobs into the library.
///
/// Verified before anything is written, each job in one transaction. Importing a job twice changes nothing.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// All jobs whose results wait.
    #[arg(long, required_unless_present = "job_id", conflicts_with = "job_id")]
    all: bool,
    /// This job's.
    #[arg(long, value_name = "ID")]
    job_id: Option<String>,
    /// Removes the bucket's copy of the video afterwards.
    #[arg(long)]
    delete_video: bool,
    /// The video of this library, for a job that was submitted from another one.
    #[arg(long, value_name = "VIDEO_ID", requires = "job_id")]
    into_video: Option<i64>,
}

/// Runs the command.
pub(super) fn run(args: Args, context: &Context) -> Outcome<()> {
    let client = &context.client;
    let mut library = client.library()?;
    let options = Options { delete_video: args.delete_video, into_video: args.into_video };
    let Waiting { ids, unreadable, trouble: mut failures } = match &args.job_id {
        Some(id) => Waiting { ids: vec![job_id(id)?], ..Waiting::default() },
        None => context.block_on(waiting(client))?,
    };
    unreadable.iter().for_each(|one| notify(printable(&format!("skipped {one}"))));
    let bar = Mutex::new(Progress::transfer("fetching results"));
    let progress = |done, total| bar.lock().unwrap_or_else(|e| e.into_inner()).transferred(done, total);
    let mut imported = Vec::new();
    for id in &ids {
        match context.block_on(import(client, &mut library, id, options, &progress)) {
            Ok(one) => imported.push(one),
            Err(failure) => failures.push(failure),
        }
    }
    bar.lock().unwrap_or_else(|e| e.into_inner()).finish();
    let failed = failures.iter().map(Failure::message).collect();
    context.print(&Shown { imported, failed, unreadable })?;
    // One job's trouble is none of the others'; the last one said is the exit code's.
    let last = failures.pop();
    failures.iter().for_each(notify);
    last.map_or(Ok(()), Err)
}

#[derive(Debug, Serialize)]
struct Shown {
    imported: Vec<Imported>,
    failed: Vec<String>,
    unreadable: Vec<String>,
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.imported.is_empty() && self.failed.is_empty() {
            return writeln!(f, "nothing to import");
        }
        for one in &self.imported {
            let Imported { job_id, video_id, detections, tracks, .. } = one;
            let already = if one.already { ", which were there already" } else { "" };
            writeln!(
                f,
                "job {job_id}: {detections} detections of {tracks} tracks in video {video_id}{already}"
            )?;
        }
        Ok(())
    }
}
