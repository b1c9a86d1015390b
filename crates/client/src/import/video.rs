//! The video that results are imported into: the one with the content that the job tracked. The number of the video in
//! the manifest counts in the library of the submitter.

use jobs::admin::Admin;
use jobs::manifest::Manifest;
use jobs::quote::quoted;
use store::{JobRow, Library, Video as Row};

use super::ImportOptions;
use crate::Client;
use crate::failure::{Failure, Kind, Outcome};
use crate::videos::{self, JobContent, Match};

/// The video to import into, and what is known of it for comparison with the results.
#[derive(Debug, Default)]
pub(super) struct ImportVideo {
    pub(super) id: i64,
    pub(super) n_frames: Option<u64>,
    /// Width and height of a frame, in pixels.
    pub(super) frame_size: Option<[u32; 2]>,
    /// Frames per second.
    pub(super) fps: Option<f64>,
    /// What is doubtful about the choice, for the user.
    pub(super) warning: Option<String>,
}

/// Finds the video of the library that the job tracked.
///
/// # Errors
/// If no video has the content of the job's video, or the requested one has other content.
pub(super) async fn find_video(
    client: &Client,
    library: &Library,
    admin: &Admin,
    manifest: &Manifest,
    job: Option<&JobRow>,
    options: ImportOptions,
) -> Outcome<ImportVideo> {
    let content = JobContent::read(admin, manifest).await?;
    let settings = &client.settings;
    let chosen = options.into_video.or_else(|| job.and_then(|job| job.video_id));
    let numbered = library.video(chosen.unwrap_or(manifest.video_id))?;
    let found = match &numbered {
        Some(row) => content.compare(settings, library, row)?,
        None => Match::Different,
    };
    match (numbered, found) {
        (Some(row), Match::Same) => Ok(import_video(manifest, row, None)),
        (Some(row), Match::Unknown) if chosen.is_some() => Ok(import_video(manifest, row, None)),
        (Some(row), Match::Unknown) if content.is_unknown() => {
            let doubt = format!("nothing shows that it tracked video {}, {}", row.id, row.file_path);
            Ok(import_video(manifest, row, Some(doubt)))
        }
        (row, _) if chosen.is_some() => Err(other_video(manifest, row.as_ref(), chosen)),
        (row, _) => match content.find(settings, library)? {
            Some(row) => Ok(import_video(manifest, row, None)),
            None => Err(other_video(manifest, row.as_ref(), None)),
        },
    }
}

fn import_video(manifest: &Manifest, row: Row, warning: Option<String>) -> ImportVideo {
    let submitted = manifest.video.clone().unwrap_or_default();
    let submitted_size = submitted.width.zip(submitted.height);
    ImportVideo {
        id: row.id,
        n_frames: submitted.n_frames.or(row.n_frames.map(|n| n as u64)),
        frame_size: submitted_size.or_else(|| row.frame_size()).map(<[u32; 2]>::from),
        fps: submitted.fps.or(row.fps),
        warning,
    }
}

fn other_video(manifest: &Manifest, row: Option<&Row>, chosen: Option<i64>) -> Failure {
    let job = &manifest.job_id;
    let name = manifest.video.as_ref().and_then(|video| video.name.as_deref());
    let tracked = name.map_or_else(|| manifest.video_key(), |name| quoted(name).into_owned());
    let stream = manifest.video.as_ref().and_then(|video| video.stream);
    let (tracked, flag) = match stream {
        Some(stream) => (format!("stream {stream} of {tracked}"), format!(" --stream {stream}")),
        None => (tracked, String::new()),
    };
    let what = match (chosen, row) {
        (Some(id), None) => format!("this library has no video {id}"),
        (Some(id), Some(row)) => {
            let here = videos::file_name(row).unwrap_or_default();
            let other = if row.stream == stream { "with other content" } else { "with another stream" };
            format!("it tracked {tracked}, but video {id} here is {here}, {other}")
        }
        (None, _) => format!("it tracked {tracked}, which is not in this library"),
    };
    Failure::msg(Kind::Failed, format!("job {job}: {what}")).hint(format!(
        "add that video with `courtside videos add FILE{flag}`, then run `courtside import --job-id {job}`"
    ))
}
