//! The protocol's durations in one place. A test shortens them; nothing else does.

use std::time::Duration;

/// How long parties wait for each other.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// From one heartbeat of an owner to the next.
    pub heartbeat: Duration,
    /// How long a register must not change before its owner is taken for dead.
    pub lease: Duration,
    /// The same for an owner that knows nothing of leases: neither register nor status changed.
    pub foreign_lease: Duration,
    /// From one look at an active bucket to the next.
    pub poll: Duration,
    /// The longest pause between looks at a bucket in which nothing waits and nothing is processed.
    pub poll_idle: Duration,
    /// The longest pause between looks while any job is processing.
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
    /// The same proportions, faster by a factor: for tests.
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
