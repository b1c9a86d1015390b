//! The copy of a video in a bucket.

use std::path::PathBuf;
use std::time::Duration;

use ::jobs::bucket::BulkTransfer;
use client::Client;
use client::failure::Failure;

use crate::api_error::{ApiError, ApiResult};
use crate::signed_url::VALID_S;

/// How long a presigned URL is valid.
const URL_LIFETIME: Duration = Duration::from_secs(VALID_S);

/// Where a bucket's copy of a video can be read.
pub(in crate::videos) enum BucketCopy {
    /// A presigned URL of an S3 server.
    Url(String),
    /// A file of a bucket that is a folder.
    File(PathBuf),
}

/// Finds the object `key` in the first bucket that has it. A bucket that fails is an error only if no other
/// has it.
pub(in crate::videos) async fn find_in_bucket(client: &Client, key: &str) -> ApiResult<Option<BucketCopy>> {
    let mut failed = None;
    for target in client.bucket_targets() {
        let bucket = client.bucket(target)?;
        let api_error = |e: ::jobs::Error| ApiError::from(Failure::from(e));
        if let BulkTransfer::Folder(folder) = bucket.bulk_transfer() {
            let file = folder.file(key).map_err(api_error)?;
            if tokio::fs::try_exists(&file).await.unwrap_or(false) {
                return Ok(Some(BucketCopy::File(file)));
            }
            continue;
        }
        match bucket.head(key).await.map_err(api_error) {
            Ok(None) => continue,
            Ok(Some(_)) => {}
            Err(error) => {
                failed = Some(error);
                continue;
            }
        }
        if let Some(url) = bucket.presigned(key, URL_LIFETIME).await.map_err(api_error)? {
            return Ok(Some(BucketCopy::Url(url)));
        }
    }
    failed.map_or(Ok(None), Err)
}
