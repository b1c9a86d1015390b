//! Bodies about the server itself.

use serde::Serialize;
use utoipa::ToSchema;

/// The health of the server.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HealthBody {
    /// The text `ok` in every response.
    pub(crate) status: &'static str,
    /// The version of Courtside.
    pub(crate) version: &'static str,
}
