//! `POST /api/videos/{video_id}/detect`.

use ::jobs::manifest::{DEFAULT_MAX_ATTEMPTS, MAX_PROMPT_CHARS, Target};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use client::parameters::RequestedParameters;
use client::submit::Submission;
use serde::Deserialize;
use utoipa::openapi::schema::{Object, ObjectBuilder, Type};
use utoipa::{IntoParams, ToSchema};

use super::submit::submit;
use crate::api_error::{ApiResult, ErrorBody, ValidationBody};
use crate::app::AppState;
use crate::detached::run_to_completion;
use crate::extract::body::OptionalBody;
use crate::extract::fields::{Fields, FromFields};
use crate::extract::path::VideoIdPath;
use crate::extract::query::Query;
use crate::shapes::job::DetectBody;

/// Where to run the job.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct DetectQuery {
    /// The bucket (`cloud`) or this machine (`local`). Default: `cloud` if R2 is configured.
    #[param(schema_with = target_schema)]
    target: Option<Target>,
}

const TARGETS: [Target; 2] = [Target::Local, Target::Cloud];

fn target_schema() -> Object {
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(TARGETS.map(Target::as_str))).build()
}

impl FromFields for DetectQuery {
    fn read(fields: &mut Fields) -> Self {
        Self { target: fields.choice("target", &TARGETS.map(|target| (target.as_str(), target))) }
    }
}

/// How to track the players.
#[derive(Debug, ToSchema)]
pub(crate) struct DetectRequest {
    /// Track every n-th frame. Default: 1.
    #[schema(minimum = 1, maximum = 1_000_000)]
    sample_interval: Option<i64>,
    /// Omit detections with a lower confidence. Default: 0.25.
    #[schema(minimum = 0.0, maximum = 1.0)]
    confidence_threshold: Option<f64>,
    /// What to track. Default: "basketball player".
    #[schema(max_length = 500, pattern = r"\S")]
    prompt: Option<String>,
    /// Track only this many seconds from the start of the video.
    #[schema(minimum = 0.001, maximum = 1_000_000_000.0)]
    max_seconds: Option<f64>,
    /// Fail the job if a larger share of the frames cannot be decoded. Default: 0.1.
    #[schema(minimum = 0.0, maximum = 1.0)]
    max_missing: Option<f64>,
}

impl DetectRequest {
    fn into_requested(self) -> RequestedParameters {
        RequestedParameters {
            sample_interval: self.sample_interval.map(i64::unsigned_abs),
            confidence_threshold: self.confidence_threshold,
            prompt: self.prompt,
            max_seconds: self.max_seconds,
            max_missing: self.max_missing,
        }
    }
}

impl FromFields for DetectRequest {
    fn read(fields: &mut Fields) -> Self {
        Self {
            sample_interval: fields.integer("sample_interval", 1..=1_000_000),
            confidence_threshold: fields.number("confidence_threshold", 0.0..=1.0),
            prompt: fields.text("prompt", MAX_PROMPT_CHARS),
            max_seconds: fields.number("max_seconds", 0.001..=1e9),
            max_missing: fields.number("max_missing", 0.0..=1.0),
        }
    }
}

/// Submit a video for tracking.
///
/// The response does not wait for the upload of the video; the job can be queried immediately. Submitting the
/// same video with the same parameters returns the same job until it ends. A video that is in the bucket already is not
/// uploaded again.
#[utoipa::path(
    post, path = "/api/videos/{video_id}/detect", operation_id = "detect", tag = "jobs",
    params(VideoIdPath, DetectQuery),
    request_body(content = Option<DetectRequest>, content_type = "application/json"),
    responses(
        (status = 202, description = "The job", body = DetectBody),
        (status = 404, description = "No such video", body = ErrorBody),
        (status = 409, description = "The file is missing, has changed, or cannot be decoded", body = ErrorBody),
        (status = 413, description = "The body is too large", body = ErrorBody),
        (status = 415, description = "The body is not JSON", body = ErrorBody),
        (status = 422, description = "A parameter is invalid", body = ValidationBody),
    )
)]
pub(crate) async fn detect(
    State(app): State<AppState>,
    VideoIdPath { video_id }: VideoIdPath,
    Query(query): Query<DetectQuery>,
    OptionalBody(request): OptionalBody<DetectRequest>,
) -> ApiResult<(StatusCode, Json<DetectBody>)> {
    let submission = Submission {
        video_id,
        target: query.target,
        parameters: request.into_requested().resolve(&app.client.settings),
        max_attempts: DEFAULT_MAX_ATTEMPTS,
    };
    let job_id = run_to_completion(async move { submit(&app, submission).await }).await?;
    let message = format!("Detection job {job_id} created; the video is being uploaded");
    Ok((StatusCode::ACCEPTED, Json(DetectBody { job_id, video_id, message })))
}
