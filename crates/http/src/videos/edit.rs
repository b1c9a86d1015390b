//! `PATCH` and `DELETE /api/videos/{video_id}`.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use client::videos;
use store::VideoEdit;
use time::OffsetDateTime;
use utoipa::ToSchema;

use crate::api_error::{ApiError, ApiResult, ErrorBody, ValidationBody};
use crate::app::AppState;
use crate::detached::run_to_completion;
use crate::extract::body::OptionalBody;
use crate::extract::fields::{Fields, FromFields};
use crate::extract::path::VideoIdPath;
use crate::shapes::video::VideoBody;

/// Changes to a video. Fields that are missing or null keep their value.
#[derive(Debug, ToSchema)]
pub(crate) struct EditRequest {
    /// The game that it belongs to.
    game_id: Option<i64>,
    /// When it was recorded, RFC 3339.
    #[schema(value_type = Option<String>, format = DateTime)]
    recorded_at: Option<OffsetDateTime>,
    /// Its position among the videos of its game.
    sequence_order: Option<i64>,
    /// When it starts within its game, in seconds.
    game_time_offset: Option<f64>,
}

impl FromFields for EditRequest {
    fn read(fields: &mut Fields) -> Self {
        Self {
            game_id: fields.integer("game_id", i64::MIN..=i64::MAX),
            recorded_at: fields.time("recorded_at"),
            sequence_order: fields.integer("sequence_order", i64::MIN..=i64::MAX),
            game_time_offset: fields.number("game_time_offset", -1e9..=1e9),
        }
    }
}

/// Change the game, the order or the time of a video.
#[utoipa::path(
    patch, path = "/api/videos/{video_id}", operation_id = "edit_video", tag = "videos", params(VideoIdPath),
    request_body(content = Option<EditRequest>, content_type = "application/json"),
    responses(
        (status = 200, description = "The video", body = VideoBody),
        (status = 404, description = "No such video", body = ErrorBody),
        (status = 409, description = "No such game", body = ErrorBody),
        (status = 413, description = "The body is too large", body = ErrorBody),
        (status = 415, description = "The body is not JSON", body = ErrorBody),
        (status = 422, description = "A field is invalid", body = ValidationBody),
    )
)]
pub(crate) async fn edit(
    State(app): State<AppState>,
    VideoIdPath { video_id }: VideoIdPath,
    OptionalBody(request): OptionalBody<EditRequest>,
) -> ApiResult<Json<VideoBody>> {
    let edit = VideoEdit {
        game_id: request.game_id,
        recorded_at: request.recorded_at,
        sequence_order: request.sequence_order,
        game_time_offset: request.game_time_offset,
        file_path: None,
    };
    let edited = app.client.with_library(move |_, library| {
        library.edit_video(video_id, &edit)?;
        videos::find(library, video_id)
    });
    edited.await.map(|video| Json(app.video_body(video))).map_err(ApiError::conflict_from)
}

/// Remove a video with its detections and jobs from the library.
///
/// Its file stays, and so does what is in the bucket.
#[utoipa::path(
    delete, path = "/api/videos/{video_id}", operation_id = "remove_video", tag = "videos", params(VideoIdPath),
    responses(
        (status = 204, description = "The library does not have the video"),
        (status = 404, description = "No such video", body = ErrorBody),
        (status = 409, description = "A job of the video has not ended, or other rows refer to it", body = ErrorBody),
        (status = 422, description = "The id is not a number", body = ValidationBody),
    )
)]
pub(crate) async fn remove(
    State(app): State<AppState>,
    VideoIdPath { video_id }: VideoIdPath,
) -> ApiResult<StatusCode> {
    run_to_completion(async move {
        let removed = app.client.with_buckets(move |client| async move {
            videos::remove(&client, &mut client.library()?, video_id, false).await
        });
        removed.await.map_err(ApiError::conflict_from)?;
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}
