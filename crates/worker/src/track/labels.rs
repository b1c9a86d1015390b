//! Names and times that the results file of `courtside track` contains.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::{Deserialize, Serialize};

use client::atomic_file::cannot;
use client::failure::{Failure, Kind, Outcome};

use super::request::{Source, TrackRequest};

/// Fields of the results file that are fixed when the run starts, so that a resumed run writes the same bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ResultLabels {
    /// `track-` and the name of the video file, with the number of a chosen stream.
    pub(super) job_id: String,
    /// Time in RFC 3339, from the video file or `SOURCE_DATE_EPOCH`.
    pub(super) completed_at: String,
}

impl ResultLabels {
    /// Labels for a video file, and the stream of it that was chosen. `completed_at` is the file's modification time, so that the same video gives the same
    /// bytes; `SOURCE_DATE_EPOCH` overrides it.
    ///
    /// # Errors
    /// If the time cannot be read, or `SOURCE_DATE_EPOCH` is not a number of seconds.
    pub(super) fn of(video: &Path, stream: Option<u32>) -> Outcome<Self> {
        use time::OffsetDateTime;
        use time::format_description::well_known::Rfc3339;
        let wrong = |what: String| Failure::msg(Kind::Config, what);
        let changed = match std::env::var("SOURCE_DATE_EPOCH") {
            Ok(text) => {
                let seconds = text.parse().ok().and_then(|s| OffsetDateTime::from_unix_timestamp(s).ok());
                seconds.ok_or_else(|| {
                    wrong(format!("SOURCE_DATE_EPOCH is {text:?}, not a number of seconds since 1970"))
                })?
            }
            Err(_) => {
                let modified = std::fs::metadata(video).and_then(|m| m.modified());
                let modified = modified.map_err(|e| cannot("read", video, e))?;
                let seconds =
                    modified.duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs());
                let in_range = OffsetDateTime::from_unix_timestamp(seconds.min(i64::MAX as u64) as i64);
                in_range.map_err(|_| {
                    wrong(format!("the modification time of {} is out of range", video.display()))
                })?
            }
        };
        let completed_at = changed.format(&Rfc3339).map_err(|e| wrong(e.to_string()))?;
        let stem = video.file_stem().unwrap_or_default().to_string_lossy();
        let stream = stream.map(|stream| format!("-stream-{stream}")).unwrap_or_default();
        Ok(Self { job_id: format!("track-{stem}{stream}"), completed_at })
    }
}

/// Bytes at the beginning of a results file that contain its labels.
const HEAD_BYTES: u64 = 64 << 10;

/// Whose results the output file of a request has, if they are those of another video: `track-` and its name, and the
/// time of the video if only that differs. `None` if there are no results, or those of the same video.
///
/// # Errors
/// As for reading the labels of the request's own video.
pub fn results_of_other_video(request: &TrackRequest, source: &Source) -> Outcome<Option<String>> {
    let Some(found) = labels_in(&request.out) else { return Ok(None) };
    let own = ResultLabels::of(&request.video, source.run.stream)?;
    Ok((found != own).then(|| match found.job_id == own.job_id {
        true => format!("{} of {}", found.job_id, found.completed_at),
        false => found.job_id,
    }))
}

/// The labels in a results file; `None` for any other file.
fn labels_in(file: &Path) -> Option<ResultLabels> {
    let mut head = Vec::new();
    File::open(file).ok()?.take(HEAD_BYTES).read_to_end(&mut head).ok()?;
    let head = String::from_utf8_lossy(&head);
    let (fields, _) = head.split_once(",\"detections\"")?;
    serde_json::from_str(&format!("{fields}}}")).ok()
}
