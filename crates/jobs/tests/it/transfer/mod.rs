//! Transfers of large files with a server that fails: parts are not sent twice, and invalid files do not
//! appear.

mod download;
mod upload;

use std::path::PathBuf;

use jobs::bucket::Bucket;
use jobs::transfer::{FileDigest, Upload, upload};
use s3_fixture::{FakeR2, Op};
use std::sync::Arc;
use tempfile::TempDir;

use crate::support::{fake, ignore, random_file, remote, settings};

const KEY: &str = "videos/a.mp4";
/// A small part size, which the fake accepts.
const PART: u64 = 64 << 10;

/// A server, a client, and a local folder.
struct Scene {
    server: FakeR2,
    bucket: Arc<dyn Bucket>,
    folder: TempDir,
}

impl Scene {
    fn new() -> Self {
        let server = fake();
        let bucket = remote(&settings(server.connection()));
        Self { server, bucket, folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Simulates a restart of the client: requests in flight are cancelled, and faults and log are cleared.
    fn restart(&mut self) {
        self.server.stop();
        self.server.clear_faults();
        self.server.start_again();
        self.server.clear_log();
        self.bucket = remote(&settings(self.server.connection()));
    }

    /// Creates the file to upload.
    fn file(&self, size_bytes: u64) -> PathBuf {
        random_file(&self.path("game.mp4"), size_bytes, size_bytes);
        self.path("game.mp4")
    }

    async fn upload(&self) -> jobs::Result<FileDigest> {
        let (file, journal) = (self.path("game.mp4"), self.path("journal"));
        let what = Upload {
            bucket: &*self.bucket,
            key: KEY,
            file: &file,
            journal: &journal,
            part_bytes: Some(PART),
        };
        upload(what, &ignore).await
    }

    /// Asserts that the bucket holds the file and that nothing is left over.
    fn assert_uploaded(&self) {
        let object = self.server.object(KEY).expect("the object exists");
        assert!(object.body == std::fs::read(self.path("game.mp4")).unwrap(), "the content differs");
        assert_eq!(self.server.open_uploads(), []);
        assert!(!self.path("journal").exists());
    }

    fn count(&self, op: Op) -> usize {
        self.server.counts().of(op)
    }

    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder.path()).unwrap();
        let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}
