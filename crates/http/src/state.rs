//! What all handlers share.

use std::borrow::Cow;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use ::jobs::JobId;
use ::jobs::manifest::{Manifest, Target};
use store::Library;
use tokio::sync::{Mutex, Notify, Semaphore};
use tokio::task::JoinError;

use super::importer::ImportFailures;
use super::job_cache::JobCache;
use super::job_view_cache::JobViewCache;
use super::metrics::Metrics;
use super::options::Options;
use super::problem::{Answer, Problem};
use super::uploads::Uploads;
use client::failure::{Failure, Kind, Outcome};
use client::stop::Stop;
use client::{Client, changes, overview};

/// How long one look at a register may take before the last known state is answered.
const PATIENCE: Duration = Duration::from_secs(5);

/// Answers that list very many detections at the same time: each may hold some 50 MB.
const LISTINGS: usize = 8;

/// What all handlers share.
#[derive(Clone)]
pub(super) struct App(Arc<Shared>);

/// The parts of an [`App`].
pub(super) struct Shared {
    pub(super) client: Arc<Client>,
    pub(super) options: Options,
    pub(super) stop: Stop,
    pub(super) metrics: Metrics,
    pub(super) board: JobCache,
    pub(super) glances: JobViewCache,
    pub(super) uploads: Uploads,
    pub(super) import_failures: ImportFailures,
    /// Held while a submission is prepared.
    pub(super) preparing: Mutex<()>,
    /// Turns of answers that list very many detections.
    pub(super) listings: Arc<Semaphore>,
    /// Wakes the task that watches the registers.
    pub(super) news: Notify,
}

impl std::ops::Deref for App {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl App {
    /// Over a client. Buckets are opened now.
    pub(super) fn new(client: Arc<Client>, options: Options, stop: Stop) -> Outcome<Self> {
        let board = JobCache::new(&client)?;
        Ok(Self(Arc::new(Shared {
            client,
            options,
            stop,
            metrics: Metrics::default(),
            board,
            glances: JobViewCache::default(),
            uploads: Uploads::default(),
            import_failures: ImportFailures::default(),
            preparing: Mutex::default(),
            listings: Arc::new(Semaphore::new(LISTINGS)),
            news: Notify::new(),
        })))
    }

    /// Works with the library on a thread that may block.
    pub(super) async fn library<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Client, &mut Library) -> Outcome<T> + Send + 'static,
    ) -> Answer<T> {
        Ok(self.at_desk(work).await?)
    }

    /// The same, for tasks that answer to nobody.
    pub(super) async fn at_desk<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Client, &mut Library) -> Outcome<T> + Send + 'static,
    ) -> Outcome<T> {
        let client = self.client.clone();
        joined(tokio::task::spawn_blocking(move || work(&client, &mut client.library()?)).await)
    }

    /// Works with library and bucket: the future runs on a thread that may block, and to its end.
    pub(super) async fn with_buckets<T, F>(
        &self,
        work: impl FnOnce(Arc<Client>) -> F + Send + 'static,
    ) -> Outcome<T>
    where
        T: Send + 'static,
        F: Future<Output = Outcome<T>>,
    {
        let (client, runtime) = (self.client.clone(), tokio::runtime::Handle::current());
        joined(tokio::task::spawn_blocking(move || runtime.block_on(work(client))).await)
    }

    /// Does the work of a request to its end, though the client may be gone before.
    pub(super) async fn to_the_end<T, F>(&self, work: impl FnOnce(Self) -> F) -> Answer<T>
    where
        T: Send + 'static,
        F: Future<Output = Answer<T>> + Send + 'static,
    {
        tokio::spawn(work(self.clone())).await?
    }

    /// A job's register and where it lies; `None` if no bucket has it.
    ///
    /// # Errors
    /// When a bucket does not answer, or not soon.
    pub(super) async fn register(&self, id: &JobId, likely: Target) -> Outcome<Option<(Manifest, Target)>> {
        let Ok(found) = tokio::time::timeout(PATIENCE, self.client.find_from(id, likely)).await else {
            let detail = format!("no answer within {} s", PATIENCE.as_secs());
            let location = "the bucket".to_owned();
            return Err(::jobs::Error::Unavailable { location, detail }.into());
        };
        match found {
            Ok((admin, manifest)) => {
                let target = manifest.target.unwrap_or(likely);
                let manifest = overview::with_progress(&**admin.bucket(), Cow::Owned(manifest)).await;
                Ok(Some((manifest.into_owned(), target)))
            }
            Err(failure) if changes::is_unknown(&failure) => Ok(None),
            Err(failure) => Err(failure),
        }
    }
}

fn joined<T>(result: Result<Outcome<T>, JoinError>) -> Outcome<T> {
    result.unwrap_or_else(|error| {
        Err(Failure::new(Kind::Failed, error).context("a task of the server ended without a result"))
    })
}

impl From<JoinError> for Problem {
    fn from(error: JoinError) -> Self {
        Self::internal(error)
    }
}
