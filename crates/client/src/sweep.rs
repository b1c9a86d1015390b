//! Sweeping the buckets, at most once a day.

use std::time::Duration;

use jobs::sweep::{SweepReport, sweep};

use crate::Client;
use crate::terminal::{counted, notify};

/// Time between two sweeps by the commands of one machine.
const INTERVAL: Duration = Duration::from_secs(24 * 3600);

/// Sweeps every bucket, unless this machine did within a day. Nothing depends on it: an error is only logged, and the
/// next sweep continues.
pub async fn sweep_if_due(client: &Client) {
    let scratch = client.settings.scratch();
    if !scratch.is_dir() {
        // This machine has not used the buckets yet.
        return;
    }
    let mark = scratch.join("swept");
    let age = mark.metadata().and_then(|meta| meta.modified()).map(|at| at.elapsed().unwrap_or_default());
    if age.is_ok_and(|age| age < INTERVAL) {
        return;
    }
    for target in client.bucket_targets() {
        let Ok(bucket) = client.bucket(target) else { continue };
        match sweep(&bucket, &client.env).await {
            Ok(report) => announce(&report, &bucket.location()),
            Err(error) => tracing::debug!(%error, "cannot sweep a bucket"),
        }
    }
    if let Err(error) = std::fs::write(&mark, "") {
        tracing::debug!(%error, "cannot record the sweep");
    }
}

/// Says what a sweep did, if it did anything.
pub fn announce(report: &SweepReport, location: &str) {
    let SweepReport { n_archived, n_removed } = report;
    if *n_archived > 0 {
        notify(format!(
            "moved {} that were imported a week ago to the archive of {location}",
            counted(n_archived, "job")
        ));
    }
    if *n_removed > 0 {
        notify(format!("removed {n_removed} old logs and checkpoints from {location}"));
    }
}
