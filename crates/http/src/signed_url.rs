//! Addresses that carry their own authorization: `<video>`, `<img>` and `EventSource` of a web page cannot send the token.
//!
//! One signature is valid for all frames of a video. Addresses stay the same for an hour, so that a browser finds in its cache
//! what it has loaded. Parameters other than those of the signature are not signed.
//!
//! The address has a time at which it expires, and an HMAC-SHA-256 (RFC 2104) of its path and that time, with the token
//! as the key.

use std::borrow::Cow;

use axum::http::{Method, Uri};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use time::OffsetDateTime;

use crate::access::Access;

/// How long an address is valid at least, in seconds.
pub(crate) const VALID_S: u64 = 6 * 3600;
/// Addresses expire at multiples of this, in seconds.
const EXPIRY_STEP_S: i64 = 3600;
/// The parameters of a signed address.
pub(crate) const SIGNATURE_PARAMETERS: [&str; 2] = ["expires", "signature"];

/// The path that is signed for all frames of a video.
pub(crate) fn frames_path(video_id: i64) -> String {
    format!("/api/videos/{video_id}/frames/{{frame}}.jpg")
}

/// The path whose signature is valid for `path`: for a frame, the one of all frames of its video.
fn signed_path(path: &str) -> Cow<'_, str> {
    let frame = path.strip_prefix("/api/videos/").and_then(|rest| rest.split_once("/frames/"));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match frame {
        Some((id, frame)) if frame.strip_suffix(".jpg").is_some_and(is_number) => {
            Cow::Owned(format!("/api/videos/{id}/frames/{{frame}}.jpg"))
        }
        _ => Cow::Borrowed(path),
    }
}

impl Access {
    /// The address of a path of this server that a client without the token can read until it expires. On a server
    /// without a token, the path itself.
    pub(crate) fn signed_url(&self, path: &str, now: OffsetDateTime) -> String {
        let earliest = now.unix_timestamp() + VALID_S as i64;
        let expires = (earliest + EXPIRY_STEP_S - 1).div_euclid(EXPIRY_STEP_S) * EXPIRY_STEP_S;
        match self.signature(path, expires) {
            Some(mac) => {
                format!("{path}?expires={expires}&signature={:x}", mac.finalize().into_bytes())
            }
            None => path.to_owned(),
        }
    }

    /// Whether a request is for a signed address that has not expired.
    pub(crate) fn is_signed(&self, method: &Method, uri: &Uri, now: OffsetDateTime) -> bool {
        if !matches!(*method, Method::GET | Method::HEAD) {
            return false;
        }
        let query = uri.query().unwrap_or_default();
        let value = |wanted: &str| {
            let mut pairs = form_urlencoded::parse(query.as_bytes());
            pairs.find(|(name, _)| name == wanted).map(|(_, value)| value.into_owned())
        };
        let Some(expires) = value("expires").and_then(|text| text.parse::<i64>().ok()) else { return false };
        let Some(signature) = value("signature").and_then(|text| from_hex(&text)) else { return false };
        let mac = self.signature(&signed_path(uri.path()), expires);
        now.unix_timestamp() <= expires && mac.is_some_and(|mac| mac.verify_slice(&signature).is_ok())
    }

    fn signature(&self, path: &str, expires: i64) -> Option<Hmac<Sha256>> {
        self.mac(&format!("GET {path} {expires}"))
    }

    /// The HMAC of a text with the token as the key; `None` on a server without a token.
    pub(crate) fn mac(&self, text: &str) -> Option<Hmac<Sha256>> {
        let Self::Token(token) = self else { return None };
        let mut mac = Hmac::<Sha256>::new_from_slice(token.reveal().as_bytes()).ok()?;
        mac.update(text.as_bytes());
        Some(mac)
    }
}

/// The bytes of a SHA-256 in hexadecimal digits.
pub(crate) fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> =
        text.chars().map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
    let digits = digits.filter(|digits| digits.len() == 64)?;
    Some(digits.as_chunks().0.iter().map(|[high, low]| high << 4 | low).collect())
}

#[cfg(test)]
mod tests {
    use jobs::bucket::Secret;
    use time::Duration;

    use super::*;

    const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

    fn access() -> Access {
        Access::Token(Secret::new("open sesame"))
    }

    #[test]
    fn only_the_signed_path_is_authorized_and_only_until_it_expires() {
        let url = access().signed_url("/api/videos/1/stream", NOW);
        let is_signed =
            |method: Method, url: &str, now| access().is_signed(&method, &url.parse().unwrap(), now);
        assert!(is_signed(Method::GET, &url, NOW) && is_signed(Method::HEAD, &url, NOW));
        assert!(!is_signed(Method::DELETE, &url, NOW) && !is_signed(Method::POST, &url, NOW));
        let valid = Duration::seconds(VALID_S as i64);
        assert!(is_signed(Method::GET, &url, NOW + valid));
        assert!(!is_signed(Method::GET, &url, NOW + valid + Duration::SECOND));
        let other = Access::Token(Secret::new("open barley"));
        assert!(!other.is_signed(&Method::GET, &url.parse().unwrap(), NOW));
        for forged in [
            url.replace("videos/1", "videos/2"),
            url.replace("expires=21600", "expires=99999"),
            url.replace("signature=", "signature=0"),
            url.split('&').next().unwrap().to_owned(),
            "/api/videos/1/stream?signature=zz&expires=99999".to_owned(),
            "/api/videos/1/stream".to_owned(),
        ] {
            assert!(!is_signed(Method::GET, &forged, NOW), "{forged}");
        }
    }

    #[test]
    fn one_signature_is_valid_for_all_frames_of_one_video() {
        let url = access().signed_url(&frames_path(7), NOW);
        let is_signed = |url: &str| access().is_signed(&Method::GET, &url.parse().unwrap(), NOW);
        for frame in ["0", "107999"] {
            let frame = url.replace("{frame}", frame);
            assert!(is_signed(&frame) && is_signed(&format!("{frame}&width=640&crop=1,2,3,4")), "{frame}");
        }
        for other in [
            url.replace("{frame}", "5").replace("videos/7", "videos/8"),
            url.replace("{frame}", ""),
            url.replace("{frame}", "x"),
            url.replace("{frame}", "../stream?x="),
            url.replace("frames/{frame}.jpg", "stream"),
            url.replace("frames/{frame}.jpg", "thumbnail"),
        ] {
            assert!(!is_signed(&other), "{other}");
        }
    }

    #[test]
    fn addresses_stay_the_same_for_an_hour() {
        let at = |seconds| access().signed_url("/api/videos/1/thumbnail", NOW + Duration::seconds(seconds));
        assert_eq!(at(1), at(3600));
        assert_ne!(at(3600), at(3601));
        assert!(at(3601).contains("expires=28800&"), "{}", at(3601));
    }

    #[test]
    fn a_server_without_a_token_signs_nothing() {
        assert_eq!(Access::Loopback.signed_url("/api/videos/1/stream", NOW), "/api/videos/1/stream");
        let uri = "/api/videos/1/stream?expires=9&signature=00".parse().unwrap();
        assert!(!Access::Loopback.is_signed(&Method::GET, &uri, NOW));
    }
}
