//! `GET /api/videos/{video_id}/thumbnail`.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use utoipa::IntoParams;

use super::local_file::local_file;
use crate::api_error::{ApiResult, ErrorBody, ValidationBody};
use crate::app::AppState;
use crate::etag;
use crate::extract::fields::{Fields, FromFields};
use crate::extract::path::VideoIdPath;
use crate::extract::query::Query;

const DEFAULT_WIDTH: u32 = 320;

/// The size of the thumbnail.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ThumbnailQuery {
    /// Width in pixels at most. The height follows from the shape of the video.
    #[param(minimum = 16, maximum = 1280, default = 320)]
    width: Option<u32>,
}

impl FromFields for ThumbnailQuery {
    fn read(fields: &mut Fields) -> Self {
        fields.allow_signature();
        Self { width: fields.pixels("width", 16..=1280) }
    }
}

/// Show a frame that represents the video, as a JPEG.
///
/// It is not a black frame if the video has another one, and it has the shape that a player shows. An `<img>` can load it
/// without the token from the `thumbnail_url` of the video.
#[utoipa::path(
    get, path = "/api/videos/{video_id}/thumbnail", operation_id = "get_thumbnail", tag = "videos",
    params(VideoIdPath, ThumbnailQuery),
    responses(
        (status = 200, description = "The picture", body = [u8], content_type = "image/jpeg"),
        (status = 304, description = "The client has the current version"),
        (status = 404, description = "No such video, or its file no longer exists", body = ErrorBody),
        (status = 409, description = "Only the bucket has the video, or it cannot be decoded", body = ErrorBody),
        (status = 422, description = "A parameter is invalid", body = ValidationBody),
    )
)]
pub(crate) async fn thumbnail(
    State(app): State<AppState>,
    VideoIdPath { video_id }: VideoIdPath,
    Query(query): Query<ThumbnailQuery>,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let file = local_file(&app, video_id).await?;
    let width = query.width.unwrap_or(DEFAULT_WIDTH);
    let tag = format!("\"{}\"", file.key(&format!("thumbnail {width}")));
    etag::tagged_jpeg(&headers, &tag, app.images.thumbnail(&file, width)).await
}
