//! What happened to a job: the events in its manifest, and what its workers logged.

use jobs::JobId;
use jobs::manifest::Manifest;
use serde::Serialize;

use crate::Client;
use crate::failure::Outcome;
use crate::terminal::printable;

/// The logs of a job, without control characters.
#[derive(Debug, Serialize)]
pub struct Logs {
    /// Id of the job.
    pub job_id: String,
    /// What happened to it, oldest first, each with its time.
    pub events: Vec<String>,
    /// What the worker of each attempt logged.
    pub attempts: Vec<AttemptLog>,
}

/// What the worker of one attempt logged.
#[derive(Debug, Serialize)]
pub struct AttemptLog {
    /// Key of the log in the bucket.
    pub key: String,
    /// Its lines.
    pub lines: Vec<String>,
}

/// Reads the logs of a job from its bucket. Returns its manifest too.
///
/// # Errors
/// As for [`Client::find_job`].
pub async fn logs(client: &Client, id: &JobId) -> Outcome<(Manifest, Logs)> {
    let (admin, manifest) = client.find_job(id).await?;
    let attempts = admin.logs(id).await?.into_iter().map(|(key, bytes)| AttemptLog {
        key,
        lines: String::from_utf8_lossy(&bytes).lines().map(printable).collect(),
    });
    let events = manifest.events.iter().map(|event| {
        let by = event.worker_id.as_deref().map(|w| format!(" ({w})")).unwrap_or_default();
        printable(&format!("{} {}{by}", event.at.as_str(), event.what))
    });
    let logs = Logs { job_id: id.to_string(), events: events.collect(), attempts: attempts.collect() };
    Ok((manifest, logs))
}
