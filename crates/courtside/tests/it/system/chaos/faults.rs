//! The faults, and the plan that draws them from a seed. Every fault is logged, with the time and what it hit.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// What can be done to a request or to a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The connection is closed before the request reaches the server.
    DropRequest,
    /// The request is executed, and the connection is closed without an answer.
    DropAnswer,
    /// The request is executed late, possibly after a lease.
    Delay,
    /// The request is executed twice; the answer is the second one.
    Repeat,
    /// The server receives half of the request.
    TruncateRequest,
    /// The client receives half of the answer.
    TruncateAnswer,
    /// The request is executed, and the answer is an error.
    Lie,
    /// For a while, all connections are closed.
    Outage,
    /// A worker is killed, and another one starts with the same work folder.
    Kill,
    /// A worker is killed, and another one starts on another machine.
    Replace,
    /// A worker is stopped by SIGTERM, and another one starts with the same work folder.
    Stop,
    /// A worker is suspended for longer than a lease.
    Suspend,
    /// A worker is killed, and the next one runs on a disk that is nearly full.
    FullDisk,
    /// A file in the work folder of a running worker is truncated.
    TruncateFile,
}

/// The faults of the proxy.
const OF_REQUESTS: [Fault; 8] = [
    Fault::DropRequest,
    Fault::DropAnswer,
    Fault::Delay,
    Fault::Repeat,
    Fault::TruncateRequest,
    Fault::TruncateAnswer,
    Fault::Lie,
    Fault::Outage,
];

/// The faults of workers.
const OF_WORKERS: [Fault; 6] =
    [Fault::Kill, Fault::Replace, Fault::Stop, Fault::Suspend, Fault::FullDisk, Fault::TruncateFile];

/// Of this many requests, one gets a fault.
const REQUESTS_PER_FAULT: u64 = 8;

/// Random numbers from a seed (splitmix64).
pub(super) struct Rng(u64);

impl Rng {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`, which is not 0.
    pub(super) fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    /// A duration between two.
    pub(super) fn between(&mut self, low: Duration, high: Duration) -> Duration {
        low + Duration::from_millis(self.below((high - low).as_millis() as u64 + 1))
    }

    pub(super) fn choose<T: Copy>(&mut self, items: &[T]) -> Option<T> {
        (!items.is_empty()).then(|| items[self.below(items.len() as u64) as usize])
    }
}

/// Draws the faults of requests until the plan has run out of them, and logs all faults.
pub(super) struct Plan {
    seed: u64,
    started: Instant,
    kinds: Vec<Fault>,
    /// Of the faults of requests. Their order depends on the order in which requests arrive.
    rng: Mutex<Rng>,
    n_left: AtomicUsize,
    log: Mutex<Vec<String>>,
}

impl Plan {
    /// A plan with `n_faults` faults of requests, of the kinds that `names` lists; if it is empty, of all.
    pub(super) fn new(seed: u64, n_faults: usize, names: &str) -> Self {
        let all = [&OF_REQUESTS[..], &OF_WORKERS].concat();
        let names: Vec<&str> = names.split(',').filter(|name| !name.is_empty()).collect();
        for name in &names {
            assert!(all.iter().any(|fault| format!("{fault:?}") == *name), "{name} is not one of {all:?}");
        }
        let is_listed = |fault: &Fault| names.is_empty() || names.contains(&&*format!("{fault:?}"));
        Self {
            seed,
            started: Instant::now(),
            kinds: all.into_iter().filter(is_listed).collect(),
            rng: Mutex::new(Rng::new(seed)),
            n_left: AtomicUsize::new(n_faults),
            log: Mutex::default(),
        }
    }

    /// The kinds of faults of workers.
    pub(super) fn of_workers(&self) -> Vec<Fault> {
        OF_WORKERS.into_iter().filter(|fault| self.kinds.contains(fault)).collect()
    }

    /// The fault of the request that has just arrived, with a random fraction for its size or duration.
    pub(super) fn draw(&self, request: &str) -> Option<(Fault, f64)> {
        let kinds: Vec<Fault> = OF_REQUESTS.into_iter().filter(|fault| self.kinds.contains(fault)).collect();
        let mut rng = self.rng.lock().unwrap();
        if rng.below(REQUESTS_PER_FAULT) > 0 || kinds.is_empty() {
            return None;
        }
        self.n_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1)).ok()?;
        let (fault, fraction) = (rng.choose(&kinds)?, rng.below(1000) as f64 / 1000.0);
        drop(rng);
        self.log(&format!("{fault:?} {fraction}: {request}"));
        Some((fault, fraction))
    }

    /// Whether all faults of requests have been drawn.
    pub(super) fn is_used_up(&self) -> bool {
        self.n_left.load(Ordering::Relaxed) == 0
            || !OF_REQUESTS.iter().any(|fault| self.kinds.contains(fault))
    }

    pub(super) fn log(&self, what: &str) {
        let line = format!("{:8.3} {what}", self.started.elapsed().as_secs_f64());
        self.log.lock().unwrap().push(line);
    }
}

impl Drop for Plan {
    /// Prints how to repeat a run that failed, and what happened in it.
    fn drop(&mut self) {
        if std::thread::panicking() {
            let (seed, log) = (self.seed, self.log.lock().unwrap().join("\n"));
            eprintln!("{log}\n\nThe seed of these faults:\n    COURTSIDE_CHAOS_SEED={seed}");
        }
    }
}
