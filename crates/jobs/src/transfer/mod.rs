//! Files of many gigabytes into a bucket and out of it: in parts, several at a time, resumed where they
//! stopped, verified by size and SHA-256. Memory is bounded by the parts under way.

mod download;
mod upload;

use std::io::Read;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::error::{Error, Result};

pub use download::download;
pub use upload::{Upload, give_up, upload};

/// What a file must be, or is.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct FileFacts {
    /// Size.
    pub size_bytes: u64,
    /// SHA-256 in hexadecimal.
    pub sha256: String,
}

impl FileFacts {
    /// Reads a file. Blocks.
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

    async fn of_in_background(path: &Path) -> Result<Self> {
        let path = path.to_owned();
        in_background(move || Self::of(&path)).await
    }
}

/// Hears how many bytes of how many are through.
pub type OnProgress<'a> = &'a (dyn Fn(u64, u64) + Send + Sync);

/// How much of a download is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrived<'a> {
    /// Bytes that are through.
    pub n_bytes: u64,
    /// Of so many.
    pub size_bytes: u64,
    /// Bytes from the beginning that are all in the file.
    pub prefix: u64,
    /// Whether the file's last bytes are, too: containers like to keep their tables there.
    pub has_end: bool,
    /// The file until it is whole. What did not arrive of it is zero; nothing of it is verified.
    pub partial: &'a Path,
}

/// Hears how much of a download is there.
pub type OnArrival<'a> = &'a (dyn Fn(Arrived<'_>) + Send + Sync);

fn hex(hasher: Sha256) -> String {
    format!("{:x}", hasher.finalize())
}

/// Runs blocking work beside the runtime.
async fn in_background<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(Error::Settings("the runtime is shutting down".to_owned())),
        },
    }
}

/// Writes a small file whole or not at all. One that is not made `durable` may be gone or spoiled after a power
/// failure, though not when a process dies.
fn write_whole(path: &Path, bytes: &[u8], durable: bool) -> Result<()> {
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
