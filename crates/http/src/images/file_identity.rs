//! Which version of which file a picture is of.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// A video file as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct VideoFile {
    /// Its absolute path without symbolic links.
    pub(crate) path: PathBuf,
    /// The video stream to read, as [`video::Video::open_with`] takes it.
    pub(crate) stream: Option<u32>,
    version: Version,
}

/// Changes when the file is replaced or written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Version {
    device: u64,
    inode: u64,
    size_bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl VideoFile {
    /// The file at a path. Blocking.
    ///
    /// # Errors
    /// If it does not exist or cannot be accessed.
    pub(crate) fn at(path: &Path, stream: Option<u32>) -> std::io::Result<Self> {
        let path = path.canonicalize()?;
        let meta = path.metadata()?;
        let version = Version {
            device: meta.dev(),
            inode: meta.ino(),
            size_bytes: meta.len(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        };
        Ok(Self { path, stream, version })
    }

    /// A name for something made of this version of the file: hexadecimal digits.
    pub(crate) fn key(&self, what: &str) -> String {
        // The version of the program, because another one may make another picture of the same file.
        let program = env!("CARGO_PKG_VERSION");
        let text = format!("{:?} {:?} {:?} {what} {program}", self.path, self.stream, self.version);
        format!("{:.40}", format!("{:x}", Sha256::digest(text)))
    }

    /// Its name without the folder, which clients need not know.
    pub(crate) fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_replaced_gets_another_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.mp4");
        std::fs::write(&path, "one").unwrap();
        let first = VideoFile::at(&path, None).unwrap();
        assert_eq!(first, VideoFile::at(&folder.path().join("./a.mp4"), None).unwrap());
        assert_ne!(first.key("thumbnail 320"), first.key("thumbnail 640"));
        assert_ne!(first.key("times"), VideoFile::at(&path, Some(1)).unwrap().key("times"));
        let modified = path.metadata().unwrap().modified().unwrap();
        // The same size and time of modification.
        let other = folder.path().join("b.mp4");
        std::fs::write(&other, "two").unwrap();
        std::fs::File::options().write(true).open(&other).unwrap().set_modified(modified).unwrap();
        std::fs::rename(&other, &path).unwrap();
        assert_ne!(VideoFile::at(&path, None).unwrap().key("times"), first.key("times"));
    }
}
