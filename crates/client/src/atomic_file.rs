//! Files that appear atomically: written under a temporary name in the same folder, synced to disk, then renamed.
//!
//! [`AtomicFile`] replaces a file of the same name; [`NewFile`] never does.

use std::io::{BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::failure::{Failure, Kind, Outcome};

/// A file being written. Dropping it before [`Self::commit`] removes it.
pub struct AtomicFile {
    target: PathBuf,
    inner: BufWriter<NamedTempFile>,
}

impl AtomicFile {
    /// Creates a temporary file next to `target`.
    pub fn create(target: &Path) -> Outcome<Self> {
        let file = temporary(folder_of(target), ".courtside-").map_err(|e| cannot("write", target, e))?;
        Ok(Self { target: target.to_owned(), inner: BufWriter::with_capacity(1 << 20, file) })
    }

    /// Syncs the file to disk and renames it to its target, replacing any file of that name.
    pub fn commit(self) -> Outcome<()> {
        let target = self.target;
        let failed = |e| cannot("write", &target, e);
        let file = self.inner.into_inner().map_err(|e| failed(e.into_error()))?;
        file.as_file().sync_all().map_err(failed)?;
        file.persist(&target).map_err(|e| failed(e.error))?;
        sync_folder(folder_of(&target));
        Ok(())
    }
}

impl Write for AtomicFile {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        self.inner.write(buf)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}

/// A file being written whose name is chosen at the end, such as an upload. Dropping it before
/// [`Self::commit`] removes it. Writes are not buffered.
#[derive(Debug)]
pub struct NewFile {
    folder: PathBuf,
    inner: NamedTempFile,
}

impl NewFile {
    /// Creates a temporary file in `folder` whose name starts with `prefix`. Creates the folder if needed.
    pub fn create_in(folder: &Path, prefix: &str) -> Outcome<Self> {
        std::fs::create_dir_all(folder).map_err(|e| cannot("create", folder, e))?;
        let inner = temporary(folder, prefix).map_err(|e| cannot("write in", folder, e))?;
        Ok(Self { folder: folder.to_owned(), inner })
    }

    /// Appends `bytes` to the temporary file; they are not synced to disk.
    pub fn append(&mut self, bytes: &[u8]) -> Outcome<()> {
        self.inner.write_all(bytes).map_err(|e| cannot("write", self.inner.path(), e))
    }

    /// Syncs the content to disk, so that [`Self::commit`] only has to rename.
    pub fn sync(&self) -> Outcome<()> {
        self.inner.as_file().sync_all().map_err(|e| cannot("write", self.inner.path(), e))
    }

    /// Renames the file to the first of `names` that is free in its folder. Never replaces a file.
    ///
    /// # Errors
    /// If every name is taken, or renaming fails.
    pub fn commit(self, names: impl IntoIterator<Item = String>) -> Outcome<PathBuf> {
        let Self { folder, mut inner } = self;
        let mut target = folder.clone();
        for name in names {
            target = folder.join(name);
            match inner.persist_noclobber(&target) {
                Ok(_) => {
                    sync_folder(&folder);
                    return Ok(target);
                }
                Err(taken) if taken.error.kind() == ErrorKind::AlreadyExists => inner = taken.file,
                Err(failed) => return Err(cannot("write", &target, failed.error)),
            }
        }
        Err(cannot("write", &target, ErrorKind::AlreadyExists.into()))
    }
}

fn temporary(folder: &Path, prefix: &str) -> std::io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(prefix).suffix(".partial");
    // The permissions of an ordinary new file under the user's umask; temporary files default to 0600.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(folder)
}

/// Returns the folder that contains `path`: `.` for a bare file name.
pub fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Checks that an output file can be renamed to `path`, so that a long run fails at its start and not at its end.
///
/// # Errors
/// Of kind [`Kind::Failed`], naming the file.
pub fn check_name(path: &Path) -> Outcome<()> {
    let wrong = |what: &str| Err(Failure::msg(Kind::Failed, format!("{}: {what}", path.display())));
    if path.is_dir() || path.file_name().is_none() {
        return wrong("is a folder; name a file");
    }
    if folder_of(path).canonicalize().is_err() {
        return wrong("its folder does not exist; create it first");
    }
    if path.symlink_metadata().is_err_and(|e| e.kind() == ErrorKind::InvalidFilename) {
        return wrong("the name is too long for the file system; choose a shorter one");
    }
    // Renaming would replace a device or a named pipe.
    if path.exists() && !path.is_file() {
        return wrong("is not a regular file; name one");
    }
    Ok(())
}

/// Wraps an I/O error as `cannot {action} {path}`.
pub fn cannot(action: &str, path: &Path, error: std::io::Error) -> Failure {
    Failure::new(Kind::Failed, error).context(format!("cannot {action} {}", path.display()))
}

/// Makes a rename durable. Some file systems cannot sync a folder; that is not an error.
fn sync_folder(folder: &Path) {
    if let Ok(folder) = std::fs::File::open(folder) {
        let _ = folder.sync_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).unwrap();
        let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn atomic_file_appears_on_commit_only() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("tracks.json");
        std::fs::write(&target, "old").unwrap();
        let mut dropped = AtomicFile::create(&target).unwrap();
        dropped.write_all(b"half").unwrap();
        drop(dropped);
        assert_eq!(std::fs::read(&target).unwrap(), b"old");
        let mut file = AtomicFile::create(&target).unwrap();
        file.write_all(b"new").unwrap();
        file.commit().unwrap();
        assert_eq!(std::fs::read(&target).unwrap(), b"new");
        assert_eq!(names(folder.path()), ["tracks.json"]);
    }

    #[test]
    fn a_name_that_is_too_long_is_refused_before_it_is_used() {
        let folder = tempfile::tempdir().unwrap();
        assert!(check_name(&folder.path().join("a".repeat(255))).is_ok());
        let failure = check_name(&folder.path().join("a".repeat(256))).unwrap_err();
        assert!(failure.message().contains("too long"), "{failure}");
    }

    #[test]
    fn new_file_takes_the_first_free_name() {
        let folder = tempfile::tempdir().unwrap();
        let add = |content: &str| {
            let mut file = NewFile::create_in(folder.path(), ".upload-").unwrap();
            file.append(content.as_bytes()).unwrap();
            file.sync().unwrap();
            file.commit((1..4).map(|n| format!("game-{n}.mp4")))
        };
        assert_eq!(add("first").unwrap(), folder.path().join("game-1.mp4"));
        assert_eq!(add("second").unwrap(), folder.path().join("game-2.mp4"));
        assert_eq!(add("third").unwrap(), folder.path().join("game-3.mp4"));
        assert!(add("fourth").is_err());
        assert_eq!(std::fs::read(folder.path().join("game-1.mp4")).unwrap(), b"first");
        assert_eq!(names(folder.path()), ["game-1.mp4", "game-2.mp4", "game-3.mp4"]);
    }
}
