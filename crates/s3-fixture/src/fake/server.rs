//! The network side of the fake: connections, and the faults between a request and its response.

use std::convert::Infallible;
use std::fmt;
use std::future::pending;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::RANGE;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime;
use tokio::sync::oneshot;

use super::conditions::Conditions;
use super::error::S3Error;
use super::faults::{Call, Fault};
use super::request::Request;
use super::response::{Body, S3Response};
use super::shared::Shared;

/// Number of threads: two, so that hashing a large body does not block other requests.
const N_THREADS: usize = 2;

/// A running server. It has its own threads and runtime, so it does not depend on the caller's.
#[derive(Debug)]
pub(super) struct Running {
    stop: oneshot::Sender<Infallible>,
    thread: thread::JoinHandle<()>,
}

/// Binds a port on loopback without listening on it: connections are refused, and no other process gets the
/// port.
pub(super) fn reserve(port: u16) -> io::Result<(TcpSocket, u16)> {
    let socket = TcpSocket::new_v4()?;
    // Connections of the stopped server may linger.
    socket.set_reuseaddr(true)?;
    socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
    let port = socket.local_addr()?.port();
    Ok((socket, port))
}

/// Binds a port again that was released just now. Another process's outgoing connection may use it for a
/// while.
pub(super) fn reserve_again(port: u16) -> io::Result<TcpSocket> {
    let started = std::time::Instant::now();
    loop {
        match reserve(port) {
            Err(e) if e.kind() == io::ErrorKind::AddrInUse && started.elapsed().as_secs() < 30 => {
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
            reserved => return reserved.map(|(socket, _)| socket),
        }
    }
}

impl Running {
    /// Listens on the reserved port and returns once clients can connect.
    pub(super) fn start(socket: TcpSocket, shared: Arc<Shared>) -> Running {
        let (stop, stopped) = oneshot::channel();
        let (ready, is_ready) = mpsc::sync_channel(1);
        let serve = move || {
            let runtime = runtime::Builder::new_multi_thread().worker_threads(N_THREADS).enable_all().build();
            let runtime = runtime.expect("the fake S3 server needs threads");
            runtime.block_on(async {
                let listener = socket.listen(1024).expect("the reserved port can be listened on");
                let _ = ready.send(());
                tokio::select! {
                    _ = stopped => {}
                    () = accept(listener, shared) => {}
                }
            });
            // Dropping the runtime closes all connections and cancels the requests that are waiting.
        };
        let thread = thread::Builder::new().name("fake-r2".to_owned()).spawn(serve);
        let thread = thread.expect("the fake S3 server needs a thread");
        is_ready.recv().expect("the fake S3 server came up");
        Running { stop, thread }
    }

    /// Closes all connections and waits until the server has ended.
    pub(super) fn stop(self) {
        drop(self.stop);
        self.thread.join().expect("the fake S3 server does not panic");
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Usually too many open files: wait for some to be closed.
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let _ = stream.set_nodelay(true);
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let service = service_fn(|request| serve(Arc::clone(&shared), request));
            // An error means that the client disconnected or that a fault was injected.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

/// Error that closes the connection without a response.
#[derive(Debug)]
struct Dropped;

impl fmt::Display for Dropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection is closed without a response")
    }
}

impl std::error::Error for Dropped {}

async fn serve(
    shared: Arc<Shared>,
    request: hyper::Request<Incoming>,
) -> Result<hyper::Response<Body>, Dropped> {
    let (parts, body) = request.into_parts();
    let request = Request::of(parts);
    let (op, key) = (request.op, request.subject().to_owned());
    let seq = shared.log.arrived(op, &key);
    let conditional = !Conditions::of(&request.headers).is_empty();
    let range_start = request.headers.get(RANGE).and_then(|range| first_byte(range.to_str().ok()?));
    let fault = shared.fault(&Call { seq, op, key, conditional, range_start });
    let body = body.collect().await.map_err(|_| Dropped)?.to_bytes();
    let response = respond(&shared, request, body, fault).await?;
    shared.log.responded(seq, response.status.as_u16());
    Ok(response.into_response())
}

/// Parses FIRST from `bytes=FIRST-LAST`.
fn first_byte(range: &str) -> Option<u64> {
    range.strip_prefix("bytes=")?.split_once('-')?.0.parse().ok()
}

async fn respond(
    shared: &Arc<Shared>,
    request: Request,
    body: Bytes,
    fault: Option<Fault>,
) -> Result<S3Response, Dropped> {
    match fault {
        Some(Fault::ServerError) => return Ok(S3Error::internal().into()),
        Some(Fault::SlowDown) => return Ok(S3Error::slow_down().into()),
        Some(Fault::Drop) => return Err(Dropped),
        Some(Fault::Hang) => return pending().await,
        _ => {}
    }
    let mut response = commit(shared, request, body, fault.clone()).await?;
    match fault {
        Some(Fault::CommitThenError) => response = S3Error::internal().into(),
        Some(Fault::CommitThenDrop) => return Err(Dropped),
        Some(Fault::CommitThenHang) => return pending().await,
        Some(Fault::CommitThenHold(gate)) => gate.pass().await,
        Some(Fault::Truncate(n_bytes)) => response.truncate(n_bytes),
        Some(Fault::Corrupt) => response.corrupt(),
        _ => {}
    }
    Ok(response)
}

/// Executes the request in a separate task, so that it takes effect even if the client disconnects.
async fn commit(
    shared: &Arc<Shared>,
    request: Request,
    body: Bytes,
    fault: Option<Fault>,
) -> Result<S3Response, Dropped> {
    let shared = Arc::clone(shared);
    let work = async move {
        let latency = shared.settings().latency;
        if latency > Duration::ZERO {
            tokio::time::sleep(latency).await;
        }
        match fault {
            Some(Fault::Delay(delay)) => tokio::time::sleep(delay).await,
            Some(Fault::Hold(gate)) => gate.pass().await,
            _ => {}
        }
        shared.execute(request, body).unwrap_or_else(S3Response::from)
    };
    tokio::spawn(work).await.map_err(|_| Dropped)
}
