//! The network between a process and the bucket. A request that was sent is independent of its sender: it may
//! arrive immediately, minutes later, twice, or never, and its response may be lost, whether or not the
//! sending process still waits or is alive.

use std::future::pending;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use jobs::bucket::{Bucket, BulkTransfer, Condition, ETag, Entry, Object, PutOutcome};
use jobs::keys::RESULTS;
use jobs::transfer::FileDigest;
use jobs::{Error, Result};
use tokio::sync::oneshot;
use tokio::time::sleep;

use super::process::{Control, CrashPoint};
use super::process_context::{ProcessInfo, Role};
use super::request::Write;
use super::rng::Rng;
use super::world::World;

/// Probabilities of what happens to a request.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct NetworkFaults {
    /// The request never arrives.
    pub(super) p_lost: f64,
    /// The request arrives, but the response is lost.
    pub(super) p_unanswered: f64,
    /// The request arrives after the sender's timeout.
    pub(super) p_late: f64,
    /// The HTTP client retries the request although it arrived; the response to the retry counts, which may
    /// be a refusal caused by the first copy.
    pub(super) p_client_retry: f64,
    /// The request arrives, is answered, and arrives once more, late.
    pub(super) p_duplicate: f64,
    /// The request succeeds but is slow.
    pub(super) p_slow: f64,
    /// Longest duration of a slow request, in seconds.
    pub(super) slowest: f64,
    /// Longest delay of a late request beyond the sender's timeout, in seconds.
    pub(super) latest: f64,
}

/// One process's connection to the bucket.
#[derive(Debug)]
pub(super) struct Connection {
    world: Arc<World>,
    info: Arc<ProcessInfo>,
    control: Arc<Control>,
    rng: Mutex<Rng>,
}

/// What happens to one request.
struct Delivery {
    /// When the copies of the request arrive.
    arrivals: Vec<Duration>,
    /// Index of the copy whose response reaches the sender.
    answered_copy: Option<usize>,
    /// How long the response takes.
    response_time: Duration,
    /// How long the sender waits if there is no response.
    timeout: Duration,
}

impl Connection {
    pub(super) fn new(world: Arc<World>, info: Arc<ProcessInfo>, control: Arc<Control>, rng: Rng) -> Self {
        Self { world, info, control, rng: Mutex::new(rng) }
    }

    fn network(&self) -> NetworkFaults {
        // Late unconditional writes of a legacy worker could undo anything, which no protocol can prevent.
        match self.world.faults_have_ended() || self.info.role == Role::LegacyWorker {
            true => NetworkFaults::default(),
            false => self.world.scenario.network,
        }
    }

    fn delivery(&self) -> Delivery {
        let network = self.network();
        let mut rng = self.rng.lock().unwrap();
        let quick = |rng: &mut Rng| rng.seconds(0.005..0.080);
        let timeout = rng.log_uniform_seconds(0.5..60.0);
        let response_time = quick(&mut rng);
        let mut kind = rng.unit();
        let mut hits = |probability: f64| {
            kind -= probability;
            kind < 0.0
        };
        let late = |rng: &mut Rng| timeout + rng.log_uniform_seconds(0.5..network.latest.max(1.0));
        let (arrivals, answered_copy) = if hits(network.p_lost) {
            (vec![], None)
        } else if hits(network.p_unanswered) {
            (vec![quick(&mut rng)], None)
        } else if hits(network.p_late) {
            (vec![late(&mut rng)], None)
        } else if hits(network.p_client_retry) {
            let first = quick(&mut rng);
            (vec![first, first + rng.log_uniform_seconds(0.2..20.0)], Some(1))
        } else if hits(network.p_duplicate) {
            (vec![quick(&mut rng), late(&mut rng)], Some(0))
        } else if hits(network.p_slow) {
            (vec![rng.log_uniform_seconds(0.1..network.slowest)], Some(0))
        } else {
            (vec![quick(&mut rng)], Some(0))
        };
        Delivery { arrivals, answered_copy, response_time, timeout }
    }

    fn no_response(&self) -> Error {
        Error::Unavailable { location: self.location(), detail: "no response".to_owned() }
    }

    async fn crash(&self) -> ! {
        self.control.kill();
        pending().await
    }

    async fn pause_before_results(&self, write: &Write) {
        let process_faults = self.world.scenario.process_faults;
        let length = {
            let mut rng = self.rng.lock().unwrap();
            let is_hit = matches!(write, Write::Put { key, .. } if key.starts_with(RESULTS))
                && rng.chance(process_faults.p_pause_before_results);
            if !is_hit || self.world.faults_have_ended() || self.info.role == Role::LegacyWorker {
                return;
            }
            rng.log_uniform_seconds(10.0..process_faults.longest_pause)
        };
        self.world.process_paused(self.info.idx, length);
        let control = self.control.clone();
        tokio::spawn(async move { control.pause(length).await });
        tokio::task::yield_now().await;
    }

    async fn write(&self, write: Write) -> Result<PutOutcome> {
        let crash_point = self.control.next_write().filter(|_| !self.world.faults_have_ended());
        if crash_point == Some(CrashPoint::Before) {
            self.crash().await;
        }
        self.pause_before_results(&write).await;
        let delivery = self.delivery();
        let (response, received) = oneshot::channel();
        let mut response = Some(response);
        for (i, arrival) in delivery.arrivals.into_iter().enumerate() {
            let response = if delivery.answered_copy == Some(i) { response.take() } else { None };
            let (world, info, write) = (self.world.clone(), self.info.clone(), write.clone());
            let response_time = delivery.response_time;
            world.write_sent(&info);
            tokio::spawn(async move {
                sleep(arrival).await;
                let written = world.commit(&info, &write);
                if let Some(response) = response {
                    sleep(response_time).await;
                    // The receiver no longer exists if the process died.
                    let _ = response.send(written);
                }
            });
        }
        if crash_point == Some(CrashPoint::After) {
            self.crash().await;
        }
        if delivery.answered_copy.is_none() {
            sleep(delivery.timeout).await;
            return Err(self.no_response());
        }
        received.await.map_err(|_| self.no_response())
    }

    async fn read<T>(&self, read: impl FnOnce(&World) -> T + Send) -> Result<T> {
        let delivery = self.delivery();
        let first = delivery.arrivals.first().copied().filter(|_| delivery.answered_copy.is_some());
        let Some(arrival) = first else {
            sleep(delivery.timeout).await;
            return Err(self.no_response());
        };
        // The response to a slow read is slow too, so it is outdated when it arrives.
        let response_time =
            if arrival > Duration::from_millis(100) { arrival } else { delivery.response_time };
        sleep(arrival).await;
        let response = read(&self.world);
        sleep(response_time).await;
        Ok(response)
    }
}

#[async_trait]
impl Bucket for Connection {
    fn location(&self) -> String {
        "the simulated bucket".to_owned()
    }

    async fn get(&self, key: &str, _limit_bytes: u64) -> Result<Option<Object>> {
        self.read(|world| world.object(key)).await
    }

    async fn head(&self, key: &str) -> Result<Option<(u64, ETag)>> {
        let object = self.read(|world| world.object(key)).await?;
        Ok(object.map(|object| (object.bytes.len() as u64, object.etag)))
    }

    async fn put(&self, key: &str, body: Bytes, condition: Condition<'_>) -> Result<PutOutcome> {
        self.write(Write::Put { key: key.into(), body, when: condition.into() }).await
    }

    async fn put_file(
        &self,
        key: &str,
        file: &Path,
        _content: &FileDigest,
        condition: Condition<'_>,
    ) -> Result<PutOutcome> {
        let body = self.world.file(file);
        self.write(Write::Put { key: key.into(), body, when: condition.into() }).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Entry>> {
        self.read(|world| world.list(prefix)).await
    }

    async fn delete(&self, key: &str) -> Result<()> {
        self.write(Write::Delete { key: key.into() }).await.map(|_| ())
    }

    fn bulk_transfer(&self) -> BulkTransfer<'_> {
        unreachable!("the simulation does not transfer large objects")
    }

    async fn presigned(&self, _key: &str, _valid: Duration) -> Result<Option<String>> {
        Ok(None)
    }
}
