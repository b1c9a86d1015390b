//! Responses: statuses, headers and bodies, including truncated and corrupt bodies.

use std::io;

use bytes::{Bytes, BytesMut};
use futures::{StreamExt, stream};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::Frame;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{HeaderMap, Response, StatusCode};

use super::error::S3Error;
use super::xml;

pub(super) type Body = UnsyncBoxBody<Bytes, io::Error>;

/// A response as plain data, before it is sent.
#[derive(Clone, Debug)]
pub(super) struct S3Response {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// Length at which the body is cut off; `None` to send all of it.
    cut_at: Option<usize>,
}

impl S3Response {
    pub(super) fn new(status: StatusCode) -> S3Response {
        S3Response { status, headers: HeaderMap::new(), body: Bytes::new(), cut_at: None }
    }

    pub(super) fn xml(body: Bytes) -> S3Response {
        S3Response::new(StatusCode::OK).with(CONTENT_TYPE, "application/xml").with_body(body)
    }

    pub(super) fn with(mut self, name: HeaderName, value: impl AsRef<str>) -> S3Response {
        let value = HeaderValue::from_str(value.as_ref()).expect("the fake's own headers are ASCII");
        self.headers.insert(name, value);
        self
    }

    pub(super) fn with_body(mut self, body: Bytes) -> S3Response {
        self.headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        self.body = body;
        self
    }

    /// Cuts the body off after `n_bytes` but keeps the announced length.
    pub(super) fn truncate(&mut self, n_bytes: usize) {
        self.cut_at = Some(n_bytes).filter(|n| *n < self.body.len());
    }

    /// Flips the bits of the byte in the middle of the body.
    pub(super) fn corrupt(&mut self) {
        let mut body = BytesMut::from(self.body.as_ref());
        let middle = body.len() / 2;
        if let Some(byte) = body.get_mut(middle) {
            *byte ^= 0xff;
        }
        self.body = body.freeze();
    }

    pub(super) fn into_response(self) -> Response<Body> {
        let body = match self.cut_at {
            None => Full::new(self.body).map_err(|never| match never {}).boxed_unsync(),
            Some(n_bytes) => cut_body(self.body.slice(..n_bytes)),
        };
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response
    }
}

impl From<S3Error> for S3Response {
    fn from(error: S3Error) -> S3Response {
        let body = xml::write_error(&error);
        S3Response::new(error.status).with(CONTENT_TYPE, "application/xml").with_body(body)
    }
}

/// A body that sends `start` and then closes the connection.
fn cut_body(start: Bytes) -> Body {
    let end = async {
        // The connection flushes its buffer when the body is not ready.
        tokio::task::yield_now().await;
        Err(io::Error::other("the body is cut off by an injected fault"))
    };
    StreamBody::new(stream::iter([Ok(Frame::data(start))]).chain(stream::once(end))).boxed_unsync()
}
