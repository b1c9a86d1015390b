//! A video's bytes, for players: whole or in ranges, never in memory. Where only the bucket has it, players are
//! sent there.

use std::io::SeekFrom;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ::jobs::bucket::BulkTransfer;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG,
    LAST_MODIFIED, LOCATION, RANGE,
};
use axum::http::response::Builder;
use axum::http::{HeaderMap, Method, Response, StatusCode};
use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;

use super::conditions::{Verdict, Version};
use super::extract::VideoId;
use super::problem::{Answer, ErrorBody, Problem, ValidationBody};
use super::range::{Wanted, content_range, wanted};
use super::state::App;
use client::videos;

/// Bytes read at a time.
const BUFFER: usize = 256 << 10;
/// How long a presigned address is good for.
const VALID: Duration = Duration::from_secs(6 * 3600);
/// Between the parts of an answer with several ranges.
const BOUNDARY: &str = "courtside-6f2c1b0e9a7d4c35";
/// What RFC 8187 §3.2.1 lets stand.
const ATTR_CHAR: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_');

/// Plays a video.
#[utoipa::path(
    get, path = "/api/videos/{video_id}/stream", operation_id = "stream_video", tag = "videos",
    params(
        ("video_id" = i64, Path, description = "The video"),
        ("Range" = Option<String>, Header, description = "`bytes=0-499`, RFC 9110 §14"),
    ),
    responses(
        (status = 200, description = "The whole video", body = [u8], content_type = "video/*"),
        (status = 206, description = "The ranges that were asked for", body = [u8], content_type = "video/*"),
        (status = 302, description = "Only the bucket has it: an address that is good for six hours"),
        (status = 304, description = "The client has this version"),
        (status = 404, description = "There is no such video, or its file is gone", body = ErrorBody),
        (status = 412, description = "The client wants another version", body = ErrorBody),
        (status = 416, description = "Nothing of these ranges is there", body = ErrorBody),
        (status = 422, description = "That is no number", body = ValidationBody),
    )
)]
pub(super) async fn stream(
    State(app): State<App>,
    VideoId(id): VideoId,
    method: Method,
    headers: HeaderMap,
) -> Answer<Response<Body>> {
    let video = app.library(move |_, library| videos::known(library, id)).await?;
    let path = PathBuf::from(&video.file_path);
    if let Some(file) = open(&path).await? {
        return answer(file, &path, &method, &headers).await;
    }
    let Some(key) = video.r2_key else { return Err(gone(id)) };
    match in_bucket(&app, &key).await? {
        Some(Elsewhere::Address(address)) => {
            let found = Response::builder().status(StatusCode::FOUND).header(LOCATION, address);
            finish(found.header(CACHE_CONTROL, "no-store"), Body::empty())
        }
        Some(Elsewhere::File(copy)) => match open(&copy).await? {
            Some(file) => answer(file, &path, &method, &headers).await,
            None => Err(gone(id)),
        },
        None => Err(gone(id)),
    }
}

fn gone(id: i64) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, format!("The file of video {id} is gone, and no bucket has it"))
}

/// Opens a regular file; `None` if there is none.
async fn open(path: &Path) -> Answer<Option<(File, std::fs::Metadata)>> {
    // Looked at before it is opened: opening a pipe would wait.
    match tokio::fs::metadata(path).await {
        Ok(meta) if meta.is_file() => {}
        Ok(_) => return Ok(None),
        Err(error) if is_missing(&error) => return Ok(None),
        Err(error) => return Err(error.into()),
    }
    match File::open(path).await {
        Ok(file) => {
            let meta = file.metadata().await?;
            Ok(Some((file, meta)))
        }
        Err(error) if is_missing(&error) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn is_missing(error: &std::io::Error) -> bool {
    use std::io::ErrorKind as K;
    matches!(error.kind(), K::NotFound | K::NotADirectory | K::InvalidInput)
}

/// Where the bucket has a video.
enum Elsewhere {
    Address(String),
    File(PathBuf),
}

async fn in_bucket(app: &App, key: &str) -> Answer<Option<Elsewhere>> {
    let mut trouble = None;
    for target in app.client.places() {
        let bucket = app.client.bucket(target)?;
        let known = |e: ::jobs::Error| Problem::from(client::failure::Failure::from(e));
        if let BulkTransfer::Folder(folder) = bucket.bulk_transfer() {
            let file = folder.file(key).map_err(known)?;
            if tokio::fs::try_exists(&file).await.unwrap_or(false) {
                return Ok(Some(Elsewhere::File(file)));
            }
            continue;
        }
        match bucket.head(key).await.map_err(known) {
            Ok(None) => continue,
            Ok(Some(_)) => {}
            // The other place may have it.
            Err(problem) => {
                trouble = Some(problem);
                continue;
            }
        }
        if let Some(address) = bucket.presigned(key, VALID).await.map_err(known)? {
            return Ok(Some(Elsewhere::Address(address)));
        }
    }
    trouble.map_or(Ok(None), Err)
}

async fn answer(
    (file, meta): (File, std::fs::Metadata),
    name: &Path,
    method: &Method,
    headers: &HeaderMap,
) -> Answer<Response<Body>> {
    let (size, version) = (meta.len(), Version::of(&meta));
    let head = Response::builder()
        .header(ACCEPT_RANGES, "bytes")
        .header(ETAG, &version.etag)
        .header(LAST_MODIFIED, httpdate::fmt_http_date(version.modified))
        .header(CACHE_CONTROL, "private, no-cache")
        .header(CONTENT_DISPOSITION, disposition(name));
    match version.judge(headers) {
        Verdict::Go => {}
        Verdict::NotModified => return finish(head.status(StatusCode::NOT_MODIFIED), Body::empty()),
        Verdict::Failed => {
            return Err(Problem::new(StatusCode::PRECONDITION_FAILED, "The video is another version"));
        }
    }
    // Ranges are defined for GET alone (§14.2).
    let header = headers.get(RANGE).and_then(|value| value.to_str().ok());
    let header = header.filter(|_| method == Method::GET && version.may_be_partial(headers));
    match wanted(header, size) {
        Wanted::Whole => whole(head, file, size, name, method),
        Wanted::Parts(parts) => partial(head, file, size, &parts, name).await,
        Wanted::Nothing => {
            let range = format!("bytes */{size}").parse().map_err(Problem::internal)?;
            let detail = format!("The video has {size} bytes; nothing of these ranges is there");
            Err(Problem::new(StatusCode::RANGE_NOT_SATISFIABLE, detail).with(CONTENT_RANGE, range))
        }
    }
}

fn whole(head: Builder, file: File, size: u64, name: &Path, method: &Method) -> Answer<Response<Body>> {
    let head = head.header(CONTENT_TYPE, media_type(name)).header(CONTENT_LENGTH, size);
    if method == Method::HEAD {
        return finish(head, Body::empty());
    }
    // What is appended meanwhile is not part of what was announced.
    finish(head, Body::from_stream(ReaderStream::with_capacity(file.take(size), BUFFER)))
}

async fn partial(
    head: Builder,
    mut file: File,
    size: u64,
    parts: &[Range<u64>],
    name: &Path,
) -> Answer<Response<Body>> {
    let head = head.status(StatusCode::PARTIAL_CONTENT);
    if let [part] = parts {
        file.seek(SeekFrom::Start(part.start)).await?;
        let length = part.end - part.start;
        let head = head
            .header(CONTENT_TYPE, media_type(name))
            .header(CONTENT_RANGE, content_range(part, size))
            .header(CONTENT_LENGTH, length);
        return finish(head, Body::from_stream(ReaderStream::with_capacity(file.take(length), BUFFER)));
    }
    let heads: Vec<String> = parts.iter().map(|part| part_head(part, size, name)).collect();
    let end = format!("\r\n--{BOUNDARY}--\r\n");
    let length: u64 =
        heads.iter().zip(parts).map(|(head, part)| head.len() as u64 + part.end - part.start).sum();
    let head = head
        .header(CONTENT_TYPE, format!("multipart/byteranges; boundary={BOUNDARY}"))
        .header(CONTENT_LENGTH, length + end.len() as u64);
    let mut pieces = Vec::new();
    for (head, part) in heads.into_iter().zip(parts) {
        pieces.push(Piece::Text(head.into()));
        pieces.push(Piece::Bytes(file.try_clone().await?, part.clone()));
    }
    pieces.push(Piece::Text(end.into()));
    finish(head, Body::from_stream(joined(pieces)))
}

/// What stands before one of several ranges (RFC 9110 §14.6).
fn part_head(part: &Range<u64>, size: u64, name: &Path) -> String {
    let range = content_range(part, size);
    format!("\r\n--{BOUNDARY}\r\nContent-Type: {}\r\nContent-Range: {range}\r\n\r\n", media_type(name))
}

/// A piece of an answer with several ranges.
enum Piece {
    Text(Bytes),
    Bytes(File, Range<u64>),
}

/// One piece after the other; the files share one position, so each is read to its end first.
fn joined(pieces: Vec<Piece>) -> impl Stream<Item = std::io::Result<Bytes>> {
    futures::stream::iter(pieces).map(Ok).and_then(bytes_of).try_flatten()
}

async fn bytes_of(
    piece: Piece,
) -> std::io::Result<futures::stream::BoxStream<'static, std::io::Result<Bytes>>> {
    match piece {
        Piece::Text(text) => Ok(futures::stream::once(async { Ok(text) }).boxed()),
        Piece::Bytes(mut file, part) => {
            file.seek(SeekFrom::Start(part.start)).await?;
            Ok(ReaderStream::with_capacity(file.take(part.end - part.start), BUFFER).boxed())
        }
    }
}

fn finish(head: Builder, body: Body) -> Answer<Response<Body>> {
    head.body(body).map_err(Problem::internal)
}

/// By the extension; never a type that a browser would run.
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

/// `inline`, with the file's name (RFC 6266, RFC 8187). Every byte that could end the header is encoded.
fn disposition(name: &Path) -> String {
    let name = name.file_name().unwrap_or_default().to_string_lossy();
    format!("inline; filename*=UTF-8''{}", utf8_percent_encode(&name, ATTR_CHAR))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_breaks_a_header() {
        let disposition = disposition(Path::new("/v/a\r\nSet-Cookie: x=\"1\";é.mp4"));
        assert_eq!(disposition, "inline; filename*=UTF-8''a%0D%0ASet-Cookie%3A%20x%3D%221%22%3B%C3%A9.mp4");
    }

    #[test]
    fn nothing_is_served_as_a_page() {
        for name in ["a.html", "a.svg", "a.js", "a", "a.xhtml", "a.pdf"] {
            assert_eq!(media_type(Path::new(name)), "application/octet-stream", "{name}");
        }
        assert_eq!(media_type(Path::new("A.MP4")), "video/mp4");
    }
}
