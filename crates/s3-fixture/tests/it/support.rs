//! S3 clients and small helpers for the tests.

use std::sync::Once;

use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::{
    ClientOptions, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, RetryConfig, UpdateVersion,
};
use s3_fixture::Connection;

/// A client that does not retry.
pub(crate) fn client(connection: &Connection) -> AmazonS3 {
    static TLS: Once = Once::new();
    // Fails only if another provider is installed already.
    TLS.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
    AmazonS3Builder::new()
        .with_endpoint(&connection.endpoint)
        .with_bucket_name(&connection.bucket)
        .with_region(&connection.region)
        .with_access_key_id(&connection.access_key_id)
        .with_secret_access_key(&connection.secret_access_key)
        .with_client_options(ClientOptions::new().with_allow_http(true))
        .with_retry(RetryConfig { max_retries: 0, ..RetryConfig::default() })
        .build()
        .unwrap()
}

/// Writes an object under a condition and returns the new entity tag.
pub(crate) async fn put_if(
    client: &AmazonS3,
    key: &str,
    body: &'static str,
    mode: PutMode,
) -> object_store::Result<String> {
    let put = client.put_opts(&key.into(), PutPayload::from(body), PutOptions::from(mode)).await?;
    Ok(put.e_tag.unwrap())
}

/// The condition that the object has this entity tag.
pub(crate) fn replace(etag: &str) -> PutMode {
    PutMode::Update(UpdateVersion { e_tag: Some(etag.to_owned()), version: None })
}

/// Reads an object as text.
pub(crate) async fn text(client: &AmazonS3, key: &str) -> object_store::Result<String> {
    let bytes = client.get(&key.into()).await?.bytes().await?;
    Ok(String::from_utf8(bytes.to_vec()).unwrap())
}
