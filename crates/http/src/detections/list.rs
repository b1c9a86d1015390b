//! `GET /api/videos/{video_id}/detections`.

use axum::body::Body;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use client::videos;
use store::DetectionQuery;
use utoipa::IntoParams;

use super::list_json::ListJson;
use crate::api_error::{ApiError, ApiResult, ErrorBody, ValidationBody};
use crate::app::AppState;
use crate::extract::fields::{Fields, FromFields};
use crate::extract::path::VideoIdPath;
use crate::extract::query::Query;
use crate::shapes::detection::DetectionsBody;

const DEFAULT_LIMIT: i64 = 50_000;
const MAX_LIMIT: i64 = 500_000;

/// Which detections to list.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct DetectionsQuery {
    /// First frame, inclusive.
    #[param(minimum = 0)]
    frame_start: Option<i64>,
    /// Last frame, inclusive.
    #[param(minimum = 0)]
    frame_end: Option<i64>,
    /// Minimum confidence.
    #[param(minimum = 0.0, maximum = 1.0)]
    min_confidence: Option<f64>,
    /// Maximum number of detections.
    #[param(minimum = 1, maximum = 500_000, default = 50_000)]
    limit: Option<i64>,
    /// Only detections of this job. Without it, detections of all jobs are listed together; tracks of different
    /// jobs are different tracks, even if their ids are equal.
    #[param(max_length = 128, pattern = r"\S")]
    job_id: Option<String>,
}

impl FromFields for DetectionsQuery {
    fn read(fields: &mut Fields) -> Self {
        Self {
            frame_start: fields.integer("frame_start", 0..=i64::MAX),
            frame_end: fields.integer("frame_end", 0..=i64::MAX),
            min_confidence: fields.number("min_confidence", 0.0..=1.0),
            limit: fields.integer("limit", 1..=MAX_LIMIT),
            job_id: fields.text("job_id", 128),
        }
    }
}

/// List the detections of a video, ordered by frame, then track.
#[utoipa::path(
    get, path = "/api/videos/{video_id}/detections", operation_id = "list_detections", tag = "detections",
    params(VideoIdPath, DetectionsQuery),
    responses(
        (status = 200, description = "The detections", body = DetectionsBody),
        (status = 404, description = "No such video", body = ErrorBody),
        (status = 422, description = "A parameter is invalid", body = ValidationBody),
    )
)]
pub(crate) async fn list(
    State(app): State<AppState>,
    VideoIdPath { video_id }: VideoIdPath,
    Query(query): Query<DetectionsQuery>,
) -> ApiResult<Response> {
    let limit = query.limit.unwrap_or(DEFAULT_LIMIT);
    // A few hundred bytes per row stay in memory until the client has read them: long lists need a permit.
    let permit = match limit > DEFAULT_LIMIT {
        true => Some(app.long_listings.clone().acquire_owned().await.map_err(ApiError::internal)?),
        false => None,
    };
    let query = DetectionQuery {
        frame_start: query.frame_start,
        frame_end: query.frame_end,
        min_confidence: query.min_confidence,
        job_id: query.job_id,
        limit: Some(limit as u32),
    };
    let json = app.client.with_library(move |_, library| {
        videos::find(library, video_id)?;
        let imports = library.imports(video_id)?.into_iter().map(|import| (import.id, import.job_id));
        let rows = library.detections(video_id, &query)?;
        let totals = library.detection_totals(video_id, &query)?;
        Ok(ListJson::new(video_id, totals, rows, imports.collect(), permit))
    });
    let body = Body::from_stream(futures::stream::iter(json.await?.map(Ok::<_, std::io::Error>)));
    Ok(([(CONTENT_TYPE, "application/json")], body).into_response())
}
