//! Open connections to the library: opening one takes longer than most queries.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use client::Client;
use client::failure::{Failure, Kind, Outcome};
use store::{Interrupter, Library};
use tokio::sync::Semaphore;

/// Calls that use the library at the same time; further ones wait. More would only slow each other down.
const MAX_CALLS: usize = 16;
/// Idle connections that are kept.
const MAX_IDLE: usize = 8;

/// Connections to the library of a client.
pub(crate) struct LibraryPool {
    client: Arc<Client>,
    idle: Mutex<Vec<Library>>,
    calls: Arc<Semaphore>,
}

impl LibraryPool {
    pub(crate) fn new(client: Arc<Client>) -> Self {
        Self { client, idle: Mutex::default(), calls: Arc::new(Semaphore::new(MAX_CALLS)) }
    }

    /// Runs `work` with a connection on a blocking thread. It runs to completion, even if the caller is dropped.
    pub(crate) async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Client, &mut Library) -> Outcome<T> + Send + 'static,
    ) -> Outcome<T> {
        self.run_with(Interruption::default(), work).await
    }

    /// Like [`Self::run`], for work that only reads: on one snapshot of the database, and a query that still runs when the
    /// caller is dropped is stopped.
    pub(crate) async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Client, &mut Library) -> Outcome<T> + Send + 'static,
    ) -> Outcome<T> {
        let interruption = Interruption::default();
        let _guard = InterruptOnDrop(interruption.clone());
        self.run_with(interruption, |client, library| library.snapshot(|library| work(client, library))).await
    }

    async fn run_with<T: Send + 'static>(
        self: &Arc<Self>,
        interruption: Interruption,
        work: impl FnOnce(&Client, &mut Library) -> Outcome<T> + Send + 'static,
    ) -> Outcome<T> {
        // Never closed.
        let permit = self.calls.clone().acquire_owned().await.ok();
        let pool = self.clone();
        let task = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let mut library = pool.take()?;
            interruption.begin(&library);
            let result = work(&pool.client, &mut library);
            interruption.end();
            pool.put(library);
            result
        });
        task.await.unwrap_or_else(|error| {
            Err(Failure::new(Kind::Failed, error).context("a task of the server ended without a result"))
        })
    }

    fn take(&self) -> Outcome<Library> {
        loop {
            let Some(library) = locked(&self.idle).pop() else { return self.client.library() };
            if library.is_current().unwrap_or(false) {
                return Ok(library);
            }
        }
    }

    fn put(&self, library: Library) {
        let mut idle = locked(&self.idle);
        if idle.len() < MAX_IDLE {
            idle.push(library);
        }
    }
}

/// The connection that a call uses, while it does.
#[derive(Clone, Default)]
struct Interruption(Arc<Mutex<Option<Interrupter>>>);

impl Interruption {
    fn begin(&self, library: &Library) {
        *locked(&self.0) = Some(library.interrupter());
    }

    /// After this, the connection may serve another call and is not interrupted.
    fn end(&self) {
        *locked(&self.0) = None;
    }
}

/// Stops the query of a call whose client has gone.
struct InterruptOnDrop(Interruption);

impl Drop for InterruptOnDrop {
    fn drop(&mut self) {
        if let Some(interrupter) = &*locked(&self.0.0) {
            interrupter.interrupt();
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;
    use std::sync::mpsc;
    use std::time::Duration;

    use client::settings::Settings;
    use store::{DetectionScope, ImportJob, NewVideo, ResultsSummary, StoreError, StoredDetection};

    use super::*;

    fn pool(folder: &std::path::Path) -> Arc<LibraryPool> {
        let url = format!("sqlite:///{}/library.db", folder.display());
        let settings = Settings::from(&|name| (name == "DATABASE_URL").then(|| url.clone())).unwrap();
        Arc::new(LibraryPool::new(Arc::new(Client::new(settings))))
    }

    #[tokio::test]
    async fn a_query_stops_when_its_client_has_gone() {
        let folder = tempfile::tempdir().unwrap();
        let pool = pool(folder.path());
        pool.run(|_, library| {
            let video = library.add_video(&NewVideo::at("a.mp4"))?;
            library.import(&ImportJob::new("job", video.id, "a"), |writer| {
                for frame in 0..1000 {
                    let bbox = [0.0, 0.0, 1.0, 1.0];
                    writer.push(&[StoredDetection { frame, track_id: 0, bbox, confidence: 0.5 }])?;
                }
                Ok::<_, StoreError>(ResultsSummary::default())
            })?;
            Ok(())
        })
        .await
        .unwrap();
        let (started, is_started) = mpsc::channel();
        let (ended, how) = mpsc::channel();
        let call = tokio::spawn({
            let pool = pool.clone();
            async move {
                pool.read(move |_, library| {
                    let result = library.for_each_detection(DetectionScope::Video(1), |_| {
                        let _ = started.send(());
                        std::thread::sleep(Duration::from_millis(5));
                        ControlFlow::Continue(())
                    });
                    let _ = ended.send(result.map_err(|error| error.to_string()));
                    Ok(())
                })
                .await
            }
        });
        tokio::task::spawn_blocking(move || is_started.recv().unwrap()).await.unwrap();
        call.abort();
        let how = tokio::task::spawn_blocking(move || how.recv().unwrap()).await.unwrap();
        assert!(how.unwrap_err().contains("interrupted"));
        // The connection serves the next call.
        let total =
            pool.read(|_, library| Ok(library.detection_totals(DetectionScope::Video(1))?)).await.unwrap();
        assert_eq!(total.total_detections, 1000);
    }

    #[tokio::test]
    async fn connections_are_reused_until_the_file_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let pool = pool(folder.path());
        for _ in 0..3 {
            pool.run(|_, library| Ok(library.add_video(&NewVideo::at("a.mp4"))?)).await.unwrap();
        }
        assert_eq!(locked(&pool.idle).len(), 1);
        let n_videos = || pool.read(|_, library| Ok(library.videos(Default::default(), 1, 1)?.total));
        assert_eq!(n_videos().await.unwrap(), 3);
        for suffix in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(folder.path().join(format!("library.db{suffix}")));
        }
        assert_eq!(n_videos().await.unwrap(), 0);
    }
}
