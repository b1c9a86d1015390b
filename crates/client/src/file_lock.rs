//! A lock file that keeps two programs from uploading, or importing, the same job at the same time.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use crate::atomic_file::{cannot, folder_of};
use crate::failure::{Failure, Kind, Outcome};

/// An exclusive lock between processes. Dropping it releases the lock and removes the file; the operating system
/// releases it when the process dies.
#[derive(Debug)]
pub(crate) struct FileLock {
    path: PathBuf,
    _locked: File,
}

impl FileLock {
    /// Takes the lock for `guarded`, a file of this job. `None` if another process holds it.
    pub(crate) fn try_acquire(guarded: &Path) -> Outcome<Option<Self>> {
        let path = lock_path(guarded)?;
        loop {
            let file = open(&path)?;
            match file.try_lock() {
                // The previous holder removed the file between our open and our lock: open the new one.
                Ok(()) if !is_current(&path, &file)? => {}
                Ok(()) => return Ok(Some(Self { path, _locked: file })),
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(e)) => return Err(cannot("lock", &path, e)),
            }
        }
    }

    /// Waits until no other process holds the lock for `guarded`, and takes it.
    pub(crate) async fn acquire(guarded: &Path) -> Outcome<Self> {
        let path = lock_path(guarded)?;
        let locked = tokio::task::spawn_blocking(move || Self::acquire_blocking(path)).await;
        locked.map_err(|e| Failure::new(Kind::Failed, e).context("cannot wait for a lock file"))?
    }

    fn acquire_blocking(path: PathBuf) -> Outcome<Self> {
        loop {
            let file = open(&path)?;
            file.lock().map_err(|e| cannot("lock", &path, e))?;
            if is_current(&path, &file)? {
                return Ok(Self { path, _locked: file });
            }
        }
    }
}

/// Returns the lock file for `guarded`, and creates its folder.
fn lock_path(guarded: &Path) -> Outcome<PathBuf> {
    let path = guarded.with_extension("lock");
    std::fs::create_dir_all(folder_of(&path)).map_err(|e| cannot("lock", &path, e))?;
    Ok(path)
}

fn open(path: &Path) -> Outcome<File> {
    File::create(path).map_err(|e| cannot("lock", path, e))
}

/// Whether `path` still names the open file.
#[cfg(unix)]
fn is_current(path: &Path, file: &File) -> Outcome<bool> {
    use std::os::unix::fs::MetadataExt;
    let failed = |e| cannot("lock", path, e);
    match path.metadata() {
        Ok(named) => Ok(named.ino() == file.metadata().map_err(failed)?.ino()),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(failed(e)),
    }
}

/// On other systems an open file cannot be removed.
#[cfg(not(unix))]
fn is_current(_: &Path, _: &File) -> Outcome<bool> {
    Ok(true)
}

impl Drop for FileLock {
    fn drop(&mut self) {
        // If this fails, an empty, unlocked file remains, which does no harm.
        let _ = std::fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn acquire_waits_for_the_holder() {
        let folder = tempfile::tempdir().unwrap();
        let guarded = folder.path().join("job.json");
        let held = FileLock::try_acquire(&guarded).unwrap().unwrap();
        assert!(FileLock::try_acquire(&guarded).unwrap().is_none());
        let waiting = tokio::spawn({
            let guarded = guarded.clone();
            async move { FileLock::acquire(&guarded).await }
        });
        drop(held);
        let acquired = waiting.await.unwrap().unwrap();
        assert!(FileLock::try_acquire(&guarded).unwrap().is_none());
        drop(acquired);
        assert!(!folder.path().join("job.lock").exists());
    }
}
