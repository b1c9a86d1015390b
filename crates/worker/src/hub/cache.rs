//! The folder of one repository in the hub's cache, laid out as `huggingface_hub` does:
//!
//! ```text
//! models--facebook--sam3/
//!   blobs/{etag}                 contents; {etag}.incomplete while they are downloaded
//!   refs/main                    commit that the branch was at
//!   snapshots/{commit}/{file}    relative links to blobs
//! .locks/models--facebook--sam3/{etag}.lock
//! ```

use std::path::{Path, PathBuf};

use super::HubError;

/// Paths of one repository in the cache. Nothing exists until it is written.
#[derive(Debug)]
pub(super) struct RepoCache {
    folder: PathBuf,
    locks: PathBuf,
}

/// Name of a model repository's folder in the cache.
pub(crate) fn folder_name(repo: &str) -> String {
    format!("models--{}", repo.replace('/', "--"))
}

impl RepoCache {
    pub(super) fn new(cache: &Path, repo: &str) -> Self {
        let name = folder_name(repo);
        Self { folder: cache.join(&name), locks: cache.join(".locks").join(name) }
    }

    pub(super) fn snapshot(&self, commit: &str) -> PathBuf {
        self.folder.join("snapshots").join(commit)
    }

    pub(super) fn blob(&self, etag: &str) -> PathBuf {
        self.folder.join("blobs").join(etag)
    }

    pub(super) fn partial(&self, etag: &str) -> PathBuf {
        self.folder.join("blobs").join(format!("{etag}.incomplete"))
    }

    /// The file whose lock (`flock`) guards a blob. Creates the folders of lock and blob.
    pub(super) fn lock_file(&self, etag: &str) -> Result<PathBuf, HubError> {
        for folder in [&self.locks, &self.folder.join("blobs")] {
            std::fs::create_dir_all(folder).map_err(HubError::file("create", folder))?;
        }
        Ok(self.locks.join(format!("{etag}.lock")))
    }

    /// Links a file of a snapshot to its blob.
    pub(super) fn link(&self, commit: &str, file: &str, etag: &str) -> Result<(), HubError> {
        let snapshot = self.snapshot(commit);
        std::fs::create_dir_all(&snapshot).map_err(HubError::file("create", &snapshot))?;
        let path = snapshot.join(file);
        // A link whose blob was deleted.
        let _ = std::fs::remove_file(&path);
        let blob = Path::new("../../blobs").join(etag);
        std::os::unix::fs::symlink(blob, &path).map_err(HubError::file("link", &path))
    }

    /// Records the commit that `main` is at.
    pub(super) fn set_main(&self, commit: &str) -> Result<(), HubError> {
        let refs = self.folder.join("refs");
        std::fs::create_dir_all(&refs).map_err(HubError::file("create", &refs))?;
        let (path, partial) = (refs.join("main"), refs.join("main.incomplete"));
        std::fs::write(&partial, commit).map_err(HubError::file("write", &partial))?;
        std::fs::rename(&partial, &path).map_err(HubError::file("write", &path))
    }
}
