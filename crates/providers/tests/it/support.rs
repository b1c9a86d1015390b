//! A fake of both providers, and options with which no test waits.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use provider_fixture::FakeProviders;
use providers::{Clock, Machine, ProviderOptions, Timeouts};
use time::OffsetDateTime;

/// A clock that never waits, and adds up how long it would have.
#[derive(Debug, Default)]
pub(crate) struct InstantClock {
    pub(crate) slept: Mutex<Duration>,
}

#[async_trait::async_trait]
impl Clock for InstantClock {
    async fn sleep(&self, duration: Duration) {
        *self.slept.lock().unwrap() += duration;
    }

    fn utc(&self) -> OffsetDateTime {
        OffsetDateTime::UNIX_EPOCH
    }

    fn random(&self) -> f64 {
        0.5
    }
}

/// Options that reach the fake.
pub(crate) fn options(fake: &FakeProviders) -> (ProviderOptions, Arc<InstantClock>) {
    let clock = Arc::new(InstantClock::default());
    let options = ProviderOptions {
        runpod_url: fake.url(),
        vast_url: fake.url(),
        timeouts: Timeouts { connect: Duration::from_secs(20), request: Duration::from_millis(300) },
        pace: 1,
        clock: clock.clone(),
    };
    (options, clock)
}

/// The machine that these variables name.
pub(crate) fn machine(fake: &FakeProviders, variables: &[(&str, &str)]) -> Machine {
    let lookup = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
    Machine::detect(&lookup, &options(fake).0).unwrap().unwrap()
}

/// Runs a future.
pub(crate) fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}
