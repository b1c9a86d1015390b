//! The work folder: one folder for each job, with its video and checkpoints while they are needed. A lock file gives
//! one process at a time the use of a job's folder.

use std::fs::{self, File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jobs::JobId;

use client::atomic_file::cannot;
use client::failure::Outcome;

const LOCK: &str = "lock";
/// Age at which the folder of a dead worker is removed.
const STALE: Duration = Duration::from_secs(3 * 24 * 3600);

/// A job's folder, locked. It may contain what an earlier attempt on this machine downloaded.
pub(super) struct Workspace {
    folder: PathBuf,
    _lock: File,
}

impl Workspace {
    /// Opens the job's folder; another one if a process on this machine still has it locked, for example a paused
    /// worker whose job was taken over.
    ///
    /// # Errors
    /// If no folder can be created and locked.
    pub(super) fn open(work_folder: &Path, id: &JobId, attempt: u32) -> Outcome<Self> {
        let usual = work_folder.join(id.as_str());
        if let Some(lock) = lock(&usual)? {
            return Ok(Self { folder: usual, _lock: lock });
        }
        let mut name = usual.into_os_string();
        name.push(format!("-{attempt}"));
        let other = PathBuf::from(name);
        match lock(&other)? {
            Some(lock) => Ok(Self { folder: other, _lock: lock }),
            None => Err(cannot("lock", &other, std::io::ErrorKind::WouldBlock.into())),
        }
    }

    /// Path of a file in the folder.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Removes the folder. [`sweep`] removes later what cannot be removed now.
    pub(super) fn remove(self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Creates and locks a folder. `None` if another process has it locked.
fn lock(folder: &Path) -> Outcome<Option<File>> {
    fs::create_dir_all(folder).map_err(|e| cannot("create", folder, e))?;
    let path = folder.join(LOCK);
    let file = File::create(&path).map_err(|e| cannot("write", &path, e))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(e)) => Err(cannot("lock", &path, e)),
    }
}

/// Checks before a job is claimed that the work folder is writable: on a full or read-only disk, jobs would lose their
/// attempts.
///
/// # Errors
/// If a megabyte cannot be written.
pub(crate) fn check(work_folder: &Path) -> Outcome<()> {
    let failed = |e| cannot("write in", work_folder, e);
    fs::create_dir_all(work_folder).map_err(|e| cannot("create", work_folder, e))?;
    let mut file = tempfile::tempfile_in(work_folder).map_err(failed)?;
    file.write_all(&[0; 1 << 20]).and_then(|()| file.sync_all()).map_err(failed)
}

/// Removes folders that dead workers left more than three days ago.
pub(crate) fn sweep(work_folder: &Path) {
    let Ok(entries) = fs::read_dir(work_folder) else { return };
    for entry in entries.flatten() {
        let lock_file = entry.path().join(LOCK);
        let age =
            fs::metadata(&lock_file).and_then(|m| m.modified()).map(|t| t.elapsed().unwrap_or_default());
        let is_stale = age.is_ok_and(|age| age > STALE);
        let lock = File::open(&lock_file).ok().filter(|file| is_stale && file.try_lock().is_ok());
        if lock.is_some() {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
