//! A video on its way in: straight to the disk, in pieces, under a temporary name in the video folder; it gets
//! its own name when all of it is there and durable, and never another file's. Whatever ends it before leaves
//! nothing.

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::extract::multipart::{Field, MultipartError};
use axum::extract::{DefaultBodyLimit, FromRequest, Multipart, Request};
use axum::http::StatusCode;
use axum::http::header::CONTENT_LENGTH;
use bytes::Bytes;
use tempfile::NamedTempFile;
use tokio::sync::mpsc;

use super::problem::{Answer, Issue, Problem};
use super::shapes::VideoBody;
use super::state::App;
use super::videos::no_video;
use client::atomic_file::cannot;
use client::failure::Outcome;
use client::videos;

/// How long a client may send nothing.
const SILENCE: Duration = Duration::from_secs(60);
/// What a form may have beside the video.
const FORM_BYTES: u64 = 64 << 10;
/// Pieces that wait for the disk.
const PIECES_AHEAD: usize = 16;
/// Longest file name, in bytes: with a number behind it, file systems take it.
const MAX_NAME_BYTES: usize = 180;
/// Names tried for a file whose name is taken.
const MAX_NUMBER: u32 = 10_000;
/// Age at which the writer of a temporary file is certainly dead.
const STALE: Duration = Duration::from_secs(24 * 3600);
const PREFIX: &str = ".courtside-upload-";

/// Receives the field `file` of a form, and adds it to the library.
pub(super) async fn receive(app: &App, mut request: Request) -> Answer<VideoBody> {
    let limit = app.options.max_upload_bytes;
    let announced = request.headers().get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|n| n > limit.saturating_add(FORM_BYTES)) {
        return Err(too_large(limit));
    }
    let most = usize::try_from(limit.saturating_add(FORM_BYTES)).unwrap_or(usize::MAX);
    DefaultBodyLimit::apply(DefaultBodyLimit::max(most), &mut request);
    let mut form = Multipart::from_request(request, app).await.map_err(|rejection| {
        Problem::new(StatusCode::BAD_REQUEST, format!("The form cannot be read: {rejection}"))
    })?;
    let mut received = None;
    while let Some(mut field) = in_time(limit, form.next_field()).await? {
        if field.name() == Some("file") && received.is_none() {
            let name = file_name(field.file_name().unwrap_or_default());
            received = Some((to_disk(app, &mut field, limit).await?, name));
        } else {
            while in_time(limit, field.chunk()).await?.is_some() {}
        }
    }
    let Some((file, name)) = received else {
        return Err(Problem::invalid(vec![Issue::new("body", "file", "missing", "Field required")]));
    };
    let added = app.at_desk(move |client, library| {
        let file = keep(file, &client.settings.video_folder, &name)?;
        videos::add(library, &file).inspect_err(|_| {
            // What is no video has no place here.
            let _ = std::fs::remove_file(&file);
        })
    });
    added.await.map(VideoBody::from).map_err(|failure| no_video(failure, "file"))
}

/// Writes a field into a temporary file of the video folder.
async fn to_disk(app: &App, field: &mut Field<'_>, limit: u64) -> Answer<NamedTempFile> {
    let folder = app.client.settings.video_folder.clone();
    let (pieces, incoming) = mpsc::channel::<Bytes>(PIECES_AHEAD);
    let writer = tokio::task::spawn_blocking(move || write(&folder, incoming));
    let mut n_bytes = 0;
    while let Some(piece) = in_time(limit, field.chunk()).await? {
        n_bytes += piece.len() as u64;
        if n_bytes > limit {
            return Err(too_large(limit));
        }
        // The writer is gone only if it failed, and then says why.
        if pieces.send(piece).await.is_err() {
            break;
        }
    }
    drop(pieces);
    let file = writer.await??;
    if n_bytes == 0 {
        return Err(Problem::invalid(vec![Issue::new("body", "file", "value_error", "the file is empty")]));
    }
    Ok(file)
}

/// Writes pieces until there are no more. If the sender gave up, the file is forgotten with the answer.
fn write(folder: &Path, mut pieces: mpsc::Receiver<Bytes>) -> Outcome<NamedTempFile> {
    std::fs::create_dir_all(folder).map_err(|e| cannot("create", folder, e))?;
    let mut builder = tempfile::Builder::new();
    builder.prefix(PREFIX).suffix(".partial");
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut file = builder.tempfile_in(folder).map_err(|e| cannot("write in", folder, e))?;
    while let Some(piece) = pieces.blocking_recv() {
        file.write_all(&piece).map_err(|e| cannot("write", file.path(), e))?;
    }
    file.as_file().sync_all().map_err(|e| cannot("write", file.path(), e))?;
    Ok(file)
}

/// Gives a file its name, or the next one that is free.
fn keep(mut file: NamedTempFile, folder: &Path, name: &str) -> Outcome<PathBuf> {
    for number in 1..MAX_NUMBER {
        let target = folder.join(numbered(name, number));
        match file.persist_noclobber(&target) {
            Ok(_) => {
                // A file system that cannot is no reason to fail.
                let _ = std::fs::File::open(folder).and_then(|folder| folder.sync_all());
                return Ok(target);
            }
            Err(taken) if taken.error.kind() == ErrorKind::AlreadyExists => file = taken.file,
            Err(failed) => return Err(cannot("write", &target, failed.error)),
        }
    }
    Err(cannot("write", &folder.join(name), ErrorKind::AlreadyExists.into()))
}

/// `game.mp4`, `game-2.mp4`, and so on.
fn numbered(name: &str, number: u32) -> String {
    match (number, name.rsplit_once('.')) {
        (1, _) => name.to_owned(),
        (n, Some((stem, extension))) => format!("{stem}-{n}.{extension}"),
        (n, None) => format!("{name}-{n}"),
    }
}

/// A client's name for a file, made harmless: no folders, nothing hidden, nothing that a shell or another file
/// system would stumble over.
fn file_name(given: &str) -> String {
    let last = given.rsplit(['/', '\\']).next().unwrap_or_default();
    let clean = |c: char| match c {
        c if c.is_control() => None,
        '<' | '>' | ':' | '"' | '|' | '?' | '*' | '%' | '#' | '$' | '`' => Some('_'),
        // Marks that turn text around in a listing.
        '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => None,
        c => Some(c),
    };
    let name: String = last.chars().filter_map(clean).collect();
    let name = name.trim().trim_start_matches(['.', '-', ' ']).trim_end_matches(['.', ' ']);
    let (stem, extension) = match name.rsplit_once('.') {
        Some((stem, extension)) if (1..=8).contains(&extension.len()) => (stem, extension),
        _ => (name, "mp4"),
    };
    let mut end = stem.len().min(MAX_NAME_BYTES);
    while !stem.is_char_boundary(end) {
        end -= 1;
    }
    let stem = stem.get(..end).filter(|stem| !stem.is_empty()).unwrap_or("video");
    format!("{stem}.{extension}")
}

/// Removes what uploads to a server that died left behind.
pub(super) fn sweep(folder: &Path) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let is_ours = entry.file_name().as_encoded_bytes().starts_with(PREFIX.as_bytes());
        let age =
            entry.metadata().and_then(|meta| meta.modified()).map(|at| at.elapsed().unwrap_or_default());
        if is_ours && age.is_ok_and(|age| age > STALE) {
            // Somebody else may sweep at the same time.
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// The next part of a form, unless the client falls silent.
async fn in_time<T>(limit: u64, next: impl Future<Output = Result<T, MultipartError>>) -> Answer<T> {
    match tokio::time::timeout(SILENCE, next).await {
        Ok(Ok(part)) => Ok(part),
        Ok(Err(error)) if error.status() == StatusCode::PAYLOAD_TOO_LARGE => Err(too_large(limit)),
        Ok(Err(error)) => {
            tracing::info!(%error, "an upload ended early");
            Err(Problem::new(StatusCode::BAD_REQUEST, "The form ended early, or is malformed"))
        }
        Err(_) => {
            let detail = format!("Nothing came for {} s", SILENCE.as_secs());
            Err(Problem::new(StatusCode::REQUEST_TIMEOUT, detail))
        }
    }
}

fn too_large(limit: u64) -> Problem {
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, format!("The video is larger than {limit} bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_are_made_harmless() {
        for (given, want) in [
            ("game.mp4", "game.mp4"),
            ("../../etc/cron.d/game.mkv", "game.mkv"),
            ("C:\\Users\\me\\final game.MOV", "final game.MOV"),
            ("", "video.mp4"),
            ("..", "video.mp4"),
            (".mp4", "mp4.mp4"),
            (".hidden.mp4", "hidden.mp4"),
            ("-rf.mp4", "rf.mp4"),
            ("a\r\nSet-Cookie: x.mp4", "aSet-Cookie_ x.mp4"),
            ("$(reboot)`.mp4", "_(reboot)_.mp4"),
            ("\u{202e}4pm.exe", "4pm.exe"),
            ("Finále č. 3.mp4", "Finále č. 3.mp4"),
            ("no extension", "no extension.mp4"),
            ("trailing dot.", "trailing dot.mp4"),
        ] {
            assert_eq!(file_name(given), want, "{given:?}");
        }
        let long = file_name(&format!("{}.mp4", "ž".repeat(300)));
        assert!(long.len() <= MAX_NAME_BYTES + 4 && long.ends_with("ž.mp4"), "{long}");
    }

    #[test]
    fn a_name_that_is_taken_gets_a_number() {
        let folder = tempfile::tempdir().unwrap();
        let add = |content: &str| {
            let mut file = NamedTempFile::new_in(folder.path()).unwrap();
            file.write_all(content.as_bytes()).unwrap();
            keep(file, folder.path(), "game.mp4").unwrap()
        };
        let (first, second) = (add("first"), add("second"));
        assert_eq!(first.file_name().unwrap(), "game.mp4");
        assert_eq!(second.file_name().unwrap(), "game-2.mp4");
        assert_eq!(std::fs::read(first).unwrap(), b"first");
    }
}
