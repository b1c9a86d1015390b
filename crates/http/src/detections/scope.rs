//! Which detections of a video a request is about: those of its latest job, unless it names another one.

use client::failure::Outcome;
use client::videos;
use store::{DetectionScope, DetectionView, ImportRow, Library};
use utoipa::IntoParams;

use crate::api_error::{ApiError, ApiResult};
use crate::extract::fields::{Fields, FromFields};

/// Which job's detections.
#[derive(Debug, Clone, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct JobQuery {
    /// The job whose detections to use. Default: the latest imported job of the video or, if there is none, the
    /// detections that other programs inserted.
    #[param(max_length = 128, pattern = r"\S")]
    pub(crate) job_id: Option<String>,
    /// Whether to use the tracks as they were imported, without edits.
    #[param(default = false)]
    pub(crate) raw: Option<bool>,
}

impl FromFields for JobQuery {
    fn read(fields: &mut Fields) -> Self {
        Self { job_id: fields.text("job_id", 128), raw: fields.flag("raw") }
    }
}

/// The detections of a video that a request is about.
pub(crate) struct VideoDetections {
    video_id: i64,
    /// The import that they are of; `None` if other programs inserted them.
    import: Option<ImportRow>,
    is_raw: bool,
}

impl VideoDetections {
    /// `None` if the job is not an imported job of the video.
    ///
    /// # Errors
    /// If the library has no such video.
    pub(crate) fn find(library: &Library, video_id: i64, query: JobQuery) -> Outcome<Option<Self>> {
        let JobQuery { job_id, raw } = query;
        videos::find(library, video_id)?;
        let import = match &job_id {
            Some(job_id) => library.import_of(job_id)?.filter(|import| import.video_id == video_id),
            None => library.import_in(DetectionScope::Video(video_id))?,
        };
        let is_unknown = job_id.is_some() && import.is_none();
        Ok((!is_unknown).then_some(Self { video_id, import, is_raw: raw == Some(true) }))
    }

    pub(super) fn is_raw(&self) -> bool {
        self.is_raw
    }

    pub(super) fn view(&self) -> DetectionView<'_> {
        DetectionView { scope: self.scope(), is_raw: self.is_raw }
    }

    pub(crate) fn scope(&self) -> DetectionScope<'_> {
        match &self.import {
            Some(import) => DetectionScope::Job(&import.job_id),
            None => DetectionScope::Video(self.video_id),
        }
    }

    /// How many of the detections are of persons and of balls. A job tracks what one phrase names, so all are the same.
    pub(super) fn persons_and_balls(&self, library: &Library, total: i64) -> Outcome<(i64, i64)> {
        let Some(import) = &self.import else { return Ok((total, 0)) };
        let parameters = library.job(&import.job_id)?.and_then(|job| job.parameters);
        let prompt = parameters.as_ref().and_then(|parameters| parameters["prompt"].as_str());
        Ok(if prompt.is_some_and(is_ball) { (0, total) } else { (total, 0) })
    }

    /// The job, for the response.
    pub(crate) fn job(&self) -> Option<String> {
        self.import.as_ref().map(|import| import.job_id.clone())
    }
}

/// Whether a phrase names a ball, such as "orange basketball".
fn is_ball(prompt: &str) -> bool {
    let last = prompt.split_whitespace().next_back().unwrap_or_default().to_lowercase();
    last.ends_with("ball") || last.ends_with("balls")
}

/// The value, or 404 for a job that is not an imported job of the video.
pub(crate) fn found<T>(value: Option<T>, video_id: i64) -> ApiResult<T> {
    value.ok_or_else(|| {
        let detail = format!("The job is not an imported job of video {video_id}");
        ApiError::new(axum::http::StatusCode::NOT_FOUND, detail)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phrases_that_name_a_ball_are_told_from_those_that_name_a_player() {
        for ball in ["ball", "orange Basketball", "the two balls "] {
            assert!(is_ball(ball), "{ball}");
        }
        for person in ["basketball player", "player with the ball, running", "ballboy", ""] {
            assert!(!is_ball(person), "{person}");
        }
    }
}
