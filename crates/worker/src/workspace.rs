//! Where a job's files lie on the worker's machine while they are needed: one folder for each job, owned by one
//! process at a time.

use std::fs::{self, File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jobs::JobId;

use client::atomic_file::cannot;
use client::failure::Outcome;

const LOCK: &str = "lock";
/// Age at which what a dead worker left behind is removed.
const STALE: Duration = Duration::from_secs(3 * 24 * 3600);

/// A job's folder. What was downloaded by a worker that died here is still in it.
pub(super) struct Workspace {
    folder: PathBuf,
    _lock: File,
}

impl Workspace {
    /// The job's folder, or another one if a process of this machine still holds it (a paused worker whose job
    /// was taken over, for one).
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

    /// A file in it.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Removes it with all that is in it; what cannot be removed is swept up by a later worker.
    pub(super) fn remove(self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

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

/// Finds out whether jobs can be worked on here, before one is claimed: a disk that is full or read-only must not
/// use up their attempts.
pub(super) fn check(work_folder: &Path) -> Outcome<()> {
    let failed = |e| cannot("write in", work_folder, e);
    fs::create_dir_all(work_folder).map_err(|e| cannot("create", work_folder, e))?;
    let mut file = tempfile::tempfile_in(work_folder).map_err(failed)?;
    file.write_all(&[0; 1 << 20]).and_then(|()| file.sync_all()).map_err(failed)
}

/// Removes what dead workers left behind long ago.
pub(super) fn sweep(work_folder: &Path) {
    let Ok(entries) = fs::read_dir(work_folder) else { return };
    for entry in entries.flatten() {
        let lock_file = entry.path().join(LOCK);
        let age =
            fs::metadata(&lock_file).and_then(|m| m.modified()).map(|t| t.elapsed().unwrap_or_default());
        let is_stale = age.is_ok_and(|age| age > STALE);
        let held = File::open(&lock_file).ok().filter(|file| is_stale && file.try_lock().is_ok());
        if held.is_some() {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
