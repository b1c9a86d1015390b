//! Creating the bucket that the settings name, which only the user decides.

use std::fs;
use std::time::Duration;

use reqwest::header::CONTENT_LENGTH;

use super::network::describe_failure;
use super::response::{Cause, Head, judge};
use super::{BucketLocation, RemoteBucket, S3Settings};
use crate::error::{Error, Result};

/// Time for the request, and for which its signature is valid.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Regions that a bucket is created in without being named in the request.
const UNNAMED_REGIONS: [&str; 2] = ["auto", "us-east-1"];

impl BucketLocation {
    /// Creates the folder, or the bucket on the server. A bucket of the user that exists already is no error.
    ///
    /// # Errors
    /// If the server refuses: the key may not permit it, or the name is taken by another user.
    pub async fn create(&self) -> Result<()> {
        match self {
            Self::Folder(folder) => fs::create_dir_all(folder).map_err(|e| Error::file("create", folder, e)),
            Self::S3(settings) => create_on_server(settings).await,
        }
    }
}

async fn create_on_server(settings: &S3Settings) -> Result<()> {
    let bucket = RemoteBucket::s3(settings)?;
    let location = format!("bucket {} at {}", settings.bucket, settings.endpoint);
    let unavailable = |e: reqwest::Error| Error::Unavailable {
        location: location.clone(),
        detail: describe_failure(&e.without_url()),
    };
    let url = bucket.signed_url("PUT", "", TIMEOUT).await?;
    let client = reqwest::Client::builder().timeout(TIMEOUT).http1_only().build().map_err(unavailable)?;
    let body = body(&settings.region);
    // Servers require it also of an empty body.
    let request = client.put(url).header(CONTENT_LENGTH, body.len()).body(body);
    let response = request.send().await.map_err(unavailable)?;
    let status = response.status().as_u16();
    let region =
        response.headers().get("x-amz-bucket-region").and_then(|v| v.to_str().ok()).map(str::to_owned);
    let text = response.bytes().await.map_err(unavailable)?;
    let head = Head { status, region: region.as_deref(), ..Head::default() };
    match judge(&head, &text) {
        _ if (200..300).contains(&status) => Ok(()),
        // Another user has it unless this one does.
        _ if String::from_utf8_lossy(&text).contains("BucketAlreadyOwnedByYou") => Ok(()),
        Some(rejection) => Err(match rejection.cause {
            Cause::Denied => {
                let action = "create the bucket".to_owned();
                Error::Denied { location, action, detail: rejection.detail }
            }
            Cause::NoBucket => Error::NoBucket { location },
            Cause::Unusable(remedy) => Error::Unusable { location, detail: rejection.detail, remedy },
        }),
        None => {
            let text: String = String::from_utf8_lossy(&text).chars().take(200).collect();
            Err(Error::Unavailable { location, detail: format!("it was not created ({status}): {text}") })
        }
    }
}

/// The region for the new bucket, for servers that need it.
fn body(region: &str) -> String {
    if UNNAMED_REGIONS.contains(&region) {
        return String::new();
    }
    format!(
        "<CreateBucketConfiguration><LocationConstraint>{region}</LocationConstraint></CreateBucketConfiguration>"
    )
}
