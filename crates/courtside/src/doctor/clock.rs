//! The machine's clock against the bucket server's: a request's signature holds for 15 minutes.

use std::time::{Duration, SystemTime};

use super::{Check, OnCheck};
use client::failure::{Failure, Kind};

const NAME: &str = "clock";
/// What clocks that are set by the network never miss.
const SUSPICIOUS: u64 = 60;
/// S3 refuses what is signed so far off (`RequestTimeTooSkewed`).
const REFUSED: u64 = 15 * 60;

/// Asks the server for the time by an unsigned request; what it says to that does not matter. The TLS provider
/// must be installed, as opening a remote bucket does.
pub(super) async fn check(endpoint: &str, each: OnCheck<'_>) {
    each(match server_time(endpoint).await {
        Ok((server, here)) => judge(server, here),
        Err(why) => {
            Check::warn(NAME, format!("not compared with the bucket's: {why}"), "see what the bucket says")
        }
    });
}

/// The server's time, and ours at that moment.
async fn server_time(endpoint: &str) -> Result<(SystemTime, SystemTime), String> {
    let client = reqwest::Client::builder()
        .timeout(Duration::from_secs(15))
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .map_err(|e| e.to_string())?;
    let before = SystemTime::now();
    let answer = client.head(endpoint).send().await.map_err(|_| "it did not answer".to_owned())?;
    let here = before + before.elapsed().unwrap_or_default() / 2;
    let date = answer.headers().get("date").and_then(|date| date.to_str().ok());
    let server = date.and_then(|date| httpdate::parse_http_date(date).ok());
    Ok((server.ok_or("its answer has no date")?, here))
}

fn judge(server: SystemTime, here: SystemTime) -> Check {
    let (offset, way) = match server.duration_since(here) {
        Ok(behind) => (behind.as_secs(), "behind"),
        Err(error) => (error.duration().as_secs(), "ahead of"),
    };
    let message = format!("{offset} s {way} the bucket server's");
    let hint = "set the clock by the network (`timedatectl set-ntp true`): S3 refuses requests that are signed \
                15 minutes off";
    if offset <= SUSPICIOUS {
        Check::ok(NAME, "within a minute of the bucket server's")
    } else if offset < REFUSED {
        Check::warn(NAME, message, hint)
    } else {
        Check::fail(NAME, &Failure::msg(Kind::Failed, message).hint(hint))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Level;

    #[test]
    fn a_clock_that_is_off_is_named_with_its_direction() {
        let here = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let later = |seconds| judge(here + Duration::from_secs(seconds), here);
        let earlier = |seconds| judge(here - Duration::from_secs(seconds), here);
        assert_eq!((later(60).status, earlier(60).status), (Level::Ok, Level::Ok));
        assert_eq!(later(61).status, Level::Warn);
        assert_eq!(later(61).message, "61 s behind the bucket server's");
        assert_eq!(earlier(899).message, "899 s ahead of the bucket server's");
        assert_eq!((later(900).status, earlier(90_000).status), (Level::Fail, Level::Fail));
    }
}
