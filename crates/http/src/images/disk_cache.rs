//! Files that took long to make, in a folder under a size limit. Those used least recently are removed.
//!
//! A file is written completely or not at all. Nothing depends on the folder: it may be removed at any time, and several
//! servers may share it. All functions block.

use std::fs::{DirEntry, File, Metadata};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use client::atomic_file::{AtomicFile, cannot};
use client::failure::Outcome;

/// A folder of files.
pub(super) struct DiskCache {
    folder: PathBuf,
    max_bytes: u64,
    /// Size of all files, as far as this server knows. `None` until the folder was read.
    n_bytes: Mutex<Option<u64>>,
}

impl DiskCache {
    /// The folder is created by the first [`Self::put`].
    pub(super) fn new(folder: PathBuf, max_bytes: u64) -> Self {
        Self { folder, max_bytes, n_bytes: Mutex::default() }
    }

    /// The file with this key, which becomes the one used last.
    pub(super) fn get(&self, key: &str) -> Option<Vec<u8>> {
        let path = self.folder.join(key);
        let bytes = std::fs::read(&path).ok()?;
        // Only the order of removal depends on it.
        let _ =
            File::options().append(true).open(&path).and_then(|file| file.set_modified(SystemTime::now()));
        Some(bytes)
    }

    /// Keeps a file. What cannot be kept is made again when it is needed: a failure is logged.
    pub(super) fn put(&self, key: &str, bytes: &[u8]) {
        if let Err(failure) = self.try_put(key, bytes) {
            tracing::warn!(cause = failure.message(), "cannot keep a picture");
        }
    }

    fn try_put(&self, key: &str, bytes: &[u8]) -> Outcome<()> {
        let folder = &self.folder;
        if bytes.len() as u64 > self.max_bytes {
            return Ok(());
        }
        let mut n_bytes = self.n_bytes.lock().unwrap_or_else(PoisonError::into_inner);
        let total = n_bytes.unwrap_or_else(|| size(&files(folder))) + bytes.len() as u64;
        *n_bytes = Some(if total > self.max_bytes { self.make_room(bytes.len() as u64) } else { total });
        drop(n_bytes);
        std::fs::create_dir_all(folder).map_err(|e| cannot("create", folder, e))?;
        let target = folder.join(key);
        let mut file = AtomicFile::create(&target)?;
        file.write_all(bytes).map_err(|e| cannot("write", &target, e))?;
        file.commit()
    }

    /// Removes files until `needed` bytes and a tenth of the limit are free. Returns the new size with `needed`.
    fn make_room(&self, needed: u64) -> u64 {
        let mut files = files(&self.folder);
        files.sort_by_key(|(_, meta)| meta.modified().ok());
        let mut total = size(&files) + needed;
        let wanted = self.max_bytes - self.max_bytes / 10;
        for (entry, meta) in files {
            if total <= wanted {
                break;
            }
            // Another server may have removed it.
            let _ = std::fs::remove_file(entry.path());
            total -= meta.len();
        }
        total
    }
}

fn files(folder: &Path) -> Vec<(DirEntry, Metadata)> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let with_meta = entries.filter_map(|entry| entry.metadata().ok().map(|meta| (entry, meta)));
    with_meta.filter(|(_, meta)| meta.is_file()).collect()
}

fn size(files: &[(DirEntry, Metadata)]) -> u64 {
    files.iter().map(|(_, meta)| meta.len()).sum()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn files_used_least_recently_make_room() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("images");
        let cache = DiskCache::new(folder.clone(), 1000);
        let age = |key: &str, seconds| {
            let file = File::options().append(true).open(folder.join(key)).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(seconds)).unwrap();
        };
        for (key, seconds) in [("a", 50), ("b", 40), ("c", 30)] {
            cache.put(key, &[7; 300]);
            age(key, seconds);
        }
        assert_eq!(cache.get("a").unwrap(), [7; 300]);
        cache.put("d", &[8; 300]);
        let kept = |key| folder.join(key).exists();
        assert_eq!(["a", "b", "c", "d"].map(kept), [true, false, true, true]);
        // Another server finds what this one left, and its size.
        let other = DiskCache::new(folder.clone(), 1000);
        other.put("e", &[9; 200]);
        assert!(size(&files(&folder)) <= 1000, "{}", size(&files(&folder)));
        assert_eq!(other.get("e").unwrap(), [9; 200]);
        // A file that would not fit is not kept.
        other.put("f", &[9; 1001]);
        assert_eq!(other.get("f"), None);
        assert_eq!(other.get("none"), None);
    }
}
