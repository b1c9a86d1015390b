//! Listings of a bucket with unusual objects or concurrent changes, and of servers that list without end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use jobs::Error;
use jobs::bucket::S3Settings;
use jobs::catalog::Catalog;
use s3_fixture::{Fault, Gate, Op};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::support::{Party, fake, remote, settings};

/// Web consoles represent a folder by an empty object.
#[tokio::test]
async fn folder_marker_objects_are_ignored() {
    let server = fake();
    server.put("jobs/", "");
    let party = Party::new(remote(&settings(server.connection())));
    party.submit("a").await;
    let mut catalog = Catalog::new(party.bucket.clone(), party.env.clone());
    catalog.refresh().await.unwrap();
    assert_eq!((catalog.jobs().count(), catalog.unreadable().len()), (1, 0));
}

/// Such a key makes every listing fail, so the error must name it for a user to remove it.
#[tokio::test]
async fn a_key_that_the_client_cannot_represent_is_named() {
    for key in ["jobs//a.json", "jobs/./a.json", "jobs/../a.json"] {
        let server = fake();
        server.put(key, "{}");
        let bucket = remote(&settings(server.connection()));
        let error = bucket.list("jobs/").await.unwrap_err();
        assert!(error.to_string().contains(key), "{error}");
    }
}

/// The job is removed between the listing and the read.
#[tokio::test]
async fn a_job_removed_during_a_refresh_is_dropped() {
    let server = fake();
    let party = Party::new(remote(&settings(server.connection())));
    party.submit("a").await;
    let mut catalog = Catalog::new(party.bucket.clone(), party.env.clone());
    catalog.refresh().await.unwrap();
    party.claim("worker").await;
    let gate = Gate::new();
    server.fail_next(Op::GetObject, "jobs/", Fault::Hold(gate.clone()));
    let remove = async {
        gate.arrived(1).await;
        server.remove("jobs/a.json");
        gate.open();
    };
    let (refreshed, ()) = futures::future::join(catalog.refresh(), remove).await;
    refreshed.unwrap();
    assert_eq!(catalog.jobs().count(), 0);
}

/// A page of a listing: its keys, and the token of the next page.
type Page = (Vec<String>, Option<String>);

/// A server that answers each request with the page of that number, counted from 0.
struct PageServer {
    endpoint: String,
    n_requests: Arc<AtomicUsize>,
}

impl PageServer {
    async fn start(page: fn(usize) -> Page) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let n_requests = Arc::new(AtomicUsize::new(0));
        let counter = n_requests.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, page, counter.clone()));
            }
        });
        Self { endpoint, n_requests }
    }

    fn bucket(&self) -> Arc<dyn jobs::bucket::Bucket> {
        let connection = fake().connection().clone();
        remote(&S3Settings { endpoint: self.endpoint.clone(), ..settings(&connection) })
    }
}

/// Answers the requests of one connection.
async fn answer(stream: TcpStream, page: fn(usize) -> Page, n_requests: Arc<AtomicUsize>) {
    let mut stream = BufReader::new(stream);
    loop {
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
                return;
            }
        }
        let body = xml(page(n_requests.fetch_add(1, Ordering::Relaxed)));
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/xml\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        if stream.write_all(format!("{head}{body}").as_bytes()).await.is_err() {
            return;
        }
    }
}

fn xml((keys, next): Page) -> String {
    let object = |key: String| {
        format!(
            "<Contents><Key>{key}</Key><LastModified>2026-01-02T03:04:05.000Z</LastModified>\
             <ETag>&quot;00&quot;</ETag><Size>2</Size><StorageClass>STANDARD</StorageClass></Contents>"
        )
    };
    let (is_truncated, n) = (next.is_some(), keys.len());
    let next = next
        .map(|token| format!("<NextContinuationToken>{token}</NextContinuationToken>"))
        .unwrap_or_default();
    let objects: String = keys.into_iter().map(object).collect();
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><ListBucketResult><Name>b</Name><Prefix>jobs/</Prefix>\
         <KeyCount>{n}</KeyCount><MaxKeys>1000</MaxKeys><IsTruncated>{is_truncated}</IsTruncated>{objects}{next}\
         </ListBucketResult>"
    )
}

fn key(n: usize) -> String {
    format!("jobs/{n:08}.json")
}

/// A server that lists without end, the number of requests that it gets, and a part of the error.
type Endless = (&'static str, fn(usize) -> Page, usize, &'static str);

#[tokio::test]
async fn a_server_that_lists_without_end_is_an_error() {
    let endless: [Endless; 5] = [
        ("new keys forever", |n| (vec![key(n)], Some(n.to_string())), 5_000, "at most"),
        ("one page forever", |_| (vec![key(1), key(2)], Some("again".into())), 2, "names itself"),
        ("one page, with other tokens", |n| (vec![key(1)], Some(n.to_string())), 101, "nothing new"),
        ("two pages in turn", |n| (vec![key(n % 2)], Some((n % 2).to_string())), 102, "nothing new"),
        ("empty pages forever", |n| (vec![], Some(n.to_string())), 100, "nothing new"),
    ];
    for (what, page, n_requests, message) in endless {
        let server = PageServer::start(page).await;
        let error = server.bucket().list("jobs/").await.unwrap_err();
        assert!(matches!(error, Error::Endless { .. }) && !error.is_transient(), "{what}: {error:?}");
        assert!(error.to_string().contains(message), "{what}: {error}");
        assert_eq!(server.n_requests.load(Ordering::Relaxed), n_requests, "{what}");
    }
}

#[tokio::test]
async fn pages_that_are_short_empty_or_overlap_are_read_to_the_end() {
    let page = |n: usize| match n {
        0 => (vec![key(1), key(2)], Some("a".to_owned())),
        1 => (vec![], Some("b".to_owned())),
        2 => (vec![key(2), key(3)], Some("c".to_owned())),
        _ => (vec![], None),
    };
    let server = PageServer::start(page).await;
    let listed = server.bucket().list("jobs/").await.unwrap();
    assert_eq!(listed.into_iter().map(|entry| entry.key).collect::<Vec<_>>(), [key(1), key(2), key(3)]);
}
