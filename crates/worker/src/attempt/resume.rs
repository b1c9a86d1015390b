//! Where an attempt's tracking starts, and where it goes back to when what it has on disk is not what it wrote: to the
//! last checkpoint in the work folder, else to the one in the bucket, else to the first frame. The job does not lose an
//! attempt by that.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use client::failure::{Failure, Kind};

use super::RunningAttempt;
use super::background::{in_thread, joined};
use super::checkpoints;
use super::outcome::{AttemptError, OnDisk};
use super::tracking::TrackingStep;
use crate::shared_model::SharedModel;
use crate::track::{IncomingVideo, MAX_LOSSES, TrackRequest, TrackedVideo, spool_path};

/// Where tracking starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StartFrom {
    /// The checkpoint in the work folder; without one, that in the bucket.
    WorkFolder,
    /// The checkpoint in the bucket; without one, the first frame.
    Bucket,
    /// The first frame.
    Beginning,
}

impl RunningAttempt<'_> {
    /// Loads the model, restores the checkpoint and tracks; begins while the video is downloaded where its format
    /// allows. `None` if it was stopped, or the download was abandoned.
    pub(super) async fn track(
        &self,
        model: &SharedModel,
        request: &TrackRequest,
        video: &Arc<IncomingVideo>,
        mut start: StartFrom,
    ) -> Result<Option<TrackedVideo>, AttemptError> {
        let loading = in_thread("load", {
            let model = model.clone();
            move || model.get()
        });
        let model = self.unless_stopped(video, joined(loading)).await??;
        loop {
            self.unless_stopped(video, self.prepare(request, start)).await?;
            let step = TrackingStep {
                lease: self.lease,
                progress: &self.progress,
                log: self.log,
                stop: self.stop,
                stall_timeout: self.options.stall_timeout,
                n_saved: &self.n_saved,
            };
            start = match step.run(request, model.clone(), video).await {
                Err(AttemptError::OnDisk(OnDisk::Damaged(why))) => self.after_loss(why)?,
                Err(AttemptError::OnDisk(OnDisk::Unusable(why))) => self.after_refusal(start, why)?,
                done => return done,
            };
        }
    }

    /// Where to track from after what was written was lost or changed on disk.
    ///
    /// # Errors
    /// If that has happened before, repeatedly: the machine is faulty.
    pub(super) fn after_loss(&self, why: String) -> Result<StartFrom, AttemptError> {
        if self.n_losses.fetch_add(1, Ordering::Relaxed) >= MAX_LOSSES {
            let failure = Failure::msg(Kind::Failed, format!("{why}; the disk loses what is written to it"));
            return Err(AttemptError::MachineFault(
                failure.hint("check the disk, then start the worker again"),
            ));
        }
        self.log_line(format!("going back to the last checkpoint: {why}"));
        Ok(StartFrom::WorkFolder)
    }

    /// Where to track from after a checkpoint could not be resumed.
    fn after_refusal(&self, start: StartFrom, why: String) -> Result<StartFrom, AttemptError> {
        match start {
            StartFrom::WorkFolder => {
                self.log_line(format!("going back to the checkpoint in the bucket: {why}"));
                Ok(StartFrom::Bucket)
            }
            StartFrom::Bucket => {
                self.log_line(format!("starting from the beginning: {why}"));
                Ok(StartFrom::Beginning)
            }
            StartFrom::Beginning => Err(AttemptError::OnDisk(OnDisk::Unusable(why))),
        }
    }

    /// Puts the checkpoint to start from into the work folder.
    async fn prepare(&self, request: &TrackRequest, start: StartFrom) -> Result<(), AttemptError> {
        let Some(checkpoint) = &request.checkpoint else { return Ok(()) };
        match start {
            StartFrom::WorkFolder if checkpoint.exists() => Ok(()),
            StartFrom::WorkFolder | StartFrom::Bucket => self.restore(checkpoint).await,
            StartFrom::Beginning => {
                for stale in [&spool_path(checkpoint), checkpoint] {
                    let _ = std::fs::remove_file(stale);
                }
                Ok(())
            }
        }
    }

    /// Restores the checkpoint from the bucket.
    async fn restore(&self, checkpoint: &Path) -> Result<(), AttemptError> {
        let spool = spool_path(checkpoint);
        let restore = || checkpoints::restore(self.lease, self.workspace, checkpoint, &spool);
        match self.retry_transient(jobs::Error::is_transient, restore).await? {
            Ok(Some(frame)) => self.log_line(format!("resuming at frame {frame}")),
            Ok(None) => {}
            Err(why) => self.log_line(format!("starting from the beginning: {why}")),
        }
        Ok(())
    }
}
