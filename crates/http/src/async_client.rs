//! The client for async code. The library blocks, so work with it runs on threads that may block.

use std::borrow::Cow;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use ::jobs::JobId;
use ::jobs::manifest::{Manifest, Target};
use client::failure::{Failure, Kind, Outcome};
use client::{Client, is_unknown_job, overview};
use store::Library;
use tokio::task::JoinError;

use crate::library_pool::LibraryPool;

/// How long reading one manifest may take before the caller falls back to the last known state.
const MANIFEST_TIMEOUT: Duration = Duration::from_secs(5);

/// A shared [`Client`] whose blocking parts can be used from async code.
#[derive(Clone)]
pub(crate) struct AsyncClient {
    client: Arc<Client>,
    libraries: Arc<LibraryPool>,
}

impl std::ops::Deref for AsyncClient {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl AsyncClient {
    pub(crate) fn new(client: Arc<Client>) -> Self {
        Self { libraries: Arc::new(LibraryPool::new(client.clone())), client }
    }

    /// The client itself, for work on another thread.
    pub(crate) fn shared(&self) -> Arc<Client> {
        self.client.clone()
    }

    /// Runs `work` with a library connection on a blocking thread. It runs to completion, even if the caller is dropped.
    pub(crate) async fn with_library<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Client, &mut Library) -> Outcome<T> + Send + 'static,
    ) -> Outcome<T> {
        self.libraries.run(work).await
    }

    /// Like [`Self::with_library`], for work that only reads: it stops if the caller is dropped.
    pub(crate) async fn read_library<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Client, &mut Library) -> Outcome<T> + Send + 'static,
    ) -> Outcome<T> {
        self.libraries.read(work).await
    }

    /// Runs a future that uses both library and buckets on a blocking thread. It runs to completion, even if
    /// the caller is dropped.
    pub(crate) async fn with_buckets<T, F>(
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

    /// Reads a job's manifest and returns it with the target whose bucket has it; `None` if no bucket has it.
    /// The bucket of `likely` is tried first.
    ///
    /// # Errors
    /// When a bucket fails, or does not respond within 5 s.
    pub(crate) async fn manifest(&self, id: &JobId, likely: Target) -> Outcome<Option<(Manifest, Target)>> {
        let Ok(found) = tokio::time::timeout(MANIFEST_TIMEOUT, self.find_job_from(id, likely)).await else {
            let detail = format!("no response within {} s", MANIFEST_TIMEOUT.as_secs());
            let location = "the bucket".to_owned();
            return Err(::jobs::Error::Unavailable { location, detail }.into());
        };
        match found {
            Ok((admin, manifest)) => {
                let target = manifest.target.unwrap_or(likely);
                let manifest = overview::with_progress(&**admin.bucket(), Cow::Owned(manifest)).await;
                Ok(Some((manifest.into_owned(), target)))
            }
            Err(failure) if is_unknown_job(&failure) => Ok(None),
            Err(failure) => Err(failure),
        }
    }
}

fn joined<T>(result: Result<Outcome<T>, JoinError>) -> Outcome<T> {
    result.unwrap_or_else(|error| {
        Err(Failure::new(Kind::Failed, error).context("a task of the server ended without a result"))
    })
}
