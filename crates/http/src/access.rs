//! Which requests are authorized: those with the token or, if the server has none, those from this machine.

use std::net::IpAddr;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use client::failure::{Failure, Kind, Outcome};
use jobs::bucket::Secret;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// Length from which on a token is not warned about.
const MIN_TOKEN_CHARS: usize = 16;

/// Which requests are authorized.
#[derive(Debug, Clone)]
pub enum Access {
    /// Requests with this token in `Authorization: Bearer`.
    Token(Secret),
    /// Requests from programs on this machine, but not from web pages of other sites.
    Loopback,
}

impl Access {
    /// The access rule for a server that listens on `address`.
    ///
    /// # Errors
    /// Of kind [`Kind::Config`] for an address that other machines can reach, if there is no token.
    pub fn at(address: IpAddr, token: Option<Secret>) -> Outcome<Self> {
        match token {
            Some(token) => Ok(Self::Token(token)),
            None if address.is_loopback() => Ok(Self::Loopback),
            None => {
                let message = format!("other machines can reach {address}, and no token is set");
                Err(Failure::msg(Kind::Config, message).hint(
                    "set COURTSIDE_TOKEN to a long random text, such as the output of `openssl rand -hex 32`; clients send it as `Authorization: Bearer …`",
                ))
            }
        }
    }

    /// What is wrong with the token, and what to do about it; `None` if it is long enough.
    pub(crate) fn weakness(&self) -> Option<String> {
        let Self::Token(token) = self else { return None };
        (token.reveal().chars().count() < MIN_TOKEN_CHARS).then(|| {
            format!(
                "COURTSIDE_TOKEN has fewer than {MIN_TOKEN_CHARS} characters. It also signs addresses of videos and \
                 images, so anyone who sees such an address can find a short token by trying all. Make a good one \
                 with: export COURTSIDE_TOKEN=$(openssl rand -hex 32)"
            )
        })
    }

    /// Whether the headers carry the token, if one is required.
    pub(crate) fn is_authorized(&self, headers: &HeaderMap) -> bool {
        let given = headers.get(AUTHORIZATION).and_then(|value| bearer_token(value.as_bytes()));
        matches!(self, Self::Loopback) || given.is_some_and(|given| self.is_token(given))
    }

    /// Whether `given` is the token; false on a server without one.
    pub(crate) fn is_token(&self, given: &[u8]) -> bool {
        let Self::Token(token) = self else { return false };
        // Compares hashes, so that timing does not reveal the token's length either.
        hash(given).ct_eq(&hash(token.reveal().as_bytes())).into()
    }
}

/// The credentials of the `Bearer` scheme (RFC 6750 §2.1).
fn bearer_token(value: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| rest.trim_ascii())
}

fn hash(text: &[u8]) -> [u8; 32] {
    Sha256::digest(text).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_authorized(value: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, value.parse().unwrap());
        Access::Token(Secret::new("open sesame")).is_authorized(&headers)
    }

    #[test]
    fn only_the_exact_token_is_accepted() {
        assert!(is_authorized("Bearer open sesame"));
        assert!(is_authorized("bearer  open sesame "));
        for wrong in [
            "",
            "Bearer",
            "Bearer ",
            "Bearer open",
            "Bearer open sesame!",
            "Basic open sesame",
            "open sesame",
        ] {
            assert!(!is_authorized(wrong), "{wrong:?}");
        }
        assert!(!Access::Token(Secret::new("t")).is_authorized(&HeaderMap::new()));
    }

    #[test]
    fn a_token_that_can_be_guessed_is_warned_about() {
        let weakness = |token: &str| Access::Token(Secret::new(token)).weakness();
        let warning = weakness("open sesame 123").unwrap();
        assert!(warning.contains("openssl rand -hex 32") && !warning.contains("sesame"), "{warning}");
        // Characters are counted, not bytes.
        assert!(weakness("žluťoučký kůň").is_some());
        assert_eq!(weakness("0123456789abcdef"), None);
        assert_eq!(Access::Loopback.weakness(), None);
    }

    #[test]
    fn reachable_address_requires_a_token() {
        for address in ["0.0.0.0", "::", "192.168.0.3", "2001:db8::1"] {
            let failure = Access::at(address.parse().unwrap(), None).unwrap_err();
            assert_eq!(failure.kind, Kind::Config);
            assert!(failure.to_string().contains("COURTSIDE_TOKEN"), "{failure}");
            assert!(Access::at(address.parse().unwrap(), Some(Secret::new("t"))).is_ok());
        }
        for address in ["127.0.0.1", "127.8.8.8", "::1"] {
            assert!(matches!(Access::at(address.parse().unwrap(), None), Ok(Access::Loopback)));
        }
    }
}
