//! `GET /api/jobs/{job_id}/export`.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use client::export::select_of_job;
use utoipa::IntoParams;

use super::ExportQuery;
use super::file::send;
use crate::api_error::{ApiError, ApiResult, ErrorBody, ValidationBody};
use crate::app::AppState;
use crate::extract::fields::{Fields, FromFields};
use crate::extract::path::JobIdPath;
use crate::extract::query::Query;
use crate::jobs::load::load;

/// Which view of the tracks.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct RawQuery {
    /// Whether to export the tracks as they were imported, without edits.
    #[param(default = false)]
    raw: Option<bool>,
}

/// The parameters of this route.
#[derive(Debug)]
pub(crate) struct JobExportQuery {
    export: ExportQuery,
    raw: RawQuery,
}

impl FromFields for JobExportQuery {
    fn read(fields: &mut Fields) -> Self {
        Self { export: ExportQuery::read(fields), raw: RawQuery { raw: fields.flag("raw") } }
    }
}

/// Download the detections of a job as a file.
///
/// The file is the one that `courtside export` writes.
#[utoipa::path(
    get, path = "/api/jobs/{job_id}/export", operation_id = "export_job", tag = "jobs",
    params(JobIdPath, ExportQuery, RawQuery),
    responses(
        (status = 200, description = "The file", body = [u8], content_type = "*/*", headers(
            ("Content-Disposition" = String, description = "The name of the file"),
            ("X-Courtside-Warning" = Option<String>, description = "What the file lacks"),
        )),
        (status = 404, description = "No such job", body = ErrorBody),
        (status = 409, description = "The job is not imported", body = ErrorBody),
        (status = 422, description = "A parameter is invalid", body = ValidationBody),
    )
)]
pub(crate) async fn export(
    State(app): State<AppState>,
    JobIdPath { job_id }: JobIdPath,
    Query(query): Query<JobExportQuery>,
) -> ApiResult<Response> {
    let id = job_id.to_string();
    let selected = app.client.read_library(move |_, library| {
        Ok(match library.import_of(&id)? {
            Some(_) => Some(select_of_job(library, &id)?),
            None => None,
        })
    });
    let Some(selected) = selected.await? else {
        load(&app, &job_id).await?;
        return Err(ApiError::new(StatusCode::CONFLICT, format!("Job {job_id} is not imported")));
    };
    send(&app, query.export.export(selected, query.raw.raw == Some(true))?).await
}
