//! Downloads of a model from the Hugging Face hub into the cache that Python's `huggingface_hub` uses, too.
//!
//! For each file, a `HEAD` request names the commit and an entity tag (ETag). The content goes to a partial file that
//! is named by the tag, so an interrupted download resumes where it stopped, also in another process, and contents of
//! two revisions are never mixed. A complete file is checked, renamed to its blob, and linked into the snapshot of its
//! commit. All files of one download are of one commit.

mod cache;
mod http;
mod settings;

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use client::progress::Progress;
use client::terminal::notify;
use jobs::bucket::describe_failure;
use jobs::transfer::FileDigest;
use reqwest::StatusCode;

pub(crate) use cache::folder_name;
pub(crate) use settings::{HubSettings, cache_folder, variable};

use cache::RepoCache;
use http::{HubClient, RemoteFile};

/// Times that the download of a file is resumed after its connection was lost.
const RETRIES: usize = 5;

/// Why a file could not be downloaded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HubError {
    /// `HF_ENDPOINT` is not an address.
    #[error("invalid address {0}; check HF_ENDPOINT")]
    Address(String),
    /// The server refused the request.
    #[error("the server answered {0}")]
    Status(StatusCode),
    /// The request ended without a usable response.
    #[error("the request failed: {}", describe_failure(.0))]
    Request(reqwest::Error),
    /// The response ended early.
    #[error(
        "the connection was lost after {n_bytes} of {size_bytes} bytes{}",
        .cause.as_ref().map(|e| format!(": {}", describe_failure(e))).unwrap_or_default()
    )]
    Interrupted {
        /// Bytes of the file that are on disk.
        n_bytes: u64,
        /// Size of the complete file.
        size_bytes: u64,
        /// What the HTTP library reported, if anything.
        cause: Option<reqwest::Error>,
    },
    /// The response lacks a header that the protocol requires, or its value is not usable.
    #[error("the server's answer has no usable {0} header")]
    Header(&'static str),
    /// The complete file has another SHA-256 than the hub announced.
    #[error("the downloaded file is corrupt: its SHA-256 is not {sha256}")]
    Corrupt {
        /// SHA-256 that the hub announced, in hexadecimal.
        sha256: String,
    },
    /// A file of the cache could not be read or written.
    #[error("cannot {action} {}", path.display())]
    File {
        /// The operation that failed, such as "write".
        action: &'static str,
        /// File or folder in the cache.
        path: PathBuf,
        /// The operating system's error.
        #[source]
        source: std::io::Error,
    },
}

impl HubError {
    /// The HTTP status, if the server answered with an error.
    pub(crate) fn status(&self) -> Option<u16> {
        match self {
            Self::Status(status) => Some(status.as_u16()),
            _ => None,
        }
    }

    fn file(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { action, path, source }
    }
}

/// One model repository on the hub and its part of the cache.
#[derive(Debug)]
pub(crate) struct HubRepo {
    client: HubClient,
    cache: RepoCache,
}

impl HubRepo {
    /// A repository such as `facebook/sam3`. Sends no request yet.
    ///
    /// # Errors
    /// If the HTTP client cannot be set up, for example without any root certificate.
    pub(crate) fn new(repo: &str, settings: &HubSettings) -> Result<Self, HubError> {
        Ok(Self { client: HubClient::new(repo, settings)?, cache: RepoCache::new(&settings.cache, repo) })
    }

    /// The commit that `main` is at. Requests the metadata of `file`, which requires access to the repository.
    ///
    /// # Errors
    /// If the file is not accessible.
    pub(crate) async fn latest_commit(&self, file: &str) -> Result<String, HubError> {
        Ok(self.client.metadata("main", file).await?.commit)
    }

    /// Downloads a file of a commit unless the cache has it. Returns its path in the snapshot.
    ///
    /// # Errors
    /// What arrived before an error stays in the cache; the next call resumes from there.
    pub(crate) async fn fetch(&self, commit: &str, file: &str) -> Result<PathBuf, HubError> {
        let path = self.cache.snapshot(commit).join(file);
        if path.is_file() {
            return Ok(path);
        }
        let remote = self.client.metadata(commit, file).await?;
        self.fetch_blob(commit, file, &remote).await?;
        self.cache.link(commit, file, &remote.etag)?;
        Ok(path)
    }

    /// Records that `main` is at a commit, as `huggingface_hub` does for offline use. Returns the snapshot's folder.
    ///
    /// # Errors
    /// If the cache is not writable.
    pub(crate) fn finish(&self, commit: &str) -> Result<PathBuf, HubError> {
        self.cache.set_main(commit)?;
        Ok(self.cache.snapshot(commit))
    }

    async fn fetch_blob(&self, commit: &str, file: &str, remote: &RemoteFile) -> Result<(), HubError> {
        let _lock = self.lock(file, &remote.etag)?;
        let (blob, partial) = (self.cache.blob(&remote.etag), self.cache.partial(&remote.etag));
        if blob.is_file() {
            return Ok(());
        }
        let mut progress = Progress::transfer("model");
        let mut retries = RETRIES;
        loop {
            let on_progress = |n_bytes| progress.transferred(n_bytes, remote.size_bytes);
            match self.client.resume(commit, file, remote.size_bytes, &partial, on_progress).await {
                Err(HubError::Interrupted { .. }) if retries > 0 => retries -= 1,
                done => break done?,
            }
        }
        progress.finish();
        verify(&partial, &remote.etag)?;
        std::fs::rename(&partial, &blob).map_err(HubError::file("write", &blob))
    }

    /// Waits until no other process downloads the same blob.
    fn lock(&self, file: &str, etag: &str) -> Result<File, HubError> {
        let path = self.cache.lock_file(etag)?;
        let lock = File::create(&path).map_err(HubError::file("create", &path))?;
        let failed = HubError::file("lock", &path);
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                notify(format!("waiting: another process is downloading {file}"));
                lock.lock().map_err(failed)?;
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        Ok(lock)
    }
}

/// Checks a complete file. The tag of a large file (Git LFS, Xet) is its SHA-256; that of a small one is not a hash of
/// the content alone, and is not checked. A corrupt file is removed, so that the next download starts over.
fn verify(partial: &Path, etag: &str) -> Result<(), HubError> {
    let is_sha256 = etag.len() == 64 && etag.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if !is_sha256 {
        return Ok(());
    }
    let digest = FileDigest::of(partial)
        .map_err(|error| HubError::file("read", partial)(std::io::Error::other(error)))?;
    if digest.sha256 == etag {
        return Ok(());
    }
    let _ = std::fs::remove_file(partial);
    Err(HubError::Corrupt { sha256: etag.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_sha256_tag_is_verified() {
        let folder = tempfile::tempdir().unwrap();
        let partial = folder.path().join("blob.incomplete");
        std::fs::write(&partial, "abc").unwrap();
        verify(&partial, "a-tag").unwrap();
        verify(&partial, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad").unwrap();
        assert!(matches!(verify(&partial, &"0".repeat(64)), Err(HubError::Corrupt { .. })));
        assert!(!partial.exists());
    }
}
