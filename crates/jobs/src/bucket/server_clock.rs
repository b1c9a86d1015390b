//! The clock of an S3 server, as its responses show it. Ages of objects are differences of two of its own times, so no
//! other clock has to agree with it.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// How far two times of a server may be wrong: both are in whole seconds.
const RESOLUTION: Duration = Duration::from_secs(2);

/// The server's time at the last response.
#[derive(Debug, Default)]
pub(super) struct ServerClock(Mutex<Option<(SystemTime, Instant)>>);

impl ServerClock {
    /// Takes the time from the `Date` of a response (RFC 9110 §6.6.1).
    pub(super) fn set(&self, date: &str) {
        if let Ok(time) = httpdate::parse_http_date(date) {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((time, Instant::now()));
        }
    }

    /// The least age of an object that was written at this time of the server; `None` if its clock is not known.
    pub(super) fn age(&self, written: SystemTime) -> Option<Duration> {
        let (time, at) = (*self.0.lock().unwrap_or_else(PoisonError::into_inner))?;
        let age = (time + at.elapsed()).duration_since(written).unwrap_or_default();
        Some(age.saturating_sub(RESOLUTION))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_follow_the_clock_of_the_server_whatever_it_shows() {
        let clock = ServerClock::default();
        let written = httpdate::parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap();
        assert_eq!(clock.age(written), None);
        clock.set("yesterday");
        assert_eq!(clock.age(written), None);
        clock.set("Sun, 06 Nov 1994 08:50:39 GMT");
        let age = clock.age(written).unwrap();
        assert!(age >= Duration::from_secs(60), "{age:?}");
        clock.set("Sun, 06 Nov 1994 08:00:00 GMT");
        assert_eq!(clock.age(written), Some(Duration::ZERO));
    }
}
