//! Videos of the library: adding a file, and checking that it is still the file that was added.

mod bucket_copy;
mod content;
mod locate;
mod relink;
mod remove;
mod stored;

use std::path::Path;
use std::sync::OnceLock;
use std::time::UNIX_EPOCH;

use jobs::manifest::Manifest;
use jobs::transfer::FileDigest as Content;
use store::{FileFingerprint, JobStatus, Library, NewVideo, ProcessingStatus, Video as Row, VideoFilter};
use video::{Limits, Tools, Video};

use crate::atomic_file::cannot;
use crate::failure::{Failure, Kind, Outcome};
use crate::progress::Progress;
use crate::settings::Settings;
use crate::terminal::{notify, shell_word};

pub use bucket_copy::{BucketCopy, Fetched, fetch, find_in_bucket};
pub(crate) use content::{JobContent, Match};
pub use locate::{file_name, find_file, is_only_in_bucket, locate};
pub use remove::{n_detections, remove};
pub use stored::{add_hashed, find_stored};

/// Adds a video file to the library, or returns its row if it was added before. A video with the same content whose file
/// is gone is the one that was added before: it was moved here.
///
/// If the file at that path was replaced by other content, it is added as another video, so that detections of two
/// games never mix.
///
/// `stream` is the video stream to read, of a file with several: each is a video of its own. `None`: any that the library
/// has, or else the one that players show.
///
/// # Errors
/// If the file cannot be read as a video, or has no such stream.
pub fn add(settings: &Settings, library: &mut Library, file: &Path, stream: Option<u32>) -> Outcome<Row> {
    add_or_find(settings, library, file, stream).map(|(row, _)| row)
}

/// Like [`add`]. Also returns whether the library had the video already.
///
/// # Errors
/// Those of [`add`].
pub fn add_or_find(
    settings: &Settings,
    library: &mut Library,
    file: &Path,
    stream: Option<u32>,
) -> Outcome<(Row, bool)> {
    let path = file.canonicalize().map_err(|e| cannot("open", file, e))?;
    // Opened first, because the stream that players show may have been asked for by its number.
    let asked_for = stream.map(|stream| open(&path, Some(stream))).transpose()?;
    let wanted = asked_for.as_ref().map(Video::stream);
    if let Some(row) = relink::at_path(settings, library, &path, wanted)? {
        if is_same_file(&row.file, &file_facts(&path)?) && row.n_frames.is_some() {
            return Ok((row, true));
        }
        if let (row, Some(_)) = compare(library, &row, &path)? {
            return Ok((row, true));
        }
    }
    let video = asked_for.map_or_else(|| open(&path, None), Ok)?;
    video.check_decodable()?;
    if let Some(row) = relink::moved_to(settings, library, &path, wanted, &video)? {
        return Ok((row, true));
    }
    let mut new = NewVideo { stream: video.stream(), ..NewVideo::at(path.clone()) };
    video.warnings().iter().for_each(|warning| notify(format!("warning: {}: {warning}", file.display())));
    new.duration_seconds = Some(video.duration_s());
    new.fps = Some(video.fps());
    new.resolution = Some((video.width(), video.height()));
    new.n_frames = Some(video.n_frames() as i64);
    new.file = file_facts(&path)?;
    Ok((library.add_video(&new)?, false))
}

/// The video of the library that is this stream of a file, and the file opened with it. As [`add`], but adds nothing.
///
/// # Errors
/// If the file cannot be read, or has no such stream.
pub fn find_and_open(
    settings: &Settings,
    library: &Library,
    file: &Path,
    stream: Option<u32>,
) -> Outcome<(Option<Row>, Video)> {
    let path = file.canonicalize().map_err(|e| cannot("open", file, e))?;
    let asked_for = stream.map(|stream| open(&path, Some(stream))).transpose()?;
    let now = file_facts(&path)?;
    let row = relink::at_path(settings, library, &path, asked_for.as_ref().map(Video::stream))?;
    let row = row.filter(|row| is_same_file(&row.file, &now));
    let video = match asked_for {
        Some(video) => video,
        None => open(&path, row.as_ref().and_then(|row| row.stream))?,
    };
    Ok((row, video))
}

/// All videos of the library, newest first.
pub(crate) fn all(library: &Library) -> Outcome<Vec<Row>> {
    /// More than any library has.
    const MOST: i64 = 1 << 32;
    Ok(library.videos(VideoFilter::default(), 1, MOST)?.items)
}

/// Returns the library's row of a video.
///
/// # Errors
/// With [`store::StoreError::UnknownVideo`] as its cause if the library has no such video.
pub fn find(library: &Library, id: i64) -> Outcome<Row> {
    library.video(id)?.ok_or_else(|| {
        Failure::new(Kind::Failed, store::StoreError::UnknownVideo(id))
            .hint("run `courtside videos list` to list the videos, or `courtside videos add FILE` to add one")
    })
}

/// The videos with this file name, or at this path.
pub fn named(library: &Library, name: &str) -> Outcome<Vec<Row>> {
    let Some(wanted) = Path::new(name).file_name() else { return Ok(Vec::new()) };
    let has_name = |row: &Row| Path::new(&row.file_path).file_name() == Some(wanted);
    Ok(all(library)?.into_iter().filter(has_name).collect())
}

/// Opens the file of a video and updates what the library knows about it.
///
/// # Errors
/// If the file is missing, cannot be decoded, or has other content than the file that was added.
pub fn open_unchanged(settings: &Settings, library: &mut Library, row: &Row) -> Outcome<(Row, Video)> {
    let path = find_file(settings, row)?;
    match compare(library, row, &path)? {
        (row, Some(video)) => Ok((row, video)),
        (row, None) => {
            let message = format!("video {}: {} changed since it was added", row.id, path.display());
            let word = shell_word(&path);
            let hint = format!("run `courtside videos add {word}` to add it as another video");
            Err(Failure::msg(Kind::Failed, message).hint(hint))
        }
    }
}

/// Opens a file and compares it with the library's row. Returns `None` for the video if the content differs;
/// otherwise updates the row.
fn compare(library: &mut Library, row: &Row, path: &Path) -> Outcome<(Row, Option<Video>)> {
    let now = file_facts(path)?;
    let video = open(path, row.stream)?;
    let n_frames = video.n_frames() as i64;
    if is_same_file(&row.file, &now) && row.n_frames.is_some() {
        return Ok((row.clone(), Some(video)));
    }
    // The analyzer app stores neither size nor hash of the file: accept the file as it is now.
    let is_unknown = row.file.size_bytes.is_none();
    let is_same_content = row.file.size_bytes == now.size_bytes
        && match &row.file.sha256 {
            Some(sha256) => Content::of(path)?.sha256 == *sha256,
            None => row.n_frames == Some(n_frames),
        };
    if !is_unknown && !is_same_content {
        return Ok((row.clone(), None));
    }
    let file = FileFingerprint { sha256: row.file.sha256.clone(), ..now };
    let row = Row { n_frames: Some(n_frames), file, ..row.clone() };
    remember_file(library, row.id, row.n_frames, &row.file)?;
    Ok((row, Some(video)))
}

/// Records what is known of a video's file. Looking at a video of the app adds nothing to its database.
fn remember_file(library: &Library, id: i64, n_frames: Option<i64>, file: &FileFingerprint) -> Outcome<()> {
    match library.is_set_up()? {
        true => Ok(library.set_video_fingerprint(id, n_frames, file)?),
        false => Ok(()),
    }
}

/// Number of frames by duration and frame rate, for a video whose frames were not counted; 0 if they are not known.
pub(crate) fn estimated_frames(row: &Row) -> u64 {
    row.duration_seconds.zip(row.fps).map_or(0, |(seconds, fps)| (seconds * fps).round() as u64)
}

/// Updates a video's processing status from the status of one of its jobs. A video that was processed once stays
/// completed unless another job of it runs.
pub(crate) fn record_job_status(library: &mut Library, id: i64, job: JobStatus) -> Outcome<()> {
    let Some(video) = library.video(id)? else { return Ok(()) };
    let status = match job {
        JobStatus::Processing => ProcessingStatus::Processing,
        // The import sets it.
        JobStatus::Completed => return Ok(()),
        _ if video.processed => ProcessingStatus::Completed,
        JobStatus::Failed => ProcessingStatus::Failed,
        JobStatus::Pending | JobStatus::Cancelled => ProcessingStatus::Pending,
    };
    if status != video.processing_status {
        library.set_processing_status(id, status)?;
    }
    Ok(())
}

/// Records that the bucket no longer has a job's copy of a video. Keeps the key if it belongs to another job.
pub(crate) fn forget_bucket_copy(library: &mut Library, id: i64, manifest: &Manifest) -> Outcome<()> {
    match library.video(id)? {
        Some(video) if video.r2_key == Some(manifest.video_key()) => Ok(library.set_video_r2_key(id, None)?),
        _ => Ok(()),
    }
}

fn open(path: &Path, stream: Option<u32>) -> Outcome<Video> {
    open_video(tools()?, path, stream)
}

/// Opens a stream of a video, as [`Video::open_with`] does. Shows the progress where the file must be decoded to number its frames.
///
/// # Errors
/// Those of [`Video::open_with`].
pub fn open_video(tools: &Tools, path: &Path, stream: Option<u32>) -> Outcome<Video> {
    let mut progress: Option<Progress> = None;
    let mut on_scan = |done, total| {
        let bar = progress.get_or_insert_with(|| Progress::start("numbering frames", 0, total));
        bar.update(done, "");
    };
    let opened = Video::open_with(tools, path, stream, &Limits::default(), &mut on_scan);
    if let Some(progress) = progress {
        progress.finish();
    }
    Ok(opened?)
}

/// Whether a file is still the one that was added, as far as its size and its time of modification tell.
///
/// # Errors
/// If the file cannot be accessed.
pub fn is_unchanged(row: &Row, path: &Path) -> Outcome<bool> {
    Ok(is_same_file(&row.file, &file_facts(path)?))
}

/// Finds ffmpeg and ffprobe once per process: checking their versions runs both.
///
/// # Errors
/// Those of [`Tools::find`].
pub fn tools() -> Outcome<&'static Tools> {
    static FOUND: OnceLock<Tools> = OnceLock::new();
    match FOUND.get() {
        Some(tools) => Ok(tools),
        None => {
            let tools = Tools::find()?;
            Ok(FOUND.get_or_init(|| tools))
        }
    }
}

fn is_same_file(known: &FileFingerprint, now: &FileFingerprint) -> bool {
    known.size_bytes == now.size_bytes && known.modified_ns == now.modified_ns
}

fn file_facts(path: &Path) -> Outcome<FileFingerprint> {
    let meta = path.metadata().map_err(|e| cannot("read", path, e))?;
    let modified = meta.modified().ok().and_then(|t| t.duration_since(UNIX_EPOCH).ok());
    Ok(FileFingerprint {
        size_bytes: Some(meta.len() as i64),
        modified_ns: modified.map(|d| d.as_nanos() as i64),
        sha256: None,
    })
}
