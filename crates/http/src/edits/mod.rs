//! `/api/videos/{video_id}/edits`: corrections of tracks, with undo and redo.

mod request;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use store::{DetectionScope, Library, StoreError};
use time::OffsetDateTime;

use self::request::EditRequest;
use crate::api_error::{ApiResult, ErrorBody, ValidationBody};
use crate::app::AppState;
use crate::detached::run_to_completion;
use crate::detections::scope::{JobQuery, VideoDetections, found};
use crate::etag::tagged_json;
use crate::extract::body::OptionalBody;
use crate::extract::path::VideoIdPath;
use crate::extract::query::Query;
use crate::shapes::edit::EditsBody;

/// List the edits of a video's tracks.
///
/// Detections never change: `detections`, `tracks` and exports show the tracks with these edits, unless `raw` is true.
#[utoipa::path(
    get, path = "/api/videos/{video_id}/edits", operation_id = "list_edits", tag = "edits",
    params(VideoIdPath, JobQuery),
    responses(
        (status = 200, description = "The edits", body = EditsBody),
        (status = 304, description = "The client has the current version"),
        (status = 404, description = "No such video, or no such imported job of it", body = ErrorBody),
        (status = 422, description = "A parameter is invalid", body = ValidationBody),
    )
)]
pub(crate) async fn list(
    State(app): State<AppState>,
    VideoIdPath { video_id }: VideoIdPath,
    Query(query): Query<JobQuery>,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let body = app.client.read_library(move |_, library| {
        let Some(of) = VideoDetections::find(library, video_id, query)? else { return Ok(None) };
        Ok(Some(EditsBody::new(video_id, of.job(), library.edits(of.scope())?)))
    });
    tagged_json(&headers, &found(body.await?, video_id)?)
}

/// Edit a track: name it, put it into a team, merge, split, swap or delete it.
///
/// Tracks are named by the ids that `tracks` lists. Edits that were undone before can no longer be redone.
#[utoipa::path(
    post, path = "/api/videos/{video_id}/edits", operation_id = "add_edit", tag = "edits",
    params(VideoIdPath, JobQuery),
    request_body(content = EditRequest, content_type = "application/json"),
    responses(
        (status = 201, description = "All edits, with the new one", body = EditsBody),
        (status = 404, description = "No such video, or no such imported job of it", body = ErrorBody),
        (status = 409, description = "The edit does not fit the tracks, or lacks what its kind needs", body = ErrorBody),
        (status = 413, description = "The body is too large", body = ErrorBody),
        (status = 415, description = "The body is not JSON", body = ErrorBody),
        (status = 422, description = "A parameter or a field is invalid", body = ValidationBody),
    )
)]
pub(crate) async fn add(
    State(app): State<AppState>,
    VideoIdPath { video_id }: VideoIdPath,
    Query(query): Query<JobQuery>,
    OptionalBody(request): OptionalBody<EditRequest>,
) -> ApiResult<Response> {
    let edit = request.edit()?;
    let body = change(app, video_id, query, move |library, scope, now| library.add_edit(scope, &edit, now));
    Ok((StatusCode::CREATED, body.await?).into_response())
}

/// Undo the last edit.
///
/// Without one, nothing changes.
#[utoipa::path(
    post, path = "/api/videos/{video_id}/edits/undo", operation_id = "undo_edit", tag = "edits",
    params(VideoIdPath, JobQuery),
    responses(
        (status = 200, description = "All edits", body = EditsBody),
        (status = 404, description = "No such video, or no such imported job of it", body = ErrorBody),
        (status = 422, description = "A parameter is invalid", body = ValidationBody),
    )
)]
pub(crate) async fn undo(
    State(app): State<AppState>,
    VideoIdPath { video_id }: VideoIdPath,
    Query(query): Query<JobQuery>,
) -> ApiResult<Json<EditsBody>> {
    change(app, video_id, query, |library, scope, _| library.undo_edit(scope).map(|_| ())).await
}

/// Redo the edit that was undone last.
///
/// Without one, nothing changes.
#[utoipa::path(
    post, path = "/api/videos/{video_id}/edits/redo", operation_id = "redo_edit", tag = "edits",
    params(VideoIdPath, JobQuery),
    responses(
        (status = 200, description = "All edits", body = EditsBody),
        (status = 404, description = "No such video, or no such imported job of it", body = ErrorBody),
        (status = 422, description = "A parameter is invalid", body = ValidationBody),
    )
)]
pub(crate) async fn redo(
    State(app): State<AppState>,
    VideoIdPath { video_id }: VideoIdPath,
    Query(query): Query<JobQuery>,
) -> ApiResult<Json<EditsBody>> {
    change(app, video_id, query, |library, scope, _| library.redo_edit(scope).map(|_| ())).await
}

/// Changes the log, and returns it.
async fn change(
    app: AppState,
    video_id: i64,
    query: JobQuery,
    work: impl FnOnce(&Library, DetectionScope<'_>, OffsetDateTime) -> Result<(), StoreError> + Send + 'static,
) -> ApiResult<Json<EditsBody>> {
    let body = run_to_completion(async move {
        let now = app.client.env.utc();
        let changed = app.client.with_library(move |_, library| {
            let Some(of) = VideoDetections::find(library, video_id, query)? else { return Ok(None) };
            work(library, of.scope(), now)?;
            Ok(Some(EditsBody::new(video_id, of.job(), library.edits(of.scope())?)))
        });
        Ok(changed.await?)
    });
    Ok(Json(found(body.await?, video_id)?))
}
