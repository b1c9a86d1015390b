//! Time and randomness, as a process takes them from its operating system. Injected, so that a simulation can
//! control both.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;

/// The clocks and random numbers of one process.
pub trait Env: Debug + Send + Sync {
    /// Time since an arbitrary start; never decreases. Not comparable between processes.
    fn monotonic(&self) -> Duration;
    /// The wall clock. Shown to users, never used for decisions.
    fn utc(&self) -> OffsetDateTime;
    /// A globally unique id: 32 hexadecimal digits.
    fn unique_id(&self) -> String;
    /// A random number in `0.0..1.0`, for jitter.
    fn random(&self) -> f64;
}

/// The operating system's clocks and random numbers.
#[derive(Debug)]
pub struct SystemEnv {
    started: tokio::time::Instant,
}

impl SystemEnv {
    /// Creates a shared environment for this process; its monotonic clock starts at zero now.
    pub fn shared() -> Arc<dyn Env> {
        Arc::new(Self { started: tokio::time::Instant::now() })
    }
}

impl Env for SystemEnv {
    fn monotonic(&self) -> Duration {
        self.started.elapsed()
    }

    fn utc(&self) -> OffsetDateTime {
        OffsetDateTime::now_utc()
    }

    fn unique_id(&self) -> String {
        uuid::Uuid::new_v4().simple().to_string()
    }

    fn random(&self) -> f64 {
        rand::random()
    }
}
