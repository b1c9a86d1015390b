//! Work that outlives its request.

use crate::api_error::ApiResult;

/// Runs the work of a request to completion, even if the client disconnects before.
pub(crate) async fn run_to_completion<T, F>(work: F) -> ApiResult<T>
where
    T: Send + 'static,
    F: Future<Output = ApiResult<T>> + Send + 'static,
{
    tokio::spawn(work).await?
}
