//! Repeating a request that may succeed later.

use std::time::Duration;

use crate::clock::Clock;
use crate::error::{ProviderError, Result};

/// Tries of one request, the first one included.
const MAX_TRIES: u32 = 6;
/// Pause before the first repetition; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Longest pause, also if the provider asks for more.
const MAX_PAUSE: Duration = Duration::from_secs(60);

/// Repeats `request` while its error is transient, with growing pauses. `pace` divides the pauses, in tests.
pub(crate) async fn retrying<T, F>(clock: &dyn Clock, pace: u32, mut request: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    let mut tries = 1;
    loop {
        match request().await {
            Err(error) if error.is_transient() && tries < MAX_TRIES => {
                clock.sleep(pause(&error, tries, clock.random()) / pace.max(1)).await;
                tries += 1;
            }
            done => return done,
        }
    }
}

/// The pause after a failed try: what the provider asks for, or a doubling one with jitter.
fn pause(error: &ProviderError, tries: u32, random: f64) -> Duration {
    let asked = match error {
        ProviderError::Unavailable { retry_after, .. } => *retry_after,
        _ => None,
    };
    let backoff = FIRST_PAUSE * 2_u32.saturating_pow(tries - 1);
    asked.unwrap_or_else(|| backoff.mul_f64(0.5 + random)).min(MAX_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_follow_the_provider() {
        let error = |retry_after| ProviderError::Unavailable {
            provider: "RunPod",
            action: "list the machines".into(),
            detail: "429".into(),
            retry_after,
        };
        let pauses: Vec<u64> = (1..6).map(|tries| pause(&error(None), tries, 0.5).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16]);
        assert_eq!(pause(&error(Some(Duration::from_secs(12))), 1, 0.0), Duration::from_secs(12));
        assert_eq!(pause(&error(Some(Duration::from_secs(9999))), 1, 0.0), MAX_PAUSE);
    }
}
