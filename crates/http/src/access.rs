//! Who is let in: whoever shows the token, or, on this machine alone and without a token, whoever is on it.

use std::net::IpAddr;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use jobs::bucket::Secret;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use client::failure::{Failure, Kind, Outcome};

/// Who is let in.
#[derive(Debug, Clone)]
pub enum Access {
    /// Whoever sends `Authorization: Bearer` with this.
    Token(Secret),
    /// Programs of this machine, and no page of another site.
    Loopback,
}

impl Access {
    /// For a server that listens at `address`.
    ///
    /// # Errors
    /// Of kind [`Kind::Config`] for an address that others reach, without a token.
    pub fn at(address: IpAddr, token: Option<Secret>) -> Outcome<Self> {
        match token {
            Some(token) => Ok(Self::Token(token)),
            None if address.is_loopback() => Ok(Self::Loopback),
            None => {
                let message = format!("{address} can be reached from other machines, and there is no token");
                Err(Failure::msg(Kind::Config, message)
                    .hint("set COURTSIDE_TOKEN to a long random text, which clients send as `Authorization: Bearer …`"))
            }
        }
    }

    /// Whether a request shows what it must.
    pub(super) fn admits(&self, headers: &HeaderMap) -> bool {
        let Self::Token(token) = self else { return true };
        let shown = headers.get(AUTHORIZATION).and_then(|value| bearer(value.as_bytes()));
        // Of hashes, so that not even the length can be measured.
        let same = |shown: &[u8]| hash(shown).ct_eq(&hash(token.reveal().as_bytes())).into();
        shown.is_some_and(same)
    }
}

/// The credentials of the scheme `Bearer` (RFC 6750 §2.1).
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| rest.trim_ascii())
}

fn hash(text: &[u8]) -> [u8; 32] {
    Sha256::digest(text).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shows(value: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, value.parse().unwrap());
        Access::Token(Secret::new("open sesame")).admits(&headers)
    }

    #[test]
    fn only_the_whole_token_opens() {
        assert!(shows("Bearer open sesame"));
        assert!(shows("bearer  open sesame "));
        for wrong in [
            "",
            "Bearer",
            "Bearer ",
            "Bearer open",
            "Bearer open sesame!",
            "Basic open sesame",
            "open sesame",
        ] {
            assert!(!shows(wrong), "{wrong:?}");
        }
        assert!(!Access::Token(Secret::new("t")).admits(&HeaderMap::new()));
    }

    #[test]
    fn an_address_that_others_reach_needs_a_token() {
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
