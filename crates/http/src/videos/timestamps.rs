//! `GET /api/videos/{video_id}/timestamps`.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use utoipa::{IntoParams, ToSchema};

use super::local_file::local_file;
use crate::api_error::{ApiError, ApiResult, ErrorBody, ValidationBody};
use crate::app::AppState;
use crate::etag::{tagged_as, tagged_json};
use crate::extract::fields::{Fields, FromFields};
use crate::extract::path::VideoIdPath;
use crate::extract::query::Query;
use crate::shapes::video::TimestampsBody;

/// The media type of `format=binary`. Unlike `application/octet-stream`, it is compressed.
const BINARY: &str = "application/vnd.courtside.timestamps";

/// How to write the timestamps.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct TimestampsQuery {
    /// `json`, or `binary`: the ticks as little-endian 64-bit floating-point numbers, which are exact. A page reads them
    /// fastest, without parsing: `new Float64Array(await response.arrayBuffer())`.
    #[param(inline, required = false)]
    format: Option<Format>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ToSchema)]
#[schema(rename_all = "lowercase")]
enum Format {
    Json,
    Binary,
}

impl FromFields for TimestampsQuery {
    fn read(fields: &mut Fields) -> Self {
        Self { format: fields.choice("format", &[("json", Format::Json), ("binary", Format::Binary)]) }
    }
}

/// List the presentation time of every frame.
///
/// Entry N is the time of the frame whose number is N in detections and in `frames`, in ticks since the start of the file,
/// as a player counts: the `mediaTime` of `requestVideoFrameCallback` is the time of the frame that is shown. Times are
/// those of the file also for variable frame rates.
#[utoipa::path(
    get, path = "/api/videos/{video_id}/timestamps", operation_id = "list_timestamps", tag = "videos",
    params(VideoIdPath, TimestampsQuery),
    responses(
        (status = 200, description = "The times", content(
            (TimestampsBody = "application/json"),
            (Vec<u8> = "application/vnd.courtside.timestamps"),
        )),
        (status = 304, description = "The client has the current version"),
        (status = 404, description = "No such video, or its file no longer exists", body = ErrorBody),
        (status = 409, description = "Only the bucket has the video, or it cannot be read", body = ErrorBody),
        (status = 422, description = "A parameter is invalid", body = ValidationBody),
    )
)]
pub(crate) async fn timestamps(
    State(app): State<AppState>,
    VideoIdPath { video_id }: VideoIdPath,
    Query(query): Query<TimestampsQuery>,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let file = local_file(&app, video_id).await?;
    let times = app.images.times_us(&file).await?;
    match query.format.unwrap_or(Format::Json) {
        Format::Binary => Ok(tagged_as(BINARY, &headers, times.into())),
        Format::Json => {
            let (ticks, rest) = times.as_chunks();
            if !rest.is_empty() {
                return Err(ApiError::internal("the kept timestamps are cut off"));
            }
            let ticks: Vec<i64> = ticks.iter().map(|bytes| f64::from_le_bytes(*bytes) as i64).collect();
            let n_frames = ticks.len();
            tagged_json(&headers, &TimestampsBody { video_id, n_frames, time_base: [1, 1_000_000], ticks })
        }
    }
}
