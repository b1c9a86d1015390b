//! `GET /api/videos/{video_id}/detections`.

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use store::DetectionQuery;
use utoipa::{IntoParams, ToSchema};

use super::list_json::{DetectionList, ListJson};
use super::scope::{JobQuery, VideoDetections, found};
use crate::api_error::{ApiError, ApiResult, ErrorBody, ValidationBody};
use crate::app::AppState;
use crate::etag::{tagged, tagged_json};
use crate::extract::fields::{Fields, FromFields};
use crate::extract::path::VideoIdPath;
use crate::extract::query::Query;
use crate::shapes::detection::DetectionsBody;

const DEFAULT_LIMIT: i64 = 50_000;
const MAX_LIMIT: i64 = 500_000;
/// Longer lists are sent while they are written, without a tag.
const MAX_TAGGED: usize = 10_000;

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
    /// `list`, or `columns`: one array for each value, a tenth of the size.
    #[param(inline, required = false)]
    format: Option<Format>,
    #[param(ignore)]
    job: JobQuery,
}
impl FromFields for DetectionsQuery {
    fn read(fields: &mut Fields) -> Self {
        Self {
            frame_start: fields.integer("frame_start", 0..=i64::MAX),
            frame_end: fields.integer("frame_end", 0..=i64::MAX),
            min_confidence: fields.number("min_confidence", 0.0..=1.0),
            limit: fields.integer("limit", 1..=MAX_LIMIT),
            format: fields.choice("format", &[("list", Format::List), ("columns", Format::Columns)]),
            job: JobQuery::read(fields),
        }
    }
}

/// How to write detections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ToSchema)]
#[schema(rename_all = "lowercase")]
enum Format {
    List,
    Columns,
}

/// List the detections of a video, ordered by frame, then track.
///
/// They are those of the latest imported job, unless another one is named, with the edits that were made to their tracks,
/// unless `raw` is true.
#[utoipa::path(
    get, path = "/api/videos/{video_id}/detections", operation_id = "list_detections", tag = "detections",
    params(VideoIdPath, DetectionsQuery, JobQuery),
    responses(
        (status = 200, description = "The detections; a `ColumnsBody` with `format=columns`", body = DetectionsBody),
        (status = 304, description = "The client has the current version"),
        (status = 404, description = "No such video, or no such imported job of it", body = ErrorBody),
        (status = 422, description = "A parameter is invalid", body = ValidationBody),
    )
)]
pub(crate) async fn list(
    State(app): State<AppState>,
    VideoIdPath { video_id }: VideoIdPath,
    Query(query): Query<DetectionsQuery>,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let limit = query.limit.unwrap_or(DEFAULT_LIMIT);
    // A few hundred bytes per row stay in memory until the client has read them: long lists need a permit.
    let permit = match limit > DEFAULT_LIMIT {
        true => Some(app.long_listings.clone().acquire_owned().await.map_err(ApiError::internal)?),
        false => None,
    };
    let format = query.format.unwrap_or(Format::List);
    let found_rows = app.client.read_library(move |_, library| {
        let Some(of) = VideoDetections::find(library, video_id, query.job.clone())? else {
            return Ok(None);
        };
        let rows = library.detections(of.view(), &query.of_store(limit))?;
        let totals = library.detection_totals(of.view())?;
        Ok(Some(DetectionList::new(video_id, of.job(), totals, rows, limit as usize)))
    });
    let list = found(found_rows.await?, video_id)?;
    if format == Format::Columns {
        return tagged_json(&headers, &list.into_columns());
    }
    if list.rows.len() <= MAX_TAGGED {
        return Ok(tagged(&headers, ListJson::new(list, permit).flatten().collect()));
    }
    let body =
        Body::from_stream(futures::stream::iter(ListJson::new(list, permit).map(Ok::<_, std::io::Error>)));
    Ok(([(CONTENT_TYPE, "application/json")], body).into_response())
}

impl DetectionsQuery {
    /// One more row than the limit shows whether there are more.
    fn of_store(&self, limit: i64) -> DetectionQuery {
        DetectionQuery {
            frame_start: self.frame_start,
            frame_end: self.frame_end,
            min_confidence: self.min_confidence,
            limit: Some(limit as u32 + 1),
        }
    }
}
