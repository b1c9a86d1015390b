//! Wrong credentials, missing buckets and unreachable servers: each is a distinct error that names the bucket
//! and does not reveal the secret.

use std::time::Duration;

use bytes::Bytes;
use jobs::bucket::{Bucket, BulkTransfer, Condition, S3Settings, Secret, Timeouts};
use jobs::transfer::FileDigest;
use jobs::{Error, Result, probe};
use s3_fixture::{Access, ConditionalWrites, FakeR2, RealServer};

use crate::support::{Fresh, Party, TestEnv, fake, id, manifest, remote, settings};

const SECRET: &str = "a-secret-that-must-not-be-shown";

fn with_secret(server: &FakeR2) -> S3Settings {
    S3Settings { secret_access_key: Secret::new(SECRET), ..settings(server.connection()) }
}

/// Tries all operations. Returns the errors of those that read and of those that write.
async fn try_all(bucket: &dyn Bucket) -> (Vec<Error>, Vec<Error>) {
    async fn error<T: std::fmt::Debug>(result: impl Future<Output = Result<T>>) -> Option<Error> {
        result.await.err()
    }
    let BulkTransfer::Parts(parts) = bucket.bulk_transfer() else { panic!("a server takes parts") };
    let reads = [
        error(bucket.get("jobs/a.json", 100)).await,
        error(bucket.head("jobs/a.json")).await,
        error(bucket.list("jobs/")).await,
    ];
    let one = || Bytes::from_static(b"1");
    let file = tempfile::NamedTempFile::new().unwrap();
    let content = FileDigest::of(file.path()).unwrap();
    let writes = [
        error(bucket.put("jobs/b.json", one(), Condition::Always)).await,
        error(bucket.put("jobs/b.json", one(), Condition::Absent)).await,
        error(bucket.put_file("results/b.json", file.path(), &content, Condition::Absent)).await,
        error(bucket.delete("jobs/a.json")).await,
        error(parts.start("videos/b.mp4")).await,
        error(probe::conditional_writes(bucket, &*TestEnv::new())).await,
    ];
    (reads.into_iter().flatten().collect(), writes.into_iter().flatten().collect())
}

fn check_denied(errors: &[Error], n: usize, place: &str) {
    assert_eq!(errors.len(), n, "{errors:?}");
    for error in errors {
        assert!(matches!(error, Error::Denied { .. }) && !error.is_transient(), "{error:?}");
        let shown = format!("{error} {error:?}");
        assert!(shown.contains(place) && !shown.contains(SECRET), "{shown}");
    }
}

#[tokio::test]
async fn without_permissions_everything_is_denied() {
    for access in [Access::None, Access::WrongSecret, Access::UnknownKey] {
        let server = fake();
        server.put("jobs/a.json", "1");
        server.set_access(access);
        let bucket = remote(&with_secret(&server));
        let (reads, writes) = try_all(&*bucket).await;
        check_denied(&reads, 3, &server.connection().endpoint);
        check_denied(&writes, 6, &server.connection().endpoint);
        assert!(!format!("{bucket:?} {:?} {}", with_secret(&server), bucket.location()).contains(SECRET));
        assert_eq!(server.keys(), ["jobs/a.json"]);
    }
}

#[tokio::test]
async fn with_read_permission_only_writes_are_denied() {
    let server = fake();
    server.put("jobs/a.json", "1");
    server.set_access(Access::ReadOnly);
    let bucket = remote(&with_secret(&server));
    let (reads, writes) = try_all(&*bucket).await;
    check_denied(&reads, 0, "");
    check_denied(&writes, 6, &server.connection().bucket);
    // A denied request is not retried.
    server.clear_log();
    let error = Party::new(bucket).admin().submit(manifest("b")).await.unwrap_err();
    assert!(matches!(error, Error::Denied { .. }), "{error:?}");
    assert_eq!(server.counts().total(), 2);
}

#[tokio::test]
async fn a_missing_bucket_is_named() {
    let server = fake();
    let settings = S3Settings { bucket: "elsewhere".to_owned(), ..with_secret(&server) };
    let bucket = remote(&settings);
    let (reads, writes) = try_all(&*bucket).await;
    for error in reads.iter().chain(&writes) {
        assert!(matches!(error, Error::NoBucket { .. }), "{error:?}");
        assert!(error.to_string().contains("bucket elsewhere at http://127.0.0.1"), "{error}");
    }
    // The response to HEAD has no body, so it cannot tell a missing bucket from a missing object.
    assert_eq!((reads.len(), writes.len()), (2, 6));
    let error = Party::new(bucket).admin().submit(manifest("b")).await.unwrap_err();
    assert!(matches!(error, Error::NoBucket { .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_server_gives_the_same_errors() {
    let server = tokio::task::spawn_blocking(RealServer::radosgw).await.unwrap();
    let connection = server.connection();
    let wrong = S3Settings { secret_access_key: Secret::new(SECRET), ..settings(connection) };
    let (reads, writes) = try_all(&*remote(&wrong)).await;
    check_denied(&reads, 3, &connection.endpoint);
    check_denied(&writes, 6, &connection.endpoint);
    let elsewhere = S3Settings { bucket: "no-such-bucket".to_owned(), ..settings(connection) };
    let (reads, writes) = try_all(&*remote(&elsewhere)).await;
    for error in reads.iter().chain(&writes) {
        assert!(matches!(error, Error::NoBucket { .. }), "{error:?}");
    }
    assert_eq!((reads.len(), writes.len()), (2, 6));
}

#[tokio::test]
async fn an_unreachable_server_is_unavailable_and_named() {
    let server = fake();
    server.stop();
    let (reads, writes) = try_all(&*remote(&with_secret(&server))).await;
    assert_eq!((reads.len(), writes.len()), (3, 6));
    for error in reads.iter().chain(&writes) {
        assert!(error.is_transient(), "{error:?}");
        assert!(error.to_string().contains(&server.connection().endpoint), "{error}");
    }
}

#[tokio::test]
async fn requests_to_a_hanging_server_time_out() {
    let server = fake();
    server.set_faults(|_| Some(s3_fixture::Fault::Hang));
    let quick = Duration::from_millis(50);
    let timeouts =
        Timeouts { connect: quick, control: quick, bulk: quick, silence: quick, first_pause: quick / 10 };
    let (reads, writes) = try_all(&*remote(&S3Settings { timeouts, ..with_secret(&server) })).await;
    assert_eq!((reads.len(), writes.len()), (3, 6));
    assert!(reads.iter().chain(&writes).all(Error::is_transient), "{reads:?} {writes:?}");
}

#[tokio::test]
async fn the_probe_detects_a_server_that_ignores_conditions() {
    let server = fake();
    server.set_conditional_writes(ConditionalWrites::Ignored);
    let bucket = remote(&settings(server.connection()));
    let error = probe::conditional_writes(&*bucket, &*TestEnv::new()).await.unwrap_err();
    assert!(matches!(error, Error::ConditionsIgnored { .. }), "{error:?}");
    assert!(error.to_string().contains(&server.connection().endpoint), "{error}");
    assert_eq!(server.keys(), Vec::<String>::new());
}

#[test]
fn invalid_settings_are_rejected_without_showing_the_secret() {
    let valid = || with_secret(&fake());
    let hidden = |text: &str| Secret::new(format!("{SECRET}{text}"));
    for settings in [
        S3Settings { endpoint: String::new(), ..valid() },
        S3Settings { endpoint: "not an address".to_owned(), ..valid() },
        S3Settings { endpoint: "ftp://x".to_owned(), ..valid() },
        S3Settings { endpoint: "https://<ACCOUNT_ID>.r2.cloudflarestorage.com".to_owned(), ..valid() },
        S3Settings { endpoint: "https://".to_owned(), ..valid() },
        S3Settings { endpoint: "https://ä".to_owned(), ..valid() },
        S3Settings { endpoint: "http://127.0.0.1:9/elsewhere".to_owned(), ..valid() },
        S3Settings { bucket: String::new(), ..valid() },
        S3Settings { bucket: "a/b".to_owned(), ..valid() },
        S3Settings { region: "auto\n".to_owned(), ..valid() },
        S3Settings { access_key_id: "\"id\nid\"".to_owned(), ..valid() },
        S3Settings { access_key_id: "ä".to_owned(), ..valid() },
        S3Settings { secret_access_key: hidden("\n"), ..valid() },
        S3Settings { secret_access_key: hidden("ä"), ..valid() },
    ] {
        let error = jobs::bucket::RemoteBucket::s3(&settings).unwrap_err();
        assert!(matches!(error, Error::Settings(_)), "{error:?}");
        assert!(!format!("{error:?}").contains(SECRET));
    }
}

#[tokio::test]
async fn an_endpoint_with_the_bucket_in_its_path_is_the_same_bucket() {
    let server = fake();
    let connection = server.connection();
    let endpoint = format!("{}/{}/", connection.endpoint, connection.bucket);
    let bucket = remote(&S3Settings { endpoint, ..with_secret(&server) });
    bucket.put("jobs/a.json", Bytes::from_static(b"1"), Condition::Absent).await.unwrap();
    assert_eq!(server.keys(), ["jobs/a.json"]);
    assert_eq!(bucket.list("jobs/").await.unwrap().len(), 1);
    assert_eq!(bucket.location(), format!("bucket {} at {}", connection.bucket, connection.endpoint));
}

#[tokio::test]
async fn a_presigned_url_needs_no_credentials() {
    let server = fake();
    server.put("videos/a.mp4", "frames");
    let bucket = remote(&with_secret(&server));
    let hour = Duration::from_secs(3600);
    let address = bucket.presigned("videos/a.mp4", hour).await.unwrap().unwrap();
    assert!(!address.contains(SECRET), "{address}");
    assert_eq!(reqwest::get(address).await.unwrap().text().await.unwrap(), "frames");
    for without_urls in [Fresh::memory(), Fresh::folder()] {
        assert_eq!(without_urls.open().presigned(&id("a").video_key(None), hour).await.unwrap(), None);
    }
}
