//! Videos of the library: adding a file, and finding out whether it is still the one that was added.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::UNIX_EPOCH;

use jobs::transfer::FileFacts as Content;
use store::{FileFacts, Library, NewVideo, Video as Row};
use video::{Limits, Tools, Video};

use crate::failure::{Failure, Kind, Outcome};
use crate::whole_file::cannot;

/// Adds a file, or finds it if it was added before.
pub fn add(library: &mut Library, file: &Path) -> Outcome<Row> {
    let path = file.canonicalize().map_err(|e| cannot("open", file, e))?;
    if let Some(row) = path.to_str().map(|p| library.video_by_path(p)).transpose()?.flatten() {
        return refresh(library, row);
    }
    let mut new = NewVideo::at(path.clone());
    let video = open(&path)?;
    new.duration_seconds = Some(video.duration_s());
    new.fps = Some(video.fps());
    new.resolution = Some((video.width(), video.height()));
    new.n_frames = Some(video.n_frames() as i64);
    new.file = on_disk(&path)?;
    Ok(library.add_video(&new)?)
}

/// Reads a file's facts anew when it changed on purpose.
fn refresh(library: &mut Library, row: Row) -> Outcome<Row> {
    let path = PathBuf::from(&row.file_path);
    if same_file(&row.file, &on_disk(&path)?) && row.n_frames.is_some() {
        return Ok(row);
    }
    let video = open(&path)?;
    library.set_video_file(row.id, Some(video.n_frames() as i64), &on_disk(&path)?)?;
    known(library, row.id)
}

/// A video of the library by its number.
pub fn known(library: &Library, id: i64) -> Outcome<Row> {
    library.video(id)?.ok_or_else(|| {
        Failure::new(Kind::Failed, store::StoreError::UnknownVideo(id))
            .hint("`courtside videos list` shows the videos; `courtside videos add FILE` adds one")
    })
}

/// Opens the file of a video that must be what it was when it was added.
///
/// # Errors
/// If it vanished, changed, or cannot be decoded.
pub fn open_unchanged(library: &mut Library, row: &Row) -> Outcome<(Row, Video)> {
    let path = PathBuf::from(&row.file_path);
    if !path.exists() {
        let message = format!("video {}: {} is not there any more", row.id, path.display());
        return Err(Failure::message(Kind::Failed, message).hint(
            "put it back (an external disk?), or add it from where it is with `courtside videos add FILE`",
        ));
    }
    let now = on_disk(&path)?;
    let video = open(&path)?;
    let n_frames = video.n_frames() as i64;
    if row.file.size_bytes.is_none() {
        // A row of the app: what it means is what is there now.
        library.set_video_file(row.id, Some(n_frames), &now)?;
        return Ok((known(library, row.id)?, video));
    }
    if same_file(&row.file, &now) {
        return Ok((row.clone(), video));
    }
    let same_content = row.file.size_bytes == now.size_bytes
        && match &row.file.sha256 {
            Some(sha256) => Content::of(&path)?.sha256 == *sha256,
            None => row.n_frames == Some(n_frames),
        };
    if !same_content {
        let message = format!("video {}: {} changed since it was added", row.id, path.display());
        let hint = format!("`courtside videos add {}` takes it as it is now", path.display());
        return Err(Failure::message(Kind::Failed, message).hint(hint));
    }
    library.set_video_file(row.id, Some(n_frames), &FileFacts { sha256: row.file.sha256.clone(), ..now })?;
    Ok((known(library, row.id)?, video))
}

fn open(path: &Path) -> Outcome<Video> {
    Ok(Video::open(tools()?, path, &Limits::default())?)
}

/// The programs that read videos. They are looked for once: that takes two runs of them.
fn tools() -> Outcome<&'static Tools> {
    static FOUND: OnceLock<Tools> = OnceLock::new();
    match FOUND.get() {
        Some(tools) => Ok(tools),
        None => {
            let tools = Tools::find()?;
            Ok(FOUND.get_or_init(|| tools))
        }
    }
}

fn same_file(known: &FileFacts, now: &FileFacts) -> bool {
    known.size_bytes == now.size_bytes && known.modified_ns == now.modified_ns
}

fn on_disk(path: &Path) -> Outcome<FileFacts> {
    let meta = path.metadata().map_err(|e| cannot("read", path, e))?;
    let modified = meta.modified().ok().and_then(|t| t.duration_since(UNIX_EPOCH).ok());
    Ok(FileFacts {
        size_bytes: Some(meta.len() as i64),
        modified_ns: modified.map(|d| d.as_nanos() as i64),
        sha256: None,
    })
}
