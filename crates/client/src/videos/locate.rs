//! Where the file of a video is.

use std::path::{Path, PathBuf};

use store::Video;

use crate::failure::{Failure, Kind, Outcome};
use crate::settings::Settings;

/// The file of a video; `None` if there is none. The library's path is as it was added. One that is relative, as the
/// analyzer app stores them, is relative to the working folder or to `VIDEO_STORAGE_PATH`.
pub fn locate(settings: &Settings, video: &Video) -> Option<PathBuf> {
    candidates(settings, &video.file_path).into_iter().find(|path| path.is_file())
}

/// Whether a video has no file here, but a copy in a bucket.
pub fn is_only_in_bucket(settings: &Settings, video: &Video) -> bool {
    video.r2_key.is_some() && locate(settings, video).is_none()
}

/// As [`locate`].
///
/// # Errors
/// If there is no such file: with the places where it was looked for.
pub fn find_file(settings: &Settings, video: &Video) -> Outcome<PathBuf> {
    locate(settings, video).ok_or_else(|| {
        let paths = candidates(settings, &video.file_path);
        let paths: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
        let message = match &paths[..] {
            [] => format!("video {} has no file", video.id),
            [path] => format!("video {}: {path} does not exist", video.id),
            _ => format!("video {}: neither {} exists", video.id, paths.join(" nor ")),
        };
        Failure::msg(Kind::Failed, message).hint(
            "restore the file (is an external disk missing?), or name where it is now with \
             `courtside videos add FILE`, which keeps the video's detections",
        )
    })
}

fn candidates(settings: &Settings, file_path: &str) -> Vec<PathBuf> {
    let given = Path::new(file_path);
    if file_path.is_empty() {
        return Vec::new();
    }
    match given.is_absolute() {
        true => vec![given.to_owned()],
        false => vec![given.to_owned(), settings.video_folder.join(given)],
    }
}

/// Name of a video's file, for display.
pub fn file_name(video: &Video) -> Option<String> {
    let path = match video.file_path.is_empty() {
        true => video.r2_key.as_deref()?,
        false => &video.file_path,
    };
    Path::new(path).file_name().map(|name| name.to_string_lossy().into_owned())
}
