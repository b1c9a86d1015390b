//! Servers that are no S3 servers, or that refuse the settings: each is a distinct error, and only those that may be
//! over soon are worth a retry. Every row is a real server on this machine.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use jobs::bucket::{Bucket, Condition, RemoteBucket, S3Settings, Secret, Timeouts};
use jobs::{Error, Remedy};

/// Starts a server that sends the same bytes after each request head, and closes the connection. Returns its address,
/// `HOST:PORT`. Its thread ends with the test process.
fn serve(response: impl Into<Vec<u8>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let response = response.into();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            // Clients may close the connection early.
            let _ = respond(stream.unwrap(), &response);
        }
    });
    address
}

fn respond(mut stream: TcpStream, response: &[u8]) -> std::io::Result<()> {
    let mut head = Vec::new();
    let mut byte = [0];
    // A TLS client sends no blank line, and waits: it gets its response after the first bytes.
    while !head.ends_with(b"\r\n\r\n") && head.first() != Some(&0x16) {
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let text = String::from_utf8_lossy(&head).to_ascii_lowercase();
    let length =
        text.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next()?.parse().ok());
    std::io::copy(&mut (&mut stream).take(length.unwrap_or(0)), &mut std::io::sink())?;
    stream.write_all(response)?;
    stream.shutdown(std::net::Shutdown::Write)?;
    std::io::copy(&mut stream, &mut std::io::sink()).map(|_| ())
}

fn http(status: &str, headers: &str, body: &str) -> Vec<u8> {
    let n_bytes = body.len();
    format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {n_bytes}\r\nConnection: close\r\n\r\n{body}")
        .into()
}

fn xml(status: &str, code: &str, rest: &str) -> Vec<u8> {
    let body = format!(
        "<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>It is {code}.</Message>{rest}</Error>"
    );
    http(status, "Content-Type: application/xml\r\n", &body)
}

fn bucket(endpoint: &str) -> RemoteBucket<object_store::aws::AmazonS3> {
    let timeouts = Timeouts { first_pause: Duration::from_millis(1), ..Timeouts::default() };
    let settings = S3Settings {
        endpoint: endpoint.to_owned(),
        bucket: "games".to_owned(),
        region: "auto".to_owned(),
        access_key_id: "id".to_owned(),
        secret_access_key: Secret::new("hush"),
        timeouts,
    };
    RemoteBucket::s3(&settings).unwrap()
}

/// The kind of an error, with its remedy.
fn kind(error: &Error) -> String {
    match error {
        Error::Unavailable { .. } => "unavailable".to_owned(),
        Error::Denied { .. } => "denied".to_owned(),
        Error::NoBucket { .. } => "no bucket".to_owned(),
        Error::Unusable { remedy: Remedy::Region(Some(region)), .. } => format!("region {region}"),
        Error::Unusable { remedy, .. } => format!("{remedy:?}"),
        other => panic!("{other:?}"),
    }
}

/// Sends a listing and a write. Both must fail with this kind, and the messages must contain `words`.
async fn check(endpoint: &str, expected: &str, words: &str) {
    let bucket = bucket(endpoint);
    let listing = bucket.list("jobs/").await.unwrap_err();
    let write = bucket.put("jobs/a.json", Bytes::from_static(b"1"), Condition::Absent).await.unwrap_err();
    for error in [listing, write] {
        assert_eq!(kind(&error), expected, "{endpoint}: {error}");
        assert!(error.to_string().contains(words), "{words:?} is not in: {error}");
        assert!(error.to_string().contains("bucket games at "), "{error}");
        assert_eq!(error.is_transient(), expected == "unavailable", "{error}");
        assert_eq!(error.is_misconfiguration(), expected != "unavailable", "{error}");
        assert!(!error.to_string().contains("hush"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_response_decides_whether_the_settings_are_wrong() {
    let elsewhere = "Location: https://login.example/portal\r\n";
    let region = "<Region>eu-west-1</Region>";
    for (response, expected, words) in [
        (http("301 Moved Permanently", elsewhere, ""), "Endpoint", "https://login.example/portal"),
        (http("302 Found", elsewhere, "<html>moved</html>"), "Endpoint", ""),
        (
            xml("307 Temporary Redirect", "TemporaryRedirect", "<Endpoint>s3.example</Endpoint>"),
            "Endpoint",
            "s3.example",
        ),
        (http("301 Moved Permanently", "x-amz-bucket-region: eu-west-1\r\n", ""), "region eu-west-1", "301"),
        (xml("301 Moved Permanently", "PermanentRedirect", region), "region eu-west-1", "PermanentRedirect"),
        (
            xml("400 Bad Request", "AuthorizationHeaderMalformed", region),
            "region eu-west-1",
            "It is AuthorizationHeaderMalformed",
        ),
        (xml("400 Bad Request", "InvalidRegionName", ""), "Region(None)", "InvalidRegionName"),
        (
            http("400 Bad Request", "", "Client sent an HTTP request to an HTTPS server."),
            "Endpoint",
            "HTTPS server",
        ),
        (xml("400 Bad Request", "RequestTimeout", ""), "unavailable", ""),
        (xml("403 Forbidden", "InvalidAccessKeyId", ""), "denied", "InvalidAccessKeyId"),
        (xml("403 Forbidden", "SignatureDoesNotMatch", ""), "denied", "It is SignatureDoesNotMatch"),
        (xml("403 Forbidden", "AccessDenied", ""), "denied", "denied permission to"),
        (xml("401 Unauthorized", "Unauthorized", ""), "denied", ""),
        (xml("403 Forbidden", "RequestTimeTooSkewed", ""), "Clock", "RequestTimeTooSkewed"),
        (http("403 Forbidden", "", "<!DOCTYPE html><title>Blocked</title>"), "Endpoint", "web page"),
        (xml("404 Not Found", "NoSuchBucket", ""), "no bucket", "does not exist"),
        (http("404 Not Found", "", "<html>nginx</html>"), "Endpoint", "web page"),
        (http("405 Method Not Allowed", "", ""), "Endpoint", "405"),
        (http("407 Proxy Authentication Required", "", ""), "Endpoint", "407"),
        (xml("501 Not Implemented", "NotImplemented", ""), "Server", "NotImplemented"),
        (xml("500 Internal Server Error", "InternalError", ""), "unavailable", ""),
        (http("502 Bad Gateway", "", "<html>Bad Gateway</html>"), "unavailable", ""),
        (xml("503 Service Unavailable", "SlowDown", ""), "unavailable", ""),
        (b"\x15\x03\x03\x00\x02\x02\x28".to_vec(), "Endpoint", "does not speak HTTP"),
    ] {
        check(&format!("http://{}", serve(response)), expected, words).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_web_page_is_not_an_empty_bucket() {
    let page = "<!DOCTYPE html><html><body>Log in to the network</body></html>";
    check(&format!("http://{}", serve(http("200 OK", "Content-Type: text/html\r\n", page))), "Endpoint", "")
        .await;
    // Such as a JSON service.
    let service = format!("http://{}", serve(http("200 OK", "", "{}")));
    check(&service, "Endpoint", "").await;
    assert_eq!(kind(&bucket(&service).get("jobs/a.json", 100).await.unwrap_err()), "Endpoint");
    assert_eq!(kind(&bucket(&service).head("jobs/a.json").await.unwrap_err()), "Endpoint");
    // An S3 server may answer 200 before it fails.
    let failed = "<Error><Code>InternalError</Code><Message>Try again.</Message></Error>";
    let bucket = bucket(&format!("http://{}", serve(http("200 OK", "", failed))));
    let error = bucket.list("jobs/").await.unwrap_err();
    assert!(error.is_transient() && error.to_string().contains("Try again."), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_without_response_may_work_later_unless_it_is_not_secure() {
    let unused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    check(&format!("http://{unused}"), "unavailable", "").await;
    check("http://s3.invalid", "unavailable", "the host name s3.invalid cannot be resolved").await;
    check(&format!("http://{}", serve("")), "unavailable", "").await;
    // A server without TLS, and one that refuses the host name.
    let plain = serve(http("400 Bad Request", "", ""));
    check(&format!("https://{plain}"), "Tls", "no secure connection").await;
    let alert = serve(b"\x15\x03\x03\x00\x02\x02\x28".to_vec());
    check(&format!("https://{alert}"), "Tls", "no secure connection").await;
}

/// A redirect to another host would receive the request without its signature.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redirects_are_not_followed() {
    let listing = "<ListBucketResult></ListBucketResult>";
    let other = serve(http("200 OK", "Content-Type: application/xml\r\n", listing));
    let location = format!("Location: http://{other}/games\r\n");
    check(&format!("http://{}", serve(http("307 Temporary Redirect", &location, ""))), "Endpoint", &other)
        .await;
}

/// Starts a server whose answers have no end. Returns its address, and a count of the bytes that clients took.
fn serve_endlessly(status: &'static str, start: &'static str) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let n_bytes = Arc::new(AtomicUsize::new(0));
    let count = n_bytes.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, count) = (stream.unwrap(), count.clone());
            std::thread::spawn(move || -> std::io::Result<()> {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    stream.read_exact(&mut byte)?;
                    head.push(byte[0]);
                }
                write!(stream, "HTTP/1.1 {status}\r\nTransfer-Encoding: chunked\r\n\r\n")?;
                write!(stream, "{:x}\r\n{start}\r\n", start.len())?;
                let chunk = format!("{:x}\r\n{}\r\n", 1 << 16, " ".repeat(1 << 16));
                loop {
                    stream.write_all(chunk.as_bytes())?;
                    count.fetch_add(chunk.len(), Ordering::Relaxed);
                }
            });
        }
    });
    (address, n_bytes)
}

#[tokio::test]
async fn an_answer_without_end_is_not_read_to_the_end() {
    let listing = "<?xml version=\"1.0\"?><ListBucketResult>";
    for (status, start, want, most) in [
        ("200 OK", listing, "Endpoint", 64 << 20),
        ("403 Forbidden", "<Error><Code>AccessDenied</Code></Error>", "denied", 16 << 20),
        ("500 Internal Server Error", "<Error><Code>InternalError</Code></Error>", "unavailable", 16 << 20),
    ] {
        let (address, n_bytes) = serve_endlessly(status, start);
        let error = bucket(&format!("http://{address}")).list("jobs/").await.unwrap_err();
        assert_eq!(kind(&error), want, "{status}: {error}");
        let n_bytes = n_bytes.load(Ordering::Relaxed);
        assert!(n_bytes < most, "{status}: {n_bytes} bytes were read");
    }
}
