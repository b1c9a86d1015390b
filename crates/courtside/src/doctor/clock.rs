//! The clock of this machine, compared with that of the bucket's server. S3 rejects requests whose signature is more
//! than 15 minutes off.

use std::time::{Duration, SystemTime};

use jobs::bucket::describe_failure;

use super::{Check, OnCheck};
use client::failure::{Failure, Kind};

const NAME: &str = "clock";
/// Difference in seconds that causes a warning. A clock set over the network is closer.
const WARN_SECONDS: u64 = 60;
/// Difference in seconds at which S3 rejects requests (`RequestTimeTooSkewed`).
const FAIL_SECONDS: u64 = 15 * 60;

/// Reads the server's time from its response to an unsigned request, whatever its status. The TLS provider must be
/// installed, which opening a remote bucket does.
pub(super) async fn check(endpoint: &str, on_check: OnCheck<'_>) {
    on_check(match server_time(endpoint).await {
        Ok((server, local)) => judge(server, local),
        Err(reason) => {
            let message = format!("cannot compare with the bucket server's clock: {reason}");
            Check::warn(NAME, message, "check R2_ENDPOINT_URL and the network connection")
        }
    });
}

/// The server's time, and the local time at that moment.
async fn server_time(endpoint: &str) -> Result<(SystemTime, SystemTime), String> {
    let client = crate::http_client::builder()
        .timeout(Duration::from_secs(15))
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .map_err(|e| e.to_string())?;
    let before = SystemTime::now();
    let response = client.head(endpoint).send().await.map_err(|e| describe_failure(&e))?;
    let local = before + before.elapsed().unwrap_or_default() / 2;
    let date = response.headers().get("date").and_then(|date| date.to_str().ok());
    let server = date.and_then(|date| httpdate::parse_http_date(date).ok());
    Ok((server.ok_or("the server's response has no date")?, local))
}

fn judge(server: SystemTime, local: SystemTime) -> Check {
    let (offset, direction) = match server.duration_since(local) {
        Ok(behind) => (behind.as_secs(), "behind"),
        Err(error) => (error.duration().as_secs(), "ahead of"),
    };
    let message = format!("{offset} s {direction} the bucket server's clock");
    let hint = "set the clock over the network (`timedatectl set-ntp true`); S3 rejects requests that are 15 minutes off";
    if offset <= WARN_SECONDS {
        Check::ok(NAME, "within a minute of the bucket server's clock")
    } else if offset < FAIL_SECONDS {
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
    fn reports_how_far_a_clock_is_off_and_in_which_direction() {
        let local = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let behind = |seconds| judge(local + Duration::from_secs(seconds), local);
        let ahead = |seconds| judge(local - Duration::from_secs(seconds), local);
        assert_eq!((behind(60).status, ahead(60).status), (Level::Ok, Level::Ok));
        assert_eq!(behind(61).status, Level::Warn);
        assert_eq!(behind(61).message, "61 s behind the bucket server's clock");
        assert_eq!(ahead(899).message, "899 s ahead of the bucket server's clock");
        assert_eq!((behind(900).status, ahead(90_000).status), (Level::Fail, Level::Fail));
    }
}
