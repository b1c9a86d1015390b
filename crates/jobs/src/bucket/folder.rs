//! A bucket that is a plain folder: keys are paths below it.
//!
//! Objects are written atomically, by renaming a temporary file. `put` and `put_file` hold an advisory lock
//! (`flock`) on the key's stripe while they compare the content's hash and rename; the kernel drops the lock
//! when a process dies. A program that writes without the lock is detected by the changed hash. Local file
//! systems only, not NFS or SMB.
//!
//! The subfolders `.locks` and `.tmp` are internal; listings skip names that begin with a dot.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::listing::MAX_OBJECTS;
use super::{Bucket, BulkTransfer, Condition, ETag, Entry, Object, PutOutcome};
use crate::error::{Error, Result};
use crate::keys::check_key;
use crate::transfer::FileDigest;

/// Number of lock files. A key's hash selects its stripe.
const STRIPES: u8 = 64;
/// Age after which a temporary file is considered abandoned by its writer.
const STALE_AFTER: Duration = Duration::from_secs(24 * 3600);

/// A bucket stored as files below one folder.
#[derive(Debug, Clone)]
pub struct FolderBucket {
    root: PathBuf,
}

impl FolderBucket {
    /// Opens a folder, and removes abandoned temporary files. A folder that does not exist is an empty bucket, and is
    /// created by the first write.
    ///
    /// # Errors
    /// If there is a file in its place.
    pub fn open(root: &Path) -> Result<Self> {
        if root.exists() && !root.is_dir() {
            return Err(Error::file("open", root, io::ErrorKind::NotADirectory.into()));
        }
        let bucket = Self { root: root.to_owned() };
        bucket.sweep();
        Ok(bucket)
    }

    /// Creates the folder and its subfolders, as far as they are missing.
    fn create(&self) -> Result<()> {
        for folder in ["jobs", "videos", "status", "results", ".locks", ".tmp"] {
            let folder = self.root.join(folder);
            fs::create_dir_all(&folder).map_err(|e| Error::file("create", &folder, e))?;
        }
        Ok(())
    }

    /// Path of an object's file; the file need not exist.
    ///
    /// # Errors
    /// If the key is malformed, which includes keys that would leave the folder.
    pub fn file(&self, key: &str) -> Result<PathBuf> {
        Ok(self.root.join(check_key(key)?))
    }

    /// Stores a local file under a key, as a hard link if possible, otherwise as a copy.
    pub(crate) fn adopt(&self, key: &str, file: &Path) -> Result<()> {
        self.create()?;
        let temporary = self.temporary();
        link_or_copy(file, &temporary)?;
        self.publish(&temporary, key)?;
        // Renaming a file over another hard link to itself does nothing and leaves the source in location.
        let _ = fs::remove_file(&temporary);
        Ok(())
    }

    /// Removes temporary files whose writers died.
    fn sweep(&self) {
        let Ok(entries) = fs::read_dir(self.root.join(".tmp")) else { return };
        for entry in entries.flatten() {
            let age = entry.metadata().and_then(|m| m.modified()).map(|t| t.elapsed().unwrap_or_default());
            if age.is_ok_and(|age| age > STALE_AFTER) {
                // Another process may sweep at the same time.
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    fn temporary(&self) -> PathBuf {
        self.root.join(".tmp").join(uuid::Uuid::new_v4().simple().to_string())
    }

    /// Renames a complete temporary file to its key and syncs the folder.
    fn publish(&self, temporary: &Path, key: &str) -> Result<()> {
        let target = self.file(key)?;
        let folder = target.parent().unwrap_or(&self.root);
        let mut tries = 0;
        loop {
            fs::create_dir_all(folder).map_err(|e| Error::file("create", folder, e))?;
            match fs::rename(temporary, &target) {
                Ok(()) => break,
                // Another process removed the folder just now, along with its last object.
                Err(e) if e.kind() == io::ErrorKind::NotFound && tries < 10 => tries += 1,
                Err(e) => return Err(Error::file("write", &target, e)),
            }
        }
        // Best effort: some file systems cannot sync a folder.
        let _ = File::open(folder).and_then(|f| f.sync_all());
        Ok(())
    }

    /// Removes an object's parent folders as far as they are empty now.
    fn prune(&self, key: &str) {
        let parts: Vec<&str> = key.split('/').collect();
        for depth in (2..parts.len()).rev() {
            if fs::remove_dir(self.root.join(parts[..depth].join("/"))).is_err() {
                return;
            }
        }
    }

    fn lock(&self, key: &str) -> Result<File> {
        let stripe = Sha256::digest(key.as_bytes())[0] % STRIPES;
        let path = self.root.join(".locks").join(format!("{stripe:02}.lock"));
        let failed = |e| Error::file("lock", &path, e);
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
        file.lock().map_err(failed)?;
        Ok(file)
    }

    /// Writes an object whose content `fill` puts into a temporary file, if the condition holds.
    fn write(
        &self,
        key: &str,
        condition: Condition<'_>,
        fill: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<PutOutcome> {
        let target = self.file(key)?;
        self.create()?;
        let temporary = self.temporary();
        // Do not leave the temporary file behind, above all when the disk is full.
        let filled = fill(&temporary).inspect_err(|_| drop(fs::remove_file(&temporary)));
        filled?;
        let etag = hash(&temporary)?.ok_or_else(|| self.temporary_file_missing(key))?;
        let lock = self.lock(key)?;
        let holds = match condition {
            Condition::Always => true,
            Condition::Absent => !target.exists(),
            Condition::Is(etag) => hash(&target)?.as_ref() == Some(etag),
        };
        if holds {
            self.publish(&temporary, key)?;
        } else {
            fs::remove_file(&temporary).map_err(|e| Error::file("remove", &temporary, e))?;
        }
        drop(lock);
        Ok(if holds { PutOutcome::Written(etag) } else { PutOutcome::ConditionFailed })
    }

    fn temporary_file_missing(&self, key: &str) -> Error {
        Error::Mismatch {
            location: self.location(),
            key: key.to_owned(),
            detail: "its temporary file was removed while it was being written".into(),
        }
    }

    /// At most `limit` objects whose keys begin with `prefix`.
    fn entries(&self, prefix: &str, limit: usize) -> Result<Vec<Entry>> {
        let mut entries = Vec::new();
        let mut folders = vec![prefix.trim_end_matches('/').to_owned()];
        while let Some(folder) = folders.pop() {
            let path = self.file(&folder)?;
            let listing = match fs::read_dir(&path) {
                Ok(listing) => listing,
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                Err(e) => return Err(Error::file("list", &path, e)),
            };
            for found in listing {
                let found = found.map_err(|e| Error::file("list", &path, e))?;
                let name = found.file_name();
                let Some(name) = name.to_str().filter(|n| !n.starts_with('.')) else { continue };
                let key = format!("{folder}/{name}");
                match found.metadata() {
                    // A folder whose path is not a valid key holds no objects.
                    Ok(meta) if meta.is_dir() => folders.extend(check_key(&key).is_ok().then_some(key)),
                    Ok(_) if entries.len() == limit => {
                        let detail = format!("it has more than {limit} files");
                        return Err(Error::Endless {
                            location: self.location(),
                            prefix: prefix.to_owned(),
                            detail,
                        });
                    }
                    Ok(meta) => {
                        let age = meta.modified().ok().map(|at| at.elapsed().unwrap_or_default());
                        entries.push(Entry { key, size_bytes: meta.len(), age, revision: revision(&meta) });
                    }
                    // Removed since the folder was read.
                    Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                    Err(e) => return Err(Error::file("read", &found.path(), e)),
                }
            }
        }
        Ok(entries)
    }
}

/// SHA-256 of a file's content as an entity tag; `None` if the file does not exist.
fn hash(path: &Path) -> Result<Option<ETag>> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(Error::file("read", path, e)),
    };
    let mut hasher = Sha256::new();
    io::copy(&mut file, &mut hasher).map_err(|e| Error::file("read", path, e))?;
    Ok(Some(etag(hasher)))
}

fn etag(hasher: Sha256) -> ETag {
    ETag(format!("{:x}", hasher.finalize()))
}

/// A string that changes when the file does: a rename gives another inode, a write in location another time
/// or size.
#[cfg(unix)]
fn revision(meta: &fs::Metadata) -> String {
    use std::os::unix::fs::MetadataExt;
    format!("{:x}-{:x}.{:x}-{:x}", meta.ino(), meta.mtime(), meta.mtime_nsec(), meta.len())
}

#[cfg(not(unix))]
fn revision(meta: &fs::Metadata) -> String {
    format!("{:?}-{:x}", meta.modified(), meta.len())
}

/// Makes a file available under another path: as a hard link if both are on one file system, otherwise as a
/// synced copy.
pub(crate) fn link_or_copy(from: &Path, to: &Path) -> Result<()> {
    if fs::hard_link(from, to).is_ok() {
        return Ok(());
    }
    // `std::fs::copy` shares the blocks where the file system supports it.
    fs::copy(from, to).map_err(|e| Error::file("copy", from, e))?;
    File::open(to).and_then(|f| f.sync_all()).map_err(|e| Error::file("write", to, e))
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(error) => {
                Err(Error::Unavailable { location: "folder".to_owned(), detail: error.to_string() })
            }
        },
    }
}

/// A [`Condition`] that owns its tag, so that it can be moved to another thread.
enum OwnedCondition {
    Always,
    Absent,
    Is(ETag),
}

impl OwnedCondition {
    fn of(condition: Condition<'_>) -> Self {
        match condition {
            Condition::Always => Self::Always,
            Condition::Absent => Self::Absent,
            Condition::Is(etag) => Self::Is(etag.clone()),
        }
    }

    fn as_condition(&self) -> Condition<'_> {
        match self {
            Self::Always => Condition::Always,
            Self::Absent => Condition::Absent,
            Self::Is(etag) => Condition::Is(etag),
        }
    }
}

#[async_trait]
impl Bucket for FolderBucket {
    fn location(&self) -> String {
        format!("folder {}", self.root.display())
    }

    async fn get(&self, key: &str, limit_bytes: u64) -> Result<Option<Object>> {
        let (path, location, key) = (self.file(key)?, self.location(), key.to_owned());
        blocking(move || {
            let failed = |e| Error::file("read", &path, e);
            let file = match File::open(&path) {
                Ok(file) => file,
                Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(e) => return Err(failed(e)),
            };
            let mut bytes = Vec::new();
            io::Read::read_to_end(&mut io::Read::take(file, limit_bytes + 1), &mut bytes).map_err(failed)?;
            if bytes.len() as u64 > limit_bytes {
                let detail = format!("it is larger than {limit_bytes} bytes");
                return Err(Error::Mismatch { location, key, detail });
            }
            let etag = etag(Sha256::new_with_prefix(&bytes));
            Ok(Some(Object { bytes: bytes.into(), etag }))
        })
        .await
    }

    async fn head(&self, key: &str) -> Result<Option<(u64, ETag)>> {
        let path = self.file(key)?;
        blocking(move || {
            let Some(etag) = hash(&path)? else { return Ok(None) };
            let size = fs::metadata(&path).map_err(|e| Error::file("read", &path, e))?.len();
            Ok(Some((size, etag)))
        })
        .await
    }

    async fn put(&self, key: &str, body: Bytes, condition: Condition<'_>) -> Result<PutOutcome> {
        let (bucket, key, condition) = (self.clone(), key.to_owned(), OwnedCondition::of(condition));
        blocking(move || {
            bucket.write(&key, condition.as_condition(), |temporary| {
                let written = File::create_new(temporary).and_then(|mut file| {
                    file.write_all(&body)?;
                    file.sync_all()
                });
                written.map_err(|e| Error::file("write", temporary, e))
            })
        })
        .await
    }

    async fn put_file(
        &self,
        key: &str,
        file: &Path,
        content: &FileDigest,
        condition: Condition<'_>,
    ) -> Result<PutOutcome> {
        let (bucket, key, file) = (self.clone(), key.to_owned(), file.to_owned());
        let content = content.clone();
        let condition = OwnedCondition::of(condition);
        blocking(move || {
            bucket.write(&key, condition.as_condition(), |temporary| {
                fs::copy(&file, temporary).map_err(|e| Error::file("copy", &file, e))?;
                let synced = File::open(temporary).and_then(|f| f.sync_all());
                synced.map_err(|e| Error::file("write", temporary, e))?;
                match FileDigest::of(temporary)? == content {
                    true => Ok(()),
                    false => Err(Error::FileChanged { path: file.clone() }),
                }
            })
        })
        .await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Entry>> {
        let (bucket, prefix) = (self.clone(), prefix.to_owned());
        blocking(move || bucket.entries(&prefix, MAX_OBJECTS)).await
    }

    async fn delete(&self, key: &str) -> Result<()> {
        let (bucket, path, key) = (self.clone(), self.file(key)?, key.to_owned());
        blocking(move || match fs::remove_file(&path) {
            Ok(()) => {
                bucket.prune(&key);
                Ok(())
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(e) => Err(Error::file("remove", &path, e)),
        })
        .await
    }

    fn bulk_transfer(&self) -> BulkTransfer<'_> {
        BulkTransfer::Folder(self)
    }

    async fn presigned(&self, _key: &str, _valid: Duration) -> Result<Option<String>> {
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_folder_with_too_many_files_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let bucket = FolderBucket::open(folder.path()).unwrap();
        for key in ["jobs/a.json", "jobs/deep/er/b.json", "jobs/c.json"] {
            bucket.put(key, Bytes::from_static(b"{}"), Condition::Always).await.unwrap();
        }
        assert_eq!(bucket.entries("jobs/", 3).unwrap().len(), 3);
        let error = bucket.entries("jobs/", 2).unwrap_err();
        assert!(matches!(&error, Error::Endless { prefix, .. } if prefix == "jobs/"), "{error:?}");
    }
}
