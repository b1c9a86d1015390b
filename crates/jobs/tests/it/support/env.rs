//! An environment whose clock the test controls.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use jobs::env::Env;
use time::OffsetDateTime;

/// A clock that moves only when the test advances it.
#[derive(Debug, Default)]
pub(crate) struct TestEnv {
    now: Mutex<Duration>,
}

impl TestEnv {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// Advances the clock.
    pub(crate) fn advance(&self, by: Duration) {
        *self.now.lock().unwrap() += by;
    }
}

impl Env for TestEnv {
    fn monotonic(&self) -> Duration {
        *self.now.lock().unwrap()
    }

    fn utc(&self) -> OffsetDateTime {
        OffsetDateTime::UNIX_EPOCH + self.monotonic()
    }

    fn unique_id(&self) -> String {
        uuid::Uuid::new_v4().simple().to_string()
    }

    /// The minimum, which makes pauses as short as possible.
    fn random(&self) -> f64 {
        0.0
    }
}
