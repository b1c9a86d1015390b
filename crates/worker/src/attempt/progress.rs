//! What an attempt is doing: written by its steps, read by heartbeats and the watchdog.

use std::sync::Arc;

use jobs::manifest::{Heartbeat, Stage};
use tokio::sync::watch;

/// Stage and progress of an attempt. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct AttemptProgress(Arc<watch::Sender<Heartbeat>>);

impl AttemptProgress {
    /// Enters the first stage, before the size of the video is known.
    pub(super) fn start_download(&self) {
        self.set(Stage::Downloading, 0, None, None);
    }

    /// Bytes downloaded of `size_bytes`. Ignored once tracking has begun.
    pub(super) fn downloaded(&self, n_bytes: u64, size_bytes: u64) {
        self.while_downloading(|now| (now.current, now.total) = (n_bytes, Some(size_bytes)));
    }

    /// The download is complete. Ignored once tracking has begun.
    pub(super) fn end_download(&self) {
        self.while_downloading(|now| {
            *now = Heartbeat { stage: Stage::Starting, device: now.device.take(), ..Heartbeat::default() };
        });
    }

    fn while_downloading(&self, change: impl FnOnce(&mut Heartbeat)) {
        self.0.send_if_modified(|now| {
            let is_downloading = now.stage == Stage::Downloading;
            if is_downloading {
                change(now);
            }
            is_downloading
        });
    }

    /// Sets the stage and the progress in it.
    pub(super) fn set(&self, stage: Stage, current: u64, total: Option<u64>, fps: Option<f64>) {
        self.0.send_modify(|now| {
            let (device, notice) = (now.device.take(), now.notice.take());
            *now = Heartbeat { seq: 0, stage, current, total, fps, device, notice };
        });
    }

    /// Sets what the job is tracked on.
    pub(super) fn set_device(&self, device: String) {
        self.0.send_modify(|now| now.device = Some(device));
    }

    /// Adds what the user should know while the job can still be stopped.
    pub(super) fn set_notice(&self, notice: &str) {
        self.0.send_modify(|now| now.notice = Some(notice.to_owned()));
    }

    /// The latest stage and progress, for the next heartbeat.
    pub(super) fn get(&self) -> Heartbeat {
        self.0.borrow().clone()
    }

    /// Waits until the count in the current stage differs from `current`.
    pub(super) async fn changed_from(&self, current: u64) {
        // The sender is part of `self`: there is no error.
        let _ = self.0.subscribe().wait_for(|now| now.current != current).await;
    }
}
