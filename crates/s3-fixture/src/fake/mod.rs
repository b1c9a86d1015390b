//! An in-process S3 server that follows R2's rules and fails on demand.
//!
//! It implements the part of <https://developers.cloudflare.com/r2/api/s3/api/> that Courtside uses and
//! rejects the rest with 501. Guarantees: every request is one atomic step (strong consistency, including
//! lists); conditional writes and the rules for parts are those of R2; content survives [`FakeR2::stop`]. Not
//! modelled: durability, quotas, signatures (only the access key id is compared), and checksums other than
//! the signed SHA-256.
//!
//! `request` parses requests, `service` executes them on `store`, and `server` injects the faults in between.

mod conditions;
mod error;
mod faults;
mod listing;
mod log;
mod request;
mod response;
mod server;
mod service;
mod shared;
mod store;
mod xml;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use hyper::HeaderMap;
use tokio::net::TcpSocket;

pub use self::conditions::ConditionalWrites;
pub use self::faults::{Call, Fault, Gate, RandomFaults};
pub use self::log::{Class, Counts, Entry, Op};
pub use self::shared::Access;
pub use self::store::Object;
pub(crate) use self::store::hex;

use self::conditions::Conditions;
use self::server::Running;
use self::shared::Shared;
use self::store::Hashed;
use crate::Connection;

/// What [`FakeR2::start_with`] serves, and where.
#[derive(Clone, Debug)]
pub struct FakeR2Options {
    /// Port on loopback; 0 for any free port.
    pub port: u16,
    /// Name of the only bucket.
    pub bucket: String,
    /// Access key id that requests must be signed with; `None` if signatures are not required.
    pub access_key_id: Option<String>,
}

impl Default for FakeR2Options {
    fn default() -> Self {
        let access_key_id = Some("fake-access-key-id".to_owned());
        FakeR2Options { port: 0, bucket: "courtside-test".to_owned(), access_key_id }
    }
}

/// A fake R2 server. It stops when dropped. All methods may be called at any time and from any thread, inside
/// or outside an async runtime.
#[derive(Debug)]
pub struct FakeR2 {
    shared: Arc<Shared>,
    connection: Connection,
    port: u16,
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    Running(Running),
    /// The port is reserved, but the server does not listen.
    Stopped(TcpSocket),
    /// Placeholder while the server starts or stops.
    Changing,
}

impl FakeR2 {
    /// Starts a server on a free port, with an empty bucket.
    pub fn start() -> FakeR2 {
        FakeR2::start_with(FakeR2Options::default())
    }

    /// Starts a server with these options.
    ///
    /// # Panics
    /// If the port is in use.
    pub fn start_with(options: FakeR2Options) -> FakeR2 {
        let (socket, port) = server::reserve(options.port).unwrap_or_else(|e| {
            panic!("cannot bind port {} of 127.0.0.1: {e}; choose another", options.port)
        });
        let connection = Connection {
            endpoint: format!("http://127.0.0.1:{port}"),
            bucket: options.bucket.clone(),
            region: "auto".to_owned(),
            access_key_id: options.access_key_id.clone().unwrap_or_else(|| "any".to_owned()),
            secret_access_key: "fake-secret-access-key".to_owned(),
        };
        let shared = Arc::new(Shared::new(options.bucket, options.access_key_id));
        let running = Running::start(socket, Arc::clone(&shared));
        FakeR2 { shared, connection, port, state: Mutex::new(State::Running(running)) }
    }

    /// What a client needs to connect.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The port on 127.0.0.1, which never changes.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Closes all connections and refuses new ones. Requests in flight get no response, and those that have
    /// not taken effect never will. Content, settings and log are kept. Does nothing if the server is
    /// stopped.
    pub fn stop(&self) {
        let mut state = self.state.lock().expect("starting and stopping do not panic");
        *state = match std::mem::replace(&mut *state, State::Changing) {
            State::Running(running) => {
                running.stop();
                State::Stopped(server::reserve_again(self.port).expect("the port was bound by this server"))
            }
            other => other,
        };
    }

    /// Restarts on the same port with the same content. Does nothing if the server is running.
    pub fn start_again(&self) {
        let mut state = self.state.lock().expect("starting and stopping do not panic");
        *state = match std::mem::replace(&mut *state, State::Changing) {
            State::Stopped(socket) => State::Running(Running::start(socket, Arc::clone(&self.shared))),
            other => other,
        };
    }

    /// Sets the plan that decides about every later request, in order of arrival.
    pub fn set_faults(&self, plan: impl FnMut(&Call) -> Option<Fault> + Send + 'static) {
        self.shared.set_plan(Some(Box::new(plan)));
    }

    /// Removes the plan and all faults of [`FakeR2::fail_next`].
    pub fn clear_faults(&self) {
        self.shared.set_plan(None);
        self.shared.clear_once();
    }

    /// Injects a fault into the next request for this operation on a key with this prefix, instead of what
    /// the plan says. Several faults that match the same request are used in order, one per request.
    pub fn fail_next(&self, op: Op, key_prefix: &str, fault: Fault) {
        self.shared.fail_next(op, key_prefix, fault);
    }

    /// Sets the clients' permissions.
    pub fn set_access(&self, access: Access) {
        self.shared.set(|s| s.access = access);
    }

    /// Removes the bucket, with its objects as they are, until a client creates it again.
    pub fn remove_bucket(&self) {
        self.shared.set(|s| s.exists = false);
    }

    /// Sets how conditions of writes are treated.
    pub fn set_conditional_writes(&self, mode: ConditionalWrites) {
        self.shared.set(|s| s.rules.conditional_writes = mode);
    }

    /// Sets the minimum size in bytes of parts other than the last. Initially 5 MiB, like R2.
    pub fn set_min_part_bytes(&self, min_part_bytes: u64) {
        self.shared.set(|s| s.rules.min_part_bytes = min_part_bytes);
    }

    /// Sets the minimum time between two writes of the same key; an earlier write is 429. R2's limit is one
    /// second. Initially zero, which means no limit.
    pub fn set_min_write_interval(&self, interval: Duration) {
        self.shared.set(|s| s.rules.min_write_interval = interval);
    }

    /// Sets the minimum duration of every request.
    pub fn set_latency(&self, latency: Duration) {
        self.shared.set(|s| s.latency = latency);
    }

    /// Sets the maximum number of keys per page of a list, to test paging with few objects.
    pub fn set_max_page_size(&self, n_keys: usize) {
        self.shared.set(|s| s.max_page_size = n_keys);
    }

    /// The requests since the start or since [`FakeR2::clear_log`], in order of arrival.
    pub fn log(&self) -> Vec<Entry> {
        self.shared.log.entries()
    }

    /// The numbers of requests in the log.
    pub fn counts(&self) -> Counts {
        self.shared.log.counts()
    }

    /// Removes all requests from the log.
    pub fn clear_log(&self) {
        self.shared.log.clear();
    }

    /// Waits until the log meets the condition, which is checked after every request and every response.
    pub async fn wait_for(&self, condition: impl FnMut(&[Entry]) -> bool) {
        self.shared.log.wait_for(condition).await;
    }

    /// Writes an object directly, without a request; returns its entity tag without quotes.
    pub fn put(&self, key: &str, body: impl Into<Bytes>) -> String {
        let rules = store::Rules {
            conditional_writes: ConditionalWrites::Ignored,
            min_write_interval: Duration::ZERO,
            ..self.shared.settings().rules
        };
        let body = Hashed::of(body.into());
        let put = self.shared.store().put(key, body, HeaderMap::new(), &Conditions::default(), rules);
        put.unwrap_or_else(|e| panic!("cannot put {key}: {}", e.message))
    }

    /// Reads an object directly; `None` if it does not exist.
    pub fn object(&self, key: &str) -> Option<Object> {
        self.shared.store().objects.get(key).cloned()
    }

    /// Removes an object directly; returns whether it existed.
    pub fn remove(&self, key: &str) -> bool {
        self.shared.store().objects.remove(key).is_some()
    }

    /// All keys in the bucket, in order.
    pub fn keys(&self) -> Vec<String> {
        self.shared.store().objects.keys().cloned().collect()
    }

    /// Multipart uploads that are neither completed nor aborted: ids and keys.
    pub fn open_uploads(&self) -> Vec<(String, String)> {
        self.shared.store().uploads()
    }
}

impl Drop for FakeR2 {
    fn drop(&mut self) {
        let state = self.state.get_mut().map(|state| std::mem::replace(state, State::Changing));
        if let Ok(State::Running(running)) = state {
            running.stop();
        }
    }
}
