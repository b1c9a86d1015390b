//! Error responses, in the shape that FastAPI uses: `{"detail": "…"}`, or for 422 a list with one entry for
//! each faulty parameter. Internal causes are logged; the client gets a plain 500.

use std::path::Path;

use axum::Json;
use axum::http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use client::failure::{Failure, Kind};
use serde::Serialize;
use store::StoreError;
use tokio::task::JoinError;
use utoipa::ToSchema;
use video::VideoError;

/// The body of every error response except 422.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ErrorBody {
    /// What went wrong.
    detail: String,
}

/// The body of a 422 response.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ValidationBody {
    /// All faults of the request.
    detail: Vec<FieldError>,
}

/// What is wrong with one parameter.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Issue)]
pub(crate) struct FieldError {
    /// `path`, `query` or `body`, then the parameter's name.
    loc: Vec<String>,
    /// The fault, for people.
    msg: String,
    /// The fault, for programs: Pydantic's error type.
    #[serde(rename = "type")]
    kind: &'static str,
}

impl FieldError {
    /// A fault of the parameter `name` in `location` (`path`, `query` or `body`). An empty name means
    /// all of it.
    pub(crate) fn new(location: &str, name: &str, kind: &'static str, msg: impl Into<String>) -> Self {
        let loc = [location, name].into_iter().filter(|part| !part.is_empty()).map(str::to_owned).collect();
        Self { loc, msg: msg.into(), kind }
    }
}

/// An error response: its status, an additional header and the JSON body.
#[derive(Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    header: Option<Box<(HeaderName, HeaderValue)>>,
    detail: Detail,
}

#[derive(Debug)]
enum Detail {
    Text(String),
    Fields(Vec<FieldError>),
}

/// Result of a handler.
pub(crate) type ApiResult<T> = Result<T, ApiError>;

impl ApiError {
    /// An error with a text for the client.
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, header: None, detail: Detail::Text(detail.into()) }
    }

    /// 422 with all faults of the request.
    pub(crate) fn invalid(errors: Vec<FieldError>) -> Self {
        Self { status: StatusCode::UNPROCESSABLE_ENTITY, header: None, detail: Detail::Fields(errors) }
    }

    /// 404 for a video that is not in the library.
    pub(crate) fn no_video(id: i64) -> Self {
        Self::new(StatusCode::NOT_FOUND, format!("Video {id} not found"))
    }

    /// 404 for a job that neither the library nor a bucket has.
    pub(crate) fn no_job(id: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, format!("Job {id} not found"))
    }

    /// 401 for a request without the token.
    pub(crate) fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "Not authenticated")
            .with_header(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
    }

    /// 503 with `Retry-After`: the same request may succeed later.
    pub(crate) fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, detail)
            .with_header(RETRY_AFTER, HeaderValue::from_static("5"))
    }

    /// 500. The cause is logged and not sent.
    pub(crate) fn internal(cause: impl std::fmt::Display) -> Self {
        tracing::error!(%cause, "a request failed");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error")
    }

    /// Sets the extra header of the response. There is at most one.
    pub(crate) fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.header = Some(Box::new((name, value)));
        self
    }

    /// The response for a request that the current state forbids: 409, unless the failure has a more specific
    /// status or the user cannot fix it.
    pub(crate) fn conflict_from(failure: Failure) -> Self {
        let is_known = known_failure(&failure).is_some();
        let is_user_error = matches!(failure.kind, Kind::Failed | Kind::Job) && !failure.is_local_io();
        if !is_known && is_user_error {
            return Self::new(StatusCode::CONFLICT, failure.message());
        }
        Self::from(failure)
    }

    /// The response for a file that cannot be added to the library: 422 for `field` if the file is at fault, else that of
    /// [`Self::conflict_from`].
    /// The fault does not name the folder: clients need not know where it is.
    pub(crate) fn unusable_video(failure: Failure, field: &str, folder: &Path) -> Self {
        let fault = if failure.cause().is_some_and(VideoError::is_of_the_file) {
            without_folder(&failure.message(), folder)
        } else if let Some(StoreError::BadInput(why)) = failure.cause() {
            why.clone()
        } else {
            return Self::conflict_from(failure);
        };
        Self::invalid(vec![FieldError::new("body", field, "value_error", fault)])
    }

    /// The text for the client, as sent in an `error` event.
    pub(crate) fn detail(&self) -> String {
        match &self.detail {
            Detail::Text(text) => text.clone(),
            Detail::Fields(errors) => errors.iter().map(|e| e.msg.as_str()).collect::<Vec<_>>().join("; "),
        }
    }
}

/// The response for a failure whose cause the client may know; `None` for an internal one.
fn known_failure(failure: &Failure) -> Option<ApiError> {
    if let Some(error) = failure.cause::<StoreError>() {
        return store_failure(error);
    }
    if let Some(error) = failure.cause::<jobs::Error>() {
        return bucket_failure(error);
    }
    let io = failure.cause::<std::io::Error>()?;
    (io.kind() == std::io::ErrorKind::StorageFull).then(|| disk_full(failure))
}

fn store_failure(error: &StoreError) -> Option<ApiError> {
    use StoreError as E;
    match error {
        E::UnknownVideo(id) => Some(ApiError::no_video(*id)),
        E::UnknownJob(id) => Some(ApiError::no_job(id)),
        E::Conflict(why) => Some(ApiError::new(StatusCode::CONFLICT, why)),
        E::BadInput(why) => Some(ApiError::invalid(vec![FieldError::new("body", "", "value_error", why)])),
        E::Busy { .. } => Some(ApiError::unavailable("The database is locked by another program")),
        E::Full { .. } => {
            Some(ApiError::new(StatusCode::INSUFFICIENT_STORAGE, "No space left for the database"))
        }
        _ => None,
    }
}

fn bucket_failure(error: &jobs::Error) -> Option<ApiError> {
    use jobs::Error as E;
    match error {
        E::NoJob { id } => Some(ApiError::no_job(id.as_str())),
        E::Refused { id, refusal } => {
            Some(ApiError::new(StatusCode::CONFLICT, format!("Job {id}: {refusal}")))
        }
        E::Unavailable { .. } | E::Denied { .. } | E::NoBucket { .. } | E::Unusable { .. } => {
            tracing::warn!(%error, "the bucket is unavailable");
            Some(ApiError::unavailable("The bucket does not respond, or denies access"))
        }
        E::Unreadable { .. } => Some(ApiError::new(StatusCode::CONFLICT, error.to_string())),
        E::File { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => {
            Some(ApiError::new(StatusCode::INSUFFICIENT_STORAGE, "No space left on the disk"))
        }
        _ => None,
    }
}

fn disk_full(failure: &Failure) -> ApiError {
    tracing::error!(cause = failure.message(), "the disk is full");
    ApiError::new(StatusCode::INSUFFICIENT_STORAGE, "No space left on the disk")
}

impl From<Failure> for ApiError {
    fn from(failure: Failure) -> Self {
        known_failure(&failure).unwrap_or_else(|| Self::internal(failure.message()))
    }
}

impl From<std::io::Error> for ApiError {
    fn from(error: std::io::Error) -> Self {
        Failure::from(error).into()
    }
}

impl From<JoinError> for ApiError {
    fn from(error: JoinError) -> Self {
        Self::internal(error)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = match self.detail {
            Detail::Text(detail) => Json(ErrorBody { detail }).into_response(),
            Detail::Fields(detail) => Json(ValidationBody { detail }).into_response(),
        };
        let mut response = (self.status, body).into_response();
        if let Some(header) = self.header {
            let (name, value) = *header;
            response.headers_mut().insert(name, value);
        }
        response
    }
}
/// A message with paths in the folder as names of files.
fn without_folder(message: &str, folder: &Path) -> String {
    let real = folder.canonicalize().unwrap_or_default();
    let mut message = message.to_owned();
    for prefix in [real.as_path(), folder].iter().filter(|prefix| !prefix.as_os_str().is_empty()) {
        message = message.replace(&format!("{}/", prefix.display()), "");
    }
    message
}
