//! Credentials that do not fit, buckets that are not there, servers that are none: each is an error of its own that
//! names the place and keeps the secret.

use std::time::Duration;

use bytes::Bytes;
use jobs::bucket::{Bucket, Bulk, Condition, S3Settings, Secret, Timeouts};
use jobs::{Error, Result, probe};
use s3_fixture::{Access, ConditionalWrites, FakeR2, RealServer};

use crate::support::{Fresh, Party, TestHost, fake, id, manifest, remote, settings};

const SECRET: &str = "a-secret-that-nobody-may-see";

fn with_secret(server: &FakeR2) -> S3Settings {
    S3Settings { secret_access_key: Secret::new(SECRET), ..settings(server.connection()) }
}

/// What everything that reads and everything that writes says.
async fn tried(bucket: &dyn Bucket) -> (Vec<Error>, Vec<Error>) {
    async fn error<T: std::fmt::Debug>(result: impl Future<Output = Result<T>>) -> Option<Error> {
        result.await.err()
    }
    let Bulk::Parts(parts) = bucket.bulk() else { panic!("a server takes parts") };
    let reads = [
        error(bucket.get("jobs/a.json", 100)).await,
        error(bucket.head("jobs/a.json")).await,
        error(bucket.list("jobs/")).await,
    ];
    let one = || Bytes::from_static(b"1");
    let file = tempfile::NamedTempFile::new().unwrap();
    let writes = [
        error(bucket.put("jobs/b.json", one(), Condition::Always)).await,
        error(bucket.put("jobs/b.json", one(), Condition::Absent)).await,
        error(bucket.put_file("results/b.json", file.path(), Condition::Absent)).await,
        error(bucket.delete("jobs/a.json")).await,
        error(parts.start("videos/b.mp4")).await,
        error(probe::conditional_writes(bucket, &*TestHost::new())).await,
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
async fn who_may_nothing_is_told_so() {
    for access in [Access::None, Access::WrongSecret, Access::UnknownKey] {
        let server = fake();
        server.put("jobs/a.json", "1");
        server.set_access(access);
        let bucket = remote(&with_secret(&server));
        let (reads, writes) = tried(&*bucket).await;
        check_denied(&reads, 3, &server.connection().endpoint);
        check_denied(&writes, 6, &server.connection().endpoint);
        assert!(!format!("{bucket:?} {:?} {}", with_secret(&server), bucket.place()).contains(SECRET));
        assert_eq!(server.keys(), ["jobs/a.json"]);
    }
}

#[tokio::test]
async fn who_may_only_read_reads() {
    let server = fake();
    server.put("jobs/a.json", "1");
    server.set_access(Access::ReadOnly);
    let bucket = remote(&with_secret(&server));
    let (reads, writes) = tried(&*bucket).await;
    check_denied(&reads, 0, "");
    check_denied(&writes, 6, &server.connection().bucket);
    // The first refusal ends it: no amount of patience gets in.
    server.clear_log();
    let error = Party::new(bucket).admin().submit(manifest("b")).await.unwrap_err();
    assert!(matches!(error, Error::Denied { .. }), "{error:?}");
    assert_eq!(server.counts().total(), 2);
}

#[tokio::test]
async fn a_bucket_that_is_not_there_is_named() {
    let server = fake();
    let settings = S3Settings { bucket: "elsewhere".to_owned(), ..with_secret(&server) };
    let bucket = remote(&settings);
    let (reads, writes) = tried(&*bucket).await;
    for error in reads.iter().chain(&writes) {
        assert!(matches!(error, Error::NoBucket { .. }), "{error:?}");
        assert!(error.to_string().contains("bucket elsewhere at http://127.0.0.1"), "{error}");
    }
    // Asked for an object's head, a server has no body to say it in.
    assert_eq!((reads.len(), writes.len()), (2, 6));
    let error = Party::new(bucket).admin().submit(manifest("b")).await.unwrap_err();
    assert!(matches!(error, Error::NoBucket { .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_server_says_the_same() {
    let server = tokio::task::spawn_blocking(RealServer::radosgw).await.unwrap();
    let connection = server.connection();
    let wrong = S3Settings { secret_access_key: Secret::new(SECRET), ..settings(connection) };
    let (reads, writes) = tried(&*remote(&wrong)).await;
    check_denied(&reads, 3, &connection.endpoint);
    check_denied(&writes, 6, &connection.endpoint);
    let elsewhere = S3Settings { bucket: "no-such-bucket".to_owned(), ..settings(connection) };
    let (reads, writes) = tried(&*remote(&elsewhere)).await;
    for error in reads.iter().chain(&writes) {
        assert!(matches!(error, Error::NoBucket { .. }), "{error:?}");
    }
    assert_eq!((reads.len(), writes.len()), (2, 6));
}

#[tokio::test]
async fn nobody_at_the_address_is_unavailable_and_named() {
    let server = fake();
    server.stop();
    let (reads, writes) = tried(&*remote(&with_secret(&server))).await;
    assert_eq!((reads.len(), writes.len()), (3, 6));
    for error in reads.iter().chain(&writes) {
        assert!(error.is_transient(), "{error:?}");
        assert!(error.to_string().contains(&server.connection().endpoint), "{error}");
    }
}

#[tokio::test]
async fn a_server_that_never_answers_is_given_up() {
    let server = fake();
    server.set_faults(|_| Some(s3_fixture::Fault::Hang));
    let quick = Duration::from_millis(50);
    let timeouts =
        Timeouts { connect: quick, control: quick, bulk: quick, silence: quick, first_pause: quick / 10 };
    let (reads, writes) = tried(&*remote(&S3Settings { timeouts, ..with_secret(&server) })).await;
    assert_eq!((reads.len(), writes.len()), (3, 6));
    assert!(reads.iter().chain(&writes).all(Error::is_transient), "{reads:?} {writes:?}");
}

#[tokio::test]
async fn a_server_that_ignores_conditions_is_refused() {
    let server = fake();
    server.set_conditional_writes(ConditionalWrites::Ignored);
    let bucket = remote(&settings(server.connection()));
    let error = probe::conditional_writes(&*bucket, &*TestHost::new()).await.unwrap_err();
    assert!(matches!(error, Error::NoConditions { .. }), "{error:?}");
    assert!(error.to_string().contains(&server.connection().endpoint), "{error}");
    assert_eq!(server.keys(), Vec::<String>::new());
}

#[test]
fn settings_that_cannot_be_a_servers_are_refused_without_the_secret() {
    let server = fake();
    for endpoint in ["", "not an address", "ftp://x"] {
        let settings = S3Settings { endpoint: endpoint.to_owned(), ..with_secret(&server) };
        if let Err(error) = jobs::bucket::RemoteBucket::s3(&settings) {
            assert!(matches!(error, Error::Settings(_)), "{error:?}");
            assert!(!format!("{error:?}").contains(SECRET));
        }
    }
}

#[tokio::test]
async fn a_presigned_address_is_read_by_anybody() {
    let server = fake();
    server.put("videos/a.mp4", "frames");
    let bucket = remote(&with_secret(&server));
    let hour = Duration::from_secs(3600);
    let address = bucket.presigned("videos/a.mp4", hour).await.unwrap().unwrap();
    assert!(!address.contains(SECRET), "{address}");
    assert_eq!(reqwest::get(address).await.unwrap().text().await.unwrap(), "frames");
    for nowhere in [Fresh::memory(), Fresh::folder()] {
        assert_eq!(nowhere.open().presigned(&id("a").video(None), hour).await.unwrap(), None);
    }
}
