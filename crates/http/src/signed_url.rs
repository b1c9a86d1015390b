//! Addresses that carry their own authorization: `<video>` and `EventSource` of a web page cannot send the token.
//!
//! The address has a time at which it expires, and an HMAC-SHA-256 (RFC 2104) of its path and that time, with the token
//! as the key.

use axum::http::{Method, Uri};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use time::OffsetDateTime;

use crate::access::Access;

/// How long an address is valid, in seconds.
pub(crate) const VALID_S: u64 = 6 * 3600;

impl Access {
    /// The address of a path of this server that a client without the token can read until it expires. On a server
    /// without a token, the path itself.
    pub(crate) fn signed_url(&self, path: &str, now: OffsetDateTime) -> String {
        let expires = now.unix_timestamp() + VALID_S as i64;
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
        let mac = self.signature(uri.path(), expires);
        now.unix_timestamp() <= expires && mac.is_some_and(|mac| mac.verify_slice(&signature).is_ok())
    }

    fn signature(&self, path: &str, expires: i64) -> Option<Hmac<Sha256>> {
        let Self::Token(token) = self else { return None };
        let mut mac = Hmac::<Sha256>::new_from_slice(token.reveal().as_bytes()).ok()?;
        mac.update(format!("GET {path} {expires}").as_bytes());
        Some(mac)
    }
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
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
    fn a_server_without_a_token_signs_nothing() {
        assert_eq!(Access::Loopback.signed_url("/api/videos/1/stream", NOW), "/api/videos/1/stream");
        let uri = "/api/videos/1/stream?expires=9&signature=00".parse().unwrap();
        assert!(!Access::Loopback.is_signed(&Method::GET, &uri, NOW));
    }
}
