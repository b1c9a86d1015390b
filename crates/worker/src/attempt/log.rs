//! An attempt's log: on standard error as it happens, and in the bucket for `courtside logs`.

use std::fmt::Display;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use jobs::bucket::Condition;
use jobs::manifest::Timestamp;
use jobs::quote::bounded;
use jobs::{JobId, Lease};

use client::terminal::notify;

/// Lines of one attempt, each with its time.
#[derive(Debug, Default)]
pub(super) struct AttemptLog(Mutex<String>);

impl AttemptLog {
    /// Adds a line and prints it.
    pub(super) fn line(&self, id: &JobId, text: impl Display) {
        // It may quote the manifest.
        let text = text.to_string();
        let text = bounded(&text);
        notify(format!("job {id}: {text}"));
        let now = Timestamp::of(time::OffsetDateTime::now_utc());
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.push_str(&format!("{} {text}\n", now.as_str()));
    }

    /// Writes the log to the bucket. The job does not depend on it: an error is only logged.
    pub(super) async fn upload(&self, lease: &Lease) {
        let text = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let key = lease.id().log_key(lease.attempt());
        if let Err(error) = lease.bucket().put(&key, Bytes::from(text), Condition::Always).await {
            tracing::debug!(%error, "cannot write the log to the bucket");
        }
    }
}
