//! Tests of multipart uploads and of R2's rules for part sizes.

use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{Error, ObjectStoreExt, PutPayload};
use s3_fixture::{FakeR2, Fault, Op};

use crate::support::client;

const MIN_PART_BYTES: usize = 16;

/// Uploads parts of these sizes and completes the upload. Returns the outcome and the server.
async fn upload(sizes: &[usize]) -> (object_store::Result<String>, FakeR2) {
    let server = FakeR2::start();
    server.set_min_part_bytes(MIN_PART_BYTES as u64);
    let client = client(server.connection());
    let key = Path::from("videos/v.mp4");
    let id = client.create_multipart(&key).await.unwrap();
    let mut parts = Vec::new();
    for (index, size) in sizes.iter().enumerate() {
        let part = PutPayload::from(vec![index as u8; *size]);
        parts.push(client.put_part(&key, &id, index, part).await.unwrap());
    }
    let outcome = client.complete_multipart(&key, &id, parts).await;
    (outcome.map(|put| put.e_tag.unwrap()), server)
}

#[tokio::test]
async fn accepts_equal_parts_with_a_shorter_last_one() {
    let (etag, server) = upload(&[20, 20, 7]).await;
    let object = server.object("videos/v.mp4").unwrap();
    assert_eq!(etag.unwrap(), format!("\"{}\"", object.etag));
    assert!(object.etag.ends_with("-3"), "{}", object.etag);
    let expected = [vec![0; 20], vec![1; 20], vec![2; 7]].concat();
    assert_eq!(object.body, expected);
    assert!(server.open_uploads().is_empty());
    let counts = server.counts();
    assert_eq!((counts.of(Op::UploadPart), counts.class_a()), (3, 5));
}

#[tokio::test]
async fn accepts_a_single_short_part() {
    let (etag, _server) = upload(&[3]).await;
    assert!(etag.unwrap().ends_with("-1\""));
}

#[tokio::test]
async fn rejects_unequal_parts_and_short_parts() {
    for (sizes, code) in [(&[20, 21, 7], "InvalidPart"), (&[15, 15, 7], "EntityTooSmall")] {
        let (outcome, server) = upload(sizes).await;
        let error = format!("{:?}", outcome.unwrap_err());
        assert!(error.contains(code), "{error}");
        assert_eq!((server.keys().len(), server.open_uploads().len()), (0, 1));
    }
}

#[tokio::test]
async fn parts_can_be_replaced_and_must_match_on_completion() {
    let server = FakeR2::start();
    let client = client(server.connection());
    let key = Path::from("v");
    let id = client.create_multipart(&key).await.unwrap();
    let first = client.put_part(&key, &id, 0, PutPayload::from("a")).await.unwrap();
    let second = client.put_part(&key, &id, 0, PutPayload::from("b")).await.unwrap();
    let error = client.complete_multipart(&key, &id, vec![first]).await.unwrap_err();
    assert!(format!("{error:?}").contains("InvalidPart"), "{error:?}");
    client.complete_multipart(&key, &id, vec![second]).await.unwrap();
    assert_eq!(server.object("v").unwrap().body, "b");
}

#[tokio::test]
async fn an_aborted_upload_is_not_found() {
    let server = FakeR2::start();
    let client = client(server.connection());
    let key = Path::from("v");
    let id = client.create_multipart(&key).await.unwrap();
    assert_eq!(server.open_uploads(), [(id.clone(), "v".to_owned())]);
    client.abort_multipart(&key, &id).await.unwrap();
    let error = client.put_part(&key, &id, 0, PutPayload::from("a")).await.unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error:?}");
    assert!(server.open_uploads().is_empty());
}

#[tokio::test]
async fn completing_an_upload_twice_fails() {
    let server = FakeR2::start();
    let client = client(server.connection());
    let key = Path::from("v");
    let id = client.create_multipart(&key).await.unwrap();
    let part = client.put_part(&key, &id, 0, PutPayload::from("a")).await.unwrap();
    let parts = || vec![PartId { content_id: part.content_id.clone() }];
    server.fail_next(Op::CompleteMultipartUpload, "v", Fault::CommitThenError);
    client.complete_multipart(&key, &id, parts()).await.unwrap_err();
    assert_eq!(client.head(&key).await.unwrap().size, 1);
    let error = client.complete_multipart(&key, &id, parts()).await.unwrap_err();
    assert!(format!("{error:?}").contains("NoSuchUpload"), "{error:?}");
}

#[tokio::test]
async fn parts_are_listed_in_pages() {
    let server = FakeR2::start();
    let client = client(server.connection());
    let key = Path::from("v");
    let id = client.create_multipart(&key).await.unwrap();
    for index in [2, 0, 1] {
        client.put_part(&key, &id, index, PutPayload::from("a")).await.unwrap();
    }
    let url = format!("{}/courtside-test/v?uploadId={id}", server.connection().endpoint);
    let signed = format!("AWS4-HMAC-SHA256 Credential={}/x", server.connection().access_key_id);
    let page = async |extra: &str| {
        let request = reqwest::Client::new().get(format!("{url}{extra}")).header("authorization", &signed);
        request.send().await.unwrap().text().await.unwrap()
    };
    let first = page("&max-parts=2").await;
    assert!(
        first.contains("<IsTruncated>true</IsTruncated><NextPartNumberMarker>2</NextPartNumberMarker>"),
        "{first}"
    );
    assert_eq!(first.matches("<Part>").count(), 2, "{first}");
    let second = page("&max-parts=2&part-number-marker=2").await;
    assert!(second.contains("<IsTruncated>false</IsTruncated>"), "{second}");
    assert!(second.contains("<PartNumber>3</PartNumber>"), "{second}");
}
