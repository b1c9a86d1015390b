//! The state that handlers and background tasks share. It depends on neither of them.

use std::sync::Arc;

use ::jobs::JobId;
use client::Client;
use client::failure::Outcome;
use client::stop::Stop;
use tokio::sync::{Mutex, Notify, Semaphore};

use crate::async_client::AsyncClient;
use crate::background::import_failures::ImportFailures;
use crate::background::job_cache::JobCache;
use crate::background::job_view_cache::JobViewCache;
use crate::background::uploads::Uploads;
use crate::images::Images;
use crate::keyed_locks::KeyedLocks;
use crate::monitoring::counters::Metrics;
use crate::server_options::ServerOptions;
use crate::shapes::video::VideoBody;
use crate::slots::Slots;

/// Responses with a long list of detections that may be sent at the same time. Each can use about 50 MB.
const MAX_LONG_LISTINGS: usize = 8;

/// Exports that are written at the same time. Each can use about 20 MB.
const MAX_EXPORTS: usize = 4;

/// The shared state as axum passes it to handlers.
pub(crate) type AppState = Arc<App>;

/// The parts that handlers and background tasks share.
pub(crate) struct App {
    pub(crate) client: AsyncClient,
    pub(crate) options: ServerOptions,
    pub(crate) stop: Stop,
    pub(crate) metrics: Metrics,
    pub(crate) job_cache: JobCache,
    pub(crate) job_view_cache: JobViewCache,
    pub(crate) uploads: Uploads,
    pub(crate) import_failures: ImportFailures,
    /// Held while a submission is prepared, so that equal requests find each other's job.
    pub(crate) submission_lock: Mutex<()>,
    /// One slot for each open connection.
    pub(crate) connections: Slots,
    /// One slot for each open event stream.
    pub(crate) event_streams: Slots,
    /// Permits for responses with a long list of detections.
    pub(crate) long_listings: Arc<Semaphore>,
    /// Permits for exports that are being written.
    pub(crate) exports: Arc<Semaphore>,
    /// By hash, held while a complete upload is compared with the library and added: equal ones find each other.
    pub(crate) upload_locks: KeyedLocks,
    pub(crate) images: Images,
    /// Wakes the task that polls the manifests.
    pub(crate) poll_now: Notify,
}

impl App {
    /// Creates the state and opens the buckets.
    pub(crate) fn new(client: Arc<Client>, options: ServerOptions, stop: Stop) -> Outcome<Self> {
        let client = AsyncClient::new(client);
        Ok(Self {
            job_cache: JobCache::new(client.clone())?,
            job_view_cache: JobViewCache::new(options.poll.followed_job, stop.clone()),
            connections: Slots::new(options.limits.connections),
            event_streams: Slots::new(options.limits.event_streams),
            images: Images::new(&client.settings.scratch()),
            exports: Arc::new(Semaphore::new(MAX_EXPORTS)),
            upload_locks: KeyedLocks::default(),
            client,
            options,
            stop,
            metrics: Metrics::default(),
            uploads: Uploads::default(),
            import_failures: ImportFailures::default(),
            submission_lock: Mutex::default(),
            long_listings: Arc::new(Semaphore::new(MAX_LONG_LISTINGS)),
            poll_now: Notify::new(),
        })
    }

    /// A video for a response.
    pub(crate) fn video_body(&self, video: store::Video) -> VideoBody {
        let path = format!("/api/videos/{}/thumbnail", video.id);
        let thumbnail_url = self.options.access.signed_url(&path, self.client.env.utc());
        VideoBody::new(video, thumbnail_url)
    }

    /// Announces that this server changed a job: clients that follow it get the new state, and the manifests
    /// are polled now.
    pub(crate) fn job_changed(&self, id: &JobId) {
        self.job_view_cache.invalidate(id);
        self.poll_now.notify_one();
    }
}
