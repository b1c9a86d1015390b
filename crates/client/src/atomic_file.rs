//! Files that appear whole or not at all: a temporary name in the same folder, fsync, rename.

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::failure::{Failure, Kind, Outcome};

/// A file being written. Dropped before [`Self::keep`], nothing of it remains.
pub struct AtomicFile {
    target: PathBuf,
    inner: BufWriter<NamedTempFile>,
}

impl AtomicFile {
    /// Starts a file that will be called `target`.
    pub fn create(target: &Path) -> Outcome<Self> {
        let mut builder = tempfile::Builder::new();
        builder.prefix(".courtside-").suffix(".partial");
        // What a program gives a new file under the user's umask, not what a temporary file gets.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let file = builder.tempfile_in(folder_of(target)).map_err(|e| cannot("write", target, e))?;
        Ok(Self { target: target.to_owned(), inner: BufWriter::with_capacity(1 << 20, file) })
    }

    /// Makes it durable and gives it its name, replacing a file that had it.
    pub fn keep(self) -> Outcome<()> {
        let target = self.target;
        let failed = |e| cannot("write", &target, e);
        let file = self.inner.into_inner().map_err(|e| failed(e.into_error()))?;
        file.as_file().sync_all().map_err(failed)?;
        file.persist(&target).map_err(|e| failed(e.error))?;
        sync_folder(&target);
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

/// The folder that a file lies in.
pub fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Refuses a name that no file can get by renaming: before hours of work, not after them.
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
    // Renaming would put an end to a device or a pipe.
    if path.exists() && !path.is_file() {
        return wrong("is not a regular file; name one");
    }
    Ok(())
}

/// An input or output error with the file's name.
pub fn cannot(action: &str, path: &Path, error: std::io::Error) -> Failure {
    Failure::new(Kind::Failed, error).context(format!("cannot {action} {}", path.display()))
}

/// Makes the new name durable; a file system that cannot is no reason to fail.
fn sync_folder(target: &Path) {
    if let Ok(folder) = std::fs::File::open(folder_of(target)) {
        let _ = folder.sync_all();
    }
}
