//! `GET /api/videos/{video_id}/export`.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use client::export::select_of_video;
use utoipa::IntoParams;

use super::ExportQuery;
use super::file::send;
use crate::api_error::{ApiError, ApiResult, ErrorBody, ValidationBody};
use crate::app::AppState;
use crate::detections::scope::{JobQuery, VideoDetections, found};
use crate::extract::fields::{Fields, FromFields};
use crate::extract::path::VideoIdPath;
use crate::extract::query::Query;

/// Which detections of the video, and how to export them.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct VideoExportQuery {
    #[param(ignore)]
    export: ExportQuery,
    #[param(ignore)]
    job: JobQuery,
}

impl FromFields for VideoExportQuery {
    fn read(fields: &mut Fields) -> Self {
        Self { export: ExportQuery::read(fields), job: JobQuery::read(fields) }
    }
}

/// Download the detections of a video as a file.
///
/// They are those of the latest imported job, unless another one is named. The file is the one that `courtside export`
/// writes.
#[utoipa::path(
    get, path = "/api/videos/{video_id}/export", operation_id = "export_video", tag = "detections",
    params(VideoIdPath, ExportQuery, JobQuery),
    responses(
        (status = 200, description = "The file", body = [u8], content_type = "*/*", headers(
            ("Content-Disposition" = String, description = "The name of the file"),
            ("X-Courtside-Warning" = Option<String>, description = "What the file lacks"),
        )),
        (status = 404, description = "No such video, or no such imported job of it", body = ErrorBody),
        (status = 409, description = "The video has no detections", body = ErrorBody),
        (status = 422, description = "A parameter is invalid", body = ValidationBody),
    )
)]
pub(crate) async fn export(
    State(app): State<AppState>,
    VideoIdPath { video_id }: VideoIdPath,
    Query(query): Query<VideoExportQuery>,
) -> ApiResult<Response> {
    let (job, job_id) = (query.job.clone(), query.job.job_id);
    let selected = app.client.read_library(move |_, library| {
        let is_known = VideoDetections::find(library, video_id, job)?.is_some();
        Ok(is_known.then(|| select_of_video(library, video_id, job_id.as_deref())))
    });
    let selected = found(selected.await?, video_id)?.map_err(|failure| match failure.is_local_io() {
        true => failure.into(),
        false => ApiError::new(StatusCode::CONFLICT, failure.message()),
    })?;
    send(&app, query.export.export(selected, query.job.raw == Some(true))?).await
}
