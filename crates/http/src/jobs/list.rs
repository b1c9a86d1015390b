//! `GET /api/jobs`: the jobs in the library and in the buckets.

use std::collections::HashMap;

use ::jobs::JobId;
use axum::Json;
use axum::extract::State;
use client::overview::Origins;
use utoipa::IntoParams;

use super::body::{JobContext, from_manifest_and_row, from_row};
use super::load::job_context;
use crate::api_error::{ApiResult, ValidationBody};
use crate::app::{App, AppState};
use crate::background::job_cache::JobSnapshot;
use crate::extract::fields::{Fields, FromFields};
use crate::extract::query::Query;
use crate::shapes::job::{JobBody, JobState, JobsBody};

const DEFAULT_LIMIT: i64 = 100;
const MAX_LIMIT: i64 = 1000;

/// Which jobs to list.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct JobsQuery {
    /// Only jobs with this status.
    #[param(inline, required = false)]
    status: Option<JobState>,
    /// Only jobs of this video.
    video_id: Option<i64>,
    /// Maximum number of jobs.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<i64>,
    /// How many jobs to skip, for the next page of the list.
    #[param(minimum = 0, default = 0)]
    offset: Option<i64>,
}

impl FromFields for JobsQuery {
    fn read(fields: &mut Fields) -> Self {
        Self {
            status: fields.choice("status", &JobState::WORDS),
            video_id: fields.integer("video_id", i64::MIN..=i64::MAX),
            limit: fields.integer("limit", 1..=MAX_LIMIT),
            offset: fields.integer("offset", 0..=i64::MAX),
        }
    }
}

/// List jobs, newest first.
#[utoipa::path(
    get, path = "/api/jobs", operation_id = "list_jobs", tag = "jobs", params(JobsQuery),
    responses(
        (status = 200, description = "The jobs", body = JobsBody),
        (status = 422, description = "A parameter is invalid", body = ValidationBody),
    )
)]
pub(crate) async fn list(
    State(app): State<AppState>,
    Query(query): Query<JobsQuery>,
) -> ApiResult<Json<JobsBody>> {
    let snapshot = app.job_cache.recent(app.options.poll.job_list_max_age).await;
    let mut jobs = all_jobs(&app, &snapshot).await?;
    jobs.retain(|job| query.status.is_none_or(|status| job.status == status));
    jobs.retain(|job| query.video_id.is_none_or(|id| job.metadata.video_id == Some(id)));
    jobs.sort_by(|a, b| (&b.created_at, &b.id).cmp(&(&a.created_at, &a.id)));
    let total = jobs.len();
    let offset = usize::try_from(query.offset.unwrap_or(0)).unwrap_or(usize::MAX);
    jobs.drain(..offset.min(total));
    jobs.truncate(query.limit.unwrap_or(DEFAULT_LIMIT) as usize);
    let unreadable = snapshot.unreadable.clone();
    Ok(Json(JobsBody { jobs, total, unreadable, warning: snapshot.warning() }))
}

/// The number of jobs with each status, from the last poll of the manifests.
pub(crate) async fn count_by_status(app: &App) -> ApiResult<HashMap<&'static str, usize>> {
    let mut counts: HashMap<_, _> = JobState::WORDS.iter().map(|(word, _)| (*word, 0)).collect();
    for job in all_jobs(app, &app.job_cache.snapshot()).await? {
        let word = JobState::WORDS.iter().find(|(_, state)| *state == job.status).map(|(word, _)| *word);
        *counts.entry(word.unwrap_or("unknown")).or_default() += 1;
    }
    Ok(counts)
}

/// The jobs with a manifest, then those that only the library has.
async fn all_jobs(app: &App, snapshot: &JobSnapshot) -> ApiResult<Vec<JobBody>> {
    let origins = app.client.with_library(|client, library| Origins::read(client, library)).await?;
    let mut jobs: Vec<JobBody> = snapshot
        .jobs
        .values()
        .map(|job| {
            let import_failure = app.import_failures.get(&job.manifest);
            let context = JobContext { import_failure, ..job_context(app) };
            let row = origins.row(job.manifest.job_id.as_str());
            from_manifest_and_row(&job.manifest, origins.of(&job.manifest), job.target, row, context)
        })
        .collect();
    let without_manifest = origins.rows().filter(|row| !has_manifest(snapshot, &row.id));
    jobs.extend(without_manifest.map(|row| {
        let upload = JobId::new(row.id.clone()).ok().and_then(|id| app.uploads.progress(&id));
        from_row(row, JobContext { upload, ..job_context(app) })
    }));
    Ok(jobs)
}

fn has_manifest(snapshot: &JobSnapshot, id: &str) -> bool {
    JobId::new(id).is_ok_and(|id| snapshot.jobs.contains_key(&id))
}
