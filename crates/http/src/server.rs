//! The server: listens, serves connections, and shuts down without losing work.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use client::Client;
use client::failure::{Failure, Kind, Outcome};
use client::stop::Stop;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;

use crate::app::{App, AppState};
use crate::server_options::ServerOptions;
use crate::videos::upload_file;
use crate::{background, routes};

/// How long open requests may take to finish at shutdown.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a client may take to send the head of a request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// Connections served at the same time; further ones wait in the listener's queue.
const MAX_CONNECTIONS: usize = 512;
/// Delay before the next `accept` after one failed, as it does without free file descriptors.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// The HTTP server of one client.
#[derive(Clone)]
pub struct Server {
    app: AppState,
}

impl Server {
    /// Opens the library and the buckets. Does not listen yet.
    ///
    /// # Errors
    /// When one of them cannot be opened, or the video folder cannot be created.
    pub fn new(client: Arc<Client>, options: ServerOptions, stop: Stop) -> Outcome<Self> {
        let folder = client.settings.video_folder.clone();
        std::fs::create_dir_all(&folder).map_err(|e| client::atomic_file::cannot("create", &folder, e))?;
        upload_file::remove_stale(&folder);
        client.library()?;
        Ok(Self { app: Arc::new(App::new(client, options, stop)?) })
    }

    /// The router with all routes and middleware.
    pub fn router(&self) -> Router {
        routes::router(&self.app)
    }

    /// Starts the background tasks: unfinished uploads, polling of the manifests, imports. They end when the
    /// server's [`Stop`] is requested.
    pub fn spawn_background_tasks(&self) -> JoinHandle<()> {
        tokio::spawn(background::run(self.app.clone()))
    }

    /// Serves until a stop is requested, then lets open requests finish for at most 10 s.
    pub async fn serve(&self, listener: TcpListener) {
        let service = TowerToHyperService::new(self.router());
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
        let (graceful, permits) = (GracefulShutdown::new(), Arc::new(Semaphore::new(MAX_CONNECTIONS)));
        while let Some((stream, permit)) = self.accept(&listener, &permits).await {
            let connection = graceful.watch(http.serve_connection(TokioIo::new(stream), service.clone()));
            tokio::spawn(async move {
                let _permit = permit;
                if let Err(error) = connection.await {
                    tracing::debug!(%error, "a connection ended early");
                }
            });
        }
        drop(listener);
        if tokio::time::timeout(SHUTDOWN_TIMEOUT, graceful.shutdown()).await.is_err() {
            tracing::info!("aborting requests that did not finish before the shutdown timeout");
        }
    }

    /// The next connection and its permit; `None` when a stop is requested.
    async fn accept(
        &self,
        listener: &TcpListener,
        permits: &Arc<Semaphore>,
    ) -> Option<(TcpStream, OwnedSemaphorePermit)> {
        let accepted = async {
            let permit = permits.clone().acquire_owned().await.ok()?;
            let (stream, _) = retry_accept(async || listener.accept().await).await;
            Some((stream, permit))
        };
        let (stream, permit) = tokio::select! {
            accepted = accepted => accepted?,
            () = self.app.stop.wait() => return None,
        };
        // Events are small and must not wait for more data.
        let _ = stream.set_nodelay(true);
        Some((stream, permit))
    }
}

/// Calls `accept` until it succeeds. Failures are transient: a connection was reset before it was accepted,
/// or the process has no free file descriptor.
async fn retry_accept<T>(mut accept: impl AsyncFnMut() -> std::io::Result<T>) -> T {
    loop {
        match accept().await {
            Ok(accepted) => return accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_BACKOFF).await;
            }
        }
    }
}

/// Listens on an address; port 0 selects any free port. Returns the address with the actual port.
///
/// # Errors
/// With the address in the message, for example when another program uses it.
pub async fn listen(address: SocketAddr) -> Outcome<(TcpListener, SocketAddr)> {
    let failed = |e: std::io::Error| {
        let hint = if e.kind() == std::io::ErrorKind::AddrInUse {
            "choose another --port"
        } else {
            "choose another --host or --port"
        };
        Failure::new(Kind::Failed, e).context(format!("cannot listen on {address}")).hint(hint)
    };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn keeps_accepting_after_a_failed_accept() {
        let mut results = vec![Ok("connection"), Err(std::io::Error::other("too many open files"))];
        let accepted = retry_accept(async || results.pop().unwrap()).await;
        assert_eq!(accepted, "connection");
    }
}
