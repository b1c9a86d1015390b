//! A job's progress as server-sent events: its state at once, then whenever it changes, until it is over.

use std::convert::Infallible;
use std::time::Duration;

use ::jobs::JobId;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::Stream;

use super::extract::JobPath;
use super::problem::{Answer, ErrorBody, ValidationBody};
use super::shapes::{EventBody, JobBody};
use super::state::App;

/// Between comments that keep proxies from closing a quiet connection.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// The id of the last event. A browser that comes back with it is told to stay away (204).
const LAST: &str = "end";

/// Follows a job.
///
/// Every event's data is the job as `GET /api/jobs/{job_id}` has it. The stream ends after an event with a
/// status of `completed`, `failed` or `cancelled`; coming back after that with `Last-Event-ID` is answered 204.
#[utoipa::path(
    get, path = "/api/jobs/{job_id}/events", operation_id = "follow_job", tag = "jobs",
    params(
        ("job_id" = String, Path, description = "The job", max_length = 128, pattern = r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?$"),
    ),
    responses(
        (status = 200, description = "The events", body = EventBody, content_type = "text/event-stream"),
        (status = 204, description = "The job is over, and the client has seen that"),
        (status = 404, description = "There is no such job", body = ErrorBody),
        (status = 409, description = "Its register cannot be understood", body = ErrorBody),
        (status = 422, description = "That is no job id", body = ValidationBody),
    )
)]
pub(super) async fn follow(
    State(app): State<App>,
    JobPath(id): JobPath,
    headers: HeaderMap,
) -> Answer<Response> {
    let first = app.glances.at(&app, &id, app.options.pace.follow).await?;
    let has_seen_the_end = headers.get("last-event-id").is_some_and(|last| last == LAST);
    if has_seen_the_end && first.status.is_over() {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let heartbeat = KeepAlive::new().interval(HEARTBEAT).text("still here");
    Ok(Sse::new(stream(app, id, first)).keep_alive(heartbeat).into_response())
}

/// Where a stream is.
struct Following {
    app: App,
    id: JobId,
    /// What the client has not seen yet.
    next: Option<JobBody>,
    /// What it saw last.
    last: String,
    is_over: bool,
}

fn stream(app: App, id: JobId, first: JobBody) -> impl Stream<Item = Result<Event, Infallible>> {
    let following = Following { app, id, next: Some(first), last: String::new(), is_over: false };
    futures::stream::unfold(following, async |mut at| at.next_event().await.map(|event| (Ok(event), at)))
}

impl Following {
    async fn next_event(&mut self) -> Option<Event> {
        while !self.is_over {
            let body = match self.next.take() {
                Some(body) => body,
                None => match self.look_later().await? {
                    Ok(body) => body,
                    Err(problem) => {
                        self.is_over = true;
                        let data = serde_json::json!({ "detail": problem.detail() });
                        return Some(Event::default().event("error").data(data.to_string()));
                    }
                },
            };
            let data = serde_json::to_string(&body).unwrap_or_default();
            self.is_over = body.status.is_over();
            if data != self.last {
                self.last.clone_from(&data);
                let event = Event::default().data(data);
                return Some(if self.is_over { event.id(LAST) } else { event });
            }
        }
        None
    }

    /// The job after a pause; `None` if the server stops.
    async fn look_later(&self) -> Option<Answer<JobBody>> {
        let pause = self.app.options.pace.follow;
        tokio::select! {
            () = self.app.stop.wait() => None,
            () = tokio::time::sleep(pause) => Some(self.app.glances.at(&self.app, &self.id, pause).await),
        }
    }
}
