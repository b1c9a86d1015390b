//! Parses a request: its operation, bucket and key, from method, path and query.
//!
//! What the fake does not model is [`Op::Unknown`] or rejected, never ignored.

use std::collections::BTreeMap;

use hyper::http::request::Parts;
use hyper::{HeaderMap, Method};
use percent_encoding::percent_decode_str;

use super::error::S3Error;
use super::log::Op;

/// Headers that change the meaning of a request in ways that the fake does not model.
const UNSUPPORTED_HEADERS: [&str; 5] = [
    "x-amz-copy-source",
    "x-amz-tagging",
    "x-amz-server-side-encryption-customer-algorithm",
    "if-modified-since",
    "if-unmodified-since",
];

/// A request without its body.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) op: Op,
    pub(super) bucket: String,
    /// Empty for requests to the bucket.
    pub(super) key: String,
    pub(super) query: BTreeMap<String, String>,
    pub(super) headers: HeaderMap,
}

impl Request {
    pub(super) fn of(parts: Parts) -> Request {
        let path = percent_decode_str(parts.uri.path()).decode_utf8_lossy().into_owned();
        let path = path.strip_prefix('/').unwrap_or(&path);
        let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
        let query = form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes());
        let query: BTreeMap<String, String> = query.into_owned().collect();
        let op = operation(&parts.method, key.is_empty(), &query);
        Request { op, bucket: bucket.to_owned(), key: key.to_owned(), query, headers: parts.headers }
    }

    /// The key or, for a list, the prefix, as the log and the fault plans use it.
    pub(super) fn subject(&self) -> &str {
        if self.op == Op::ListObjects { self.parameter("prefix").unwrap_or_default() } else { &self.key }
    }

    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.query.get(name).map(String::as_str)
    }

    /// Parses a query parameter as a number.
    pub(super) fn number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, S3Error> {
        let invalid = |_| S3Error::invalid_argument(format!("{name} must be a number"));
        self.parameter(name).map(|text| text.parse().map_err(invalid)).transpose()
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The access key id that the request is signed with, in its header or in its query.
    pub(super) fn access_key_id(&self) -> Option<&str> {
        let scope = match self.header("authorization") {
            Some(header) => header.split_once("Credential=")?.1,
            None => self.parameter("X-Amz-Credential")?,
        };
        scope.split_once('/').map(|(id, _)| id)
    }

    /// Rejects requests that the fake does not model.
    pub(super) fn check_supported(&self) -> Result<(), S3Error> {
        if self.op == Op::Unknown {
            return Err(S3Error::not_implemented("this operation is"));
        }
        let known = known_parameters(self.op);
        let signing = |name: &str| name == "x-id" || name.to_ascii_lowercase().starts_with("x-amz-");
        if let Some(name) = self.query.keys().find(|name| !known.contains(&name.as_str()) && !signing(name)) {
            return Err(S3Error::not_implemented(format!("the parameter {name} of {:?} is", self.op)));
        }
        if let Some(name) = UNSUPPORTED_HEADERS.iter().find(|name| self.headers.contains_key(**name)) {
            return Err(S3Error::not_implemented(format!("the header {name} is")));
        }
        let chunked = self.header("x-amz-content-sha256").is_some_and(|hash| hash.starts_with("STREAMING-"));
        if chunked || self.header("content-encoding").is_some_and(|coding| coding.contains("aws-chunked")) {
            return Err(S3Error::not_implemented("aws-chunked bodies are"));
        }
        Ok(())
    }
}

fn operation(method: &Method, is_bucket: bool, query: &BTreeMap<String, String>) -> Op {
    let has = |name: &str| query.contains_key(name);
    match (method, is_bucket) {
        (&Method::HEAD, true) => Op::HeadBucket,
        (&Method::PUT, true) => Op::CreateBucket,
        (&Method::GET, true) if query.get("list-type").is_some_and(|t| t == "2") => Op::ListObjects,
        (&Method::GET, true) if has("location") => Op::GetBucketLocation,
        (&Method::POST, true) if has("delete") => Op::DeleteObjects,
        (&Method::HEAD, false) => Op::HeadObject,
        (&Method::GET, false) if has("uploadId") => Op::ListParts,
        (&Method::GET, false) => Op::GetObject,
        (&Method::PUT, false) if has("uploadId") && has("partNumber") => Op::UploadPart,
        (&Method::PUT, false) => Op::PutObject,
        (&Method::DELETE, false) if has("uploadId") => Op::AbortMultipartUpload,
        (&Method::DELETE, false) => Op::DeleteObject,
        (&Method::POST, false) if has("uploads") => Op::CreateMultipartUpload,
        (&Method::POST, false) if has("uploadId") => Op::CompleteMultipartUpload,
        _ => Op::Unknown,
    }
}

fn known_parameters(op: Op) -> &'static [&'static str] {
    match op {
        Op::GetBucketLocation => &["location"],
        Op::ListObjects => &[
            "list-type",
            "prefix",
            "delimiter",
            "start-after",
            "continuation-token",
            "max-keys",
            "encoding-type",
            "fetch-owner",
        ],
        Op::DeleteObjects => &["delete"],
        Op::CreateMultipartUpload => &["uploads"],
        Op::UploadPart => &["partNumber", "uploadId"],
        Op::CompleteMultipartUpload | Op::AbortMultipartUpload => &["uploadId"],
        Op::ListParts => &["uploadId", "max-parts", "part-number-marker"],
        Op::CreateBucket
        | Op::HeadBucket
        | Op::GetObject
        | Op::HeadObject
        | Op::PutObject
        | Op::DeleteObject
        | Op::Unknown => &[],
    }
}
