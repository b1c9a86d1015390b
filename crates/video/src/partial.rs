//! A file that appears whole or not at all: written under a temporary name in the folder where it
//! will live, flushed to the disk, then renamed.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// The temporary file; removed unless it is kept.
#[derive(Debug)]
pub(crate) struct Partial {
    path: PathBuf,
    target: PathBuf,
    kept: bool,
}

impl Partial {
    /// Creates an empty file next to `target`. Two writers never share one.
    pub(crate) fn create(target: &Path) -> io::Result<Partial> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let name = target.file_name().ok_or(io::ErrorKind::InvalidFilename)?;
        let folder = match target.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        // Child processes get it by name, and take absolute names only.
        let folder = folder.canonicalize()?;
        let target = folder.join(name);
        if target.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        loop {
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            let mut partial = std::ffi::OsString::from(".");
            partial.push(name);
            partial.push(format!(".{}-{count}.partial.mp4", std::process::id()));
            let path = folder.join(partial);
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(_) => return Ok(Partial { path, target, kept: false }),
                // Left by a process of the same number that was killed.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The temporary file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The file it will become, as an absolute path.
    pub(crate) fn target(&self) -> &Path {
        &self.target
    }

    /// Flushes it to the disk and gives it its name, replacing what had it.
    pub(crate) fn keep(mut self) -> io::Result<()> {
        OpenOptions::new().write(true).open(&self.path)?.sync_all()?;
        std::fs::rename(&self.path, &self.target)?;
        self.kept = true;
        // The name is on the disk once its folder is.
        self.target.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.kept
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), "cannot remove a temporary file: {error}");
        }
    }
}
