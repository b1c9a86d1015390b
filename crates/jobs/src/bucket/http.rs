//! The HTTP client under the S3 client. It follows no redirects, because a request is signed for one server, and turns
//! responses that no retry can change into a [`Rejection`].

use std::error::Error as StdError;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::TryStreamExt;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody,
    HttpService,
};
use rand::seq::SliceRandom;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::Policy;

use super::response::{Cause, Head, Rejection, error_in_success, judge, of_connection};
use super::server_clock::ServerClock;
use crate::error::Remedy;

/// Longest body of an error response that is read; what follows says nothing more.
const MAX_ERROR_BYTES: usize = 64 << 10;
/// Longest page of a listing, or answer to a POST: a page has at most 1,000 keys of 1,024 bytes.
const MAX_PAGE_BYTES: usize = 32 << 20;

/// Creates clients with these timeouts.
#[derive(Debug, Clone)]
pub(super) struct Connector {
    /// Learns the time of the server from each response.
    pub(super) clock: Arc<ServerClock>,
    /// For a complete request.
    pub(super) request: Duration,
    /// For establishing a connection.
    pub(super) connect: Duration,
    /// Between two reads of a response.
    pub(super) silence: Duration,
}

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        let client = reqwest::Client::builder()
            .user_agent(concat!("courtside/", env!("CARGO_PKG_VERSION")))
            .timeout(self.request)
            .connect_timeout(self.connect)
            .read_timeout(self.silence)
            .redirect(Policy::none())
            // Several connections are faster in parallel than HTTP/2 streams of one.
            .http1_only()
            // Sizes are those of the stored bytes.
            .no_gzip()
            .no_brotli()
            .no_zstd()
            .no_deflate()
            .dns_resolver(Arc::new(ShufflingResolver))
            .build();
        let failed = |e| object_store::Error::Generic { store: "S3", source: Box::new(e) };
        Ok(HttpClient::new(Checked { client: client.map_err(failed)?, clock: self.clock.clone() }))
    }
}

/// A client whose responses are judged.
#[derive(Debug)]
struct Checked {
    client: reqwest::Client,
    clock: Arc<ServerClock>,
}

#[async_trait]
impl HttpService for Checked {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let is_post = request.method().as_str() == "POST";
        let is_listing = request.method().as_str() == "GET"
            && request.uri().query().is_some_and(|query| query.contains("list-type=2"));
        let response = match self.client.call(request).await {
            Ok(response) => response,
            Err(error) => {
                return Err(match of_connection(&error) {
                    Some(rejection) => permanent(rejection),
                    None => error,
                });
            }
        };
        if let Some(date) = response.headers().get("date").and_then(|value| value.to_str().ok()) {
            self.clock.set(date);
        }
        let status = response.status().as_u16();
        let is_success = (200..=299).contains(&status);
        if is_success && !is_listing && !is_post {
            // An object.
            return Ok(response);
        }
        let (parts, body) = response.into_parts();
        let limit_bytes = if is_success { MAX_PAGE_BYTES } else { MAX_ERROR_BYTES };
        let body = read(body, limit_bytes).await?;
        if matches!(status, 500 | 502..=504) {
            // Retried by the caller, which reads the last one.
            return Ok(HttpResponse::from_parts(parts, body.into()));
        }
        if is_success && body.len() >= limit_bytes {
            let detail = format!("it answered with more than {} MiB", limit_bytes >> 20);
            return Err(permanent(Rejection { cause: Cause::Unusable(Remedy::Endpoint), detail }));
        }
        let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
        let head =
            Head { status, location: header("location"), region: header("x-amz-bucket-region"), is_listing };
        if let Some(rejection) = judge(&head, &body) {
            return Err(permanent(rejection));
        }
        if let Some(error) = error_in_success(&head, &body) {
            return Err(HttpError::new(HttpErrorKind::Interrupted, std::io::Error::other(error)));
        }
        Ok(HttpResponse::from_parts(parts, body.into()))
    }
}

/// An error that is not retried.
fn permanent(rejection: Rejection) -> HttpError {
    HttpError::new(HttpErrorKind::Unknown, rejection)
}

/// Reads a body up to the chunk that reaches `limit_bytes`.
async fn read(body: HttpResponseBody, limit_bytes: usize) -> Result<Bytes, HttpError> {
    let mut stream = body.bytes_stream();
    let mut bytes = BytesMut::new();
    while let Some(chunk) = stream.try_next().await? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() >= limit_bytes {
            break;
        }
    }
    Ok(bytes.freeze())
}

/// A host name without an address.
#[derive(Debug, thiserror::Error)]
#[error("the host name {host} cannot be resolved: {source}")]
pub(super) struct UnknownHost {
    host: String,
    source: std::io::Error,
}

/// Resolves host names with the operating system, in random order, so that connections are spread over the addresses.
#[derive(Debug)]
struct ShufflingResolver;

impl Resolve for ShufflingResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let host = name.as_str().to_owned();
        let lookup = move || {
            let found = (host.as_str(), 0).to_socket_addrs();
            let found: Vec<SocketAddr> = found.map_err(|source| UnknownHost { host, source })?.collect();
            Ok::<_, UnknownHost>(found)
        };
        Box::pin(async move {
            let found = tokio::task::spawn_blocking(lookup).await;
            let mut addresses = found.map_err(|e| Box::new(e) as Box<dyn StdError + Send + Sync>)??;
            addresses.shuffle(&mut rand::rng());
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}
