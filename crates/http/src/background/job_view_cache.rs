//! The current views of the jobs that clients follow. One task per followed job loads it at an interval and
//! publishes changes to all its followers, so the number of followers does not affect the load on the bucket.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use ::jobs::JobId;
use client::stop::Stop;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, MissedTickBehavior};

use crate::api_error::ApiResult;
use crate::shapes::job::JobBody;

/// What the followers of a job see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum JobView {
    /// The job as JSON.
    Job {
        /// The [`JobBody`], serialized once for all followers.
        json: String,
        /// Whether the job has ended, which makes this the last view.
        is_finished: bool,
    },
    /// The job can no longer be loaded. This is the last view.
    Failed {
        /// The text for the client.
        detail: String,
    },
}

impl JobView {
    fn new(loaded: ApiResult<JobBody>) -> Self {
        match loaded {
            Ok(body) => Self::Job {
                json: serde_json::to_string(&body).unwrap_or_default(),
                is_finished: body.status.is_finished(),
            },
            Err(error) => Self::Failed { detail: error.detail() },
        }
    }

    /// Whether no view follows this one.
    pub(crate) fn is_last(&self) -> bool {
        !matches!(self, Self::Job { is_finished: false, .. })
    }
}

/// The followed jobs and their views.
pub(crate) struct JobViewCache {
    interval: Duration,
    stop: Stop,
    feeds: Feeds,
}

type Feeds = Arc<Mutex<HashMap<JobId, Feed>>>;

/// The views of one job, published by a [`FeedTask`].
struct Feed {
    /// Owned by the task: no longer alive once the task has ended.
    views: Weak<watch::Sender<JobView>>,
    reload: Arc<Notify>,
}

impl JobViewCache {
    /// Loads each followed job once per `interval`, until `stop` is requested.
    pub(crate) fn new(interval: Duration, stop: Stop) -> Self {
        Self { interval: interval.max(Duration::from_millis(1)), stop, feeds: Feeds::default() }
    }

    /// Follows a job that `loader` can load. The receiver starts with the current view marked as seen; it
    /// closes after the last view, or when the server stops.
    ///
    /// # Errors
    /// When the job cannot be loaded for the first view.
    pub(crate) async fn follow<L, F>(&self, id: &JobId, loader: L) -> ApiResult<watch::Receiver<JobView>>
    where
        L: Fn() -> F + Send + Sync + 'static,
        F: Future<Output = ApiResult<JobBody>> + Send + 'static,
    {
        if let Some(views) = subscribe(&lock(&self.feeds), id) {
            return Ok(views);
        }
        let view = JobView::new(Ok(loader().await?));
        let mut feeds = lock(&self.feeds);
        // Another client may have followed the job while it was being loaded.
        if let Some(views) = subscribe(&feeds, id) {
            return Ok(views);
        }
        let is_last = view.is_last();
        let (sender, views) = watch::channel(view);
        if !is_last {
            let sender = Arc::new(sender);
            let feed = Feed { views: Arc::downgrade(&sender), reload: Arc::default() };
            let reload = feed.reload.clone();
            feeds.insert(id.clone(), feed);
            drop(feeds);
            let task = FeedTask { id: id.clone(), sender, reload, feeds: self.feeds.clone() };
            tokio::spawn(task.run(loader, self.interval, self.stop.clone()));
        }
        Ok(views)
    }

    /// Makes followers get the new state of a job now, and new followers load it themselves.
    pub(crate) fn invalidate(&self, id: &JobId) {
        if let Some(feed) = lock(&self.feeds).remove(id) {
            feed.reload.notify_one();
        }
    }
}

fn lock(feeds: &Feeds) -> MutexGuard<'_, HashMap<JobId, Feed>> {
    feeds.lock().unwrap_or_else(PoisonError::into_inner)
}

fn subscribe(feeds: &HashMap<JobId, Feed>, id: &JobId) -> Option<watch::Receiver<JobView>> {
    Some(feeds.get(id)?.views.upgrade()?.subscribe())
}

/// Loads one job repeatedly while it has followers.
struct FeedTask {
    id: JobId,
    sender: Arc<watch::Sender<JobView>>,
    reload: Arc<Notify>,
    feeds: Feeds,
}

impl FeedTask {
    async fn run<L, F>(self, loader: L, interval: Duration, stop: Stop)
    where
        L: Fn() -> F + Send + Sync + 'static,
        F: Future<Output = ApiResult<JobBody>> + Send + 'static,
    {
        let mut ticks = tokio::time::interval_at(Instant::now() + interval, interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.wait() => return,
                () = self.sender.closed() => match self.remove_if_unused() {
                    true => return,
                    false => continue,
                },
                () = self.reload.notified() => {}
                _ = ticks.tick() => {}
            }
            let view = tokio::select! {
                () = stop.wait() => return,
                loaded = loader() => JobView::new(loaded),
            };
            let is_last = view.is_last();
            self.sender.send_if_modified(|current| {
                let is_new = *current != view;
                *current = view;
                is_new
            });
            if is_last {
                return;
            }
        }
    }

    /// Removes the feed unless a client has followed the job again.
    fn remove_if_unused(&self) -> bool {
        let mut feeds = lock(&self.feeds);
        let is_unused = self.sender.receiver_count() == 0;
        if is_unused {
            self.remove_from(&mut feeds);
        }
        is_unused
    }

    /// Removes this task's feed, but not one that replaced it.
    fn remove_from(&self, feeds: &mut HashMap<JobId, Feed>) {
        if feeds.get(&self.id).is_some_and(|feed| feed.views.as_ptr() == Arc::as_ptr(&self.sender)) {
            feeds.remove(&self.id);
        }
    }
}

impl Drop for FeedTask {
    fn drop(&mut self) {
        let feeds = self.feeds.clone();
        self.remove_from(&mut lock(&feeds));
    }
}
