//! Videos of the library: adding a file, and finding out whether it is still the one that was added.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::UNIX_EPOCH;

use jobs::transfer::FileDigest as Content;
use store::{FileFacts, JobStatus, Library, NewVideo, ProcessingStatus, Video as Row};
use video::{Limits, Tools, Video};

use crate::atomic_file::cannot;
use crate::failure::{Failure, Kind, Outcome};

/// Adds a file, or finds it if it was added before. Another film under the name of one that was added is another
/// video: detections of two games never meet in one.
pub fn add(library: &mut Library, file: &Path) -> Outcome<Row> {
    let path = file.canonicalize().map_err(|e| cannot("open", file, e))?;
    if let Some(row) = path.to_str().map(|p| library.video_by_path(p)).transpose()?.flatten() {
        if same_file(&row.file, &on_disk(&path)?) && row.n_frames.is_some() {
            return Ok(row);
        }
        if let (row, Some(_)) = compare(library, &row, &path)? {
            return Ok(row);
        }
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
        return Err(Failure::msg(Kind::Failed, message).hint(
            "put it back (an external disk?), or add it from where it is with `courtside videos add FILE`",
        ));
    }
    match compare(library, row, &path)? {
        (row, Some(video)) => Ok((row, video)),
        (row, None) => {
            let message = format!("video {}: {} changed since it was added", row.id, path.display());
            let hint =
                format!("`courtside videos add {}` adds what it is now as another video", path.display());
            Err(Failure::msg(Kind::Failed, message).hint(hint))
        }
    }
}

/// Opens a file and compares it with what is known of it, which is brought up to date; `None` if it is another
/// film now.
fn compare(library: &mut Library, row: &Row, path: &Path) -> Outcome<(Row, Option<Video>)> {
    let now = on_disk(path)?;
    let video = open(path)?;
    let n_frames = video.n_frames() as i64;
    if same_file(&row.file, &now) && row.n_frames.is_some() {
        return Ok((row.clone(), Some(video)));
    }
    // A row of the app knows nothing of its file: what it means is what is there now.
    let is_unknown = row.file.size_bytes.is_none();
    let same_content = row.file.size_bytes == now.size_bytes
        && match &row.file.sha256 {
            Some(sha256) => Content::of(path)?.sha256 == *sha256,
            None => row.n_frames == Some(n_frames),
        };
    if !is_unknown && !same_content {
        return Ok((row.clone(), None));
    }
    library.set_video_file(row.id, Some(n_frames), &FileFacts { sha256: row.file.sha256.clone(), ..now })?;
    Ok((known(library, row.id)?, Some(video)))
}

/// Notes how far a video is, by a job of it. One that was processed once stays so, unless a job is at it.
pub fn note_processing(library: &mut Library, id: i64, job: JobStatus) -> Outcome<()> {
    let Some(video) = library.video(id)? else { return Ok(()) };
    let status = match job {
        JobStatus::Processing => ProcessingStatus::Processing,
        // Not before the import.
        JobStatus::Completed => return Ok(()),
        _ if video.processed => ProcessingStatus::Completed,
        JobStatus::Failed => ProcessingStatus::Failed,
        JobStatus::Pending | JobStatus::Cancelled => ProcessingStatus::Pending,
    };
    if status != video.processing_status {
        library.set_processing(id, status)?;
    }
    Ok(())
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
