//! The list of jobs: those of the library and those of the buckets.

use std::collections::HashMap;

use ::jobs::JobId;
use axum::Json;
use axum::extract::State;
use store::{JobFilter, JobRow};
use utoipa::IntoParams;

use super::around;
use super::body::{Around, of_both, of_row};
use crate::extract::{Fields, FromFields, Query};
use crate::job_cache::Picture;
use crate::problem::{Answer, ValidationBody};
use crate::shapes::{JobBody, JobState, JobsBody};
use crate::state::App;

const DEFAULT_LIMIT: i64 = 100;
const MAX_LIMIT: i64 = 1000;

/// Which jobs.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct JobsQuery {
    /// Those that are so far.
    #[param(inline, required = false)]
    status: Option<JobState>,
    /// Those of a video.
    video_id: Option<i64>,
    /// At most so many.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<i64>,
}

impl FromFields for JobsQuery {
    fn read(fields: &mut Fields) -> Self {
        Self {
            status: fields.choice("status", &JobState::WORDS),
            video_id: fields.integer("video_id", i64::MIN..=i64::MAX),
            limit: fields.integer("limit", 1..=MAX_LIMIT),
        }
    }
}

/// Lists jobs, the newest first.
#[utoipa::path(
    get, path = "/api/jobs", operation_id = "list_jobs", tag = "jobs", params(JobsQuery),
    responses(
        (status = 200, description = "The jobs", body = JobsBody),
        (status = 422, description = "A parameter is wrong", body = ValidationBody),
    )
)]
pub(crate) async fn list(State(app): State<App>, Query(query): Query<JobsQuery>) -> Answer<Json<JobsBody>> {
    let picture = app.board.recent(&app, app.options.pace.listing).await;
    let mut jobs = bodies(&app, &picture).await?;
    jobs.retain(|job| query.status.is_none_or(|status| job.status == status));
    jobs.retain(|job| query.video_id.is_none_or(|id| job.metadata.video_id == Some(id)));
    jobs.sort_by(|a, b| (&b.created_at, &b.id).cmp(&(&a.created_at, &a.id)));
    let total = jobs.len();
    jobs.truncate(query.limit.unwrap_or(DEFAULT_LIMIT) as usize);
    let unreadable = picture.unreadable.clone();
    Ok(Json(JobsBody { jobs, total, unreadable, warning: picture.warning() }))
}

/// How many jobs stand how, as far as is known now.
pub(crate) async fn standings(app: &App) -> Answer<HashMap<&'static str, usize>> {
    let mut counts: HashMap<_, _> = JobState::WORDS.iter().map(|(word, _)| (*word, 0)).collect();
    for job in bodies(app, &app.board.picture()).await? {
        let word = JobState::WORDS.iter().find(|(_, state)| *state == job.status).map(|(word, _)| *word);
        *counts.entry(word.unwrap_or("unknown")).or_default() += 1;
    }
    Ok(counts)
}

/// All jobs.
async fn bodies(app: &App, picture: &Picture) -> Answer<Vec<JobBody>> {
    let rows = app.library(|_, library| Ok(library.jobs(&JobFilter::default())?)).await?;
    let rows: HashMap<String, JobRow> = rows.into_iter().map(|row| (row.id.clone(), row)).collect();
    let mut jobs: Vec<JobBody> = picture
        .jobs
        .values()
        .map(|seen| {
            let around = Around { import_failure: app.import_failures.of(&seen.manifest), ..around(app) };
            of_both(&seen.manifest, seen.place, rows.get(seen.manifest.job_id.as_str()), around)
        })
        .collect();
    let alone = rows.values().filter(|row| !is_seen(picture, &row.id));
    jobs.extend(alone.map(|row| {
        let upload = JobId::new(row.id.clone()).ok().and_then(|id| app.uploads.progress(&id));
        of_row(row, Around { upload, ..around(app) })
    }));
    Ok(jobs)
}

fn is_seen(picture: &Picture, id: &str) -> bool {
    JobId::new(id).is_ok_and(|id| picture.jobs.contains_key(&id))
}
