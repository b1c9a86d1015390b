//! The hub's HTTP protocol: `HEAD` and `GET` of `{endpoint}/{repo}/resolve/{revision}/{file}`.
//!
//! A `GET` of a large file is redirected to a content server on another host. The token is sent to the hub only:
//! `reqwest` drops `Authorization` when a redirect leaves the host.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use reqwest::header::{ACCEPT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderMap, LOCATION, RANGE};
use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, Response, StatusCode, Url};

use super::{HubError, HubSettings};

/// Time for a connection to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// Time without any byte after which a connection counts as lost.
const READ_TIMEOUT: Duration = Duration::from_secs(60);
/// Redirects within the hub that a `HEAD` request follows.
const MAX_REDIRECTS: usize = 10;

/// What the hub reports about a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RemoteFile {
    /// Commit that the requested revision is at.
    pub(super) commit: String,
    /// Entity tag without quotes: the SHA-256 of a large file, something else for a small one.
    pub(super) etag: String,
    pub(super) size_bytes: u64,
}

/// Sends requests about one repository.
#[derive(Debug)]
pub(super) struct HubClient {
    /// For content: follows redirects.
    content: Client,
    /// For metadata, which only the hub's own response has: follows no redirects.
    metadata: Client,
    /// Address of the repository.
    base: String,
    token: Option<String>,
}

impl HubClient {
    pub(super) fn new(repo: &str, settings: &HubSettings) -> Result<Self, HubError> {
        // Fails only where one is installed already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = |redirects: Policy| {
            Client::builder()
                .user_agent(concat!("courtside/", env!("CARGO_PKG_VERSION")))
                .connect_timeout(CONNECT_TIMEOUT)
                .read_timeout(READ_TIMEOUT)
                .redirect(redirects)
                .build()
                .map_err(HubError::Request)
        };
        Ok(Self {
            content: client(Policy::default())?,
            metadata: client(Policy::none())?,
            base: format!("{}/{repo}", settings.endpoint),
            token: settings.token.clone(),
        })
    }

    /// Requests commit, tag and size of a file.
    pub(super) async fn metadata(&self, revision: &str, file: &str) -> Result<RemoteFile, HubError> {
        let mut url = self.url(revision, file)?;
        for _ in 0..MAX_REDIRECTS {
            let response = self.send(self.metadata.head(url.clone())).await?;
            match relative_redirect(&response) {
                // Within the hub, for example of a repository that was renamed.
                Some(location) => url = url.join(&location).map_err(|_| HubError::Header("location"))?,
                None => return remote_file(response.headers()),
            }
        }
        Err(HubError::Header("location"))
    }

    /// Appends the rest of a file to what `partial` already has of it. Reports the bytes that are on disk.
    pub(super) async fn resume(
        &self,
        commit: &str,
        file: &str,
        size_bytes: u64,
        partial: &Path,
        mut on_progress: impl FnMut(u64),
    ) -> Result<(), HubError> {
        let mut options = File::options();
        let mut output =
            options.append(true).create(true).open(partial).map_err(HubError::file("write", partial))?;
        let mut n_bytes = output.metadata().map_err(HubError::file("read", partial))?.len();
        if n_bytes > size_bytes {
            n_bytes = truncate(&output, partial)?;
        }
        if n_bytes < size_bytes {
            let range = format!("bytes={n_bytes}-");
            let request = self.content.get(self.url(commit, file)?).header(RANGE, range);
            let mut response = self.send(request).await?;
            if response.status() != StatusCode::PARTIAL_CONTENT {
                // The server sends the file from its beginning.
                n_bytes = truncate(&output, partial)?;
            } else if range_start(response.headers()) != Some(n_bytes) {
                return Err(HubError::Header("content-range"));
            }
            loop {
                on_progress(n_bytes);
                let interrupted = |cause| HubError::Interrupted { n_bytes, size_bytes, cause };
                match response.chunk().await {
                    Ok(Some(chunk)) => {
                        output.write_all(&chunk).map_err(HubError::file("write", partial))?;
                        n_bytes += chunk.len() as u64;
                    }
                    Ok(None) if n_bytes < size_bytes => return Err(interrupted(None)),
                    Ok(None) => break,
                    Err(error) => return Err(interrupted(Some(error.without_url()))),
                }
            }
        }
        output.sync_all().map_err(HubError::file("write", partial))
    }

    fn url(&self, revision: &str, file: &str) -> Result<Url, HubError> {
        let url = format!("{}/resolve/{revision}/{file}", self.base);
        Url::parse(&url).map_err(|_| HubError::Address(url))
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, HubError> {
        // Otherwise a server may compress, and sizes and offsets would be those of compressed bytes.
        let request = request.header(ACCEPT_ENCODING, "identity");
        let request = match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        // The address of a content server is signed: it must not appear in messages.
        let response = request.send().await.map_err(|error| HubError::Request(error.without_url()))?;
        let status = response.status();
        if status.is_client_error() || status.is_server_error() {
            return Err(HubError::Status(status));
        }
        Ok(response)
    }
}

/// Starts a partial file over. Returns its new length.
fn truncate(output: &File, partial: &Path) -> Result<u64, HubError> {
    output.set_len(0).map_err(HubError::file("write", partial))?;
    Ok(0)
}

/// Where a response redirects to, if that is on the same host.
fn relative_redirect(response: &Response) -> Option<String> {
    let location = response.headers().get(LOCATION).filter(|_| response.status().is_redirection())?;
    location.to_str().ok().filter(|to| to.starts_with('/') && !to.starts_with("//")).map(str::to_owned)
}

fn remote_file(headers: &HeaderMap) -> Result<RemoteFile, HubError> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    // Commit and tag become names of files.
    let name = |text: &str| {
        let name = text.trim_start_matches("W/").trim_matches('"');
        let is_plain = !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\', '\0']);
        is_plain.then(|| name.to_owned())
    };
    let commit = text("x-repo-commit").and_then(name).ok_or(HubError::Header("x-repo-commit"))?;
    let etag = text("x-linked-etag").or_else(|| text(ETAG.as_str())).and_then(name);
    let etag = etag.ok_or(HubError::Header("etag"))?;
    let size = text("x-linked-size").or_else(|| text(CONTENT_LENGTH.as_str()));
    let size_bytes = size.and_then(|size| size.parse().ok()).ok_or(HubError::Header("content-length"))?;
    Ok(RemoteFile { commit, etag, size_bytes })
}

/// First byte of a partial response: `bytes 5-9/10` starts at 5.
fn range_start(headers: &HeaderMap) -> Option<u64> {
    let range = headers.get(CONTENT_RANGE)?.to_str().ok()?;
    range.strip_prefix("bytes ")?.split('-').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        lines.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn a_large_file_is_described_by_its_linked_headers() {
        let sha256 = "ab".repeat(32);
        let linked = format!("\"{sha256}\"");
        let answer = headers(&[
            ("x-repo-commit", "0123abc"),
            ("x-linked-etag", &linked),
            ("x-linked-size", "3440000000"),
            ("etag", "\"of the redirect\""),
            ("content-length", "1369"),
        ]);
        let want = RemoteFile { commit: "0123abc".into(), etag: sha256, size_bytes: 3_440_000_000 };
        assert_eq!(remote_file(&answer).unwrap(), want);
    }

    #[test]
    fn a_small_file_is_described_by_the_answer_itself() {
        let mut answer =
            headers(&[("x-repo-commit", "0123abc"), ("etag", "W/\"d5a9\""), ("content-length", "12")]);
        let want = RemoteFile { commit: "0123abc".into(), etag: "d5a9".into(), size_bytes: 12 };
        assert_eq!(remote_file(&answer).unwrap(), want);
        for (name, value) in [("etag", "\"../d5a9\""), ("x-repo-commit", "..")] {
            let good = answer.insert(name, value.parse().unwrap()).unwrap();
            assert!(matches!(remote_file(&answer), Err(HubError::Header(_))), "{name}");
            answer.insert(name, good);
        }
    }

    #[test]
    fn a_partial_answer_names_its_first_byte() {
        assert_eq!(
            range_start(&headers(&[("content-range", "bytes 1000000-3000000/3000001")])),
            Some(1_000_000)
        );
        assert_eq!(range_start(&headers(&[("content-range", "bytes */3000001")])), None);
        assert_eq!(range_start(&headers(&[])), None);
    }
}
