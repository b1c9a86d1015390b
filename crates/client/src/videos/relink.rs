//! Recognizing a file that the library has under another path.

use std::path::Path;

use jobs::transfer::FileDigest;
use store::{FileFingerprint, Library, Video as Row};
use video::Video;

use super::{all, file_facts, find, locate};
use crate::failure::Outcome;
use crate::settings::Settings;
use crate::terminal::notify;

/// The newest video whose file is at `path`, which is canonical. The library may have it under a relative path. `wanted`:
/// the chosen stream of the video, if it matters.
pub(super) fn at_path(
    settings: &Settings,
    library: &Library,
    path: &Path,
    wanted: Option<Option<u32>>,
) -> Outcome<Option<Row>> {
    let has_stream = |row: &Row| wanted.is_none_or(|wanted| row.stream == wanted);
    let by_path = path.to_str().map(|p| library.video_by_path(p)).transpose()?.flatten();
    if let Some(row) = by_path.filter(has_stream) {
        return Ok(Some(row));
    }
    let has_name = |row: &Row| Path::new(&row.file_path).file_name() == path.file_name();
    let is_here =
        |row: &Row| locate(settings, row).and_then(|p| p.canonicalize().ok()).as_deref() == Some(path);
    Ok(all(library)?.into_iter().filter(has_name).filter(has_stream).find(is_here))
}

/// The newest video with the content of this file whose own file is gone. The library then has it at `path`. `wanted`: the
/// chosen stream of the video, if it matters. `video` is the file, opened.
pub(super) fn moved_to(
    settings: &Settings,
    library: &Library,
    path: &Path,
    wanted: Option<Option<u32>>,
    video: &Video,
) -> Outcome<Option<Row>> {
    let now = file_facts(path)?;
    let may_be_it = |row: &Row| {
        let has_stream = wanted.is_none_or(|wanted| row.stream == wanted);
        has_stream && row.file.size_bytes == now.size_bytes && locate(settings, row).is_none()
    };
    let candidates: Vec<Row> = all(library)?.into_iter().filter(may_be_it).collect();
    let is_hashed = candidates.iter().any(|row| row.file.sha256.is_some());
    let sha256 = if is_hashed { Some(FileDigest::of(path)?.sha256) } else { None };
    let n_frames = video.n_frames() as i64;
    let is_same = |row: &Row| match &row.file.sha256 {
        Some(known) => Some(known) == sha256.as_ref(),
        None => row.stream == video.stream() && row.n_frames == Some(n_frames),
    };
    let Some(row) = candidates.into_iter().find(is_same) else { return Ok(None) };
    library.set_video_path(row.id, path)?;
    let known = FileFingerprint { sha256: sha256.or(row.file.sha256), ..now };
    let n_frames = if row.stream == video.stream() { Some(n_frames) } else { row.n_frames };
    library.set_video_fingerprint(row.id, n_frames, &known)?;
    notify(format!("video {} was moved: from {} to {}", row.id, row.file_path, path.display()));
    find(library, row.id).map(Some)
}
