//! The server: listens, serves connections, and shuts down without losing work.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use client::Client;
use client::failure::{Failure, Kind, Outcome};
use client::stop::Stop;
use client::terminal::notify;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::app::{App, AppState};
use crate::connection::Connection;
use crate::server_options::ServerOptions;
use crate::slots::Slots;
use crate::videos::upload_file;
use crate::{background, routes};

/// How long open requests may take to finish at shutdown.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(10);
/// Delay before the next `accept` after one failed, as it does without free file descriptors.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);
/// The errors `ENFILE` and `EMFILE`: the system or the process has no free file descriptor.
const NO_FILE_DESCRIPTOR: [i32; 2] = [23, 24];

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
        if let Some(weakness) = options.access.weakness() {
            notify(format!("warning: {weakness}"));
        }
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
        let limits = self.app.options.limits;
        let service = TowerToHyperService::new(self.router());
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(limits.head_timeout);
        let graceful = GracefulShutdown::new();
        while let Some(stream) = self.accept(&listener).await {
            let slot = Arc::new(self.app.connections.take());
            let stream = Connection::new(stream, slot.clone(), limits.write_timeout);
            let connection = graceful.watch(http.serve_connection(TokioIo::new(stream), service.clone()));
            tokio::spawn(async move {
                tokio::select! {
                    ended = connection => if let Err(error) = ended {
                        tracing::debug!(%error, "a connection ended early");
                    },
                    () = slot.revoked() => tracing::debug!("closed an idle connection to make room for another"),
                }
            });
        }
        drop(listener);
        if tokio::time::timeout(SHUTDOWN_TIMEOUT, graceful.shutdown()).await.is_err() {
            tracing::info!("aborting requests that did not finish before the shutdown timeout");
        }
    }

    /// The next connection; `None` when a stop is requested.
    async fn accept(&self, listener: &TcpListener) -> Option<TcpStream> {
        tokio::select! {
            (stream, _) = retry_accept(&self.app.connections, || listener.accept()) => Some(stream),
            () = self.app.stop.wait() => None,
        }
    }
}

/// Calls `accept` until it succeeds. Failures are transient: a connection was reset before it was accepted, or there is
/// no free file descriptor, and then the connection that has been idle longest is closed.
async fn retry_accept<T, F>(connections: &Slots, mut accept: impl FnMut() -> F) -> T
where
    F: Future<Output = io::Result<T>>,
{
    loop {
        match accept().await {
            Ok(accepted) => return accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                if error.raw_os_error().is_some_and(|code| NO_FILE_DESCRIPTOR.contains(&code)) {
                    connections.revoke_one();
                }
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
    let failed = |e: io::Error| {
        let hint = if e.kind() == io::ErrorKind::AddrInUse {
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
    use std::future::ready;

    use super::*;

    #[tokio::test]
    async fn keeps_accepting_after_a_failed_accept() {
        let connections = Slots::new(2);
        let _open = [connections.take(), connections.take()];
        let mut results = vec![Ok("connection"), Err(io::Error::other("reset before it was accepted"))];
        assert_eq!(retry_accept(&connections, || ready(results.pop().unwrap())).await, "connection");
        assert_eq!(connections.n_taken(), 2);
        for code in NO_FILE_DESCRIPTOR {
            let mut results = vec![Ok("connection"), Err(io::Error::from_raw_os_error(code))];
            assert_eq!(retry_accept(&connections, || ready(results.pop().unwrap())).await, "connection");
        }
        assert_eq!(connections.n_taken(), 0);
    }
}
