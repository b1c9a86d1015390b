//! Jobs: asked for, looked at, listed, cancelled, retried.

mod body;
mod list;

use ::jobs::JobId;
use ::jobs::manifest::{DEFAULT_CONFIDENCE, DEFAULT_MAX_ATTEMPTS, MAX_PROMPT_CHARS, Parameters, Target};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use store::JobRow;
use utoipa::{IntoParams, ToSchema};

use super::extract::{Fields, FromFields, JobPath, OptionalBody, Query, VideoId};
use super::problem::{Answer, ErrorBody, Problem, ValidationBody};
use super::shapes::{DetectBody, JobBody};
use super::state::App;
use super::uploads;
use client::changes::{self, Retried};
use client::failure::Failure;
use client::submit::{Submission, prepare};

use body::{Around, of_both, of_row};

pub(super) use list::{__path_list, list, standings};

/// Where a job shall run.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct DetectQuery {
    /// The bucket (`cloud`) or this machine (`local`); without it, the bucket if there is one.
    #[param(inline)]
    target: Option<TargetWord>,
}

#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum TargetWord {
    Local,
    Cloud,
}

impl FromFields for DetectQuery {
    fn read(fields: &mut Fields) -> Self {
        Self {
            target: fields.choice("target", &[("local", TargetWord::Local), ("cloud", TargetWord::Cloud)]),
        }
    }
}

/// What to do with the video.
#[derive(Debug, ToSchema)]
pub(super) struct DetectRequest {
    /// Tracks every n-th frame; 1 if not given.
    #[schema(minimum = 1, maximum = 1_000_000)]
    sample_interval: Option<i64>,
    /// Leaves detections below this out; 0.25 if not given.
    #[schema(minimum = 0.0, maximum = 1.0)]
    confidence_threshold: Option<f64>,
    /// What to track; "basketball player" if not given.
    #[schema(max_length = 500, pattern = r"\S")]
    prompt: Option<String>,
    /// Tracks only so much of the beginning.
    #[schema(minimum = 0.001, maximum = 1_000_000_000.0)]
    max_seconds: Option<f64>,
}

impl FromFields for DetectRequest {
    fn read(fields: &mut Fields) -> Self {
        Self {
            sample_interval: fields.integer("sample_interval", 1..=1_000_000),
            confidence_threshold: fields.number("confidence_threshold", 0.0..=1.0),
            prompt: fields.text("prompt", MAX_PROMPT_CHARS),
            max_seconds: fields.number("max_seconds", 0.001..=1e9),
        }
    }
}

/// Asks for the detections of a video.
///
/// The video is uploaded after the answer; the job can be looked at at once. Asking for the same again while
/// it is uploaded gives the same job.
#[utoipa::path(
    post, path = "/api/videos/{video_id}/detect", operation_id = "detect", tag = "jobs",
    params(("video_id" = i64, Path, description = "The video"), DetectQuery),
    request_body(content = Option<DetectRequest>, content_type = "application/json"),
    responses(
        (status = 202, description = "The job", body = DetectBody),
        (status = 404, description = "There is no such video", body = ErrorBody),
        (status = 409, description = "Its file is gone, changed, or cannot be decoded", body = ErrorBody),
        (status = 413, description = "The body is too large", body = ErrorBody),
        (status = 415, description = "The body is not JSON", body = ErrorBody),
        (status = 422, description = "A parameter is wrong", body = ValidationBody),
    )
)]
pub(super) async fn detect(
    State(app): State<App>,
    VideoId(video_id): VideoId,
    Query(query): Query<DetectQuery>,
    OptionalBody(request): OptionalBody<DetectRequest>,
) -> Answer<(StatusCode, Json<DetectBody>)> {
    let target = query.target.map(|word| match word {
        TargetWord::Local => Target::Local,
        TargetWord::Cloud => Target::Cloud,
    });
    let submission = submission(&app, video_id, target, request);
    let job_id = app.to_the_end(|app| async move { upload(&app, submission).await }).await?;
    let message = format!("Detection job {job_id} created; the video is being uploaded");
    Ok((StatusCode::ACCEPTED, Json(DetectBody { job_id, video_id, message })))
}

/// Prepares a submission and begins its upload.
async fn upload(app: &App, submission: Submission) -> Answer<String> {
    // One after the other: of two that ask for the same at once, the second finds the first's job.
    let _turn = app.preparing.lock().await;
    let prepared = app.at_desk(move |client, library| prepare(client, library, submission)).await;
    let prepared = prepared.map_err(Problem::of_state)?;
    let job_id = prepared.job_id.to_string();
    uploads::start(app, prepared);
    Ok(job_id)
}

fn submission(app: &App, video_id: i64, target: Option<Target>, request: DetectRequest) -> Submission {
    let settings = &app.client.settings;
    let confidence = request.confidence_threshold.or(settings.confidence_threshold);
    let parameters = Parameters {
        sample_interval: request.sample_interval.unwrap_or(1).unsigned_abs(),
        confidence_threshold: confidence.unwrap_or(DEFAULT_CONFIDENCE),
        prompt: request.prompt.or_else(|| settings.prompt.clone()),
        max_seconds: request.max_seconds,
        ..Parameters::default()
    };
    Submission { video_id, target, parameters, max_attempts: DEFAULT_MAX_ATTEMPTS }
}

/// Says how far a job is.
#[utoipa::path(
    get, path = "/api/jobs/{job_id}", operation_id = "get_job", tag = "jobs",
    params(
        ("job_id" = String, Path, description = "The job", max_length = 128, pattern = r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?$"),
    ),
    responses(
        (status = 200, description = "The job", body = JobBody),
        (status = 404, description = "There is no such job", body = ErrorBody),
        (status = 409, description = "Its register cannot be understood", body = ErrorBody),
        (status = 422, description = "That is no job id", body = ValidationBody),
    )
)]
pub(super) async fn get(State(app): State<App>, JobPath(id): JobPath) -> Answer<Json<JobBody>> {
    Ok(Json(look(&app, &id).await?))
}

/// A job as it is now: its register is read, unless its results are in the library already.
pub(super) async fn look(app: &App, id: &JobId) -> Answer<JobBody> {
    let text = id.to_string();
    let row = app.library(move |_, library| Ok(library.job(&text)?)).await?;
    let around = Around { upload: app.uploads.progress(id), ..around(app) };
    if let Some(row) = row.as_ref().filter(|row| row.imported || around.upload.is_some()) {
        return Ok(match app.board.picture().jobs.get(id).filter(|_| row.imported) {
            Some(seen) => of_both(&seen.manifest, seen.place, Some(row), around),
            None => of_row(row, around),
        });
    }
    match app.register(id, changes::likely_place(&app.client, row.as_ref())).await {
        Ok(Some((manifest, place))) => {
            let around = Around { import_failure: app.import_failures.of(&manifest), ..around };
            Ok(of_both(&manifest, place, row.as_ref(), around))
        }
        Ok(None) => row.map(|row| of_row(&row, around)).ok_or_else(|| Problem::no_job(id.as_str())),
        Err(failure) => last_known(app, id, row, around, failure),
    }
}

/// A job whose register cannot be read now.
fn last_known(
    app: &App,
    id: &JobId,
    row: Option<JobRow>,
    around: Around,
    failure: Failure,
) -> Answer<JobBody> {
    tracing::warn!(job = %id, cause = failure.message(), "the register cannot be read");
    let warning =
        Some("the register could not be read just now; this is how the job was seen last".to_owned());
    let around = Around { warning, ..around };
    match (app.board.picture().jobs.get(id), row) {
        (Some(seen), row) => {
            let import_failure = app.import_failures.of(&seen.manifest);
            Ok(of_both(&seen.manifest, seen.place, row.as_ref(), Around { import_failure, ..around }))
        }
        (None, Some(row)) => Ok(of_row(&row, around)),
        (None, None) => Err(failure.into()),
    }
}

/// What every job has around it.
fn around(app: &App) -> Around {
    Around { auto_import: app.options.auto_import, now: Some(app.client.env.utc()), ..Around::default() }
}

/// Cancels a job. Its worker finds out within half a minute.
#[utoipa::path(
    delete, path = "/api/jobs/{job_id}", operation_id = "cancel_job", tag = "jobs",
    params(
        ("job_id" = String, Path, description = "The job", max_length = 128, pattern = r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?$"),
    ),
    responses(
        (status = 204, description = "It is cancelled"),
        (status = 404, description = "There is no such job", body = ErrorBody),
        (status = 409, description = "It is over", body = ErrorBody),
        (status = 422, description = "That is no job id", body = ValidationBody),
    )
)]
pub(super) async fn cancel(State(app): State<App>, JobPath(id): JobPath) -> Answer<StatusCode> {
    app.to_the_end(|app| async move {
        app.uploads.cancel(&id).await;
        let job = id.clone();
        app.with_buckets(move |client| async move {
            changes::cancel(&client, &mut client.library()?, &job).await
        })
        .await?;
        app.glances.forget(&id);
        app.news.notify_one();
        Ok(StatusCode::NO_CONTENT)
    })
    .await
}

/// Puts a failed or cancelled job back in the queue.
///
/// It goes on from its checkpoint. A job whose upload failed is uploaded again, one whose import failed is
/// imported again; one that waits or is being processed stays as it is.
#[utoipa::path(
    post, path = "/api/jobs/{job_id}/retry", operation_id = "retry_job", tag = "jobs",
    params(
        ("job_id" = String, Path, description = "The job", max_length = 128, pattern = r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?$"),
    ),
    responses(
        (status = 202, description = "The job", body = JobBody),
        (status = 404, description = "There is no such job", body = ErrorBody),
        (status = 409, description = "It was completed, or its video cannot be uploaded", body = ErrorBody),
        (status = 422, description = "That is no job id", body = ValidationBody),
    )
)]
pub(super) async fn retry(
    State(app): State<App>,
    JobPath(id): JobPath,
) -> Answer<(StatusCode, Json<JobBody>)> {
    app.to_the_end(|app| async move {
        if !app.import_failures.forgive(&id) && app.uploads.progress(&id).is_none() {
            let job = id.clone();
            let retried = app
                .with_buckets(move |client| async move {
                    changes::retry(&client, &mut client.library()?, &job).await
                })
                .await?;
            if let Retried::Upload(submission) = retried {
                upload(&app, *submission).await?;
            }
        }
        app.glances.forget(&id);
        app.news.notify_one();
        Ok((StatusCode::ACCEPTED, Json(look(&app, &id).await?)))
    })
    .await
}
