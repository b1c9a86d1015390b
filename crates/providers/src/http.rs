//! Requests to a provider: JSON in, JSON out, and errors sorted by what a caller does about them.

use std::error::Error as _;
use std::net::IpAddr;
use std::time::Duration;

use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, Method, StatusCode, Url};
use serde_json::Value;
use time::OffsetDateTime;

use crate::error::{ProviderError, Result};
use crate::key::ApiKey;
use crate::options::{ProviderOptions, Timeouts};
use crate::retry::retrying;

/// Largest answer that is read. A list of a thousand machines has about 2 MB.
const MAX_ANSWER_BYTES: usize = 16 << 20;
/// Longest text of a provider that is shown.
const MAX_DETAIL_CHARS: usize = 300;

/// The API of one provider.
#[derive(Debug, Clone)]
pub(crate) struct Http {
    client: Client,
    base: Url,
    provider: &'static str,
    options: ProviderOptions,
}

/// A request, of which `action` says what it does: an infinitive, such as "list the machines".
#[derive(Debug, Clone)]
pub(crate) struct Call<'a> {
    pub(crate) action: String,
    pub(crate) method: Method,
    pub(crate) path: Vec<&'a str>,
    pub(crate) query: Vec<(&'a str, &'a str)>,
    pub(crate) body: Option<Value>,
}

impl<'a> Call<'a> {
    pub(crate) fn new(action: impl Into<String>, method: Method, path: &[&'a str]) -> Self {
        Self { action: action.into(), method, path: path.to_vec(), query: Vec::new(), body: None }
    }

    pub(crate) fn body(self, body: Value) -> Self {
        Self { body: Some(body), ..self }
    }

    pub(crate) fn query(self, query: &[(&'a str, &'a str)]) -> Self {
        Self { query: query.to_vec(), ..self }
    }
}

/// An answer with a status of success.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The body; null if it is empty.
    pub(crate) body: Value,
    /// The provider's clock.
    pub(crate) server_time: Option<OffsetDateTime>,
}

impl Http {
    pub(crate) fn new(provider: &'static str, base: &str, options: &ProviderOptions) -> Result<Self> {
        let unusable = |detail: String| ProviderError::Refused {
            provider,
            action: format!("be reached at {base}"),
            detail,
        };
        let base = Url::parse(base).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let base =
            base.ok_or_else(|| unusable("the address must begin with https:// or http://".to_owned()))?;
        let client = client(options.timeouts).map_err(|e| unusable(e.to_string()))?;
        Ok(Self { client, base, provider, options: options.clone() })
    }

    /// Sends a request, and repeats it while its error is transient.
    pub(crate) async fn send(&self, key: &ApiKey, call: &Call<'_>) -> Result<Answer> {
        let ProviderOptions { clock, pace, .. } = &self.options;
        retrying(&**clock, *pace, || self.send_once(key, call)).await
    }

    /// Sends a request once.
    pub(crate) async fn send_once(&self, key: &ApiKey, call: &Call<'_>) -> Result<Answer> {
        let mut request = self.client.request(call.method.clone(), self.url(call)).bearer_auth(key.reveal());
        if let Some(body) = &call.body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let failed = |error: reqwest::Error| ProviderError::Unavailable {
            provider: self.provider,
            action: call.action.clone(),
            detail: key.removed_from(&describe(&error)),
            retry_after: None,
        };
        let response = request.send().await.map_err(failed)?;
        let (status, headers) = (response.status(), response.headers().clone());
        let bytes = read(response).await.map_err(failed)?;
        let body: Option<Value> = match bytes.is_empty() {
            true => Some(Value::Null),
            false => serde_json::from_slice(&bytes).ok(),
        };
        if !status.is_success() {
            return Err(self.error(key, call, status, &headers, body.as_ref()));
        }
        let body = body.ok_or_else(|| self.unreadable(call, "it is not JSON"))?;
        Ok(Answer { body, server_time: server_time(&headers) })
    }

    /// An error for an answer that is not as documented.
    pub(crate) fn unreadable(&self, call: &Call<'_>, detail: impl Into<String>) -> ProviderError {
        let (provider, action) = (self.provider, call.action.clone());
        ProviderError::Unreadable { provider, action, detail: shortened(&detail.into()) }
    }

    /// The address of a call. Each part of the path is encoded, so that none can name another resource.
    fn url(&self, call: &Call<'_>) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(&call.path);
        }
        if !call.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&call.query);
        }
        url
    }

    fn error(
        &self,
        key: &ApiKey,
        call: &Call<'_>,
        status: StatusCode,
        headers: &HeaderMap,
        body: Option<&Value>,
    ) -> ProviderError {
        let detail = match body.and_then(message) {
            Some(text) => shortened(&key.removed_from(text)),
            None => format!("it answered {status}"),
        };
        let (provider, action) = (self.provider, call.action.clone());
        match status.as_u16() {
            401 | 403 => ProviderError::Unauthorised { provider, action, detail },
            402 => ProviderError::NoCredit { provider, action, detail },
            404 | 410 => ProviderError::NotFound { provider, action, detail },
            409 => ProviderError::Conflict { provider, action, detail },
            408 | 425 | 429 | 500..=599 => {
                ProviderError::Unavailable { provider, action, detail, retry_after: retry_after(headers) }
            }
            _ => ProviderError::Refused { provider, action, detail },
        }
    }
}

/// A client that follows no redirect: a key is for one server.
pub(crate) fn client(timeouts: Timeouts) -> reqwest::Result<Client> {
    // Fails only where one is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder()
        .user_agent(concat!("courtside/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(timeouts.connect)
        .timeout(timeouts.request)
        .redirect(Policy::none())
        .build()
}

/// Reads a body up to the limit; a longer one is cut, and then is not JSON.
async fn read(mut response: reqwest::Response) -> reqwest::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > MAX_ANSWER_BYTES {
            bytes.truncate(MAX_ANSWER_BYTES);
            break;
        }
    }
    Ok(bytes)
}

/// The words of an error: RunPod's `detail` or `title`, Vast's `msg` or `error`.
pub(crate) fn message(body: &Value) -> Option<&str> {
    let text = |name: &str| body.get(name).and_then(Value::as_str).filter(|text| !text.trim().is_empty());
    ["detail", "msg", "message", "error", "title"].into_iter().find_map(text)
}

/// A text of a provider, on one line, without control characters, at most [`MAX_DETAIL_CHARS`] long.
pub(crate) fn shortened(text: &str) -> String {
    let clean: String = text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    match clean.char_indices().nth(MAX_DETAIL_CHARS) {
        Some((end, _)) => format!("{}...", &clean[..end]),
        None => clean,
    }
}

/// Whether the host of an address is this machine, or can only be reached from its network.
pub fn is_private_address(address: &str) -> bool {
    let Some(host) = Url::parse(address).ok().and_then(|url| url.host_str().map(str::to_owned)) else {
        return false;
    };
    let name = host.trim_end_matches('.').to_ascii_lowercase();
    match name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
        Ok(IpAddr::V4(ip)) => {
            ip.is_loopback() || ip.is_private() || ip.is_link_local() || ip.is_unspecified()
        }
        Ok(IpAddr::V6(ip)) => {
            ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local() || ip.is_unspecified()
        }
        Err(_) => name == "localhost" || name.ends_with(".localhost") || name.ends_with(".local"),
    }
}

/// Why there was no answer. The address is left out; its causes are not.
pub(crate) fn describe(error: &reqwest::Error) -> String {
    let what = match error {
        e if e.is_timeout() => "it does not answer",
        e if e.is_connect() => "it cannot be reached",
        _ => "the connection broke",
    };
    let cause = std::iter::successors(error.source(), |&cause| cause.source()).last();
    match cause {
        Some(cause) if !error.is_timeout() => format!("{what} ({})", shortened(&cause.to_string())),
        _ => what.to_owned(),
    }
}

/// Seconds in `Retry-After`.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

fn server_time(headers: &HeaderMap) -> Option<OffsetDateTime> {
    let date = httpdate::parse_http_date(headers.get(DATE)?.to_str().ok()?).ok()?;
    Some(date.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_addresses_are_recognized() {
        for (address, is_private) in [
            ("http://localhost:9000", true),
            ("http://127.0.0.1:9000/games", true),
            ("https://192.168.1.20", true),
            ("https://10.0.0.1", true),
            ("http://[::1]:9000", true),
            ("http://[fd00::1]", true),
            ("http://nas.local.", true),
            ("https://abc.r2.cloudflarestorage.com", false),
            ("https://8.8.8.8", false),
            ("no address", false),
        ] {
            assert_eq!(is_private_address(address), is_private, "{address}");
        }
    }

    #[test]
    fn an_id_cannot_name_another_resource() {
        let http = Http::new("RunPod", "http://h/base/", &ProviderOptions::default()).unwrap();
        let url = |id| http.url(&Call::new("x", Method::GET, &["v2", "pods", id])).to_string();
        assert_eq!(url("abc"), "http://h/base/v2/pods/abc");
        assert_eq!(url("../secrets?x=1#y"), "http://h/base/v2/pods/..%2Fsecrets%3Fx=1%23y");
    }

    #[test]
    fn a_long_answer_with_control_characters_is_shortened() {
        let text = shortened(&format!("no\n\u{1b}[31m{}", "x".repeat(10_000)));
        assert!(text.chars().count() <= MAX_DETAIL_CHARS + 3 && text.starts_with("no  [31mx"), "{text}");
    }
}
