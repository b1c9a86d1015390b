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

/// An address that a client without the token can read.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct UrlBody {
    /// The address: absolute in a bucket, or a path on this server.
    pub(crate) url: String,
    /// How long it is valid at least, in seconds.
    pub(crate) expires_in: u64,
}
