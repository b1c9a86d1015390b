//! The turn to work at a job's submission: one program at a time.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use jobs::JobId;

use crate::failure::Outcome;
use crate::whole_file::{cannot, folder_of};

/// Held until it is dropped, or the program dies.
#[derive(Debug)]
pub(super) struct Turn {
    file: PathBuf,
    _lock: File,
}

impl Turn {
    /// Takes the turn at a job, by a lock beside the journal of its upload.
    ///
    /// # Errors
    /// [`jobs::Error::Forbidden`] while another program has it.
    pub(super) fn take(journal: &Path, id: &JobId) -> Outcome<Self> {
        let file = journal.with_extension("lock");
        let failed = |e| cannot("lock", &file, e);
        std::fs::create_dir_all(folder_of(&file)).map_err(failed)?;
        loop {
            let lock = File::create(&file).map_err(failed)?;
            match lock.try_lock() {
                // Whoever had it before may have removed the file that was opened here.
                Ok(()) if !is_at(&file, &lock).map_err(failed)? => {}
                Ok(()) => return Ok(Self { file, _lock: lock }),
                Err(TryLockError::WouldBlock) => {
                    let why = "is being uploaded by another courtside".to_owned();
                    return Err(jobs::Error::Forbidden { id: id.clone(), why }.into());
                }
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

impl Drop for Turn {
    fn drop(&mut self) {
        // What stays is an empty file, and no lock.
        let _ = std::fs::remove_file(&self.file);
    }
}
