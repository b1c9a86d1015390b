//! Sweeping the bucket while the worker is idle.

use std::sync::Arc;

use jobs::bucket::Bucket;
use jobs::env::Env;
use jobs::sweep;

/// A sweep of the bucket in the background, which ends when it is dropped. The worker does not depend on it.
pub(crate) struct SweepTask(tokio::task::JoinHandle<()>);

impl SweepTask {
    /// Starts a sweep.
    pub(crate) fn start(bucket: &Arc<dyn Bucket>, env: &Arc<dyn Env>) -> Self {
        let (bucket, env) = (bucket.clone(), env.clone());
        Self(tokio::spawn(async move {
            match sweep::sweep(&bucket, &env).await {
                Ok(report) => client::sweep::announce(&report, &bucket.location()),
                Err(error) => tracing::debug!(%error, "cannot sweep the bucket"),
            }
        }))
    }
}

impl Drop for SweepTask {
    fn drop(&mut self) {
        self.0.abort();
    }
}
