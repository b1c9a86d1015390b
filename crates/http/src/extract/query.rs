//! The query string.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use super::fields::{Fields, FromFields};
use crate::api_error::{ApiError, ApiResult};

/// The validated query string. An unknown parameter is a 422 that names it.
#[derive(Debug)]
pub(crate) struct Query<T>(pub(crate) T);

impl<S: Send + Sync, T: FromFields> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> ApiResult<Self> {
        Ok(Self(Fields::from_query(parts.uri.query().unwrap_or_default()).read()?))
    }
}
