//! The copy of a video in a bucket.

use std::path::PathBuf;
use std::time::Duration;

use client::failure::Failure;
use client::{Client, videos};

use crate::api_error::ApiResult;
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

/// Finds the object `key`, as [`videos::find_in_bucket`] does.
pub(in crate::videos) async fn find_in_bucket(client: &Client, key: &str) -> ApiResult<Option<BucketCopy>> {
    Ok(match videos::find_in_bucket(client, key).await? {
        None => None,
        Some(videos::BucketCopy::File(file)) => Some(BucketCopy::File(file)),
        Some(videos::BucketCopy::Object(bucket)) => {
            bucket.presigned(key, URL_LIFETIME).await.map_err(Failure::from)?.map(BucketCopy::Url)
        }
    })
}
