//! Empty buckets of every kind.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jobs::bucket::{Bucket, FolderBucket, RemoteBucket, S3Settings, Secret, Timeouts};
use s3_fixture::{ConditionalWrites, Connection, FakeR2, RealServer};

/// An empty bucket that only one test uses.
pub(crate) struct Fresh {
    open: Box<dyn Fn() -> Arc<dyn Bucket> + Send + Sync>,
    /// Keeps the server or folder alive during the test.
    _keep: Box<dyn Any + Send + Sync>,
}

impl fmt::Debug for Fresh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fresh").finish_non_exhaustive()
    }
}

impl Fresh {
    pub(crate) fn memory() -> Self {
        let shared = RemoteBucket::memory();
        Self { open: Box::new(move || Arc::new(shared.clone())), _keep: Box::new(()) }
    }

    pub(crate) fn folder() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().to_owned();
        Self { open: Box::new(move || Arc::new(FolderBucket::open(&root).unwrap())), _keep: Box::new(folder) }
    }

    pub(crate) fn fake_r2() -> Self {
        Self::of_fake(ConditionalWrites::Honoured)
    }

    /// A fake that accepts `If-Match` only without quotes, like Ceph's gateway.
    pub(crate) fn fake_ceph() -> Self {
        Self::of_fake(ConditionalWrites::UnquotedOnly)
    }

    pub(crate) fn radosgw() -> Self {
        Self::of_real(RealServer::radosgw())
    }

    pub(crate) fn moto() -> Self {
        Self::of_real(RealServer::moto())
    }

    /// Opens the bucket once more, as another process would.
    pub(crate) fn open(&self) -> Arc<dyn Bucket> {
        (self.open)()
    }

    fn of_fake(conditions: ConditionalWrites) -> Self {
        let server = fake();
        server.set_conditional_writes(conditions);
        let settings = settings(server.connection());
        Self { open: Box::new(move || remote(&settings)), _keep: Box::new(server) }
    }

    fn of_real(server: RealServer) -> Self {
        // The servers may be slow on a busy machine, so keep the default timeouts.
        let timeouts = Timeouts { first_pause: Duration::from_millis(20), ..Timeouts::default() };
        let settings = S3Settings { timeouts, ..settings(server.connection()) };
        Self { open: Box::new(move || remote(&settings)), _keep: Box::new(server) }
    }
}

/// A fake R2 that accepts parts of any size.
pub(crate) fn fake() -> FakeR2 {
    let server = FakeR2::start();
    server.set_min_part_bytes(1);
    server
}

/// Settings with short pauses between retries.
pub(crate) fn settings(connection: &Connection) -> S3Settings {
    S3Settings {
        endpoint: connection.endpoint.clone(),
        bucket: connection.bucket.clone(),
        region: connection.region.clone(),
        access_key_id: connection.access_key_id.clone(),
        secret_access_key: Secret::new(&connection.secret_access_key),
        timeouts: Timeouts { first_pause: Duration::from_millis(5), ..Timeouts::default() },
    }
}

pub(crate) fn remote(settings: &S3Settings) -> Arc<dyn Bucket> {
    Arc::new(RemoteBucket::s3(settings).unwrap())
}
