//! The network side of the fake: connections, and the faults between a request and its answer.

use std::convert::Infallible;
use std::fmt;
use std::future::pending;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::faults::Fault;
use crate::state::{Request, State};
use crate::{runpod, schema, vast};

/// How long [`FakeProviders::wait_for`] waits before the test fails. Nothing takes nearly this long.
const DEADLINE: Duration = Duration::from_secs(120);

/// A status and a body; null for none.
pub(crate) type Answer = (u16, Value);

/// Both providers, on one port of loopback, until it is dropped.
#[derive(Debug)]
pub struct FakeProviders {
    state: Arc<Mutex<State>>,
    port: u16,
    stop: Option<oneshot::Sender<Infallible>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl FakeProviders {
    /// Starts the server. It has its own thread and runtime.
    pub fn start() -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        let (stop, stopped) = oneshot::channel();
        let (ready, port) = mpsc::sync_channel(1);
        let shared = Arc::clone(&state);
        let serve = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
                ready.send(listener.local_addr().unwrap().port()).unwrap();
                tokio::select! {
                    _ = stopped => {}
                    () = accept(listener, shared) => {}
                }
            });
        };
        let thread = Some(thread::spawn(serve));
        let port = port.recv().expect("the fake providers came up");
        Self { state, port, stop: Some(stop), thread }
    }

    /// The address of both APIs, without a path.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The name of an image in the registry at the same address.
    pub fn image(&self, name: &str) -> String {
        format!("127.0.0.1:{}/{name}", self.port)
    }

    /// The state of both providers, to read and to change.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `condition` returns a value.
    #[track_caller]
    pub fn wait_for<T>(&self, what: &str, condition: impl Fn(&State) -> Option<T>) -> T {
        let started = Instant::now();
        loop {
            if let Some(value) = condition(&self.state()) {
                return value;
            }
            assert!(started.elapsed() < DEADLINE, "waited too long for {what}: {:?}", self.state().requests);
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Fails if any request body did not follow the schemas.
    #[track_caller]
    pub fn check_bodies(&self) {
        let violations = self.state().violations.clone();
        assert!(violations.is_empty(), "{violations:?}");
    }
}

impl Drop for FakeProviders {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn accept(listener: TcpListener, state: Arc<Mutex<State>>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let state = Arc::clone(&state);
        tokio::spawn(async move {
            // A connection that is closed with unread data then ends with a reset.
            let _ = stream.set_zero_linger();
            let service = service_fn(|request| serve(Arc::clone(&state), request));
            // An error means that the client disconnected or that a fault was injected.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

/// Error that closes the connection without an answer.
#[derive(Debug)]
struct Reset;

impl fmt::Display for Reset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection is closed without an answer")
    }
}

impl std::error::Error for Reset {}

async fn serve(
    state: Arc<Mutex<State>>,
    request: hyper::Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Reset> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| Reset)?.to_bytes();
    let method = parts.method.as_str().to_owned();
    let path = parts.uri.path_and_query().map_or_else(String::new, ToString::to_string);
    let bearer = parts.headers.get("authorization").and_then(|value| value.to_str().ok());
    let key = bearer.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default().to_owned();
    let (fault, now) = {
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        let body = String::from_utf8_lossy(&body).into_owned();
        state.requests.push(Request { method: method.clone(), path: path.clone(), body });
        (state.fault(&method, &path), state.utc())
    };
    let act = || respond(&state, &method, &path, &key, &body);
    let answer = match fault {
        Some(Fault::Hang) => return pending().await,
        Some(Fault::Reset) => return Err(Reset),
        Some(Fault::EffectThenReset) => {
            act();
            return Err(Reset);
        }
        Some(Fault::EffectThenGarbage) => {
            act();
            (201, Value::String("garbage".into()))
        }
        Some(Fault::Status(status, detail)) => problem(status, detail),
        Some(Fault::TooMany(_)) => problem(429, "rate limit exceeded for the minute window"),
        Some(Fault::SuccessFalse) => (200, json!({ "success": false, "msg": "the host refuses" })),
        Some(Fault::Garbage) => (200, Value::String("garbage".into())),
        None => act(),
    };
    let text = match (&fault, &answer.1) {
        (Some(Fault::Garbage | Fault::EffectThenGarbage), _) => "<html>gateway</html>".to_owned(),
        (_, Value::Null) => String::new(),
        (_, value) => value.to_string(),
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = StatusCode::from_u16(answer.0).unwrap();
    let date = httpdate::fmt_http_date(now.into());
    response.headers_mut().insert("date", date.parse().unwrap());
    if let Some(Fault::TooMany(seconds)) = fault {
        response.headers_mut().insert("retry-after", seconds.to_string().parse().unwrap());
    }
    Ok(response)
}

/// An error as RunPod words it; Vast's differ, but are read alike.
pub(crate) fn problem(status: u16, detail: &str) -> Answer {
    (status, json!({ "title": "Problem", "status": status, "detail": detail }))
}

fn respond(state: &Mutex<State>, method: &str, path: &str, key: &str, body: &[u8]) -> Answer {
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    let path = path.split('?').next().unwrap_or_default();
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    if let ["v2", rest @ .., "manifests", tag] = parts.as_slice() {
        let image = format!("{}:{tag}", rest.join("/"));
        return (if state.images.contains(&image) { 200 } else { 404 }, Value::Null);
    }
    let body: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
    match parts.as_slice() {
        ["api", "v0", "instances", id] => vast::respond(&mut state, method, id, key, &body),
        ["v2", rest @ ..] => runpod::respond(&mut state, method, rest, key, &body),
        _ => problem(404, "no such path"),
    }
}

/// Checks a body, and records what is wrong with it.
pub(crate) fn check_body(state: &mut State, schema: &str, body: &Value) -> Option<Answer> {
    let found = schema::violation(&schema::runpod(), schema, body)?;
    state.violations.push(found.clone());
    Some(problem(422, &found))
}
