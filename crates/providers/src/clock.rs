//! Waiting and chance, injected so that a simulation can control both.

use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;
use time::OffsetDateTime;

/// The clock and the random numbers of one process.
#[async_trait]
pub trait Clock: Debug + Send + Sync {
    /// Waits.
    async fn sleep(&self, duration: Duration);
    /// The wall clock, used only where a provider does not tell its own.
    fn utc(&self) -> OffsetDateTime;
    /// A random number in `0.0..1.0`.
    fn random(&self) -> f64;
}

/// The operating system's clock and random numbers.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

#[async_trait]
impl Clock for SystemClock {
    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }

    fn utc(&self) -> OffsetDateTime {
        OffsetDateTime::now_utc()
    }

    fn random(&self) -> f64 {
        rand::random()
    }
}
