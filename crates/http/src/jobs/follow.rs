//! `GET /api/jobs/{job_id}/events`: a job's progress as server-sent events.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::{Stream, StreamExt};
use tokio::sync::watch;

use super::load::load;
use crate::api_error::{ApiResult, ErrorBody, ValidationBody};
use crate::app::AppState;
use crate::background::job_view_cache::JobView;
use crate::extract::path::JobIdPath;
use crate::shapes::job::EventBody;
use crate::slots::Slot;

/// Interval of comments that keep proxies from closing an idle connection.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(15);
/// The id of the last event. A browser reconnects when the stream ends; with this id it gets 204 and stops.
const LAST_EVENT_ID: &str = "end";

/// Follow a job.
///
/// Sends the job immediately, then whenever it changes. The data of an event is the job, as returned by
/// `GET /api/jobs/{job_id}`. The stream ends after an event with the status `completed`, `failed` or `cancelled`;
/// reconnecting after that with `Last-Event-ID` returns 204.
///
/// The number of open streams is limited: one more ends the stream that was opened first, whose client may reconnect.
#[utoipa::path(
    get, path = "/api/jobs/{job_id}/events", operation_id = "follow_job", tag = "jobs", params(JobIdPath),
    responses(
        (status = 200, description = "The events", body = EventBody, content_type = "text/event-stream"),
        (status = 204, description = "The job has ended, and the client has received its last event"),
        (status = 404, description = "No such job", body = ErrorBody),
        (status = 409, description = "The manifest of the job cannot be parsed", body = ErrorBody),
        (status = 422, description = "The id is not valid", body = ValidationBody),
    )
)]
pub(crate) async fn follow(
    State(app): State<AppState>,
    JobIdPath { job_id }: JobIdPath,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let loader = {
        let (app, job_id) = (app.clone(), job_id.clone());
        move || {
            let (app, job_id) = (app.clone(), job_id.clone());
            async move { load(&app, &job_id).await }
        }
    };
    let views = app.job_view_cache.follow(&job_id, loader).await?;
    let has_last_event = headers.get("last-event-id").is_some_and(|last| last == LAST_EVENT_ID);
    if has_last_event && matches!(&*views.borrow(), JobView::Job { is_finished: true, .. }) {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let keep_alive = KeepAlive::new().interval(KEEP_ALIVE_INTERVAL).text("keep-alive");
    let slot = app.event_streams.take();
    Ok(Sse::new(events(views, slot)).keep_alive(keep_alive).into_response())
}

/// The current view, then each new one, until the last view is sent, the server stops, or the slot is revoked.
fn events(views: watch::Receiver<JobView>, slot: Slot) -> impl Stream<Item = Result<Event, Infallible>> {
    let revoked = slot.revoked();
    let state = Some((views, slot, true));
    futures::stream::unfold(state, async |state| {
        let (mut views, slot, is_first) = state?;
        if !is_first {
            views.changed().await.ok()?;
        }
        let view = views.borrow_and_update().clone();
        let next = (!view.is_last()).then_some((views, slot, false));
        Some((Ok(event(view)), next))
    })
    .take_until(revoked)
}

fn event(view: JobView) -> Event {
    match view {
        JobView::Job { json, is_finished: true } => Event::default().data(json).id(LAST_EVENT_ID),
        JobView::Job { json, is_finished: false } => Event::default().data(json),
        JobView::Failed { detail } => {
            let data = serde_json::json!({ "detail": detail });
            Event::default().event("error").data(data.to_string())
        }
    }
}
