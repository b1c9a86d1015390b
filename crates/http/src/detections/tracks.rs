//! `GET /api/videos/{video_id}/tracks`.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;

use store::TrackSummary;

use super::scope::{JobQuery, VideoDetections, found};
use crate::api_error::{ApiResult, ErrorBody, ValidationBody};
use crate::app::AppState;
use crate::etag::tagged_json;
use crate::extract::path::VideoIdPath;
use crate::extract::query::Query;
use crate::shapes::detection::{TrackBody, TracksBody};

/// List the tracks of a video.
///
/// They have the edits that were made to them, unless `raw` is true.
#[utoipa::path(
    get, path = "/api/videos/{video_id}/tracks", operation_id = "list_tracks", tag = "detections",
    params(VideoIdPath, JobQuery),
    responses(
        (status = 200, description = "The tracks", body = TracksBody),
        (status = 304, description = "The client has the current version"),
        (status = 404, description = "No such video, or no such imported job of it", body = ErrorBody),
        (status = 422, description = "A parameter is invalid", body = ValidationBody),
    )
)]
pub(crate) async fn tracks(
    State(app): State<AppState>,
    VideoIdPath { video_id }: VideoIdPath,
    Query(query): Query<JobQuery>,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let tracks = app.client.read_library(move |_, library| {
        let Some(of) = VideoDetections::find(library, video_id, query)? else { return Ok(None) };
        let tracks = library.track_summaries(of.view())?;
        let mut labels = library.track_labels(of.scope())?;
        let body = |track: TrackSummary| {
            let label = if of.is_raw() { None } else { labels.remove(&track.track_id) };
            TrackBody::new(track, label.unwrap_or_default())
        };
        let tracks = tracks.into_iter().map(body).collect();
        Ok(Some(TracksBody { video_id, job_id: of.job(), tracks }))
    });
    tagged_json(&headers, &found(tracks.await?, video_id)?)
}
