//! Uploads and downloads of large files: in parts, several at a time, resumable, and verified by size and
//! SHA-256. Memory use is bounded by the parts in flight.

mod download;
mod upload;

use std::io::Read;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::error::{Error, Result};

pub use download::download;
pub use upload::{Upload, abort_upload, upload};

/// Size and hash of a file's content.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct FileDigest {
    /// Size of the file.
    pub size_bytes: u64,
    /// SHA-256 of the content, in hexadecimal.
    pub sha256: String,
}

impl FileDigest {
    /// Reads and hashes a file. Blocking.
    pub fn of(path: &Path) -> Result<Self> {
        let failed = |e| Error::file("read", path, e);
        let mut file = std::fs::File::open(path).map_err(failed)?;
        let mut hasher = Sha256::new();
        let mut buffer = vec![0; 1 << 20];
        let mut size_bytes = 0;
        loop {
            match file.read(&mut buffer).map_err(failed)? {
                0 => break,
                n => {
                    hasher.update(&buffer[..n]);
                    size_bytes += n as u64;
                }
            }
        }
        Ok(Self { size_bytes, sha256: hex(hasher) })
    }

    /// [`Self::of`] on a blocking thread.
    pub async fn of_in_background(path: &Path) -> Result<Self> {
        let path = path.to_owned();
        in_background(move || Self::of(&path)).await
    }
}

/// Callback for the progress of an upload: bytes transferred so far, and the total.
pub type OnProgress<'a> = &'a (dyn Fn(u64, u64) + Send + Sync);

/// Progress of a download.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DownloadProgress<'a> {
    /// Bytes downloaded so far.
    pub n_bytes: u64,
    /// Size of the object.
    pub size_bytes: u64,
    /// Length of the contiguous start of the file that has been written.
    pub prefix: u64,
    /// Whether the end of the file (its last two ranges) has been written too. Many containers keep their
    /// index there.
    pub has_end: bool,
    /// The incomplete file, at its full length. Missing bytes are zero, and nothing is verified yet.
    pub partial: &'a Path,
}

/// Callback for the progress of a download.
pub type OnDownloadProgress<'a> = &'a (dyn Fn(DownloadProgress<'_>) + Send + Sync);

fn hex(hasher: Sha256) -> String {
    format!("{:x}", hasher.finalize())
}

/// Runs blocking work on the runtime's blocking threads.
async fn in_background<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(Error::Settings("the runtime is shutting down".to_owned())),
        },
    }
}

/// Writes a small file atomically. Unless `durable`, its content is not synced to disk: it survives the death
/// of the process but may be lost or corrupt after a power failure.
fn write_atomically(path: &Path, bytes: &[u8], durable: bool) -> Result<()> {
    use std::io::Write;
    let failed = |e| Error::file("write", path, e);
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(failed)?;
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    file.write_all(bytes).map_err(failed)?;
    if durable {
        file.as_file().sync_data().map_err(failed)?;
    }
    file.persist(path).map_err(|e| failed(e.error))?;
    Ok(())
}
