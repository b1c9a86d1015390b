//! The protocol's durations, in one place.
//!
//! All parties of a bucket must use the same [`Timing::heartbeat`] and [`Timing::lease`]. The setting
//! `CLOUD_WORKER_POLL_INTERVAL` changes [`Timing::poll`]; everything else stays at its default except in
//! tests, which speed all of it up with [`Timing::faster`].

use std::time::Duration;

/// How often owners write and observers read, and how long an observer waits before it takes a job over.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// Time between two heartbeats of an owner; 30 s.
    pub heartbeat: Duration,
    /// How long a manifest must stay unchanged, by the observer's clock, before its owner is considered dead;
    /// 180 s.
    pub lease: Duration,
    /// The same for an owner that does not use leases: neither manifest nor status object changed; 30
    /// min.
    pub foreign_lease: Duration,
    /// Pause between polls of an active bucket; 10 s. While there is nothing to claim, each pause is 1.5
    /// times the last one.
    pub poll: Duration,
    /// Longest pause between polls while nothing is pending and nothing is processing; 35 s, or `poll` if
    /// that is longer.
    pub poll_idle: Duration,
    /// Longest pause between polls while any job is processing; 20 s, or `poll` if that is longer.
    pub poll_watching: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_secs(30),
            lease: Duration::from_secs(180),
            foreign_lease: Duration::from_secs(30 * 60),
            poll: Duration::from_secs(10),
            poll_idle: Duration::from_secs(35),
            poll_watching: Duration::from_secs(20),
        }
    }
}

impl Timing {
    /// How long a new observer watches a manifest at least before it considers its owner dead: one and a half heartbeats.
    pub fn least_watch(&self) -> Duration {
        self.heartbeat.mul_f64(1.5)
    }

    /// Divides all durations by `factor`; for tests.
    pub fn faster(self, factor: u32) -> Self {
        Self {
            heartbeat: self.heartbeat / factor,
            lease: self.lease / factor,
            foreign_lease: self.foreign_lease / factor,
            poll: self.poll / factor,
            poll_idle: self.poll_idle / factor,
            poll_watching: self.poll_watching / factor,
        }
    }
}
