//! The turn to work at a job's submission, or at its import: one program at a time.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use std::time::Duration;

use jobs::JobId;

use crate::atomic_file::{cannot, folder_of};
use crate::failure::Outcome;

/// How soon one who waits for the turn looks again.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Held until it is dropped, or the program dies.
#[derive(Debug)]
pub(super) struct FileLock {
    file: PathBuf,
    _lock: File,
}

impl FileLock {
    /// Takes the turn at a job's submission, by a lock beside the journal of its upload.
    ///
    /// # Errors
    /// [`jobs::Error::Refused`] while another program has it.
    pub(super) fn take(journal: &Path, id: &JobId) -> Outcome<Self> {
        let refused = || jobs::Error::Refused { id: id.clone(), refusal: jobs::Refusal::BeingUploaded };
        Self::try_take(journal)?.ok_or_else(|| refused().into())
    }

    /// Waits for the turn at a file that several programs would fetch.
    pub(super) async fn wait(at: &Path) -> Outcome<Self> {
        loop {
            if let Some(turn) = Self::try_take(at)? {
                return Ok(turn);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    fn try_take(beside: &Path) -> Outcome<Option<Self>> {
        let file = beside.with_extension("lock");
        let failed = |e| cannot("lock", &file, e);
        std::fs::create_dir_all(folder_of(&file)).map_err(failed)?;
        loop {
            let lock = File::create(&file).map_err(failed)?;
            match lock.try_lock() {
                // Whoever had it before may have removed the file that was opened here.
                Ok(()) if !is_at(&file, &lock).map_err(failed)? => {}
                Ok(()) => return Ok(Some(Self { file, _lock: lock })),
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(e)) => return Err(failed(e)),
            }
        }
    }
}

/// Whether a path still leads to an open file.
#[cfg(unix)]
fn is_at(path: &Path, file: &File) -> std::io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    match path.metadata() {
        Ok(there) => Ok(there.ino() == file.metadata()?.ino()),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
    }
}

/// Elsewhere an open file cannot be removed.
#[cfg(not(unix))]
fn is_at(_: &Path, _: &File) -> std::io::Result<bool> {
    Ok(true)
}

impl Drop for FileLock {
    fn drop(&mut self) {
        // What stays is an empty file, and no lock.
        let _ = std::fs::remove_file(&self.file);
    }
}
