//! The server: listening, serving, and ending without losing anything.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::options::Options;
use super::state::App;
use super::{importer, incoming, routes, uploads};
use client::Client;
use client::failure::{Failure, Kind, Outcome};
use client::stop::Stop;

/// How long requests under way may take to end.
const FAREWELL: Duration = Duration::from_secs(10);
/// How long a client may take to send a request's head.
const HEAD_LIMIT: Duration = Duration::from_secs(30);
/// Connections at the same time; others wait.
const MAX_CONNECTIONS: usize = 512;
/// Pause after the system gave no connection, as when it is out of file descriptors.
const BREATH: Duration = Duration::from_millis(100);

/// The interface over a client.
#[derive(Clone)]
pub struct Server {
    app: App,
}

impl Server {
    /// Opens the library and the buckets; listens to nothing yet.
    ///
    /// # Errors
    /// When one of them cannot be opened, or the video folder cannot be made.
    pub fn new(client: Arc<Client>, options: Options, stop: Stop) -> Outcome<Self> {
        let folder = client.settings.video_folder.clone();
        std::fs::create_dir_all(&folder).map_err(|e| client::atomic_file::cannot("create", &folder, e))?;
        incoming::sweep(&folder);
        client.library()?;
        Ok(Self { app: App::new(client, options, stop)? })
    }

    /// All routes.
    pub fn router(&self) -> Router {
        routes::router(&self.app)
    }

    /// Begins what goes on beside the requests: unfinished uploads, the watch over the registers, imports.
    /// It ends with the server's [`Stop`].
    pub fn work(&self) -> JoinHandle<()> {
        let app = self.app.clone();
        tokio::spawn(async move {
            if let Err(failure) = uploads::resume(&app).await {
                tracing::error!(cause = failure.message(), "unfinished uploads were not resumed");
            }
            importer::watch(app).await;
        })
    }

    /// Serves until the server is told to stop, and ends what is under way: within 10 s, or not at all.
    pub async fn serve(&self, listener: TcpListener) {
        let service = TowerToHyperService::new(self.router());
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(HEAD_LIMIT);
        let (graceful, places) = (GracefulShutdown::new(), Arc::new(Semaphore::new(MAX_CONNECTIONS)));
        loop {
            let accepted = async {
                let place = places.clone().acquire_owned().await;
                (listener.accept().await, place)
            };
            let (stream, place) = tokio::select! {
                (Ok((stream, _)), place) = accepted => (stream, place),
                () = self.app.stop.wait() => break,
                else => {
                    tokio::time::sleep(BREATH).await;
                    continue;
                }
            };
            prepare(&stream);
            let connection = graceful.watch(http.serve_connection(TokioIo::new(stream), service.clone()));
            tokio::spawn(async move {
                let _place = place;
                if let Err(error) = connection.await {
                    tracing::debug!(%error, "a connection ended early");
                }
            });
        }
        drop(listener);
        if tokio::time::timeout(FAREWELL, graceful.shutdown()).await.is_err() {
            tracing::info!("requests that were still under way are ended");
        }
    }
}

fn prepare(stream: &TcpStream) {
    // Events are small, and wait for nothing.
    let _ = stream.set_nodelay(true);
}

/// Listens at an address; port 0 is any that is free.
///
/// # Errors
/// Naming the address, as when another program has it.
pub async fn listen(address: SocketAddr) -> Outcome<(TcpListener, SocketAddr)> {
    let failed = |e: std::io::Error| {
        let hint = if e.kind() == std::io::ErrorKind::AddrInUse {
            "choose another --port"
        } else {
            "choose another --host or --port"
        };
        Failure::new(Kind::Failed, e).context(format!("cannot listen at {address}")).hint(hint)
    };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}
