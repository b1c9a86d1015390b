//! The copy of a video in a bucket.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jobs::bucket::{Bucket, BulkTransfer};
use jobs::transfer::{self, DownloadProgress, FileDigest};
use store::Video as Row;

use crate::Client;
use crate::atomic_file::cannot;
use crate::failure::{Failure, Kind, Outcome};

/// Where a bucket's copy of a video can be read.
pub enum BucketCopy {
    /// A file of a bucket that is a folder.
    File(PathBuf),
    /// The object in this bucket, which is on a server.
    Object(Arc<dyn Bucket>),
}

/// Finds the object `key` in the first bucket that has it.
///
/// # Errors
/// That of a bucket that fails, if no other has it.
pub async fn find_in_bucket(client: &Client, key: &str) -> Outcome<Option<BucketCopy>> {
    let mut failed = None;
    for target in client.bucket_targets() {
        let bucket = client.bucket(target)?;
        if let BulkTransfer::Folder(folder) = bucket.bulk_transfer() {
            let file = folder.file(key)?;
            if tokio::fs::try_exists(&file).await.unwrap_or(false) {
                return Ok(Some(BucketCopy::File(file)));
            }
            continue;
        }
        match bucket.head(key).await {
            Ok(None) => {}
            Ok(Some(_)) => return Ok(Some(BucketCopy::Object(bucket))),
            Err(error) => failed = Some(Failure::from(error)),
        }
    }
    failed.map_or(Ok(None), Err)
}

/// A file with the content of a video that only a bucket has. [`Self::remove`] removes it where it was downloaded.
pub struct Fetched {
    /// The file.
    pub path: PathBuf,
    is_downloaded: bool,
}

impl Fetched {
    /// Removes the file, unless it is the bucket's own.
    pub fn remove(self) {
        if self.is_downloaded {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Downloads the bucket's copy of a video, unless the bucket is a folder, and verifies it. After an interruption, the next
/// call resumes.
///
/// # Errors
/// If no bucket has it, or it is not the content that the library knows.
pub async fn fetch(
    client: &Client,
    row: &Row,
    progress: &(dyn Fn(u64, u64) + Send + Sync),
) -> Outcome<Fetched> {
    let missing = || {
        let key = row.r2_key.as_deref().unwrap_or_default();
        Failure::msg(Kind::Failed, format!("video {}: the bucket has no object {key}", row.id))
            .hint("name its file with `courtside videos add FILE`, which keeps the video's detections")
    };
    let key = row.r2_key.as_deref().ok_or_else(missing)?;
    match find_in_bucket(client, key).await?.ok_or_else(missing)? {
        BucketCopy::File(path) => {
            verify(row, &path).await?;
            Ok(Fetched { path, is_downloaded: false })
        }
        BucketCopy::Object(bucket) => {
            let extension = Path::new(key).extension().and_then(|extension| extension.to_str());
            let extension = jobs::keys::usable_extension(extension);
            let folder = client.settings.scratch().join("videos");
            std::fs::create_dir_all(&folder).map_err(|e| cannot("create", &folder, e))?;
            let path = folder.join(format!("{}.{extension}", row.id));
            let size_bytes = row.file.size_bytes.and_then(|size| u64::try_from(size).ok());
            let on_arrival = |arrived: DownloadProgress<'_>| progress(arrived.n_bytes, arrived.size_bytes);
            let sha256 = row.file.sha256.as_deref();
            transfer::download(&*bucket, key, size_bytes, sha256, &path, &on_arrival).await?;
            Ok(Fetched { path, is_downloaded: true })
        }
    }
}

/// Checks that a file is the content that the library knows of a video, as far as it knows it.
async fn verify(row: &Row, path: &Path) -> Outcome<()> {
    let size = path.metadata().map_err(|e| cannot("read", path, e))?.len();
    let has_size = row.file.size_bytes.is_none_or(|known| u64::try_from(known) == Ok(size));
    let has_content = match &row.file.sha256 {
        Some(sha256) if has_size => FileDigest::of_in_background(path).await?.sha256 == *sha256,
        _ => has_size,
    };
    if has_content {
        return Ok(());
    }
    let message =
        format!("video {}: {} has other content than the file that was added", row.id, path.display());
    Err(Failure::msg(Kind::Failed, message)
        .hint("name the file with `courtside videos add FILE`, which keeps the video's detections"))
}
