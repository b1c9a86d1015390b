//! Creates a bucket, which the product's own client never does. The request is signed with AWS Signature
//! Version 4, <https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html>.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::process;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sha2::{Digest, Sha256};
use time::OffsetDateTime;

use crate::Connection;
use crate::fake::hex;

/// How long a server may take to start and respond.
const TIMEOUT: Duration = Duration::from_secs(120);

/// A bucket name that is unique across all test processes.
pub(super) fn fresh_name() -> String {
    static N_BUCKETS: AtomicUsize = AtomicUsize::new(0);
    let n = N_BUCKETS.fetch_add(1, Ordering::Relaxed);
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("courtside-{}-{:x}-{n}", process::id(), since.as_nanos())
}

/// Creates the bucket that the connection names.
pub(super) fn create(connection: &Connection) -> io::Result<()> {
    let host = connection.endpoint.trim_start_matches("http://");
    let request = signed_put(connection, host, OffsetDateTime::now_utc());
    let mut stream = TcpStream::connect(host)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.write_all(request.as_bytes())?;
    let mut response = String::new();
    stream.read_to_string(&mut response)?;
    let status = response.split(' ').nth(1);
    if status == Some("200") { Ok(()) } else { Err(io::Error::other(response)) }
}

fn signed_put(connection: &Connection, host: &str, now: OffsetDateTime) -> String {
    let path = format!("/{}", connection.bucket);
    let date = format!("{:04}{:02}{:02}", now.year(), now.month() as u8, now.day());
    let time = format!("{date}T{:02}{:02}{:02}Z", now.hour(), now.minute(), now.second());
    let body_hash = hex(&Sha256::digest(b""));
    let headers = format!("host:{host}\nx-amz-content-sha256:{body_hash}\nx-amz-date:{time}\n");
    let names = "host;x-amz-content-sha256;x-amz-date";
    let canonical = format!("PUT\n{path}\n\n{headers}\n{names}\n{body_hash}");
    let scope = format!("{date}/{}/s3/aws4_request", connection.region);
    let to_sign = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", hex(&Sha256::digest(canonical)));
    let mut key = format!("AWS4{}", connection.secret_access_key).into_bytes();
    for part in scope.split('/') {
        key = hmac(&key, part.as_bytes());
    }
    let signature = hex(&hmac(&key, to_sign.as_bytes()));
    let id = &connection.access_key_id;
    format!(
        "PUT {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: 0\r\n\
         x-amz-content-sha256: {body_hash}\r\nx-amz-date: {time}\r\n\
         Authorization: AWS4-HMAC-SHA256 Credential={id}/{scope}, SignedHeaders={names}, Signature={signature}\r\n\r\n"
    )
}

/// HMAC-SHA-256 (RFC 2104), for keys of at most 64 bytes.
fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    assert!(key.len() <= 64, "longer keys would have to be hashed first");
    let padded = |pad: u8| {
        let mut block = [pad; 64];
        block.iter_mut().zip(key).for_each(|(b, k)| *b ^= k);
        block
    };
    let inner = Sha256::new().chain_update(padded(0x36)).chain_update(message).finalize();
    Sha256::new().chain_update(padded(0x5c)).chain_update(inner).finalize().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hmac_matches_rfc_4231_test_case_2() {
        let mac = hex(&hmac(b"Jefe", b"what do ya want for nothing?"));
        assert_eq!(mac, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }
}
