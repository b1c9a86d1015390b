//! The shapes of answers. Older clients rely on the names; fields may be added, never renamed.

mod detection;
mod job;
mod video;

use ::jobs::manifest::Timestamp;
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;

pub(super) use detection::{DetectionBody, DetectionsBody, StatsBody, TracksBody};
pub(super) use job::{
    DetectBody, EventBody, JobBody, JobState, JobsBody, MetadataBody, ProgressBody, UploadBody,
};
pub(super) use video::{VideoBody, VideosBody};

/// That the server is there.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct HealthBody {
    /// `ok`.
    pub(super) status: &'static str,
    /// Of courtside.
    pub(super) version: &'static str,
}

/// A moment, RFC 3339 to the millisecond.
pub(super) fn rfc3339(at: OffsetDateTime) -> String {
    Timestamp::of(at).as_str().to_owned()
}
