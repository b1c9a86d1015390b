//! Errors as FastAPI words them: `{"detail": "…"}`, or a list of what is wrong with which parameter. What is
//! nobody's business but ours is a plain 500, and its cause is in the log alone.

use axum::Json;
use axum::http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use client::failure::{Failure, Kind};

/// The body of most errors.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ErrorBody {
    /// What is wrong.
    detail: String,
}

/// The body of 422.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ValidationBody {
    /// Everything that is wrong.
    detail: Vec<Issue>,
}

/// What is wrong with one parameter.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Issue {
    /// `path`, `query` or `body`, and the name.
    loc: Vec<String>,
    /// In words.
    msg: String,
    /// In a word.
    #[serde(rename = "type")]
    kind: &'static str,
}

impl Issue {
    /// Of the parameter `name` in `place`; no name for the whole of it.
    pub(super) fn new(place: &str, name: &str, kind: &'static str, msg: impl Into<String>) -> Self {
        let loc = [place, name].into_iter().filter(|part| !part.is_empty()).map(str::to_owned).collect();
        Self { loc, msg: msg.into(), kind }
    }
}

/// An answer that is an error.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    header: Option<Box<(HeaderName, HeaderValue)>>,
    body: Body,
}

#[derive(Debug)]
enum Body {
    Text(String),
    Issues(Vec<Issue>),
}

/// Result of a handler.
pub(super) type Answer<T> = Result<T, Problem>;

impl Problem {
    /// Of a status, in words that the client may read.
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, header: None, body: Body::Text(detail.into()) }
    }

    /// 422.
    pub(super) fn invalid(issues: Vec<Issue>) -> Self {
        Self { status: StatusCode::UNPROCESSABLE_ENTITY, header: None, body: Body::Issues(issues) }
    }

    /// 404 for a video.
    pub(super) fn no_video(id: i64) -> Self {
        Self::new(StatusCode::NOT_FOUND, format!("Video {id} not found"))
    }

    /// 404 for a job.
    pub(super) fn no_job(id: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, format!("Job {id} not found"))
    }

    /// 401.
    pub(super) fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "Not authenticated")
            .with(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
    }

    /// 503: trying again may work.
    pub(super) fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, detail).with(RETRY_AFTER, HeaderValue::from_static("5"))
    }

    /// 500, with its cause in the log.
    pub(super) fn internal(cause: impl std::fmt::Display) -> Self {
        tracing::error!(%cause, "a request failed");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error")
    }

    /// Adds a header; it has one at most.
    pub(super) fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.header = Some(Box::new((name, value)));
        self
    }

    /// What the failure of a request means, where the user can mend it: 409 for what has no better status.
    pub(super) fn of_state(failure: Failure) -> Self {
        let is_known = status_of(&failure).is_some();
        let is_local_io = failure.cause::<std::io::Error>().is_some();
        if !is_known && !is_local_io && matches!(failure.kind, Kind::Failed | Kind::Job) {
            return Self::new(StatusCode::CONFLICT, failure.message());
        }
        Self::from(failure)
    }

    /// What it says, for events.
    pub(super) fn detail(&self) -> String {
        match &self.body {
            Body::Text(text) => text.clone(),
            Body::Issues(issues) => issues.iter().map(|i| i.msg.as_str()).collect::<Vec<_>>().join("; "),
        }
    }
}

/// The status and words of failures that the client may know of.
fn status_of(failure: &Failure) -> Option<Problem> {
    if let Some(error) = failure.cause::<store::StoreError>() {
        return of_store(error);
    }
    if let Some(error) = failure.cause::<jobs::Error>() {
        return of_jobs(error);
    }
    let io = failure.cause::<std::io::Error>()?;
    (io.kind() == std::io::ErrorKind::StorageFull).then(|| full(failure))
}

fn of_store(error: &store::StoreError) -> Option<Problem> {
    use store::StoreError as E;
    match error {
        E::UnknownVideo(id) => Some(Problem::no_video(*id)),
        E::UnknownJob(id) => Some(Problem::no_job(id)),
        E::Conflict(why) => Some(Problem::new(StatusCode::CONFLICT, why)),
        E::BadInput(why) => Some(Problem::invalid(vec![Issue::new("body", "", "value_error", why)])),
        E::Busy { .. } => Some(Problem::unavailable("The database is locked by another program")),
        E::Full { .. } => {
            Some(Problem::new(StatusCode::INSUFFICIENT_STORAGE, "No space left for the database"))
        }
        _ => None,
    }
}

fn of_jobs(error: &jobs::Error) -> Option<Problem> {
    use jobs::Error as E;
    match error {
        E::NoJob { id } => Some(Problem::no_job(id.as_str())),
        E::Refused { id, refusal } => {
            Some(Problem::new(StatusCode::CONFLICT, format!("Job {id}: {refusal}")))
        }
        E::Unavailable { .. } | E::Denied { .. } | E::NoBucket { .. } => {
            tracing::warn!(%error, "the bucket does not do what it should");
            Some(Problem::unavailable("The bucket does not answer, or refuses to"))
        }
        E::Unreadable { .. } => Some(Problem::new(StatusCode::CONFLICT, error.to_string())),
        E::File { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => {
            Some(Problem::new(StatusCode::INSUFFICIENT_STORAGE, "No space left on the disk"))
        }
        _ => None,
    }
}

fn full(failure: &Failure) -> Problem {
    tracing::error!(cause = failure.message(), "the disk is full");
    Problem::new(StatusCode::INSUFFICIENT_STORAGE, "No space left on the disk")
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        status_of(&failure).unwrap_or_else(|| Self::internal(failure.message()))
    }
}

impl From<std::io::Error> for Problem {
    fn from(error: std::io::Error) -> Self {
        Failure::from(error).into()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = match self.body {
            Body::Text(detail) => Json(ErrorBody { detail }).into_response(),
            Body::Issues(detail) => Json(ValidationBody { detail }).into_response(),
        };
        let mut response = (self.status, body).into_response();
        if let Some(header) = self.header {
            let (name, value) = *header;
            response.headers_mut().insert(name, value);
        }
        response
    }
}
