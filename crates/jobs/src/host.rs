//! What a process takes from the machine it runs on: time and randomness. Injected, so that a simulation can
//! decide both.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;

/// Clocks and random numbers of one process.
pub trait Host: Debug + Send + Sync {
    /// Time since some moment; never goes back. Not comparable between processes.
    fn monotonic(&self) -> Duration;
    /// The wall clock: for people, never for decisions.
    fn utc(&self) -> OffsetDateTime;
    /// A name that nobody else will ever have: 32 hexadecimal digits.
    fn unique(&self) -> String;
    /// A number in `0.0..1.0`, for jitter.
    fn random(&self) -> f64;
}

/// The machine itself.
#[derive(Debug)]
pub struct Machine {
    started: tokio::time::Instant,
}

impl Machine {
    /// This process's clocks and random numbers.
    pub fn here() -> Arc<dyn Host> {
        Arc::new(Self { started: tokio::time::Instant::now() })
    }
}

impl Host for Machine {
    fn monotonic(&self) -> Duration {
        self.started.elapsed()
    }

    fn utc(&self) -> OffsetDateTime {
        OffsetDateTime::now_utc()
    }

    fn unique(&self) -> String {
        uuid::Uuid::new_v4().simple().to_string()
    }

    fn random(&self) -> f64 {
        rand::random()
    }
}
