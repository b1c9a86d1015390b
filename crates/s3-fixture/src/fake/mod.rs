//! A server with R2's rules, in this process, that fails on demand.
//!
//! It answers what <https://developers.cloudflare.com/r2/api/s3/api/> documents, as far as Courtside uses it, and
//! declines the rest with 501. Promises: every request is one atomic step (strong consistency, lists included);
//! conditional writes and the rules on parts are R2's; content survives [`FakeR2::stop`]. It is not a model of
//! durability, quotas, signatures (the access key id alone is compared) or checksums other than the signed SHA-256.
//!
//! `request` reads what is asked, `service` does it over `store`, `server` stands between with the faults.

mod answer;
mod conditions;
mod error;
mod faults;
mod listing;
mod log;
mod request;
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

/// How a [`FakeR2`] starts.
#[derive(Clone, Debug)]
pub struct FakeR2Options {
    /// The port on loopback; 0: any that is free.
    pub port: u16,
    /// The one bucket there is.
    pub bucket: String,
    /// The access key id that requests must be signed with; `None`: any, or none.
    pub access_key_id: Option<String>,
}

impl Default for FakeR2Options {
    fn default() -> Self {
        let access_key_id = Some("fake-access-key-id".to_owned());
        FakeR2Options { port: 0, bucket: "courtside-test".to_owned(), access_key_id }
    }
}

/// A server with R2's rules. It stops when dropped. All methods may be called at any time, from any thread, within
/// or without a runtime.
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
    /// The port is kept, but nobody listens.
    Stopped(TcpSocket),
    /// Between the two.
    Changing,
}

impl FakeR2 {
    /// Starts one on a free port, with an empty bucket.
    pub fn start() -> FakeR2 {
        FakeR2::start_with(FakeR2Options::default())
    }

    /// Starts one.
    ///
    /// # Panics
    /// If the port is taken.
    pub fn start_with(options: FakeR2Options) -> FakeR2 {
        let (socket, port) = server::reserve(options.port).unwrap_or_else(|e| {
            panic!("cannot take port {} of 127.0.0.1: {e}; choose another", options.port)
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

    /// The port on 127.0.0.1; the same for good.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Ends all connections and refuses new ones. Requests in flight get no answer, and those that have not taken
    /// effect never will. Content, settings and log stay. Nothing happens if it is stopped.
    pub fn stop(&self) {
        let mut state = self.state.lock().expect("starting and stopping do not panic");
        *state = match std::mem::replace(&mut *state, State::Changing) {
            State::Running(running) => {
                running.stop();
                State::Stopped(server::reserve_again(self.port).expect("the port was ours a moment ago"))
            }
            other => other,
        };
    }

    /// Starts again on the same port with the same content. Nothing happens if it runs.
    pub fn start_again(&self) {
        let mut state = self.state.lock().expect("starting and stopping do not panic");
        *state = match std::mem::replace(&mut *state, State::Changing) {
            State::Stopped(socket) => State::Running(Running::start(socket, Arc::clone(&self.shared))),
            other => other,
        };
    }

    /// From now on the plan is asked about every request, in the order in which they arrive.
    pub fn set_faults(&self, plan: impl FnMut(&Call) -> Option<Fault> + Send + 'static) {
        self.shared.set_plan(Some(Box::new(plan)));
    }

    /// From now on nothing fails: neither by the plan nor by [`FakeR2::fail_next`].
    pub fn clear_faults(&self) {
        self.shared.set_plan(None);
        self.shared.clear_once();
    }

    /// The next request for this operation on a key with this prefix fails so, whatever the plan says; once. Several
    /// that fit the same request are used up in order, one for each.
    pub fn fail_next(&self, op: Op, key_prefix: &str, fault: Fault) {
        self.shared.fail_next(op, key_prefix, fault);
    }

    /// What clients may do from now on.
    pub fn set_access(&self, access: Access) {
        self.shared.set(|s| s.access = access);
    }

    /// How conditions of writes are treated from now on.
    pub fn set_conditional_writes(&self, mode: ConditionalWrites) {
        self.shared.set(|s| s.rules.conditional_writes = mode);
    }

    /// The least size of parts other than the last, bytes; 5 MiB at the start, as R2's.
    pub fn set_min_part_bytes(&self, min_part_bytes: u64) {
        self.shared.set(|s| s.rules.min_part_bytes = min_part_bytes);
    }

    /// Refuses, with 429, a write of a key that was written less than this before; R2's limit is one second. Zero,
    /// as at the start: no limit.
    pub fn set_min_write_interval(&self, interval: Duration) {
        self.shared.set(|s| s.rules.min_write_interval = interval);
    }

    /// The time that every request takes at least.
    pub fn set_latency(&self, latency: Duration) {
        self.shared.set(|s| s.latency = latency);
    }

    /// Pages of lists hold at most so many keys, for paging with few objects.
    pub fn set_max_page_size(&self, n_keys: usize) {
        self.shared.set(|s| s.max_page_size = n_keys);
    }

    /// The requests since the start or since [`FakeR2::clear_log`], by arrival.
    pub fn log(&self) -> Vec<Entry> {
        self.shared.log.entries()
    }

    /// Their numbers.
    pub fn counts(&self) -> Counts {
        self.shared.log.counts()
    }

    /// Forgets the requests so far.
    pub fn clear_log(&self) {
        self.shared.log.clear();
    }

    /// Waits until the log is as wished; the condition is asked again after every request and every answer.
    pub async fn wait_for(&self, condition: impl FnMut(&[Entry]) -> bool) {
        self.shared.log.wait_for(condition).await;
    }

    /// Puts an object behind the clients' backs and gives its entity tag, without quotes.
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

    /// The object, if there is one.
    pub fn object(&self, key: &str) -> Option<Object> {
        self.shared.store().objects.get(key).cloned()
    }

    /// Removes an object behind the clients' backs; whether there was one.
    pub fn remove(&self, key: &str) -> bool {
        self.shared.store().objects.remove(key).is_some()
    }

    /// All keys, in order.
    pub fn keys(&self) -> Vec<String> {
        self.shared.store().objects.keys().cloned().collect()
    }

    /// Uploads in parts that are neither completed nor aborted: ids and keys.
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
