//! A host that decides its own time.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use jobs::host::Host;
use time::OffsetDateTime;

/// A process's clock as the test sets it. It stands still otherwise.
#[derive(Debug, Default)]
pub(crate) struct TestHost {
    now: Mutex<Duration>,
}

impl TestHost {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// Lets time pass.
    pub(crate) fn advance(&self, by: Duration) {
        *self.now.lock().unwrap() += by;
    }
}

impl Host for TestHost {
    fn monotonic(&self) -> Duration {
        *self.now.lock().unwrap()
    }

    fn utc(&self) -> OffsetDateTime {
        OffsetDateTime::UNIX_EPOCH + self.monotonic()
    }

    fn unique(&self) -> String {
        uuid::Uuid::new_v4().simple().to_string()
    }

    /// The least: pauses are as short as they can be.
    fn random(&self) -> f64 {
        0.0
    }
}
