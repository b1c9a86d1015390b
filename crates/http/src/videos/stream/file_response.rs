//! The response with a file's bytes: complete, one range, or several ranges as `multipart/byteranges`.

use std::fs::Metadata;
use std::io::SeekFrom;
use std::ops::Range;
use std::path::Path;

use axum::body::Body;
use axum::http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG,
    LAST_MODIFIED, RANGE,
};
use axum::http::response::Builder;
use axum::http::{HeaderMap, Method, Response, StatusCode};
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt, TryStreamExt};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;

use super::byte_ranges::{RequestedRanges, content_range, parse_ranges};
use super::preconditions::{FileVersion, Precondition};
use crate::api_error::{ApiError, ApiResult};

/// Bytes read from the file at a time.
const READ_BUFFER_BYTES: usize = 256 << 10;
/// Separates the parts of a response with several ranges.
const BOUNDARY: &str = "courtside-6f2c1b0e9a7d4c35";
/// The characters that RFC 8187 §3.2.1 leaves unencoded, or fewer.
const ATTR_CHAR: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_');

/// An open file with its metadata.
pub(super) struct OpenFile {
    pub(super) file: File,
    pub(super) meta: Metadata,
}

/// Responds with the file, or the part that the request's headers select. `name` gives the media type and the
/// file name for the client.
pub(super) async fn file_response(
    OpenFile { file, meta }: OpenFile,
    name: &Path,
    method: &Method,
    headers: &HeaderMap,
) -> ApiResult<Response<Body>> {
    let (size, version) = (meta.len(), FileVersion::new(&meta));
    let head = Response::builder()
        .header(ACCEPT_RANGES, "bytes")
        .header(ETAG, &version.etag)
        .header(LAST_MODIFIED, httpdate::fmt_http_date(version.modified))
        .header(CACHE_CONTROL, "private, no-cache")
        .header(CONTENT_DISPOSITION, content_disposition("inline", name));
    match version.check(headers) {
        Precondition::Passed => {}
        Precondition::NotModified => {
            return with_body(head.status(StatusCode::NOT_MODIFIED), Body::empty());
        }
        Precondition::Failed => {
            return Err(ApiError::new(StatusCode::PRECONDITION_FAILED, "The file is another version"));
        }
    }
    // Only GET has ranges (§14.2).
    let header = headers.get(RANGE).and_then(|value| value.to_str().ok());
    let header = header.filter(|_| method == Method::GET && version.allows_range(headers));
    match parse_ranges(header, size) {
        RequestedRanges::Full => complete(head, file, size, name, method),
        RequestedRanges::Ranges(ranges) => match ranges.as_slice() {
            [range] => one_range(head, file, size, range, name).await,
            ranges => several_ranges(head, file, size, ranges, name).await,
        },
        RequestedRanges::Unsatisfiable => {
            let range = format!("bytes */{size}").parse().map_err(ApiError::internal)?;
            let detail = format!("The video has {size} bytes; all requested ranges are outside");
            Err(ApiError::new(StatusCode::RANGE_NOT_SATISFIABLE, detail).with_header(CONTENT_RANGE, range))
        }
    }
}

fn complete(head: Builder, file: File, size: u64, name: &Path, method: &Method) -> ApiResult<Response<Body>> {
    let head = head.header(CONTENT_TYPE, media_type(name)).header(CONTENT_LENGTH, size);
    if method == Method::HEAD {
        return with_body(head, Body::empty());
    }
    // Limited to the announced length, because the file may grow while it is sent.
    with_body(head, Body::from_stream(ReaderStream::with_capacity(file.take(size), READ_BUFFER_BYTES)))
}

async fn one_range(
    head: Builder,
    mut file: File,
    size: u64,
    range: &Range<u64>,
    name: &Path,
) -> ApiResult<Response<Body>> {
    file.seek(SeekFrom::Start(range.start)).await?;
    let length = range.end - range.start;
    let head = head
        .status(StatusCode::PARTIAL_CONTENT)
        .header(CONTENT_TYPE, media_type(name))
        .header(CONTENT_RANGE, content_range(range, size))
        .header(CONTENT_LENGTH, length);
    with_body(head, Body::from_stream(ReaderStream::with_capacity(file.take(length), READ_BUFFER_BYTES)))
}

async fn several_ranges(
    head: Builder,
    file: File,
    size: u64,
    ranges: &[Range<u64>],
    name: &Path,
) -> ApiResult<Response<Body>> {
    let part_heads: Vec<String> = ranges.iter().map(|range| part_head(range, size, name)).collect();
    let end = format!("\r\n--{BOUNDARY}--\r\n");
    let length: u64 = part_heads
        .iter()
        .zip(ranges)
        .map(|(part_head, range)| part_head.len() as u64 + range.end - range.start)
        .sum();
    let head = head
        .status(StatusCode::PARTIAL_CONTENT)
        .header(CONTENT_TYPE, format!("multipart/byteranges; boundary={BOUNDARY}"))
        .header(CONTENT_LENGTH, length + end.len() as u64);
    let mut pieces = Vec::new();
    for (part_head, range) in part_heads.into_iter().zip(ranges) {
        pieces.push(Piece::Text(part_head.into()));
        pieces.push(Piece::FileRange(file.try_clone().await?, range.clone()));
    }
    pieces.push(Piece::Text(end.into()));
    with_body(head, Body::from_stream(concatenated(pieces)))
}

/// The head of one part of a multipart response (RFC 9110 §14.6).
fn part_head(range: &Range<u64>, size: u64, name: &Path) -> String {
    let range = content_range(range, size);
    format!("\r\n--{BOUNDARY}\r\nContent-Type: {}\r\nContent-Range: {range}\r\n\r\n", media_type(name))
}

/// A piece of a multipart response.
enum Piece {
    Text(Bytes),
    FileRange(File, Range<u64>),
}

/// The pieces in order. The cloned files share one position, so each piece is read to its end before the next.
fn concatenated(pieces: Vec<Piece>) -> impl Stream<Item = std::io::Result<Bytes>> {
    futures::stream::iter(pieces).map(Ok).and_then(piece_bytes).try_flatten()
}

async fn piece_bytes(piece: Piece) -> std::io::Result<BoxStream<'static, std::io::Result<Bytes>>> {
    match piece {
        Piece::Text(text) => Ok(futures::stream::once(async { Ok(text) }).boxed()),
        Piece::FileRange(mut file, range) => {
            file.seek(SeekFrom::Start(range.start)).await?;
            let bytes = file.take(range.end - range.start);
            Ok(ReaderStream::with_capacity(bytes, READ_BUFFER_BYTES).boxed())
        }
    }
}

/// Finishes a response.
///
/// # Errors
/// 500 when a header is invalid.
pub(crate) fn with_body(head: Builder, body: Body) -> ApiResult<Response<Body>> {
    head.body(body).map_err(ApiError::internal)
}

/// The media type for a file's extension. Never one that a browser would execute.
fn media_type(name: &Path) -> &'static str {
    let extension = name.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase();
    match extension.as_str() {
        "mp4" | "m4v" => "video/mp4",
        "mov" | "qt" => "video/quicktime",
        "mkv" => "video/x-matroska",
        "webm" => "video/webm",
        "avi" => "video/x-msvideo",
        "ts" | "mts" | "m2ts" => "video/mp2t",
        "mpg" | "mpeg" => "video/mpeg",
        "wmv" => "video/x-ms-wmv",
        "flv" => "video/x-flv",
        "ogv" => "video/ogg",
        "3gp" => "video/3gpp",
        _ => "application/octet-stream",
    }
}

/// `inline` or `attachment` with the file's name (RFC 6266, RFC 8187). Every byte that could end the header is encoded.
pub(crate) fn content_disposition(kind: &str, name: &Path) -> String {
    let name = name.file_name().unwrap_or_default().to_string_lossy();
    format!("{kind}; filename*=UTF-8''{}", utf8_percent_encode(&name, ATTR_CHAR))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodes_file_names_in_the_header() {
        let disposition = content_disposition("inline", Path::new("/v/a\r\nSet-Cookie: x=\"1\";é.mp4"));
        assert_eq!(disposition, "inline; filename*=UTF-8''a%0D%0ASet-Cookie%3A%20x%3D%221%22%3B%C3%A9.mp4");
    }

    #[test]
    fn never_serves_an_executable_media_type() {
        for name in ["a.html", "a.svg", "a.js", "a", "a.xhtml", "a.pdf"] {
            assert_eq!(media_type(Path::new(name)), "application/octet-stream", "{name}");
        }
        assert_eq!(media_type(Path::new("A.MP4")), "video/mp4");
    }
}
