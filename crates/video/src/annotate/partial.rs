//! A file that is written atomically: under a temporary name in its final folder, flushed to disk,
//! then renamed.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// A temporary file that is deleted on drop unless [`PartialFile::keep`] was called.
#[derive(Debug)]
pub(crate) struct PartialFile {
    path: PathBuf,
    target: PathBuf,
    kept: bool,
}

impl PartialFile {
    /// Creates an empty temporary file next to `target`, with a name that no other writer uses.
    pub(crate) fn create(target: &Path) -> io::Result<PartialFile> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let name = target.file_name().ok_or(io::ErrorKind::InvalidFilename)?;
        let folder = match target.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        // Child processes open the file by name, and ffmpeg needs absolute names.
        let folder = folder.canonicalize()?;
        let target = folder.join(name);
        if target.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        loop {
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            // Short, so that every name which the file system accepts can be written.
            let path = folder.join(format!(".courtside-{}-{count}.partial.mp4", std::process::id()));
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(_) => return Ok(PartialFile { path, target, kept: false }),
                // Left over from a killed process with the same process id.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The path of the temporary file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The absolute path that [`Self::keep`] renames the file to.
    pub(crate) fn target(&self) -> &Path {
        &self.target
    }

    /// Flushes the file to disk and renames it to its target, replacing an existing file.
    pub(crate) fn keep(mut self) -> io::Result<()> {
        OpenOptions::new().write(true).open(&self.path)?.sync_all()?;
        std::fs::rename(&self.path, &self.target)?;
        self.kept = true;
        // The rename is on disk only after its folder is flushed.
        self.target.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
    }
}

impl Drop for PartialFile {
    fn drop(&mut self) {
        if !self.kept
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), "cannot delete the temporary file: {error}");
        }
    }
}
